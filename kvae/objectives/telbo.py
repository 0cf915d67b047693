"""The bound of all modalities, and those of single ones, which hold the decoders still."""

from collections.abc import Mapping

from keras import ops

from kvae.objectives.objective import register
from kvae.objectives.subsets import OfSubsets, modality_weights

__all__ = ["TELBO"]


@register("telbo")
class TELBO(OfSubsets):
    """`−ELBO(x_1, …, x_M) − Σ_m ELBO(x_m)`, in which the latter train q(z|x_m) alone: triple ELBO.

    The joint bound is `E_{q(z|x)} Σ_m λ_m log p(x_m|z) − β KL(q(z|x) ‖ p(z))`, and that of a single
    modality `E_{q(z|x_m)} γ_m log p(x_m|z) − β KL(q(z|x_m) ‖ p(z))`. The joint model has to serve
    all modalities, and the single bounds would bend it to each one's taste; so they hold decoders,
    likelihoods and prior still, and fit their encoders to what is there. The original trains the
    one and then the others; they share no weights that both train, so that here all train at once.

    Args:
        weights: mapping from names of modalities to λ, or `None`: 1 for all. As in
            `kvae.objectives.OfSubsets`.
        single_weights: mapping from names of modalities to γ, or `None`: 1 for all. Large ones
            make q(z|x_m) narrow.
        **settings: those of `kvae.objectives.ELBO`.

    Raises:
        ValueError: for a posterior without an expert of all modalities, and a wrong weight.

    Example:

    ```python
    # encoders={"image": …, "label": …, ("image", "label"): …}, posterior="joint_experts"
    objective = kvae.objectives.TELBO(single_weights={"label": 50.0})
    ```

    Reference:
        - [Vedantam et al., Generative Models of Visually Grounded Imagination, section 2.2](
          https://arxiv.org/abs/1705.10762)
    """

    of_joint_expert = True
    frozen = True

    def __init__(
        self,
        weights: Mapping[str, float] | None = None,
        single_weights: Mapping[str, float] | None = None,
        **settings,
    ):
        super().__init__(weights, **settings)
        self.single_factors = dict(single_weights or {})

    def attach(self, vae):
        super().attach(vae)
        modality_weights(self.single_factors, vae)

    def total(self, vae, weights, seen):
        loss = self.bound(vae, weights, seen[0])
        gammas = modality_weights(self.single_factors, vae)
        for one in seen[1:]:
            some = ops.any(one.there > 0, axis=-1)
            loss = loss + ops.where(some, self.bound(vae, gammas, one), 0.0)
        return loss

    def get_config(self):
        return {**super().get_config(), "single_weights": dict(self.single_factors)}
