"""A SHA-256 inside a file of another format, of all the bytes of that file.

The format keeps `BLANK` somewhere, as metadata of the name `NAME`; when the file is complete,
`sealed` puts the digest into its place. Whoever knows nothing of it reads the file as ever.
"""

import hashlib
import re

__all__ = ["BLANK", "NAME", "check", "sealed"]

NAME = "kvae.sha256"
_DIGITS = 64
# The digest is that of the file with this in its place.
BLANK = f"{NAME}:{'0' * _DIGITS}"
_SEAL = re.compile(rb"%s:[0-9a-f]{%d}" % (re.escape(NAME).encode(), _DIGITS))


def sealed(data: bytes) -> bytes:
    """Puts the digest of a file into its blank place.

    Raises:
        ValueError: if there is not one such place.
    """
    if data.count(BLANK.encode()) != 1:
        raise ValueError(f"The file has no place for its SHA-256, or several ({NAME}).")
    digest = hashlib.sha256(data).hexdigest()
    return data.replace(BLANK.encode(), f"{NAME}:{digest}".encode())


def check(data: bytes) -> None:
    """Checks a file that is sealed. One of another tool, in which nothing names a seal, passes.

    Raises:
        ValueError: if the file is not what was sealed.
    """
    if NAME.encode() not in data:
        return
    found = _SEAL.findall(data)
    if len(found) != 1 or sealed(data.replace(found[0], BLANK.encode())) != data:
        raise ValueError("it was cut off or altered: its SHA-256 differs")
