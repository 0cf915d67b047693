"""The objective of the posteriors of all subsets of the modalities, each reconstructing all."""

import itertools

import numpy as np
from keras import ops

from kvae.objectives.objective import register
from kvae.objectives.subsets import OfSubsets

__all__ = ["MHVAE"]

_MOST = 6  # Modalities, of which all 2^6 − 1 subsets are drawn from.


@register("mhvae")
class MHVAE(OfSubsets):
    """`1/|P| Σ_{S ∈ P} (−E_{q(z|x_S)} Σ_m λ_m log p(x_m|z) + β KL(q(z|x_S) ‖ p(z)))`: MHVAE.

    P is the set of all subsets of the modalities that an example has, the empty one aside, and each
    has to reconstruct all of them, not its own alone: translations train as reconstructions do. The
    paper's posterior is `kvae.posteriors.HierarchicalExperts`; any posterior of experts does.

    The reported `elbo`, `reconstruction` and `kl` are those of all modalities of an example with
    λ = β = 1, a bound of log p(x_1, …, x_M).

    Args:
        weights: mapping from names of modalities to λ, or `None`: 1 for all.
        **settings: those of `kvae.objectives.ELBO`.

    Raises:
        ValueError: for a posterior that does not combine experts, for more than 6 modalities, and a
            wrong weight.

    Example:

    ```python
    objective = kvae.objectives.MHVAE(weights={"label": 50.0})
    ```

    Reference:
        - [Dorent et al., Unified Brain MR-Ultrasound Synthesis using Multi-Modal Hierarchical
          Representations, eq. 6](https://arxiv.org/abs/2309.08747), with the mean over subsets of
          multivae 1.0.3
    """

    def attach(self, vae):
        super().attach(vae)
        if len(vae.modalities) > _MOST:
            raise ValueError(
                f"MHVAE draws from all subsets of at most {_MOST} modalities, not of "
                f"{len(vae.modalities)}. Use objective='subset_elbo'."
            )

    def subsets(self, present, seed):
        count = present.shape[-1]
        each = np.array(list(itertools.product([1, 0], repeat=count))[:-1], "float32")
        return [present * subset for subset in each]

    def total(self, vae, weights, seen):
        present = seen[0].there
        loss, number = 0.0, 0.0
        each = itertools.product([1, 0], repeat=len(vae.modalities))
        for subset, one in zip(each, seen, strict=False):
            # All of its modalities are there: each subset of those present counts once.
            whole = ops.all(present >= np.float32(subset), axis=-1)
            log_p = ops.sum(weights * present * one.log_p, axis=-1)
            bound = self.penalized(vae, one.params, one.kl, one.z) - log_p
            loss = loss + ops.where(whole, bound, 0.0)
            number = number + ops.cast(whole, bound.dtype)
        return loss / ops.maximum(number, 1.0)
