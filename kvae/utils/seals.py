"""JSON that holds a SHA-256 of what it says, so that one that was altered is told."""

import hashlib
import json

__all__ = ["sealed", "unsealed"]

_SEAL = "sha256"


def sealed(content: dict) -> str:
    """Returns an object as JSON with a SHA-256 of what it says, which `unsealed` checks."""
    return json.dumps({**content, _SEAL: _digest(content)}, indent=2) + "\n"


def unsealed(text: str) -> dict:
    """Reads the JSON of `sealed`; one without a SHA-256 is read as it is.

    Raises:
        ValueError: if it is no JSON object, or says something else than what was written.
    """
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    if content.pop(_SEAL, (digest := _digest(content))) != digest:
        raise ValueError("it was altered: its SHA-256 differs")
    return content


def _digest(content: dict) -> str:
    # As it will be read: keys are strings, and tuples are lists.
    plain = json.loads(json.dumps({key: content[key] for key in content if key != _SEAL}))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
