"""Pretrained models and their cards by name or by an address on the Hugging Face Hub."""

from typing import TYPE_CHECKING

from zoo import cards, hub, weights
from zoo.cards import Card

if TYPE_CHECKING:
    from kvae.models import VAE

__all__ = ["card", "load", "load_before_finish"]


def card(name: str) -> Card:
    """Returns the card of a model.

    Args:
        name: str. One of `zoo.list_models(untrained=True)`, or `"hf://user/repo"` as for
            `zoo.load`.

    Raises:
        ValueError: for an unknown name, with the nearest ones.
    """
    return hub.card(name) if hub.is_address(name) else cards.shipped(name)


def load(name: str) -> "VAE":
    """Loads a pretrained model, compiled with Adam for those who train it further.

    Args:
        name: str. One of `zoo.list_models()`, or `"hf://user/repo"` for what `zoo.push_to_hub` put
            on the Hugging Face Hub, with `@` and a branch, tag or commit for a state other than the
            last. That needs huggingface_hub, and is downloaded once.

    Returns:
        `kvae.VAE`.

    Raises:
        ValueError: for an unknown name, or weights that are not what the card says.
        FileNotFoundError: when the weights, the repository or its revision are not there.
        PermissionError: when the repository asks for a token that may read it.
        ConnectionError: when the Hub cannot be reached.

    Example:

    ```python
    vae = zoo.load("conv_vae.mnist")
    vae.sample(4, seed=1)     # shape (4, 28, 28, 1)
    ```
    """
    if hub.is_address(name):
        return hub.load(name)
    return _loaded(cards.shipped(name))


def load_before_finish(name: str) -> "VAE":
    """Loads a model as it was before the final phase of its training, if there was one.

    It has not seen the validation data, and other trainings start from it.

    Args:
        name: str. One of `zoo.list_models()`.

    Raises:
        ValueError, FileNotFoundError: as `load`; the weights before a final phase are in the
            repository, and not in the wheel.
    """
    found = cards.shipped(name)
    return _loaded(found, before="finish" in found.recipe)


def _loaded(found: Card, before: bool = False) -> "VAE":
    path = weights.find(found, before=before)
    from kvae import datasets
    from zoo.building import build  # TensorFlow, which cards do without.

    model = build(found.architecture, **found.arguments)
    model.load_weights(path)
    model.schema = datasets.info(found.dataset["name"]).schema
    model.compile()
    return model
