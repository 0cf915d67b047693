"""The defaults of a training that follow its data."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kvae.likelihoods import Bernoulli
from kvae.utils import masks
from zoo.building import ARCHITECTURES, RECIPES
from zoo.recipes import Recipe

__all__ = ["LEARNED", "suited"]

LEARNED = "gaussian:learned"
"""The likelihood of photos, signals and tables. `python -m tests.photos` trains on 1,000 photos of
coloured shapes (32 × 32, 25 epochs): its reconstructions reach a PSNR of 24.5 dB, those of a σ that
Adam learns from 0.1 on 18.1 dB, and those of σ = 1 16.4 dB, where the mean image has 15.0 dB."""

# The number of examples that tell photos from drawings. Folders of images come in a random order.
_ROWS = 64
# Values this close to 0 or 1, and the share of them, make grey images nearly binary: MNIST's have
# nine of ten values there.
_CLOSE, _SHARE = 0.1, 0.9
# The steps that an epoch of few examples should have, and the batches for it.
_STEPS, _BATCHES = 32, (16, 128)


def suited(
    recipe: Recipe,
    count: int,
    read: Callable[[], Any],
    *,
    intensities: bool,
    likelihood: bool = True,
    binarize: bool = True,
    batch_size: bool = True,
) -> Recipe:
    """Returns a recipe in which what has been left open follows the data.

    The likelihood of an architecture whose own one is a Bernoulli stays so for the data sets that a
    recipe of the zoo binarizes, and for images of (nearly) black and white; these are binarized. An
    autoencoder without a prior keeps it for all intensities. Other data get `"gaussian:learned"`.

    Args:
        recipe: `Recipe`.
        count: int. The number of examples to train on.
        read: callable. Returns the `kvae.datasets.Dataset` or `Stream` that has them, not
            binarized. It is called where their values decide.
        intensities: bool. Whether the data are bytes that stand for intensities.
        likelihood, binarize, batch_size: bool. Whether each of these has been left open. Default to
            `True`.
    """
    changes = {}
    if batch_size:
        least, most = _BATCHES
        wanted = 2 ** int(math.log2(max(1.0, count / _STEPS)))
        changes["batch_size"] = min(max(wanted, least), most)
    architecture, settings = ARCHITECTURES[recipe.architecture], recipe.arguments
    if isinstance(architecture.part("likelihood", settings), Bernoulli):
        shape = settings.get("event_shape", ())
        if recipe.dataset in _binarized():
            kind = "binarized"
        elif intensities and len(shape) == 3 and shape[-1] > 1:  # Colours.
            kind = "intensities"
        else:
            kind = _kind(read())
        drawn = architecture.part("prior", settings) is not None
        if likelihood and (kind == "numbers" or (drawn and kind == "intensities")):
            changes["arguments"] = {**settings, "likelihood": LEARNED}
        elif binarize and drawn and kind == "binarized":
            changes["binarize"] = "dynamic"
    return dataclasses.replace(recipe, **changes)


def _binarized() -> set[str]:
    """Returns the names of the data sets that models of the zoo see as zeros and ones."""
    return {recipe.dataset for recipe in RECIPES.values() if recipe.binarize is not None}


def _kind(data) -> str:
    """Returns `"binarized"` for (nearly) binary values, else `"intensities"` or `"numbers"`."""
    x = data[:_ROWS].examples
    observed = masks.observed(x)
    if not (observed.any() and x[observed].min() >= 0 and x[observed].max() <= 1):
        return "numbers"
    grey = x.ndim == 4 and x.shape[-1] == 1
    near = (x <= _CLOSE) | (x >= 1 - _CLOSE) if grey else (x == 0) | (x == 1)
    return "binarized" if np.mean(near[observed]) >= (_SHARE if grey else 1) else "intensities"
