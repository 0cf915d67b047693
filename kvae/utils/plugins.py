"""Finds modules of other packages, so that what they register has a name here.

A package announces its modules in its own `pyproject.toml`, in the group of what they register
(`kvae.commands`, `kvae.datasets`, `kvae.features`, `kvae.studies`, `export.formats`,
`export.runtimes`, `zoo.architectures`):

```toml
[project.entry-points."kvae.datasets"]
mine = "my_package.data"
```

A single file needs no package: the environment variable `KVAE_PLUGINS` lists modules, separated by
commas, which Python can import (from the folders of `PYTHONPATH`, say), for every group.
"""

import functools
import importlib
import os
from importlib import metadata

__all__ = ["ENVIRONMENT", "announced", "load"]

ENVIRONMENT = "KVAE_PLUGINS"
_loading: set[str] = set()


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
            importlib.import_module(module)
        except Exception as error:
            raise ImportError(
                f"The plugin {module!r}, named by {who}, cannot be imported: {error}"
            ) from error
        finally:
            _loading.discard(module)


def announced(group: str) -> dict[str, str]:
    """Returns the modules that are announced for a group, and who named each of them.

    Args:
        group: str. The group of the entry points, e.g. `"kvae.datasets"`.
    """
    found = dict(_entry_points(group))
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
