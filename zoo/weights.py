"""Files of weights: where they are found, and how they are checked before anything opens them."""

import os
import pathlib
import shutil
import urllib.error
import urllib.request

from kvae.utils import io, locks
from zoo.cards import Card

__all__ = ["BEFORE", "describe", "find", "verify"]

BEFORE = "before"
"""The folder, in that of the weights, of those that a final phase started from."""
_FOLDER = pathlib.Path(__file__).parent / "weights"
_PATIENCE = 600.0  # Seconds to wait for another process's download.


def describe(path: pathlib.Path) -> dict[str, str | int]:
    """Returns what a card says of a file of weights: its name, SHA-256 and size in bytes."""
    return {"file": path.name, "sha256": io.sha256_file(path), "bytes": path.stat().st_size}


def verify(path: pathlib.Path, sha256: str) -> None:
    """Checks that a file has the content that its card names.

    Args:
        path: path of the file.
        sha256: str. What the SHA-256 of its content has to be.

    Raises:
        ValueError: when it is another.
    """
    found = io.sha256_file(path)
    if found != sha256:
        raise ValueError(
            f"{path} is not the file that its card describes (SHA-256 {found[:12]}…, not "
            f"{sha256[:12]}…): it was truncated or altered. Delete it and install or download it "
            "again."
        )


def find(card: Card, *, before: bool = False) -> pathlib.Path:
    """Returns the path of a card's weights, checked by SHA-256.

    Looks into the package, then into the cache (`KVAE_CACHE_DIR`, by default `~/.cache/kvae`), then
    downloads from `KVAE_WEIGHTS_URL` into the cache where that variable is set.

    Args:
        card: `Card`.
        before: bool. Whether those are meant that the final phase of its training started from,
            which other trainings start from as well. They are in the repository, and not in the
            wheel. Defaults to `False`.

    Raises:
        FileNotFoundError: when there is no such file, or the model has never been trained.
        ValueError: when its content is not what the card says.
    """
    if not card.trained:
        raise FileNotFoundError(
            f"{card.name} has no weights: it was not trained here. Train it with "
            f"`{card.recipe['command']}`, which takes {card.dataset['name']} from KVAE_DATA_DIR or "
            "downloads it, and load the model.keras that this writes."
        )
    wanted = card.recipe["finish"]["before"] if before else card.weights
    name = wanted["file"]
    place = f"{BEFORE}/{name}" if before else name
    cache = pathlib.Path(os.environ.get("KVAE_CACHE_DIR") or pathlib.Path.home() / ".cache/kvae")
    cached = cache / f"{wanted['sha256'][:16]}-{name}"
    for path in (_FOLDER / place, cached):
        if path.exists():
            verify(path, wanted["sha256"])
            return path
    base = os.environ.get("KVAE_WEIGHTS_URL")
    if not base:
        which = " before its final phase" if before else ""
        raise FileNotFoundError(
            f"The weights of {card.name}{which} ({place}) are neither in the package nor in "
            f"{cache}. Set KVAE_WEIGHTS_URL to the folder that serves them, or train them: "
            f"{card.recipe['command']}"
        )
    io.writable_folder(cache, f"download {name}")
    # One process downloads; those that want the same file wait for it.
    with locks.Lock(cached, "a download", wait=_PATIENCE):
        if not cached.exists():
            _download(f"{base.rstrip('/')}/{place}", cached, wanted["sha256"])
    return cached


def _download(url: str, path: pathlib.Path, sha256: str) -> None:
    if not url.startswith(("https://", "http://", "file://")):
        raise ValueError(f"KVAE_WEIGHTS_URL has to be an http(s) or file address, not {url!r}.")
    with io.atomic_write(path) as temporary:
        try:
            with urllib.request.urlopen(url, timeout=60) as source, open(temporary, "wb") as file:
                shutil.copyfileobj(source, file)
        except (urllib.error.URLError, TimeoutError) as error:
            raise FileNotFoundError(f"Cannot download {url}: {error}") from None
        verify(temporary, sha256)
