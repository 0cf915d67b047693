"""The evidence lower bounds of several subsets of the modalities."""

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from keras import ops

from kvae import random
from kvae.objectives.objective import register
from kvae.objectives.subsets import OfSubsets
from kvae.utils import arguments

__all__ = ["SubsetELBO", "draw_subset"]


@register("subset_elbo")
class SubsetELBO(OfSubsets):
    """`−ELBO(x) − Σ_m ELBO(x_m) − Σ_j ELBO(x_{S_j})`: MVAE's objective, for several modalities.

    The bound of a subset is that of its modalities alone,
    `ELBO(x_S) = E_{q(z|x_S)} Σ_{m ∈ S} λ_m log p(x_m|z) − β KL(q(z|x_S) ‖ p(z))`. Without those of
    single modalities nothing trains q(z|x_m) for them, and a product of experts is good for
    complete examples only. Encoders run once. A subset that is all that an example has counts
    once, and one of which it has nothing not at all.

    The reported `elbo`, `reconstruction` and `kl` are those of all modalities of an example with
    λ = β = 1, a bound of log p(x_1, …, x_M). The seed of the step draws the subsets.

    Args:
        weights: mapping from names of modalities to λ, or `None`: 1 for all. As in
            `kvae.objectives.OfSubsets`.
        num_subsets: int. k, the subsets S_j that are drawn for each example, of two or more but not
            all of the modalities that it has, any as likely as any other. Of two modalities there
            are none. Defaults to `0`.
        **settings: those of `kvae.objectives.ELBO`.

    Raises:
        ValueError: for a posterior that does not combine experts, and a wrong weight.

    Example:

    ```python
    objective = kvae.objectives.SubsetELBO(weights={"label": 50.0})
    ```

    Reference:
        - [Wu & Goodman, Multimodal Generative Models for Scalable Weakly-Supervised Learning,
          eq. 3 and 5](https://arxiv.org/abs/1802.05335)
    """

    def __init__(
        self, weights: Mapping[str, float] | None = None, num_subsets: int = 0, **settings
    ):
        super().__init__(weights, **settings)
        self.num_subsets = arguments.whole("num_subsets", num_subsets, 0)

    def subsets(self, present, seed):
        shape = tf.concat([[self.num_subsets], tf.shape(present) + [0, 1]], axis=0)
        draws = random.uniform(shape, random.fold_in(seed, -1)) if self.num_subsets else []
        others = [draw_subset(present, draws[j]) for j in range(self.num_subsets)]
        return [*super().subsets(present, seed), *others]

    def total(self, vae, weights, seen):
        present = seen[0].there
        loss = self.bound(vae, weights, seen[0])
        for one in seen[1:]:
            some = ops.any(one.there > 0, axis=-1)
            fewer = ops.any(one.there < present, axis=-1)
            counts = ops.logical_and(some, fewer)
            loss = loss + ops.where(counts, self.bound(vae, weights, one), 0.0)
        return loss

    def get_config(self):
        return {**super().get_config(), "num_subsets": self.num_subsets}


def draw_subset(present, uniform):
    """Draws a subset of two or more but not all of the modalities that each example has.

    Args:
        present: tensor `[batch, M]`, 1 or 0.
        uniform: tensor `[batch, M + 1]`, uniform on [0, 1). The first column draws the size.

    Returns:
        Tensor `[batch, M]`, 1 or 0; all 0 where an example has less than three modalities.
    """
    count = present.shape[-1]
    below = np.ones((count + 1, count + 1))  # [n, s]: the share of subsets of at most s of n.
    for n in range(3, count + 1):
        each = [math.comb(n, s) if 1 < s < n else 0 for s in range(count + 1)]
        below[n] = np.cumsum(each) / sum(each)
    own = tf.gather(below.astype("float32"), tf.cast(tf.reduce_sum(present, axis=-1), tf.int32))
    size = tf.reduce_sum(tf.cast(uniform[:, :1] >= own, tf.int32), axis=-1, keepdims=True)
    order = tf.where(present > 0, uniform[:, 1:], 2.0)
    place = tf.argsort(tf.argsort(order, axis=-1), axis=-1)
    return tf.cast(place < size, present.dtype)
