"""Questions about variational autoencoders, answered by seeded experiments.

A study is a class in a file of its own, registered there. Its experiments run in a `Lab`
(`kvae.studies.lab`), which trains and caches models, measures them and writes the report. What
claims the figures support is computed (`kvae.studies.findings`).
"""

from kvae.studies.registry import STUDIES, Study, register
from kvae.utils.register import import_modules

__all__ = ["Study", "get", "names", "register"]


def names() -> list[str]:
    """Returns the names of all studies, in alphabetical order."""
    import_modules(__name__)
    return list(STUDIES)


def get(name: str) -> Study:
    """Returns a study by its name.

    Raises:
        ValueError: for an unknown name, with the nearest ones.
    """
    import_modules(__name__)
    return STUDIES[name]()
