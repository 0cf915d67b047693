"""Puts the address of the repository into what a release says of itself.

Nothing in the repository names an address, because it is that of whoever releases. Given it, this
writes `[project.urls]` into pyproject.toml, and makes the links of README.md, which the index shows
on a page of its own, lead to the tagged state of the repository. The release workflow runs it:

    python docs/tools/addresses.py https://example.org/me/kvae v0.1.0
"""

from __future__ import annotations

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parents[2]


def urls(address: str, tag: str) -> str:
    """Returns the table of pyproject.toml."""
    return (
        "\n[project.urls]\n"
        f'Documentation = "{address}/tree/{tag}/docs"\n'
        f'Changelog = "{address}/blob/{tag}/CHANGELOG.md"\n'
        f'Issues = "{address}/issues"\n'
        f'Repository = "{address}"\n'
    )


def absolute(text: str, address: str, tag: str) -> str:
    """Returns a page of the root with links that lead to the same places from anywhere."""

    def link(match):
        picture, words, target = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        kind = "raw" if picture else "blob"
        return f"{picture}[{words}]({address}/{kind}/{tag}/{target})"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", link, text)


def main(address: str, tag: str) -> None:
    project, readme = ROOT / "pyproject.toml", ROOT / "README.md"
    text = project.read_text(encoding="utf-8")
    if "[project.urls]" in text:
        raise SystemExit("pyproject.toml has addresses already.")
    project.write_text(text + urls(address.rstrip("/"), tag), encoding="utf-8")
    text = readme.read_text(encoding="utf-8")
    readme.write_text(absolute(text, address.rstrip("/"), tag), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
