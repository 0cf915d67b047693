"""Mixtures of one family of densities."""

import keras
import tensorflow as tf
from keras import ops

from kvae.distributions.base_noise import Noise
from kvae.distributions.gaussian import component_at
from kvae.priors.prior import Prior

__all__ = ["COMPONENT", "Mixture"]

COMPONENT = "component_uniform"  # The base noise that chooses a component.


class Mixture(Prior):
    """`p(z) = Σ_k w_k p(z; θ_k)`, with the density of a posterior for each component.

    The base noise is that of a component, and a uniform number that chooses the component. Draws
    are differentiable in the parameters of their component, not in the weights.

    A new one gives `component`, a posterior whose base noise is N(0, I).

    Args:
        num_components: int. K.
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        seed: int. The means start as draws from N(0, I) with this seed.
    """

    # The names of the variables by the parameters of a component. All but the means start at 0.
    variable_names = {"z_mean": "means"}

    def __init__(self, num_components: int, latent_dim: int | None, seed: int, **kwargs):
        super().__init__(latent_dim, **kwargs)
        if num_components < 1:
            raise ValueError(f"`num_components` is at least 1, not {num_components}.")
        self.num_components, self.seed = num_components, seed

    @property
    def component(self):
        """The posterior whose density each component has."""
        raise NotImplementedError

    def build(self, input_shape=None):
        if self.built:  # A reloaded one has been built by Keras before its model builds it.
            return
        normal = keras.initializers.RandomNormal(stddev=1.0, seed=self.seed)
        self.raw_parameters = {
            name: self.add_weight(
                shape=(self.num_components, *shape),
                initializer=normal if name == "z_mean" else "zeros",
                name=self.variable_names[name],
            )
            for name, shape in self.component.parameter_shapes().items()
        }
        self.logits = self.add_weight(
            shape=(self.num_components,), initializer="zeros", name="logits"
        )
        self.built = True

    def parameters(self) -> dict:
        """Returns the parameters of the components, each `[num_components, ...]`."""
        raw = {name: tf.convert_to_tensor(value) for name, value in self.raw_parameters.items()}
        return self.component.constrain(raw)

    @property
    def weights_of_components(self):
        """The weights w, `[num_components]`."""
        return ops.softmax(self.logits)

    def base_noise(self):
        return {**self.component.base_noise(), COMPONENT: Noise(1, "uniform")}

    def transform(self, noise, temperature=1.0):
        chosen, _ = component_at(tf.convert_to_tensor(self.logits), noise[COMPONENT])
        own = {name: ops.matmul(chosen, value) for name, value in self.parameters().items()}
        # On a sphere there is nothing to scale: directions have no length.
        temperature = temperature if self.space == "real" else 1.0
        return self.component.transform(own, {"noise": temperature * noise["noise"]})

    def mean(self):
        return ops.matmul(self.weights_of_components, self.component.mean(self.parameters()))

    def distribution(self):
        from tensorflow_probability import distributions as tfd

        logits = tf.convert_to_tensor(self.logits)
        components = self.component.distribution(self.parameters())
        return tfd.MixtureSameFamily(tfd.Categorical(logits=logits), components)

    def log_prob(self, z):
        return ops.logsumexp(self._joint_log_prob(z), axis=-1)

    def responsibilities(self, z):
        """Returns p(k|z) of each component, `[..., num_components]`: the cluster of z.

        Example:

        ```python
        prior = kvae.priors.GaussianMixture(num_components=3, latent_dim=2)
        prior.build()
        prior.responsibilities(np.zeros((4, 2), "float32"))      # (4, 3), each row adds up to 1
        ```
        """
        return ops.softmax(self._joint_log_prob(z), axis=-1)

    def _joint_log_prob(self, z):
        """Returns log w_k + log p(z; θ_k) in nats, `[..., num_components]`."""
        each = self.component.cross_log_prob(self.parameters(), z)
        return ops.log_softmax(self.logits) + each

    def get_config(self):
        return {
            **super().get_config(),
            "num_components": self.num_components,
            "seed": self.seed,
        }
