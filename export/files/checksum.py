"""A SHA-256 that a file holds of itself, among the metadata of its own format.

The writer keeps `PLACEHOLDER` among the metadata, under the name `NAME`. When the file is complete,
`embed` puts the digest of all its bytes there. Other tools read the file as ever.
"""

import hashlib
import re

__all__ = ["NAME", "PLACEHOLDER", "check", "embed"]

NAME = "kvae.sha256"
_DIGITS = 64
# The digest is that of the file with this in its place.
PLACEHOLDER = f"{NAME}:{'0' * _DIGITS}"
_EMBEDDED = re.compile(rb"%s:[0-9a-f]{%d}" % (re.escape(NAME).encode(), _DIGITS))


def embed(data: bytes) -> bytes:
    """Puts the digest of a file in the place of its placeholder.

    Args:
        data: bytes. The file.

    Raises:
        ValueError: if the file does not hold exactly one placeholder.
    """
    if data.count(PLACEHOLDER.encode()) != 1:
        raise ValueError(f"The file has no place for its SHA-256, or several ({NAME}).")
    digest = hashlib.sha256(data).hexdigest()
    return data.replace(PLACEHOLDER.encode(), f"{NAME}:{digest}".encode())


def check(data: bytes) -> None:
    """Checks a file by the digest in it. A file of another tool, which names none, passes.

    Args:
        data: bytes. The file.

    Raises:
        ValueError: if the file is not the one that was written.
    """
    if NAME.encode() not in data:
        return
    found = _EMBEDDED.findall(data)
    if len(found) != 1 or embed(data.replace(found[0], PLACEHOLDER.encode())) != data:
        raise ValueError("it was cut off or altered: its SHA-256 differs")
