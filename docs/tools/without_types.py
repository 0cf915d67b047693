"""An extension of griffe: sections of docstrings show no types but those that they tell themselves.

The docstrings begin each description with the type, in words, and the signature above has it in
code. mkdocstrings would put the signature's a second time before the description.
"""

from __future__ import annotations

import griffe

TOLD = ("parameters", "other parameters", "attributes", "returns", "yields")


class WithoutTypes(griffe.Extension):
    """Removes the types that sections of docstrings take from signatures."""

    def on_package(self, *, pkg: griffe.Module, **kwargs) -> None:
        """Is called when a whole package was read."""
        self._change(pkg)

    def _change(self, thing: griffe.Object) -> None:
        sections = thing.docstring.parsed if thing.docstring else ()
        for section in sections:
            if section.kind.value in TOLD:
                for item in section.value:
                    item.annotation = None
        for member in thing.members.values():
            if not member.is_alias:
                self._change(member)
