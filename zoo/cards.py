"""Model cards: what a pretrained model is, how it was made and what it reaches."""

import argparse
import dataclasses
import fnmatch
import pathlib
from collections.abc import Mapping
from typing import Any

from kvae.utils import io, names, seals
from kvae.utils.terminal import printable
from kvae.version import __version__

__all__ = ["Card", "library_versions", "list_models", "shipped", "trained_name"]

_FOLDER = pathlib.Path(__file__).parent / "cards"
_NUMBER = (int, float)
# The kinds of the facts that others format or compute with.
_KINDS = {
    "preprocessing": {"shape": (list, tuple)},
    "dataset": {"name": str, "sha256": Mapping},
    "recipe": {"command": str, "initial_weights": str, "epochs": int, "noise": _NUMBER},
    "cost": {"parameters": int, "seconds": _NUMBER},
    "weights": {"file": str, "sha256": str, "bytes": int},
}
# Figures that headlines are made of.
_FIGURES = (
    "accuracy",
    "auroc",
    "bce_per_pixel",
    "elbo",
    "factor_vae_score",
    "kl",
    "mig",
    "nll",
    "reconstruction",
)


@dataclasses.dataclass(frozen=True)
class Card:
    """The facts of one model: a pretrained one, or one whose recipe waits for someone to run it.

    Attributes:
        name: str. `architecture.tag`, e.g. `"dense_vae.mnist"`.
        architecture: str. Name for `zoo.build`.
        arguments: mapping. Arguments for `zoo.build`.
        preprocessing: mapping. `range` of the inputs, `shape` of one, `binarize`.
        dataset: mapping. `name` and, under `sha256`, those of the `train`, `validation` and `test`
            arrays that the model was trained on.
        recipe: mapping. `command`, `seed`, `epochs`, `batch_size`, `optimizer`, …
        cost: mapping. `seconds`, `epochs`, `machine`, `parameters`.
        metrics: mapping. On the test split, in nats: `elbo`, `reconstruction`, `kl`, and for a VAE
            `nll` (a mapping, see `kvae.evaluation.LogProb.summary`; with `monte_carlo_examples` its
            Monte Carlo figures are those of so many examples, scaled to the set), for an
            autoencoder `bce_per_pixel`, `bce_standard_error` and `mse`; `annealed` is the second
            estimate of `zoo.annealing`. Of sprites also the scores of
            `kvae.evaluation.disentanglement`, of models that guess labels the `accuracy`, of
            detectors `auroc`, of tables the figures of `kvae.tables.report` under `table`. Empty
            where nothing was measured.
        published: mapping or `None`. `metric`, `value` and `source` of the figure to compare with.
        weights: mapping. `file`, `sha256`, `bytes`; `None` where there are none yet.
        license: str. Licence of the weights.
        paper: str. Where the model comes from.
        versions: mapping. Libraries that made the weights.
    """

    name: str
    architecture: str
    arguments: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    dataset: Mapping[str, Any]
    recipe: Mapping[str, Any]
    cost: Mapping[str, Any]
    metrics: Mapping[str, Any]
    published: Mapping[str, Any] | None
    weights: Mapping[str, Any] | None
    license: str
    paper: str
    versions: Mapping[str, str]

    def __post_init__(self):
        """Checks the kinds of the facts that others read, and makes their texts printable.

        Raises:
            ValueError: for a fact of another kind.
        """
        for field in dataclasses.fields(self):
            value = _printable(getattr(self, field.name))
            object.__setattr__(self, field.name, value)
            kind = str if field.type is str else Mapping
            if not isinstance(value, kind) and not (value is None and "None" in str(field.type)):
                raise ValueError(f"its {field.name} is a {type(value).__name__}")
            for name, kinds in _KINDS.get(field.name, {}).items():
                found = (value or {}).get(name)
                if found is not None and not isinstance(found, kinds):
                    raise ValueError(f"the {name} of its {field.name} is a {type(found).__name__}")
        for name in _FIGURES:
            if not isinstance(self._figure(name), (*_NUMBER, type(None))):
                raise ValueError(f"the {name} of its metrics is no number")
        nll = self.metrics.get("nll", {"standard_error": 0.0})
        if not isinstance(nll, Mapping) or not isinstance(nll.get("standard_error"), _NUMBER):
            raise ValueError("the nll of its metrics has no standard_error")

    def _figure(self, name: str):
        """Returns a metric without its error, or `None`."""
        found = self.metrics.get(name)
        return found.get(name) if isinstance(found, Mapping) else found

    @property
    def headline(self) -> str:
        """The main figure in words, e.g. `"NLL 86.92 ± 0.23 nats"`."""
        found = {name: self._figure(name) for name in _FIGURES}
        if None not in (found["factor_vae_score"], found["mig"]):
            return "FactorVAE score {factor_vae_score:.3f}, MIG {mig:.3f}".format(**found)
        if found["accuracy"] is not None:  # Of a classifier that few labels have trained.
            return f"error {100 * (1 - found['accuracy']):.2f} %"
        if found["auroc"] is not None:
            return f"AUROC {found['auroc']:.3f}"
        if found["nll"] is not None:
            return f"NLL {found['nll']:.2f} ± {self.metrics['nll']['standard_error']:.2f} nats"
        if found["bce_per_pixel"] is not None:
            return f"BCE {found['bce_per_pixel']:.4f} per pixel"
        # A VAE of grey pixels, of which a Bernoulli has no density.
        if found["kl"] and found["elbo"] is not None:
            return f"ELBO {found['elbo']:.2f} nats"
        if found["reconstruction"] is not None:
            return f"reconstruction {found['reconstruction']:.2f} nats"
        return "not measured" if self.trained else "not trained here"

    @property
    def trained(self) -> bool:
        """True for a model that was trained, so that there are weights of it."""
        return self.weights is not None

    @property
    def starts_from(self) -> str | None:
        """The model whose weights the training started from; its cost comes on top."""
        return self.recipe.get("initial_weights") or self.arguments.get("first")

    @classmethod
    def read(cls, path, name: str | None = None) -> "Card":
        """Reads a card from its JSON file, that of the model `name` where it is given.

        Raises:
            ValueError: for a file that is no complete card, was altered, or is another model's.
        """
        try:
            card = cls(**seals.unsealed(pathlib.Path(path).read_text("utf-8")))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} is no model card: {error}") from None
        if name is not None and card.name != name:
            raise ValueError(f"{path} is the card of another model, {card.name!r}.")
        return card

    def to_dict(self) -> dict:
        """Returns the card as plain data."""
        return dataclasses.asdict(self)

    def write(self, path) -> None:
        """Writes the card as JSON with its SHA-256, atomically."""
        with io.atomic_write(path) as temporary:
            temporary.write_text(seals.sealed(io.without_nan(self.to_dict())), "utf-8")


def library_versions() -> dict[str, str]:
    """Returns the versions of the libraries that made a model, for its card."""
    import keras
    import numpy
    import tensorflow

    return {
        "kvae": __version__,
        "keras": keras.__version__,
        "tensorflow": tensorflow.__version__,
        "numpy": numpy.__version__,
    }


def _printable(value):
    """Returns plain data whose texts have their control characters written out."""
    if isinstance(value, Mapping):
        return {_printable(key): _printable(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_printable, value))
    return printable(value) if isinstance(value, str) else value


def list_models(pattern: str | None = None, *, untrained: bool = False) -> list[str]:
    """Returns the names of the pretrained models, sorted.

    Args:
        pattern: optional str. Shell-style, e.g. `"*.mnist"`; a plain word matches as a part.
        untrained: bool. Also lists those whose recipe has not been run yet: they have a card and no
            weights. Defaults to `False`.
    """
    known = sorted(path.stem for path in _FOLDER.glob("*.json"))
    if pattern is not None:
        if not any(character in pattern for character in "*?["):
            pattern = f"*{pattern}*"
        known = [name for name in known if fnmatch.fnmatchcase(name, pattern)]
    return [name for name in known if untrained or Card.read(_FOLDER / f"{name}.json").trained]


def trained_name(text: str) -> str:
    """An argument that names a pretrained model."""
    known = list_models()
    if text not in known:
        raise argparse.ArgumentTypeError(str(names.unknown_name("model", text, known)))
    return text


def shipped(name: str) -> Card:
    """Returns the card of a model of the zoo.

    Raises:
        ValueError: for a name that is not in `list_models(untrained=True)`, with the nearest ones.
    """
    known = list_models(untrained=True)
    if name not in known:
        raise names.unknown_name("model", name, known)
    return Card.read(_FOLDER / f"{name}.json", name)
