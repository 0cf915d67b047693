"""The deterministic path of a ladder of latents, from the top to the image."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

__all__ = ["Path", "TopDown", "carried", "remember", "remembered"]


class Path:
    """One way down: the groups of latents, and the states of the network on the way.

    Args:
        owner: `TopDown`.
        groups: list of tensors `[n, *shape]`. The latents, the top group first.
        states: list. What the network knows before each group; `None` before the top.
        training: bool. Whether layers such as dropout acted as in training.
    """

    def __init__(self, owner, groups: list, states: list, training: bool):
        self.owner, self.groups, self.states, self.training = owner, groups, states, training
        self.parameters: dict[int, tuple] = {}  # Of q and p, by whose they are.

    def flat(self):
        """Returns all latents, `[n, latent_dim]`."""
        return ops.concatenate(
            [ops.reshape(z, (-1, math.prod(z.shape[1:]))) for z in self.groups], -1
        )


@keras.saving.register_keras_serializable(package="kvae")
class TopDown(keras.layers.Layer):
    """The decoder of a ladder: groups of latents join a path of networks from the top down.

    The state after a group depends on this group and on those above:
    `s_1 = f_0(z_1)`, `s_{l+1} = f_l(s_l, z_{l+1})`, and the last network returns the outputs.
    `kvae.posteriors.Ladder` and `kvae.priors.Ladder` read the states, so that posterior, prior and
    decoder share the path. Within a graph z remembers the path on which it was drawn, which is
    then walked once for all three.

    Args:
        networks: sequence of keras.Model, one for each group, the top one first. The first takes
            its latents `[n, *shape]`, the others `[state, latents]`.

    Call arguments:
        inputs: tensor `[n, latent_dim]`, all groups one after the other.

    Returns:
        What the last network does.

    Raises:
        ValueError: for fewer than two networks, and for numbers of inputs other than these.

    Example:

    ```python
    top, state, below = keras.Input((2,)), keras.Input((8,)), keras.Input((3,))
    joined = keras.layers.Concatenate()([state, below])
    decoder = kvae.layers.TopDown(
        [
            keras.Model(top, keras.layers.Dense(8, "silu")(top)),
            keras.Model([state, below], keras.layers.Dense(16)(joined)),
        ]
    )
    decoder(np.zeros((4, 5)))  # shape (4, 16)
    ```

    References:
        - [Sønderby et al., Ladder Variational Autoencoders](https://arxiv.org/abs/1602.02282)
        - [Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow, section
          3.2](https://arxiv.org/abs/1606.04934): the bidirectional network
    """

    def __init__(self, networks, **kwargs):
        # Its networks have policies of their own, and the latents keep their bits up to them.
        super().__init__(**{"dtype": "float32", **kwargs})
        self.networks = networks_of(networks)
        given = [len(network.inputs) for network in self.networks]
        if len(given) < 2 or given != [1, *[2] * (len(given) - 1)]:
            raise ValueError(
                "A TopDown has two networks at least: the first takes the top group of latents, "
                f"each other [state, latents]. These take {given} inputs."
            )
        self.built = True

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the groups, the top one first."""
        return [tuple(network.inputs[-1].shape[1:]) for network in self.networks]

    @property
    def latent_dim(self) -> int:
        """The number of latents of all groups together."""
        return sum(map(math.prod, self.shapes))

    def split(self, flat) -> list:
        """Cuts tensors `[n, latent_dim]` into those of the groups, `[n, *shape]`."""
        parts = tf.split(flat, [*map(math.prod, self.shapes)], axis=-1)
        return [
            ops.reshape(part, (-1, *shape)) for part, shape in zip(parts, self.shapes, strict=True)
        ]

    def walk(self, draw: Callable[[int, Any], Any], training: bool = False) -> Path:
        """Walks down, with latents that depend on the states above them.

        Args:
            draw: callable. From the number of a group and the state before it, `None` for the top,
                to its latents `[n, *shape]`.
            training: bool. Whether layers such as dropout act as in training. Defaults to `False`.
        """
        groups, states = [], [None]
        for index in range(len(self.networks)):
            groups.append(draw(index, states[-1]))
            if index < len(self.networks) - 1:
                states.append(self._after(index, states[-1], groups[-1], training))
        return Path(self, groups, states, training)

    def path(self, z, training: bool | None = None) -> Path:
        """Returns the path of given latents `[..., latent_dim]`: the one that they remember.

        Args:
            z: tensor `[..., latent_dim]`.
            training: bool or `None`, for a path of either kind.
        """
        found = remembered(z)
        if found is not None and found.owner is self and training in (None, found.training):
            return found
        groups = self.split(ops.reshape(z, (-1, self.latent_dim)))
        path = self.walk(lambda index, state: groups[index], bool(training))
        remember(z, path)
        return path

    def call(self, inputs, training=False):
        path = self.path(inputs, bool(training))
        return self._after(len(self.networks) - 1, path.states[-1], path.groups[-1], training)

    def _after(self, index: int, state, latents, training):
        inputs = latents if index == 0 else [state, latents]
        return self.networks[index](inputs, training=training)

    def get_config(self):
        return {**super().get_config(), "networks": configs_of(self.networks)}


def networks_of(networks: Sequence) -> list[keras.Model]:
    """Returns networks from themselves or their serialized configs."""
    return [
        keras.saving.deserialize_keras_object(network) if isinstance(network, dict) else network
        for network in networks
    ]


def configs_of(networks: Sequence[keras.Model]) -> list[dict]:
    """Returns the serialized configs of networks."""
    return [keras.saving.serialize_keras_object(network) for network in networks]


# A path is known by the tensor, as Keras's masks are: whatever makes another tensor of it forgets
# the path, which is then walked again. Tensors outside of graphs outlive changes of the weights.


def remember(z, path: Path) -> None:
    """Lets a tensor of a graph remember its path, which can be used wherever the tensor can."""
    if not tf.executing_eagerly() and z.graph is tf.compat.v1.get_default_graph():
        z.kvae_path = path


def remembered(z) -> Path | None:
    """Returns the path that a tensor remembers."""
    return getattr(z, "kvae_path", None)


def carried(z, rows):
    """Returns `rows`, the same latents in another shape, which remember what `z` does."""
    path = remembered(z)
    if path is not None:
        remember(rows, path)
    return rows
