"""Questions about variational autoencoders, answered by seeded experiments."""

import importlib

from kvae.utils import names

__all__ = ["DATASETS", "STUDIES", "datasets_of", "get"]

# Each module has a class `Study`. Names in the order of `kvae study all`.
STUDIES = {
    "why-sample": "why_sample",
    "why-two-parameters": "why_two_parameters",
    "what-the-kl-compares": "what_the_kl_compares",
    "bernoulli-or-mse": "bernoulli_or_mse",
    "posterior-map": "posterior_map",
    "disentanglement": "disentanglement",
}
DATASETS = ("digits", "mnist")  # Of a study that names no others as its `datasets`.


def get(name: str):
    """Returns a study by its name.

    Raises:
        ValueError: for an unknown name, with the nearest ones.
    """
    if name not in STUDIES:
        raise names.unknown_name("study", name, STUDIES)
    return importlib.import_module(f"kvae.studies.{STUDIES[name]}").Study()


def datasets_of(study) -> tuple[str, ...]:
    """Returns the names of the data sets that a study can be made on, its own first."""
    return getattr(study, "datasets", DATASETS)
