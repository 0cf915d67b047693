"""Describes in words where two configurations differ."""

from collections.abc import Mapping

__all__ = ["differences"]

_MISSING = object()


def differences(one: Mapping, other: Mapping, of: str = "") -> list[str]:
    """Returns where two dicts of plain data differ, each place as a few words.

    Configurations of parts are named by their class, and compared by their settings where that is
    the same.

    Args:
        one, other: dicts of what JSON can hold.
        of: str. What follows the name of each place. Defaults to `""`.

    Example:

    ```python
    differences({"latent_dim": 8, "seed": 0}, {"latent_dim": 16, "seed": 0})
    # ["latent_dim 8, not 16"]
    ```
    """
    found = []
    for name in dict.fromkeys([*other, *one]):
        have, want = one.get(name, _MISSING), other.get(name, _MISSING)
        if have == want:
            continue
        inner = []
        if _is_part(have) and _is_part(want) and have["class_name"] == want["class_name"]:
            settings = (part.get("config") or {} for part in (have, want))
            inner = differences(*settings, of=f" of the {name}{of}")
        found += inner or [f"{name}{of} {_shown(have)}, not {_shown(want)}"]
    return found


def _is_part(value) -> bool:
    return isinstance(value, Mapping) and "class_name" in value


def _shown(value) -> str:
    if value is _MISSING:
        return "unset"
    if _is_part(value):
        return str(value["class_name"])
    if isinstance(value, list):
        return f"({', '.join(map(_shown, value))})"
    return "none" if value is None else str(value)
