"""Posteriors that are transformed by normalizing flows."""

import keras
from keras import ops

from kvae import flows as flow_parts
from kvae.parts import SharesLatentDim
from kvae.posteriors.posterior import Posterior, get, register

__all__ = ["Flow"]


@register(
    variants={
        "iaf": {"flows": "iaf"},
        "planar": {"flows": "planar"},
        "real_nvp": {"flows": "real_nvp"},
        "sylvester": {"flows": "sylvester"},
    }
)
class Flow(SharesLatentDim, Posterior):
    """`z = f_K(… f_1(z_0))` with `z_0` from a simple posterior, the base.

    `log q(z|x) = log q_0(z_0|x) − Σ_k log |det ∂f_k/∂z|`: a density of almost any shape, known
    wherever it is drawn. The KL is estimated by Monte Carlo. The parameters of the base and of the
    flows all come from the encoder's features.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        base: str or `Posterior`. Any on R^latent_dim with a density. Defaults to
            `"diagonal_gaussian"`.
        flows: str or sequence of names and `kvae.flows.Flow`. `"iaf"`, `"planar"`, `"sylvester"`,
            `"real_nvp"`, `"maf"`. Defaults to `"iaf"`.
        num_flows: int. How many, when `flows` is one name. Defaults to `4`.

    Parameters: those of the base; those of flow k with the prefix `flow{k}_`; `context`, which the
    flows that take one share.

    Example:

    ```python
    posterior = kvae.posteriors.Flow(base="full_covariance", flows="planar", num_flows=8)
    vae = kvae.VAE(encoder, decoder, latent_dim=2, posterior=posterior)
    vae = kvae.VAE(encoder, decoder, latent_dim=2, posterior="iaf")     # the same with defaults
    ```

    Raises:
        ValueError: for a base without a density, or not on R^latent_dim; from `log_prob`, where a
            flow has no inverse in closed form.

    Reference:
        - [Rezende & Mohamed, Variational Inference with Normalizing Flows](
          https://arxiv.org/abs/1505.05770)
    """

    fully_amortized = False

    def __init__(
        self,
        latent_dim: int | None = None,
        base="diagonal_gaussian",
        flows="iaf",
        num_flows: int = 4,
        **kwargs,
    ):
        super().__init__(None, **kwargs)
        self.base = get(base)
        base = self.base
        if base.ignores_x or not base.has_density or base.space != "real":
            raise ValueError(
                f"A flow cannot bend a {type(self.base).__name__}: its base has a density on "
                "R^latent_dim that depends on x, like that of 'diagonal_gaussian'."
            )
        self.flows = flow_parts.chain(flows, num_flows)
        contexts = {flow.context_dim for flow in self.flows} - {0}
        if len(contexts) > 1:
            raise ValueError(
                f"The flows share one context, and have context_dim {sorted(contexts)}."
            )
        self.latent_dim = latent_dim

    def inner(self):
        return (*filter(None, [getattr(self, "base", None)]), *getattr(self, "flows", ()))

    @property
    def tractable(self):
        return all(flow.invertible for flow in self.flows)

    def build(self, features_shape):
        super().build(features_shape)
        self.base.built = True  # Its parameters come from the heads of this layer.
        for flow in self.flows:
            flow.build()

    def parameter_shapes(self):
        shapes = dict(self.base.parameter_shapes())
        for index, flow in enumerate(self.flows):
            for name, shape in flow.parameter_shapes().items():
                shapes[_key(index, name)] = shape
        return shapes

    def constrain(self, params):
        own = self.base.parameter_shapes()
        return {**params, **self.base.constrain({name: params[name] for name in own})}

    def base_noise(self):
        return self.base.base_noise()

    def transform(self, params, noise):
        return self._forward(params, self.base.transform(params, noise))[0]

    def mean(self, params):
        """Returns the image of the base's mean, `[batch, latent_dim]`.

        E[z] itself has no closed form; the image of the mean lies where q is dense.
        """
        return self._forward(params, self.base.mean(params))[0]

    def log_prob(self, params, z):
        bad = [type(flow).__name__ for flow in self.flows if not flow.invertible]
        if bad:
            raise ValueError(
                f"{bad[0]} has no inverse in closed form, so log q is known only where it is "
                "drawn: use `sample_and_log_prob`, or invertible flows ('iaf', 'real_nvp', 'maf')."
            )
        log_det = 0.0
        for index, flow in reversed(list(enumerate(self.flows))):
            z, change = flow.inverse(self._of(params, index), z)
            log_det = log_det + change
        return self.base.log_prob(params, z) + log_det

    def cross_log_prob(self, params, z):
        # The loop of an inverse needs z in its final shape from the start.
        count = ops.shape(next(iter(params.values())))[0]
        return self.log_prob(params, z[..., None, :] + ops.zeros((count, 1)))

    def sample_and_log_prob(self, params, num_samples=None, *, seed, training=False):
        z, log_q = self.base.sample_and_log_prob(params, num_samples, seed=seed, training=training)
        z, log_det = self._forward(params, z)
        return z, log_q - log_det

    def get_config(self):
        return {
            **super().get_config(),
            "base": keras.saving.serialize_keras_object(self.base),
            "flows": [keras.saving.serialize_keras_object(flow) for flow in self.flows],
        }

    def _forward(self, params, z):
        log_det = ops.zeros_like(z[..., 0])
        for index, flow in enumerate(self.flows):
            z, change = flow.forward(self._of(params, index), z)
            log_det = log_det + change
        return z, log_det

    def _of(self, params, index):
        flow = self.flows[index]
        return {name: params[_key(index, name)] for name in flow.parameter_shapes()}


def _key(index: int, name: str) -> str:
    return name if name == "context" else f"flow{index}_{name}"
