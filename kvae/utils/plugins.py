"""Finds modules of other packages, so that what they register has a name here.

A package announces its modules in its own `pyproject.toml`, in the group of what they register
(`kvae.commands`, `kvae.datasets`, `kvae.features`, `kvae.studies`, `export.formats`,
`export.runtimes`, `zoo.architectures`):

```toml
[project.entry-points."kvae.datasets"]
mine = "my_package.data"
```

A single file needs no package: the environment variable `KVAE_PLUGINS` lists modules, separated by
commas, which Python can import (from the folders of `PYTHONPATH`, say), for every group. So does
`--import` on the command line.
"""

import functools
import importlib
import os
import types
from importlib import metadata

__all__ = ["ENVIRONMENT", "announce", "announced", "import_module", "load"]

ENVIRONMENT = "KVAE_PLUGINS"
_loading: set[str] = set()
_announced: dict[str, str] = {}


def announce(module: str, who: str) -> None:
    """Announces a module of every group for the rest of the process.

    Args:
        module: str. Its name, by which Python can import it.
        who: str. Who named it, for the message when it cannot be imported.
    """
    _announced[module] = who


def import_module(module: str, who: str) -> types.ModuleType:
    """Imports a module; the `ImportError` says who named it."""
    try:
        return importlib.import_module(module)
    except Exception as error:
        raise ImportError(
            f"The module {module}, named by {who}, cannot be imported: {error}"
        ) from error


def load(group: str) -> None:
    """Imports the modules that are announced for a group.

    Args:
        group: str. The group of the entry points, e.g. `"kvae.datasets"`.

    Raises:
        ImportError: for a module that cannot be imported; the message says who named it.
    """
    for module, who in announced(group).items():
        if module in _loading:  # It looks a name up while it is being imported.
            continue
        _loading.add(module)
        try:
            import_module(module, who)
        finally:
            _loading.discard(module)


def announced(group: str) -> dict[str, str]:
    """Returns the modules that are announced for a group, and who named each of them.

    Args:
        group: str. The group of the entry points, e.g. `"kvae.datasets"`.
    """
    found = {**dict(_entry_points(group)), **_announced}
    for module in os.environ.get(ENVIRONMENT, "").split(","):
        if module.strip():
            found.setdefault(module.strip(), f"the environment variable {ENVIRONMENT}")
    return found


@functools.cache
def _entry_points(group: str) -> tuple[tuple[str, str], ...]:
    """Returns pairs of a module and who named it; reading them takes a while, so only once."""
    return tuple(
        (point.module, f"the entry point {point.name!r} of {group}")
        for point in metadata.entry_points(group=group)
    )
