"""All scores of disentanglement in one result."""

import math
from collections.abc import Callable
from typing import Any

from kvae.evaluation.disentanglement.beta_vae_score import beta_vae_score
from kvae.evaluation.disentanglement.dci import dci_from_codes
from kvae.evaluation.disentanglement.factor_vae_score import factor_vae_score
from kvae.evaluation.disentanglement.irs import irs_from_codes
from kvae.evaluation.disentanglement.mig import mig_from_codes
from kvae.evaluation.disentanglement.modularity import modularity_from_codes
from kvae.evaluation.disentanglement.representation import Representation
from kvae.evaluation.disentanglement.sap import sap_from_codes
from kvae.evaluation.result import Result

__all__ = ["SCORES", "disentanglement", "num_images"]

SCORES = {
    "beta_vae_score": "β-VAE score",
    "factor_vae_score": "FactorVAE score",
    "mig": "MIG",
    "sap": "SAP",
    "dci_disentanglement": "DCI disentanglement",
    "dci_completeness": "DCI completeness",
    "dci_informativeness": "DCI informativeness",
    "modularity": "modularity",
    "explicitness": "explicitness",
    "irs": "IRS",
}


def disentanglement(
    representation: Any,
    data: Any,
    *,
    seed: int = 0,
    num_train: int = 10_000,
    num_test: int = 5_000,
    num_groups: int = 1_000,
    group_size: int = 64,
    batch_size: int = 1000,
    progress: Callable[[int], object] | None = None,
) -> Result:
    """Measures how well the dimensions of a code stand for the factors that made the data.

    The scores disagree by design, and they differ more between the seeds of a training than between
    most methods: compare several seeds, on the same data, with the same settings.

    Args:
        representation: `kvae.VAE` (its posterior's mean), or a function from images to codes.
        data: `kvae.datasets.Sprites`, or another object with known factors, see `mig`.
        seed: int. The same seed gives the same figures. Defaults to `0`.
        num_train, num_test: int. Images of MIG, SAP, DCI, modularity and IRS (as many give the
            FactorVAE score its variance). Default to `10_000` and `5_000`, as in Locatello et al.
        num_groups: int. Training groups of the β-VAE and FactorVAE scores; half as many test them.
            Defaults to `1_000` (Locatello et al.: `10_000`): a group is `group_size` images.
        group_size: int. Defaults to `64`.
        batch_size: int. Images at once. Defaults to `1000`.
        progress: optional callable, called with the number of finished images of
            `num_images(...)`.

    Returns:
        `kvae.evaluation.Result` with `beta_vae_score`, `factor_vae_score`, `mig`, `sap`,
        `dci_disentanglement`, `dci_completeness`, `dci_informativeness`, `modularity`,
        `explicitness` and `irs`, each from 0 to 1, and the settings.

    Raises:
        ValueError: for codes that are not a finite array `[n, latent_dim]`, a conditional model, or
            images that the model does not take.

    Example:

    ```python
    result = kvae.evaluation.disentanglement(vae, kvae.datasets.Sprites(), seed=0)
    print(result)     # a table
    result["mig"]
    ```

    Reference:
        - [Locatello et al., Challenging Common Assumptions in the Unsupervised Learning of
          Disentangled Representations](https://arxiv.org/abs/1811.12359), and those of each score
    """
    codes = Representation(representation, batch_size, progress)
    groups = {
        "num_train": num_groups,
        "num_test": max(num_groups // 2, 1),
        "group_size": group_size,
        "seed": seed,
    }
    train = codes.sample(data, num_train, (seed, 0))
    test = codes.sample(data, num_test, (seed, 1))
    found = {
        **beta_vae_score(codes, data, **groups),
        **factor_vae_score(codes, data, num_variance=num_train, **groups),
        **mig_from_codes(*train),
        **sap_from_codes(*train, *test, seed=seed),
        **dci_from_codes(*train, *test, seed=seed),
        **modularity_from_codes(*train, *test),
        **irs_from_codes(*train),
    }
    values = {name: found[name] for name in SCORES}
    rows = []
    for name, title in SCORES.items():
        error = ""
        if name in ("beta_vae_score", "factor_vae_score"):
            share, tests = values[name], groups["num_test"]
            error = f"± {math.sqrt(share * (1.0 - share) / tests):.3f} ({tests} groups)"
        rows.append((title, values[name], error))
    settings = {
        "num_train": num_train,
        "num_test": num_test,
        "num_groups": num_groups,
        "group_size": group_size,
        "seed": seed,
    }
    what = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items())
    return Result(
        "Disentanglement",
        {**values, **settings},
        ("score", "value", "standard error"),
        rows,
        f"0 to 1, more is better; {what}.",
    )


def num_images(
    num_train: int = 10_000,
    num_test: int = 5_000,
    num_groups: int = 1_000,
    group_size: int = 64,
) -> int:
    """Returns how many images `disentanglement` encodes, where codes do not collapse."""
    groups = num_groups + max(num_groups // 2, 1)
    return 2 * num_train + num_test + 3 * group_size * groups
