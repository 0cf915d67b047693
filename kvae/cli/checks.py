"""Types of arguments, which refuse a wrong one before TensorFlow is imported.

Parts and architectures register in modules that import TensorFlow. Their names are read from the
source of these modules here, and those of plugins are left to the registers.
"""

import argparse
import ast
import functools
import importlib.util
import os
import pathlib
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import PathFinder

from kvae.utils import io, plugins
from kvae.utils.names import unknown_name

__all__ = [
    "check_model",
    "data",
    "dataset",
    "existing",
    "model",
    "module",
    "named",
    "named_or_data",
    "output",
    "output_file",
    "output_folder",
    "recipe",
    "registered",
    "servable",
    "study_datasets",
]

# The packages whose modules register what has a name, by the kind of it.
_PACKAGES = {
    "architecture": "zoo.architectures",
    "fill": "kvae.fills",
    "likelihood": "kvae.likelihoods",
    "objective": "kvae.objectives",
    "posterior": "kvae.posteriors",
    "prior": "kvae.priors",
    "sampler": "kvae.samplers",
    "study": "kvae.studies",
}
_GROUPS = {"architecture": "zoo.architectures", "study": "kvae.studies"}


def _argument(check: Callable[[str], None]) -> Callable[[str], str]:
    """Returns a type for `argparse`, whose error is that of the check."""

    @functools.wraps(check)
    def argument(text: str) -> str:
        try:
            check(text)
        except (ValueError, OSError) as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        return text

    return argument


@functools.cache
def registered(kind: str) -> tuple[str, ...]:
    """Returns the names of a kind that this library registers, without importing what they name.

    Args:
        kind: str. `"architecture"`, `"fill"`, `"likelihood"`, `"objective"`, `"posterior"`,
            `"prior"`, `"sampler"` or `"study"`.
    """
    spec = importlib.util.find_spec(_PACKAGES[kind])
    assert spec is not None and spec.submodule_search_locations
    files = pathlib.Path(spec.submodule_search_locations[0]).glob("*.py")
    return tuple(sorted(name for file in files for name in _names(ast.parse(file.read_bytes()))))


def _names(module: ast.Module) -> Iterator[str]:
    """The names that decorators register in a module: `@register(…)` and `@architecture(…)`."""
    for node in module.body:
        for call in getattr(node, "decorator_list", ()):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
                continue
            if call.func.id == "architecture":
                yield node.name  # pyright: ignore[reportAttributeAccessIssue]
            elif call.func.id == "register":
                yield from map(ast.literal_eval, call.args)
                for keyword in call.keywords:
                    if keyword.arg == "variants" and isinstance(keyword.value, ast.Dict):
                        yield from (ast.literal_eval(key) for key in keyword.value.keys if key)


def study_datasets(name: str) -> tuple[str, ...] | None:
    """Returns the data sets that a study of this library can be made on.

    It is `None` for one of a plugin.
    """
    spec = importlib.util.find_spec(_PACKAGES["study"])
    assert spec is not None and spec.submodule_search_locations
    usual, found = None, None
    for file in pathlib.Path(spec.submodule_search_locations[0]).glob("*.py"):
        for kind in ast.parse(file.read_bytes()).body:
            if not isinstance(kind, ast.ClassDef):
                continue
            own = _attribute(kind, "datasets")
            if kind.name == "Study":
                usual = own
            if name in _names(ast.Module([kind], [])):
                found = own or ()
    return usual if found == () else found


def _attribute(kind: ast.ClassDef, name: str):
    """Returns the value that a class gives an attribute, or `None`."""
    for line in kind.body:
        targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return ast.literal_eval(line.value)
    return None


def named(kind: str) -> Callable[[str], str]:
    """Returns the type of an argument that names a part, an architecture, a sampler or a study.

    Args:
        kind: str. As for `registered`.
    """

    def check(text: str) -> None:
        name = text.partition(":")[0]  # Arguments of a part follow.
        known = registered(kind)
        if name not in known and not plugins.announced(_GROUPS.get(kind, f"kvae.{kind}s")):
            raise unknown_name(kind, name, known)

    return _argument(check)


@_argument
def dataset(name: str) -> None:
    """The name of a data set."""
    from kvae import datasets

    datasets.info(name)


@_argument
def data(text: str) -> None:
    """The path of data."""
    path = pathlib.Path(text).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"There is no {path}: give --data a folder of images or shards, or a file of an array "
            "or a table."
        )


@_argument
def named_or_data(text: str) -> None:
    """The name of a data set, or the path of data."""
    from kvae import datasets

    if not pathlib.Path(text).expanduser().exists():
        datasets.info(text)


@_argument
def recipe(name: str) -> None:
    """The name of a recipe: each has a card, and was trained or waits for it."""
    from zoo import cards

    if not plugins.announced("zoo.architectures"):
        known = cards.list_models(untrained=True)
        if name not in known:
            raise unknown_name("recipe", name, known)


def check_model(name: str) -> None:
    """Refuses what names no model.

    Raises:
        FileNotFoundError: for a file that is not there, and a model without weights.
        ValueError: for a folder, and an unknown name.
    """
    from zoo import cards, hub, weights

    path = pathlib.Path(name)
    if hub.is_address(name):
        return
    if path.is_dir():
        own = path / "model.keras"  # As `kvae train --output` leaves it.
        what = str(own) if own.is_file() else "a .keras file or a name of `kvae list`"
        raise ValueError(f"{path} is a folder, not a model: give {what}.")
    if path.suffix == ".keras" or path.exists():
        if not path.is_file():
            raise FileNotFoundError(
                f"There is no model file {path}. Give the path of a .keras file, or a name of "
                "`kvae list`."
            )
    elif os.sep in name:
        raise FileNotFoundError(
            f"There is no {name}. Give the path of a .keras file, or a name of `kvae list`."
        )
    else:
        weights.find(cards.shipped(name))


model = _argument(check_model)


@_argument
def servable(name: str) -> None:
    """A model, or a folder of what has been exported."""
    if not pathlib.Path(name).is_dir():
        check_model(name)


@_argument
def existing(text: str) -> None:
    """The path of something that is there."""
    if not pathlib.Path(text).expanduser().exists():
        raise FileNotFoundError(f"There is no {text}. Check the path.")


def module(text: str) -> tuple[str, str]:
    """A module, of the current folder or installed, or its file: its folder and its name."""
    path = pathlib.Path(text)
    is_file = path.suffix == ".py"
    folder, name = (path.parent, path.stem) if is_file else (pathlib.Path(), text)
    folder = str(folder.resolve())
    top = name.partition(".")[0]
    if not top.isidentifier() or PathFinder.find_spec(top, [folder, *sys.path]) is None:
        raise argparse.ArgumentTypeError(
            f"There is no module {text}: give the path of its .py file, or a name that Python can "
            "import here."
        )
    return folder, name


@_argument
def output(text: str) -> None:
    """A file or a folder to write, which need not be there yet."""
    path = pathlib.Path(text)
    io.check_writable(path if path.is_dir() else path.parent)


@_argument
def output_folder(text: str) -> None:
    """A folder to write into, which need not be there yet."""
    io.check_writable(pathlib.Path(text))


@_argument
def output_file(text: str) -> None:
    """A file to write, whose folder need not be there yet."""
    path = pathlib.Path(text)
    if path.is_dir():
        raise IsADirectoryError(f"{text} is a folder: give a file.")
    io.check_writable(path.parent)
