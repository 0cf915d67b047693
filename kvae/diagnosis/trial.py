"""A short training that measures what following a suggestion would gain."""

from typing import Any

from kvae.evaluation import compare

__all__ = ["tried"]

_WORDS = {"A is better": "it helps", "B is better": "it makes it worse"}


def tried(
    model: Any, remedy: Any, train: Any, data: Any, *, epochs: int, num_samples: int, seed: int
) -> dict:
    """Changes a copy of a model as a remedy has it, and compares it with an unchanged copy.

    Both copies are trained alike, for a few epochs, and compared by log p(x) of data that they were
    not trained on. A short training says whether a suggestion goes in the right direction, and not
    how far it leads.

    Args:
        model: `kvae.VAE`. It stays as it is.
        remedy: that of a `Fault`.
        train, data: `kvae.datasets.Dataset`.
        epochs, num_samples, seed: int.

    Returns:
        dict: `told`, what was changed; `verdict`, "it helps", "it makes it worse" or "not
        distinguishable"; `difference`, `standard_error` and `interval` in nats for each example,
        above 0 where the change is better; `epochs`, 0 where nothing was trained.
    """
    changed, unchanged = remedy.pair(model, train, epochs=epochs, batch_size=128, seed=seed)
    found = compare(changed, unchanged, data, num_samples=num_samples, seed=seed)
    return {
        "told": remedy.told,
        "verdict": _WORDS.get(found["verdict"], found["verdict"]),
        **{name: found[name] for name in ("difference", "standard_error", "interval")},
        "epochs": epochs if remedy.trains else 0,
    }
