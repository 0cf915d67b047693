"""Text that comes from elsewhere, as a terminal may show it."""

import re

__all__ = ["printable", "say"]

# C0 and C1 without tab and newline, what turns the direction of writing or has no width, lone
# surrogates (bytes of a file name that are no UTF-8), and separators of lines and paragraphs.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def printable(text: object) -> str:
    r"""Returns a text in which control characters are written out, e.g. `\x1b` for an escape.

    Names, cards and messages of files that others wrote may hold sequences that move the cursor,
    change what was printed before, or show letters in another order. Tabs and newlines stay.

    Args:
        text: object. Anything that `str` takes.

    Example:

    ```python
    printable("\x1b[2Jmodel")     # '\\x1b[2Jmodel', which a terminal shows as it is
    ```
    """
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def say(*values: object, **options) -> None:
    """Prints values as `print` does, each of them `printable`."""
    print(*map(printable, values), **options)
