"""The prior that a flow makes out of Gaussian noise."""

import keras
from keras import ops

from kvae import flows as flow_parts
from kvae.distributions.gaussian import standard_log_density
from kvae.parts import SharesLatentDim
from kvae.priors.prior import Prior, register

__all__ = ["Flow"]


@register("flow")
class Flow(SharesLatentDim, Prior):
    """`z = f_K(… f_1(ε))` with `ε ~ N(0, I)`: a prior of learned shape with an exact density.

    It is trained with the model. By default the flows are masked autoregressive: a density in one
    pass, which training needs at every step, and a draw in `latent_dim` passes of each flow. The
    KL is estimated by Monte Carlo. `temperature` scales ε.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        flows: str or sequence of names and `kvae.flows.Flow`, invertible and without a context.
            Defaults to `"maf"`.
        num_flows: int. How many, when `flows` is one name. Defaults to `4`.

    Raises:
        ValueError: for a flow without an inverse, or with amortised parameters: a prior has no x.

    Example:

    ```python
    vae = kvae.VAE(encoder, decoder, latent_dim=8, prior=kvae.priors.Flow(num_flows=2))
    ```

    References:
        - [Papamakarios et al., Masked Autoregressive Flow](https://arxiv.org/abs/1705.07057)
        - [Chen et al., Variational Lossy Autoencoder, section 3.2](
          https://arxiv.org/abs/1611.02731): an autoregressive flow as the prior of a VAE
    """

    def __init__(self, latent_dim: int | None = None, flows="maf", num_flows: int = 4, **kwargs):
        super().__init__(None, **kwargs)
        self.flows = flow_parts.chain(flows, num_flows, amortised=False)
        for flow in self.flows:
            if not flow.invertible or flow.context_dim:
                raise ValueError(
                    f"A prior has no x, and its density is needed everywhere: {type(flow).__name__}"
                    " does not do. Take 'maf', 'real_nvp' or 'iaf' with context_dim=0."
                )
        self.latent_dim = latent_dim

    def inner(self):
        return tuple(getattr(self, "flows", ()))

    def build(self, input_shape=None):
        for flow in self.flows:
            flow.build()
        self.built = True

    def transform(self, noise, temperature=1.0):
        z = temperature * noise["noise"]
        for flow in self.flows:
            z, _ = flow.forward({}, z)
        return z

    def log_prob(self, z):
        log_det = 0.0
        for flow in reversed(self.flows):
            z, change = flow.inverse({}, z)
            log_det = log_det + change
        return ops.sum(standard_log_density(z), axis=-1) + log_det

    def get_config(self):
        return {
            **super().get_config(),
            "flows": [keras.saving.serialize_keras_object(flow) for flow in self.flows],
        }
