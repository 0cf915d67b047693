"""The evidence lower bounds of several subsets of the modalities."""

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from keras import ops

from kvae import random
from kvae.objectives.elbo import ELBO
from kvae.objectives.objective import register
from kvae.posteriors import DiagonalGaussian
from kvae.utils import arguments, names

__all__ = ["SubsetELBO", "check_experts", "draw_subset", "modality_weights"]


@register("subset_elbo")
class SubsetELBO(ELBO):
    """`−ELBO(x) − Σ_m ELBO(x_m) − Σ_j ELBO(x_{S_j})`: MVAE's objective, for several modalities.

    The bound of a subset is that of its modalities alone,
    `ELBO(x_S) = E_{q(z|x_S)} Σ_{m ∈ S} λ_m log p(x_m|z) − β KL(q(z|x_S) ‖ p(z))`. Without those of
    single modalities nothing trains q(z|x_m) for them, and a product of experts is good for
    complete examples only. Encoders run once. A subset that is all that an example has counts
    once, and one of which it has nothing not at all.

    The reported `elbo`, `reconstruction` and `kl` are those of all modalities of an example with
    λ = β = 1, a bound of log p(x_1, …, x_M). The seed of the step draws the subsets.

    Args:
        weights: mapping from names of modalities to λ, or `None`: 1 for all. An image of 784
            pixels outweighs a label, which a λ of 10 to 50 for the label counters.
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

    of_modalities = True

    def __init__(
        self, weights: Mapping[str, float] | None = None, num_subsets: int = 0, **settings
    ):
        super().__init__(**settings)
        self.factors = dict(weights or {})
        self.num_subsets = arguments.whole("num_subsets", num_subsets, 0)

    def attach(self, vae):
        super().attach(vae)
        check_experts(self, vae)
        modality_weights(self.factors, vae)

    def terms(self, vae, x, target, *, training, seed):
        params = vae.encode_params(x, training=training)
        drawn, rates, kls = [], [], []
        subsets = self._subsets(params["present"], seed)
        for number, there in enumerate(subsets):
            own = params if number == 0 else vae.posterior.given(params, there)
            z, kl = self.draw(vae, own, seed=random.fold_in(seed, number), training=training)
            drawn.append(z)
            kls.append(kl)
            rates.append(self.penalized(vae, own, kl))
        outputs = vae.decode_params(ops.concatenate(drawn, axis=0), training=training)
        log_p = vae.likelihood.log_prob_by_modality(outputs, target)
        log_p = ops.split(log_p, len(subsets), axis=0)
        log_p = [ops.mean(each, axis=0) for each in log_p]
        weights = modality_weights(self.factors, vae)
        losses = [
            rate - ops.sum(weights * there * each, axis=-1)
            for rate, there, each in zip(rates, subsets, log_p, strict=True)
        ]
        loss = losses[0]
        for there, one in zip(subsets[1:], losses[1:], strict=True):
            some = ops.any(there > 0, axis=-1)
            fewer = ops.any(there < params["present"], axis=-1)
            loss = loss + ops.where(ops.logical_and(some, fewer), one, 0.0)
        reconstruction, kl = -ops.sum(log_p[0], axis=-1), kls[0]
        penalty = vae.posterior.penalty(params)
        return {
            "loss": loss if penalty is None else loss + penalty,
            "elbo": -(reconstruction + kl),
            "reconstruction": reconstruction,
            "kl": kl,
        }

    def _subsets(self, present, seed) -> list:
        """Returns what is present of each subset, `[batch, modalities]`, all of it first."""
        count = present.shape[-1]
        alone = [present * np.eye(count, dtype="float32")[m] for m in range(count)]
        shape = tf.concat([[self.num_subsets], tf.shape(present) + [0, 1]], axis=0)
        draws = random.uniform(shape, random.fold_in(seed, -1)) if self.num_subsets else []
        others = [draw_subset(present, draws[j]) for j in range(self.num_subsets)]
        return [present, *alone, *others]

    def get_config(self):
        return {
            **super().get_config(),
            "weights": dict(self.factors),
            "num_subsets": self.num_subsets,
        }


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


def check_experts(objective, vae, gaussian: bool = False) -> None:
    """Refuses models without several modalities, or whose posterior does not combine experts.

    Args:
        objective: `Objective`, whose name the error has.
        vae: `kvae.VAE`.
        gaussian: bool. Whether the posterior has to be a Gaussian as well. Defaults to `False`.

    Raises:
        ValueError: with the posterior to choose.
    """
    name, posterior = type(objective).__name__, vae.posterior
    if not vae.modalities or not posterior.of_modalities:
        raise ValueError(
            f"{name} compares the posteriors of single modalities: make the model with "
            "encoders={…} and a posterior of experts, e.g. posterior='product_of_experts'."
        )
    if gaussian and not isinstance(posterior, DiagonalGaussian):
        raise ValueError(
            f"{name} takes closed forms of Gaussians, which {type(posterior).__name__} is not: use "
            "posterior='product_of_experts' or 'joint_experts'."
        )


def modality_weights(weights: Mapping[str, float], vae) -> np.ndarray:
    """Returns the weight of each modality of a model, 1 where none is given, float32 `[M]`.

    Raises:
        ValueError: for the name of no modality, and for a weight that is no number of at least 0.
    """
    for key, value in weights.items():
        if key not in vae.modalities:
            raise names.unknown_name("modality", key, vae.modalities)
        arguments.number(f"weights[{key!r}]", value, least=0.0)
    return np.array([weights.get(key, 1.0) for key in vae.modalities], "float32")
