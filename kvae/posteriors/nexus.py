"""A posterior of two levels: latents of each modality, and above them one that joins them."""

from collections.abc import Mapping

import tensorflow as tf
from keras import ops

from kvae.distributions.gaussian import gaussian_log_prob
from kvae.layers.dense import dense_network
from kvae.layers.sampling import reparameterize
from kvae.posteriors.diagonal_gaussian import DiagonalGaussian
from kvae.posteriors.of_hierarchy import OfHierarchy
from kvae.posteriors.posterior import register
from kvae.utils import arguments, names

__all__ = ["Nexus"]


@register()
class Nexus(OfHierarchy):
    """`q(z|x) = Π_m q(z_m|x_m) q(s|z_1 … z_M)`: latents of each modality, and s that joins them.

    z = (s, z_1, …, z_M). Each modality has a VAE of its own, whose decoder sees z_m alone.
    A network makes a message of each z_m, the messages of the modalities that are present are
    averaged, and a network makes q(s|…) of the average. The z_m of an absent modality is drawn from
    p(z_m|s): so a translation goes up to s and down again. The prior is a
    `kvae.priors.Hierarchical(star=True)` of the groups `(s, z_1, …, z_M)`, and
    `objective="nexus"` trains both levels.

    Args:
        private: mapping from the names of all modalities to the sizes of z_m.
        message_dim: int. The size of a message. Defaults to `10`.
        hidden: sequence of int. Widths of the networks of messages and of q(s|…). Defaults to
            `(128,)`.
        activation: str. A Keras activation, or `"gated"`. Defaults to `"relu"`.
        log_var_bound: float. Bound of the log-variances. Defaults to `20.0`.
        latent_dim: int or `None`. Of all latents together, so that s gets what the z_m leave. Set
            by `kvae.VAE` when `None`.

    Parameters: the mean and log-variance of each z_m, as `image_z_mean`, and `present`,
    `[batch, modalities]`, 1 or 0.

    Raises:
        ValueError: for sizes that leave s none, names of other modalities than the model's,
            encoders of several, and another prior.

    Example:

    ```python
    vae = kvae.VAE(
        encoders={"image": image_encoder, "label": label_encoder},
        decoders={"image": image_decoder, "label": label_decoder},    # of 6 and 2 latents
        likelihood={"image": "bernoulli", "label": "categorical:10"},
        latent_dim=12,
        posterior=kvae.posteriors.Nexus({"image": 6, "label": 2}),
        prior=kvae.priors.Hierarchical(groups=(4, 6, 2), star=True),
        objective="nexus",
    )
    ```

    Measured:
        - With the objective `nexus`, see there.

    Reference:
        - [Vasco et al., Leveraging hierarchy in multimodal generative models for effective
          cross-modality inference](https://doi.org/10.1016/j.neunet.2021.11.019)
    """

    star = True

    def __init__(
        self,
        private: Mapping[str, int],
        message_dim: int = 10,
        hidden=(128,),
        activation: str = "relu",
        log_var_bound: float = 20.0,
        latent_dim: int | None = None,
        **kwargs,
    ):
        super().__init__(latent_dim, **kwargs)
        if not isinstance(private, Mapping) or not private:
            raise ValueError(
                "`private` is a dict from the names of the modalities to the sizes of their "
                f"latents, not {private!r}."
            )
        self.private = {
            key: arguments.whole(f"private[{key!r}]", size) for key, size in private.items()
        }
        self.message_dim, self.hidden = arguments.whole("message_dim", message_dim), tuple(hidden)
        self.activation, self.log_var_bound = activation, log_var_bound

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of s and of the z_m."""
        own = tuple(self.private.values())
        return (self.latent_dim - sum(own), *own)

    def arranged(self, modalities) -> None:
        """Brings the z_m into the order of a model's modalities, before it is built.

        Raises:
            ValueError: for other names.
        """
        self.private = names.in_order("private", self.private, modalities)

    def seen_by(self, z, modality: str):
        """Returns the latents that the decoder of a modality sees, z_m."""
        number = 1 + list(self.private).index(modality)
        start = sum(self.sizes[:number])
        return z[..., start : start + self.sizes[number]]

    def attach(self, vae):
        if vae.modalities:
            self.arranged(vae.modalities)
        super().attach(vae)

    def build(self, features_shape):
        self.gaussians, self.messengers = [], []
        for (key, size), shape in zip(self.private.items(), features_shape["experts"], strict=True):
            gaussian = DiagonalGaussian(size, self.log_var_bound, name=f"gaussian_{key}")
            gaussian.build(shape)
            self.gaussians.append(gaussian)
            self.messengers.append(self._network(size, self.message_dim, f"message_{key}"))
        self.joint = self._network(self.message_dim, 2 * self.sizes[0], "joint")
        self.built = True

    def _network(self, inputs: int, outputs: int, name: str):
        return dense_network(
            inputs, self.hidden, self.activation, outputs, name=name, dtype=self.dtype
        )

    def call(self, features, training=False):
        found = {}
        for key, gaussian, own in zip(
            self.private, self.gaussians, features["experts"], strict=True
        ):
            each = gaussian(own, training=training)
            found |= {f"{key}_{name}": value for name, value in each.items()}
        return {**found, "present": ops.cast(features["present"], self.dtype)}

    def given(self, params, present) -> dict:
        """Returns the parameters of q(z|x) for fewer modalities, as `Experts.given` does."""
        return {**params, "present": ops.cast(present, self.dtype)}

    def parameter_shapes(self):
        return {
            f"{key}_{name}": (size,)
            for key, size in self.private.items()
            for name in ("z_mean", "z_log_var")
        }

    def of(self, params) -> list[tuple]:
        """Returns the mean and log-variance of each z_m."""
        return [(params[f"{key}_z_mean"], params[f"{key}_z_log_var"]) for key in self.private]

    def top(self, each, present) -> tuple:
        """Returns mean and log-variance of q(s|z_1 … z_M), N(0, I) where nothing is present.

        Args:
            each: list of tensors `[..., batch, size]`, the z_m.
            present: tensor `[batch, modalities]`, 1 or 0.
        """
        share = present / ops.maximum(ops.sum(present, axis=-1, keepdims=True), 1.0)
        message = 0.0
        for number, (network, z) in enumerate(zip(self.messengers, each, strict=True)):
            message = message + share[:, number : number + 1] * _rows(network, z)
        some = ops.any(present > 0, axis=-1, keepdims=True)
        mean, log_var = ops.split(_rows(self.joint, message), 2, axis=-1)
        log_var = ops.clip(log_var, -self.log_var_bound, self.log_var_bound)
        return ops.where(some, mean, 0.0), ops.where(some, log_var, 0.0)

    def transform(self, params, noise):
        of_s, *noises = tf.split(noise["noise"], self.sizes, axis=-1)
        own = [
            reparameterize(*gaussian, epsilon)
            for gaussian, epsilon in zip(self.of(params), noises, strict=True)
        ]
        s = reparameterize(*self.top(own, params["present"]), of_s)
        each = []
        for number, (z, epsilon) in enumerate(zip(own, noises, strict=True)):
            there = params["present"][:, number : number + 1] > 0
            drawn = reparameterize(*self.below(number, s), epsilon)
            each.append(ops.where(there, z, drawn))
        return ops.concatenate([s, *each], axis=-1)

    def mean(self, params):
        """Returns the most probable s of the most probable z_m, and these, as `z`."""
        first = self.of(params)[0][0]
        none = ops.zeros_like(first[:, :1]) * ops.zeros((self.latent_dim,))
        return self.transform(params, {"noise": none})

    def log_prob(self, params, z):
        s, *each = tf.split(z, self.sizes, axis=-1)
        total = gaussian_log_prob(*self.top(each, params["present"]), s)
        for number, (own, z) in enumerate(zip(self.of(params), each, strict=True)):
            of_prior = gaussian_log_prob(*self.below(number, s), z)
            there = params["present"][:, number] > 0
            total = total + ops.where(there, gaussian_log_prob(*own, z), of_prior)
        return total

    def get_config(self):
        return {
            **super().get_config(),
            "private": dict(self.private),
            "message_dim": self.message_dim,
            "hidden": self.hidden,
            "activation": self.activation,
            "log_var_bound": self.log_var_bound,
        }


def _rows(network, values):
    """Applies a network of rows to values `[..., size]`."""
    flat = tf.reshape(values, (-1, values.shape[-1]))
    lead = tf.shape(values)[:-1]
    return tf.reshape(network(flat), tf.concat([lead, [network.output_shape[-1]]], axis=0))
