"""The objective that fits the posteriors of single modalities to draws from the joint one."""

from keras import ops

from kvae import divergences
from kvae.objectives.elbo import ELBO
from kvae.objectives.objective import register
from kvae.objectives.subsets import check_experts
from kvae.posteriors import DiagonalGaussian

__all__ = ["JNF"]


@register("jnf")
class JNF(ELBO):
    """`−ELBO(x) + Σ_m E_q[log q(z|x_1, …, x_M) − log q(z|x_m)]`, the sum without gradients of q.

    The joint posterior and the decoders train with the ELBO alone, and q(z|x_m) of each modality
    by maximum likelihood on draws from the joint one, which are constants to it: what
    single modalities cannot say does not harm the joint model. The paper trains the one and then
    the other; they share no weights that both terms train, so that here both train at once. To
    freeze the joint model for a second training, set `trainable = False` on its networks.

    The posterior is that of the paper with `posterior="flow_experts"`, and with `"joint_experts"`
    one of Gaussians. The sum counts examples that have all modalities; others have their ELBO. The
    arguments are those of `kvae.objectives.ELBO`.

    Raises:
        ValueError: for a posterior without an expert of all modalities.

    Example:

    ```python
    # encoders={"image": …, "label": …, ("image", "label"): …}, posterior="flow_experts"
    objective = kvae.objectives.JNF()
    ```

    Reference:
        - [Senellart et al., Improving Multimodal Joint Variational Autoencoders through Normalizing
          Flows and Correlation Analysis, eq. 5](https://arxiv.org/abs/2305.11832)
    """

    of_modalities = True
    of_joint_expert = True

    def attach(self, vae):
        super().attach(vae)
        check_experts(self, vae)

    def draw(self, vae, params, *, seed, training):
        z, kl = super().draw(vae, params, seed=seed, training=training)
        closed_form = None
        if self.kl != "monte_carlo":
            joint = DiagonalGaussian(vae.latent_dim)
            closed_form = divergences.closed_form_kl(joint, vae.prior)
        if closed_form is not None:
            joint_kl = closed_form(vae.posterior.expert(params, -1))
            kl = ops.where(self._whole(params), joint_kl, kl)
        return z, kl

    def cost(self, vae, params, z, kl, *, seed):
        cost, more = super().cost(vae, params, z, kl, seed=seed)
        z = ops.stop_gradient(z)
        joint = ops.stop_gradient(vae.posterior.expert_log_prob(params, -1, z))
        total = 0.0
        for number in range(len(vae.modalities)):
            total = total + joint - vae.posterior.expert_log_prob(params, number, z)
        return cost + ops.where(self._whole(params), ops.mean(total, axis=0), 0.0), more

    def _whole(self, params):
        return ops.all(params["present"] > 0, axis=-1)
