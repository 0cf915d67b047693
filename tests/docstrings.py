"""Reads docstrings in the Google style: their sections, arguments, defaults and examples."""

import ast
import dataclasses
import inspect
import re

__all__ = ["Argument", "Docstring", "parse"]

_SECTION = re.compile(r"(Args|Attributes|Example|Examples|Raises|References?|Returns|Yields):$")
_ENTRY = re.compile(r"((?:\*{0,2}\w+)(?:, \*{0,2}\w+)*):(?: |$)")
_DEFAULT = re.compile(r"Defaults? to `([^`]+)`")


@dataclasses.dataclass
class Argument:
    """One argument, as a docstring tells it.

    Attributes:
        name: str. Without asterisks.
        text: str. What stands behind the colon.
        shared: bool. True where several arguments have this text.
    """

    name: str
    text: str
    shared: bool = False

    @property
    def default(self):
        """The literal that the text states as the default, in a tuple; `()` without one."""
        found = _DEFAULT.search(self.text)
        if found is None or self.shared:
            return ()
        try:
            return (ast.literal_eval(found[1]),)
        except (ValueError, SyntaxError):
            return ()


@dataclasses.dataclass
class Docstring:
    """A docstring in parts.

    Attributes:
        summary: str. The first paragraph.
        sections: dict of str. The text of each section, without its indentation.
        examples: list of str. The Python code of all fenced blocks.
    """

    summary: str
    sections: dict
    examples: list

    def entries(self, section: str) -> list[Argument]:
        """The entries `name: text` of a section; several names share one text."""
        found = []
        for line in self.sections.get(section, "").splitlines():
            entry = _ENTRY.match(line)
            if entry:
                names = entry[1].split(", ")
                text = line[entry.end() :]
                group = [Argument(name.lstrip("*"), text, len(names) > 1) for name in names]
                found += group
            elif found and line.startswith(" "):
                for argument in group:
                    argument.text += " " + line.strip()
        return found


def parse(text: str | None) -> Docstring:
    """Parses the docstring of an object."""
    lines = inspect.cleandoc(text or "").splitlines()
    sections, current, fenced = {}, None, False
    for line in lines:
        fenced ^= line.strip().startswith("```")
        if not fenced and (head := _SECTION.match(line)):
            current = head[1]
            sections[current] = []
        elif current is not None:
            if line and not line.startswith(" ") and current not in ("Example", "Examples"):
                current = None
            else:
                sections[current].append(line)
    return Docstring(
        " ".join(inspect.cleandoc(text or "").partition("\n\n")[0].split()),
        {name: inspect.cleandoc("\n" + "\n".join(part)) for name, part in sections.items()},
        re.findall(r"```python\n(.*?)```", inspect.cleandoc(text or ""), flags=re.DOTALL),
    )
