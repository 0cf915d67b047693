"""The FactorVAE score: does the code that varies least tell which factor was fixed?"""

from typing import Any

import numpy as np

from kvae.evaluation.disentanglement.groups import choose_factors, fixed_values
from kvae.evaluation.disentanglement.representation import Representation

__all__ = ["factor_vae_score"]


def factor_vae_score(
    representation: Any,
    data: Any,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
    seed: int = 0,
    batch_size: int = 1000,
    group_size: int = 64,
    num_variance: int = 10_000,
    min_std: float = 0.05,
) -> dict[str, float]:
    """Measures the FactorVAE score.

    In a group of images with one value of one factor, the code whose variance is smallest, in units
    of its variance among all images, votes for that factor. The score is how often the vote of
    a test group is the factor that most training groups with the same code had. Each group costs
    `group_size` images (almost a million in all by default).

    Args:
        representation, data: as in `mig`.
        num_train: int. Groups to learn from. Defaults to `10_000`.
        num_test: int. Groups to test what was learned. Defaults to `5_000`.
        seed: int. The same seed gives the same figures. Defaults to `0`.
        batch_size: int. Images at once. Defaults to `1000`.
        group_size: int. Images of a group. Defaults to `64`.
        num_variance: int. Images for the variance among all. Defaults to `10_000`.
        min_std: float. Codes with a smaller standard deviation have no vote: on the scale of the
            prior N(0, 1), they are collapsed. Defaults to `0.05`.

    Returns:
        dict: `factor_vae_score`, the test accuracy, and `factor_vae_score_train`. Codes that say
        nothing reach one in the number of factors; both are 0 where no code has a vote.

    Example:

    ```python
    kvae.evaluation.factor_vae_score(vae, kvae.datasets.Sprites(), num_train=1000, num_test=500)
    ```

    Reference:
        - [Kim & Mnih, Disentangling by Factorising, section 4](https://arxiv.org/abs/1802.05983);
          settings of Locatello et al. (appendix C)
    """
    representation = Representation.of(representation, batch_size)
    variance = representation.sample(data, num_variance, (seed, 5))[0].var(axis=0)
    active = np.sqrt(variance) >= max(min_std, np.finfo(np.float32).tiny)
    if not active.any():
        return {"factor_vae_score": 0.0, "factor_vae_score_train": 0.0}

    def votes(n, number):
        """Counts the groups of each factor (in columns) that each code (in rows) stands for."""
        chosen = choose_factors(data, n, (seed, 6, number))
        values = data.sample_factors(n, (seed, 7, number))[:, None]
        factors = fixed_values(data, chosen, group_size, values, (seed, 8, number))
        codes = representation(data, factors.reshape(n * group_size, -1))
        within = codes.reshape(n, group_size, -1).var(axis=1, ddof=1)
        least = np.argmin(within[:, active] / variance[active], axis=1)
        counts = np.zeros((active.sum(), factors.shape[-1]))
        np.add.at(counts, (least, chosen), 1.0)
        return counts

    train, test = votes(num_train, 0), votes(num_test, 1)
    winner = train.argmax(axis=1)
    return {
        "factor_vae_score": float(test[np.arange(len(test)), winner].sum() / num_test),
        "factor_vae_score_train": float(train.max(axis=1).sum() / num_train),
    }
