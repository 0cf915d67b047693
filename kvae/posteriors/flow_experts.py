"""A joint Gaussian of all modalities, and a Gaussian that a flow bends for each alone."""

import keras
from keras import ops

from kvae import flows as flow_parts
from kvae.distributions.gaussian import draw_from_mixture
from kvae.posteriors.experts import Experts, log_weights
from kvae.posteriors.posterior import register

__all__ = ["FlowExperts"]


@register("flow_experts")
class FlowExperts(Experts):
    """`q(z|x_m) = N(f_m⁻¹(z); …) |det ∂f_m⁻¹/∂z|` for each modality, a Gaussian for all: JNF's.

    For models with a network of several modalities beside those of each alone, as `JointExperts`:
    `encoders={"a": …, "b": …, ("a", "b"): …}`. Where everything that the last encoder reads is
    present, z is its Gaussian. What one modality alone says of z is often no Gaussian (a label
    leaves open all ways to write a digit), so the Gaussian of its expert is bent by a chain of
    flows f_m of its own. `objective="jnf"` trains them.

    Where several modalities are present but not all, q(z|x) is the mixture of theirs. The paper
    draws from the product of theirs by Hamiltonian Monte Carlo, which gives no density.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        flows: str or sequence of names and `kvae.flows.Flow`, invertible and without a context.
            The flows of each modality are made like these. Defaults to `"real_nvp"`, whose draws
            and densities take two passes. The paper's are `"maf"`, whose draws take `latent_dim`
            of them in each step of the training.
        num_flows: int. How many, when `flows` is one name. Defaults to `4`.
        **settings: those of `kvae.posteriors.Experts`.

    Raises:
        ValueError: for a flow without an inverse, or with amortised parameters; in a model whose
            last encoder does not read all modalities.

    Parameters: those of `Experts`; `z_logits`, the logarithms of the experts' weights in the
    mixture, and `z_bent`, 1 for those that a flow bends; both `[batch, experts]`.

    Example:

    ```python
    posterior = kvae.posteriors.FlowExperts(2, num_experts=3, reads=[[0], [1], [0, 1]])
    params = posterior(np.ones((3, 16), "float32"))
    alone = posterior.given(params, np.array([[1, 0]] * 3))
    posterior.log_prob(alone, np.zeros((3, 2), "float32"))      # The density of the first flow.
    ```

    Reference:
        - [Senellart et al., Improving Multimodal Joint Variational Autoencoders through Normalizing
          Flows and Correlation Analysis, section 3](https://arxiv.org/abs/2305.11832), without the
          correlation analysis
    """

    fully_amortized = False  # The flows have weights of their own.
    joint = True

    def __init__(
        self, latent_dim: int | None = None, flows="real_nvp", num_flows: int = 4, **settings
    ):
        super().__init__(latent_dim, **settings)
        chain = flow_parts.chain(flows, num_flows, amortised=False)
        for flow in chain:
            if not flow.invertible or flow.context_dim:
                raise ValueError(
                    "The density of z is needed everywhere, and the flows of a modality are the "
                    f"same for all x: {type(flow).__name__} does not do. Take 'real_nvp', 'maf' or "
                    "'iaf' with context_dim=0."
                )
        # Of which those of each modality are made, when their number is known.
        self.flows = [keras.saving.serialize_keras_object(flow) for flow in chain]

    def build(self, features_shape):
        super().build(features_shape)
        count = self.num_experts - 1  # The last one is the joint Gaussian.
        self.bends = [flow_parts.get(config) for config in self.flows * count]
        for number, flow in enumerate(self.bends):
            flow.latent_dim, flow.name = self.latent_dim, f"bend_{number}"
            flow.build()

    def combined(self, means, log_vars, there):
        whole = there[:, -1:]
        alone = ops.logical_and(there[:, :-1], ops.logical_not(whole))
        bent = ops.concatenate([alone, ops.zeros_like(whole)], axis=-1)
        return {
            "z_logits": log_weights(ops.concatenate([alone, whole], axis=-1)),
            "z_bent": ops.cast(bent, self.dtype),
        }

    def transform(self, params, noise):
        own = params["z_logits"], params["expert_means"], params["expert_log_vars"]
        chosen, plain = draw_from_mixture(*own, noise["noise"])
        z = plain
        bent = chosen * params["z_bent"]
        for number in range(self.num_experts - 1):
            z = ops.where(bent[..., number, None] > 0.5, self._bend(number, plain), z)
        return z

    def mean(self, params):
        """Returns the mixture of the images of the experts' means, `[batch, latent_dim]`.

        E[z] itself has no closed form.
        """
        weights, total = ops.softmax(params["z_logits"]), 0.0
        for number in range(self.num_experts):
            mean = params["expert_means"][:, number]
            if number < self.num_experts - 1:
                bent = params["z_bent"][:, number, None] > 0.5
                mean = ops.where(bent, self._bend(number, mean), mean)
            total = total + weights[:, number, None] * mean
        return total

    def log_prob(self, params, z):
        each = []
        for number in range(self.num_experts):
            log_q = super().expert_log_prob(params, number, z)
            if number < self.num_experts - 1:
                bent = params["z_bent"][:, number] > 0.5
                log_q = ops.where(bent, self.expert_log_prob(params, number, z), log_q)
            each.append(log_q)
        weights = ops.log_softmax(params["z_logits"])
        return ops.logsumexp(weights + ops.stack(each, axis=-1), axis=-1)

    def expert_log_prob(self, params, number, z):
        log_det = 0.0
        for flow in reversed(self._chain(number)):
            z, change = flow.inverse({}, z)
            log_det = log_det + change
        return super().expert_log_prob(params, number, z) + log_det

    def _bend(self, number: int, z):
        for flow in self._chain(number):
            z, _ = flow.forward({}, z)
        return z

    def _chain(self, number: int) -> list:
        """Returns the flows of an expert, of which the joint one, the last, has none."""
        start, length = number % self.num_experts * len(self.flows), len(self.flows)
        return list(self.bends[start : start + length])

    def get_config(self):
        return {**super().get_config(), "flows": self.flows}
