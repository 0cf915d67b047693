"""The help of the command line: how it is laid out, and how it tells defaults."""

import argparse
import dataclasses
import shutil
import textwrap

__all__ = ["HelpFormatter", "Unset", "without_unset", "wrapped"]

_WIDEST = 100  # Columns. Longer lines are hard to read.
_NARROW = 64  # Columns. Below, there is no room for texts beside the names of options.


@dataclasses.dataclass(frozen=True)
class Unset:
    """The default of an option that is `None` where it is not given.

    Attributes:
        words: str. What the command then does, e.g. `"the card's, or 0"`, as the help says it.
    """

    words: str


def without_unset(namespace: argparse.Namespace) -> argparse.Namespace:
    """Returns parsed arguments with `None` in the place of each `Unset`."""
    for name, value in vars(namespace).items():
        if isinstance(value, Unset):
            setattr(namespace, name, None)
    return namespace


class HelpFormatter(argparse.HelpFormatter):
    """Lays help out for the width of the terminal, and never splits a name or an option.

    It adds to the text of each option the values that it may have, and its default.
    """

    def __init__(self, prog: str, **options):
        width = min(shutil.get_terminal_size().columns, _WIDEST) - 2
        beside = 24 if width >= _NARROW else 6
        options = {"max_help_position": beside, "width": width, **options}
        super().__init__(prog, **options)

    def _format_usage(self, usage, actions, groups, prefix):
        """Leaves the options out where they have no room; they follow below in any case."""
        if usage is None and prefix is None and self._width < _NARROW:
            places = [action for action in actions if not action.option_strings]
            values = (
                self._format_args(action, self._get_default_metavar_for_positional(action))
                for action in places
            )
            words = f"{self._prog} [options] {' '.join(values)}"
            usage = "\n  ".join(wrapped(words, self._width - len("usage: "))).replace("%", "%%")
        return super()._format_usage(usage, actions, groups, prefix)

    def _split_lines(self, text, width):
        return wrapped(text, width)

    def _fill_text(self, text, width, indent):
        """Fills paragraphs; lines that are indented hold commands, and stay commands."""
        lines = []
        for paragraph in text.split("\n\n"):
            prose: list[str] = []
            for line in paragraph.splitlines():
                if not line.startswith(" "):
                    prose.append(line)
                    continue
                lines += wrapped(" ".join(prose), width)
                prose = []
                lines += _command(line, width)
            lines += [*wrapped(" ".join(prose), width), ""]
        return "\n".join(indent + line for line in lines[:-1])

    def _get_help_string(self, action):
        text = action.help or ""
        if action.choices is not None and action.nargs != argparse.PARSER:
            text += f" One of: {', '.join(map(str, action.choices))}."
        shown = _default(action)
        return text if shown is None else f"{text} Default: {shown}.".replace("%", "%%")

    def _format_action_invocation(self, action):
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        values = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {values}"

    def _metavar_formatter(self, action, default_metavar):
        """Calls values by one word; the choices stand in the text."""
        if action.metavar is None and action.choices is not None:
            default_metavar = action.dest.upper()
            return lambda size: (default_metavar,) * size
        return super()._metavar_formatter(action, default_metavar)


def _default(action: argparse.Action) -> str | None:
    """Returns the default of an option as the help shows it; `None` where there is none."""
    value = action.default
    if value is None or value is argparse.SUPPRESS:
        return None
    if isinstance(value, Unset):
        return value.words
    if value is False:
        return "off"
    if isinstance(value, (list, tuple)):
        return " ".join(map(_shown, value)) or "none"
    return _shown(value)


def _shown(value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def wrapped(text: str, width: int) -> list[str]:
    """Returns the lines of a text, none of which ends within a name."""
    text = " ".join(text.split())
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _command(line: str, width: int) -> list[str]:
    r"""Returns an indented command line, broken with `\` so that it can be copied."""
    parts = textwrap.wrap(
        line.strip(),
        max(width - 6, 1),  # An indentation by up to four, and the ending.
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [
        ("  " if index == 0 else "    ") + part + (" \\" if index + 1 < len(parts) else "")
        for index, part in enumerate(parts)
    ]
