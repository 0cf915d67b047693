"""The β-VAE score: can the difference of codes tell which factor was the same?"""

from typing import Any

import numpy as np

from kvae.evaluation.disentanglement.groups import choose_factors, fixed_values
from kvae.evaluation.disentanglement.representation import Representation

__all__ = ["beta_vae_score"]


def beta_vae_score(
    representation: Any,
    data: Any,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
    seed: int = 0,
    batch_size: int = 1000,
    group_size: int = 64,
) -> dict[str, float]:
    """Measures the β-VAE score.

    One example of the classification is a group of pairs of images that share one factor: the mean
    of |z − z′| over the pairs is to tell which factor that is, for a logistic regression. Each
    example costs `2 group_size` images (1.9 million in all by default).

    Args:
        representation, data: as in `mig`.
        num_train: int. Groups to learn from. Defaults to `10_000`.
        num_test: int. Groups to test what was learned. Defaults to `5_000`.
        seed: int. The same seed gives the same figures. Defaults to `0`.
        batch_size: int. Images at once. Defaults to `1000`.
        group_size: int. Pairs of a group. Defaults to `64`.

    Returns:
        dict: `beta_vae_score`, the test accuracy, and `beta_vae_score_train`. Chance is one in the
        number of factors.

    Example:

    ```python
    kvae.evaluation.beta_vae_score(vae, kvae.datasets.Sprites(), num_train=1000, num_test=500)
    ```

    Reference:
        - [Higgins et al., β-VAE, section 3](https://openreview.net/forum?id=Sy2fzU9gl);
          settings of Locatello et al. (appendix C)
    """
    from sklearn.linear_model import LogisticRegression

    representation = Representation.of(representation, batch_size)

    def examples(n, number):
        chosen = choose_factors(data, n, (seed, 2, number))
        pairs = [data.sample_factors(n * group_size, (seed, 3, number)).reshape(n, group_size, -1)]
        pairs.append(fixed_values(data, chosen, group_size, pairs[0], (seed, 4, number)))
        first, second = (
            representation(data, each.reshape(n * group_size, -1)).reshape(n, group_size, -1)
            for each in pairs
        )
        return np.abs(first - second).mean(axis=1), chosen

    train, test = examples(num_train, 0), examples(num_test, 1)
    classifier = LogisticRegression(max_iter=1000).fit(*train)
    return {
        "beta_vae_score": float(classifier.score(*test)),
        "beta_vae_score_train": float(classifier.score(*train)),
    }
