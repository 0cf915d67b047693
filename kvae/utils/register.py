"""Registers: each thing that has a name registers where it is defined."""

import importlib
import inspect
import pkgutil
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from kvae.utils import names, plugins

__all__ = ["Register", "import_modules"]

Thing = TypeVar("Thing")


class Register(Mapping):
    """Things of one kind by name, in alphabetical order.

    Args:
        kind: str. What the things are, for errors, e.g. `"prior"`.
        group: str or `None`. The group of `kvae.utils.plugins` whose modules are imported before
            the register is listed, or a name is found missing. Defaults to `None`: no plugins.

    Raises:
        ValueError: when a name is looked up that nothing has registered, with the nearest names;
            and when two different things register under the same name.

    Example:

    ```python
    COLOURS = Register("colour")

    @COLOURS.register("red")
    def red():
        return (255, 0, 0)

    COLOURS["red"]()      # (255, 0, 0)
    list(COLOURS)         # ["red"]
    ```
    """

    def __init__(self, kind: str, group: str | None = None):
        self.kind, self.group = kind, group
        self._things: dict[str, Any] = {}

    def add(self, name: str, thing) -> None:
        """Registers a thing under a name. The same definition, run again, replaces itself."""
        present = self._things.get(name)
        if present is not None and _definition(present) != _definition(thing):
            raise ValueError(f"There is a {self.kind} {name!r} already: {present!r}.")
        self._things[name] = thing

    def register(self, *names: str) -> Callable[[Thing], Thing]:
        """Returns a decorator that registers a class or a function under one or more names."""

        def decorate(thing):
            for name in names:
                self.add(name, thing)
            return thing

        return decorate

    def __getitem__(self, name: str):
        if name not in self:
            raise names.unknown_name(self.kind, name, self)
        return self._things[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._things or name in self._all())

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._all()))

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, Any]:
        if self.group is not None:
            plugins.load(self.group)
        return self._things

    def __repr__(self) -> str:
        return f"Register({self.kind!r}: {', '.join(self) or 'empty'})"


def import_modules(package: str) -> list[types.ModuleType]:
    """Imports every module of a package, so that all that they define is registered.

    Returns:
        list. The modules, in alphabetical order.
    """
    found = pkgutil.iter_modules(importlib.import_module(package).__path__)
    return [
        importlib.import_module(f"{package}.{name}") for name in sorted(info.name for info in found)
    ]


def _definition(thing) -> tuple:
    """Returns where a thing is defined, which tells a definition that is run again from another."""
    thing = inspect.unwrap(thing)
    return getattr(thing, "__module__", None), getattr(thing, "__qualname__", repr(thing))
