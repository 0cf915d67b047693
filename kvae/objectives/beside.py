"""Networks beside a model, whose weights are saved with it and are not the model's to train."""

import collections

import keras
import tensorflow as tf
from keras import ops

__all__ = ["NetworkBeside"]


class NetworkBeside(keras.layers.Layer):
    """A network for inputs `[..., *shape]`, with weights that are not the model's.

    Keras can make the weights of a network inside a model trainable again from outside, as by
    `model.trainable = True`. So the network itself stays hidden, and this layer holds its weights.
    It returns the network's outputs as a list, with the axes that come before `shape`.

    Args:
        network: keras.Model of one input.
        name: str. Of the layer.
    """

    def __init__(self, network, name: str):
        super().__init__(dtype="float32", name=name)
        self._network = lambda: network

    def build(self, input_shape):
        network, shape = self._network(), tuple(input_shape)
        if not network.built:
            network.build(shape)
        self.event_rank = len(shape) - 1
        self.learned = self._own(network.trainable_variables)
        self.state = self._own(network.non_trainable_variables)
        self.built = True

    def _own(self, variables) -> list:
        """Makes weights of this layer's with the values of a network's."""
        seen: collections.Counter[str] = collections.Counter()
        made = []
        for variable in variables:
            value = ops.convert_to_numpy(variable)
            made.append(
                self.add_weight(
                    shape=variable.shape,
                    dtype=variable.dtype,
                    initializer=lambda shape, dtype=None, value=value: ops.convert_to_tensor(
                        value, dtype
                    ),
                    trainable=False,
                    aggregation=variable.aggregation,
                    name=f"{variable.name}_{seen[variable.name]}",
                )
            )
            seen[variable.name] += 1
        return made

    def call(self, x, training=False):
        x = tf.convert_to_tensor(x)
        lead = tf.shape(x)[: x.shape.rank - self.event_rank]
        flat = tf.reshape(x, (-1, *x.shape[x.shape.rank - self.event_rank :]))
        values = [variable.value for variable in self.learned]
        outputs, _ = self.outputs(flat, values, self.state, training)
        return [tf.reshape(one, tf.concat([lead, tf.shape(one)[1:]], 0)) for one in outputs]

    def outputs(self, x, learned, state, training: bool):
        """Returns the network's outputs for given weights, as a list, and its state after them."""
        found, state = self._network().stateless_call(learned, state, x, training=training)
        return [tf.cast(one, tf.float32) for one in tf.nest.flatten(found)], state
