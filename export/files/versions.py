"""The folders of versions that TensorFlow Serving reads, and the checksums of the files in them."""

import os
import pathlib

from export.files import warmup
from kvae.utils import io, seals

__all__ = ["METADATA", "check", "checksums", "versions"]

METADATA = pathlib.PurePath("assets.extra", "kvae.json")


def versions(directory: str | os.PathLike) -> list[int]:
    """Lists the versions in a model's folder, smallest first."""
    directory = pathlib.Path(directory)
    if not directory.is_dir():
        return []
    names = [child.name for child in directory.iterdir() if child.is_dir()]
    return sorted({int(name) for name in names if name.isascii() and name.isdigit()})


def check(path: str | os.PathLike) -> None:
    """Checks that a version's files are those that were written, by their SHA-256.

    A SavedModel without `assets.extra/kvae.json`, of another tool or an earlier version of this
    one, is not checked.

    Raises:
        ValueError: if a file is missing, was cut off, altered or exchanged.
    """
    path = pathlib.Path(path)
    if not (path / METADATA).is_file():
        return
    try:
        wanted = seals.unsealed((path / METADATA).read_text("utf-8")).get("files", {})
        found = {name: io.sha256_file(path / name) for name in wanted if (path / name).is_file()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path / METADATA} is damaged ({error}). Export the model again."
        ) from None
    for name, digest in wanted.items():
        if found.get(name) != digest:
            what = "was cut off or altered" if name in found else "is missing"
            raise ValueError(f"{path / name} {what}: export the model again.")


def checksums(folder: pathlib.Path) -> dict[str, str]:
    """SHA-256 by name, but for the warm-up requests, which an operator may replace by others."""
    return {
        file.relative_to(folder).as_posix(): io.sha256_file(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file not in (folder / METADATA, folder / warmup.FILE)
    }
