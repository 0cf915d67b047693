"""Every public docstring fits its signature, and its example is Python that runs."""

import ast
import builtins
import dataclasses
import functools
import importlib
import importlib.util
import inspect
import pathlib
import sys
import types

import pytest

import export
import kvae
import zoo

_spec = importlib.util.spec_from_file_location(
    "docstrings", pathlib.Path(__file__).with_name("docstrings.py")
)
docstrings = importlib.util.module_from_spec(_spec)
sys.modules["docstrings"] = docstrings
_spec.loader.exec_module(docstrings)

OURS = ("kvae", "zoo", "export")
# Methods that Keras's own documentation explains.
KERAS = ("build", "call", "compute_output_shape", "compute_output_spec")


def ours(value) -> bool:
    return (getattr(value, "__module__", None) or "").split(".")[0] in OURS


@functools.cache
def public() -> dict:
    """All that the `__all__` of public modules names, and the methods of its classes."""
    modules = [kvae, zoo, export, importlib.import_module("kvae.testing")]
    modules += [
        value for name in kvae.__all__ if isinstance(value := getattr(kvae, name), types.ModuleType)
    ]
    found = {}
    for module in modules:
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if callable(value) and ours(value) and hasattr(value, "__qualname__"):
                found[f"{value.__module__}.{value.__qualname__}"] = value
                if isinstance(value, type):
                    found |= methods(value)
    return found


def methods(kind: type) -> dict:
    found = {}
    for name, value in vars(kind).items():
        value = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        if inspect.isfunction(value) and not name.startswith("_") and ours(value):
            found[f"{kind.__module__}.{kind.__qualname__}.{name}"] = value
    return found


def documented():
    """Yields the name, the object and the docstring of all that has one of its own."""
    for name, value in sorted(public().items()):
        own = vars(value).get("__doc__") if isinstance(value, type) else value.__doc__
        if own:
            yield name, value, docstrings.parse(own)


def parameters(value) -> dict:
    signature = inspect.signature(value.__init__ if isinstance(value, type) else value)
    return {
        name: parameter
        for name, parameter in signature.parameters.items()
        if name not in ("self", "cls")
    }


def stated(value, docstring) -> list:
    """The entries for the arguments: of a dataclass, its attributes."""
    if docstring.entries("Args") or not dataclasses.is_dataclass(value):
        return docstring.entries("Args")
    return docstring.entries("Attributes")


def inherited(value) -> set:
    """The arguments of all constructors that `**kwargs` may go to."""
    if not isinstance(value, type):
        return set()
    return {name for base in value.__mro__ if ours(base) for name in parameters(base)}


def test_there_is_much_to_check():
    assert len(public()) > 500
    assert sum(len(docstring.examples) for *_, docstring in documented()) > 100


def test_functions_and_classes_have_docstrings():
    missing = []
    for name, value in public().items():
        if value.__name__ in KERAS:
            continue
        if "." in value.__qualname__:  # A method may have that of the one that it overrides.
            kind = functools.reduce(
                getattr, value.__qualname__.split(".")[:-1], sys.modules[value.__module__]
            )
            text = inspect.getdoc(getattr(kind, value.__name__))
        else:
            text = vars(value).get("__doc__") if isinstance(value, type) else value.__doc__
        if not text:
            missing.append(name)
    assert not missing, "\n".join(missing)


def test_docstrings_begin_with_a_sentence():
    odd = [
        name
        for name, _, docstring in documented()
        if not docstring.summary.endswith((".", "?", ":")) or docstring.summary[0].islower()
    ]
    assert not odd, "\n".join(odd)


def test_arguments_are_those_of_the_signature_in_their_order():
    wrong = []
    for name, value, docstring in documented():
        found = [argument.name for argument in stated(value, docstring)]
        expected = [
            one
            for one, parameter in parameters(value).items()
            # `**kwargs` are Keras's own.
            if not (parameter.kind is parameter.VAR_KEYWORD and one == "kwargs")
        ]
        more = [one for one in found if one not in expected]
        if found and (found[: len(expected)] != expected or not set(more) <= inherited(value)):
            wrong.append(f"{name}: says {found}, takes {expected}")
    assert not wrong, "\n".join(wrong)


def test_defaults_are_those_of_the_signature():
    wrong = []
    for name, value, docstring in documented():
        known = parameters(value)
        for argument in stated(value, docstring):
            parameter = known.get(argument.name)
            if parameter is not None and argument.default:
                if argument.default[0] != parameter.default:
                    wrong.append(f"{name}: {argument.name} is {parameter.default!r}")
    assert not wrong, "\n".join(wrong)


def test_errors_exist():
    unknown = []
    for name, value, docstring in documented():
        known = vars(builtins) | vars(sys.modules[value.__module__])
        for error in docstring.entries("Raises"):
            if not isinstance(known.get(error.name), type):
                unknown.append(f"{name}: {error.name}")
    assert not unknown, "\n".join(unknown)


def test_examples_are_python():
    for name, _, docstring in documented():
        for example in docstring.examples:
            try:
                ast.parse(example)
            except SyntaxError as error:
                pytest.fail(f"{name}: {error}")
            assert "kvae" in example or "export" in example or "zoo" in example or "vae" in example


def mistaken(first, second=2, **options):
    """Does nothing.

    Args:
        second: int. Defaults to `3`.
        first: str.
        *options: further ones,
            in two lines.

    Raises:
        NoSuchError: never.

    Example:

    ```python
    mistaken(1)
    ```
    """


def test_what_the_parser_reads():
    parsed = docstrings.parse(mistaken.__doc__)
    assert parsed.summary == "Does nothing."
    second, first, options = parsed.entries("Args")
    assert (second.name, first.name, options.name) == ("second", "first", "options")
    assert second.default == (3,) and first.default == ()
    assert options.text == "further ones, in two lines."
    assert [error.name for error in parsed.entries("Raises")] == ["NoSuchError"]
    assert parsed.examples == ["mistaken(1)\n"]
