"""Hooks of mkdocs: generated pages, links that lead out of docs/, and names of code."""

from __future__ import annotations

import functools
import logging
import pathlib
import posixpath
import re

import notebooks
import reference
from mkdocs.structure.files import File

log = logging.getLogger("mkdocs.hooks.kvae")

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Pages whose sources stand at the root of the repository.
ROOT_PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
# What stands for a file of the root that is no page of the site.
INSTEAD = {"README.md": "index.md"}
# Old names are right in the changelog.
HISTORY = {"changelog.md"}
# What looks like a name of code: a group of entry points, entries of an exported file.
NO_CODE = {"export.formats", "kvae.json", "kvae.sha256"}

_LINK = re.compile(r"(\]\()([^)\s]+)(\))")
_NAME = re.compile(r"(?<![\[`])`((?:kvae|zoo|export)(?:\.\w+)+)(\([^`\n]*\))?`(?![`\]])")
_FENCE = re.compile(r"^(`{3,}).*?^\1\s*$", flags=re.DOTALL | re.MULTILINE)


@functools.cache
def code():
    """Returns the sources as griffe reads them."""
    return reference.load()


@functools.cache
def reference_pages() -> dict[str, str]:
    return reference.pages(code())


def on_config(config):
    """Fills the parts of the navigation that follow from files."""
    guides = [f"guides/{path.stem}.md" for path in notebooks.sources()]
    studies = sorted(path.parent.name for path in DOCS.glob("studies/*/README.md"))
    guides = ["guides/README.md", *guides]
    studies = ["studies/README.md", *(f"studies/{name}/README.md" for name in studies)]
    parts = {"Guides": guides, "Studies": studies, "Reference": _reference_nav()}
    for entry in config.nav:
        for title, pages in parts.items():
            if title in entry:
                entry[title] = pages
    return config


def _reference_nav() -> list:
    """Returns a section for each package, with its modules below it."""
    names = list(reference_pages())
    nav = []
    for package in reference.PACKAGES:
        inside = [name for name in names if name.split(".")[0] == package]
        groups: dict[str, list[str]] = {}
        for name in inside:
            groups.setdefault(".".join(name.split(".")[:2]), []).append(name)
        entries = []
        for group, members in groups.items():
            pages = [{name: f"reference/{name}.md"} for name in members]
            entries.append(pages[0] if len(pages) == 1 else {group: pages})
        nav.append({package: entries})
    return nav


def on_files(files, config):
    """Adds the reference, the guides and what stands at the root of the repository."""
    add = functools.partial(File.generated, config)
    for name, text in reference_pages().items():
        files.append(add(f"reference/{name}.md", content=text))
    for path in notebooks.sources():
        page, pictures = notebooks.as_page(path.with_suffix(".ipynb"))
        files.append(add(f"guides/{path.stem}.md", content=page))
        for name, content in pictures.items():
            files.append(add(f"guides/{name}", content=content))
    for source, page in ROOT_PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(add(page, content=text))
    for target in _linked_files(files):
        files.append(add(f"files/{target}", abs_src_path=str(ROOT / target)))
    return files


def _linked_files(files) -> set[str]:
    """Returns the files outside of docs/ to which pages link, relative to the root."""
    found = set()
    for file in files.documentation_pages():
        for _, target, _ in _LINK.findall(_without_code(file.content_string)):
            path = _outside(target, file.src_uri)
            if path and (ROOT / path).is_file() and path not in {*ROOT_PAGES, *INSTEAD}:
                found.add(path)
    return found


def _without_code(text: str) -> str:
    return _FENCE.sub("", text)


def _outside(target: str, page: str) -> str | None:
    """Returns the path from the root of a link that leaves docs/; `None` for all other links."""
    if re.match(r"[a-z]+:|#|/", target):
        return None
    folder = "" if page in ROOT_PAGES.values() else posixpath.join("docs", posixpath.dirname(page))
    path = posixpath.normpath(posixpath.join(folder, target.partition("#")[0]))
    return None if path.startswith(("docs/", "..")) else path


def on_page_markdown(markdown, page, config, files):
    """Turns links out of docs/ and names of code into links within the site."""
    uri = page.file.src_uri
    from_root = uri in ROOT_PAGES.values()

    def link(match):
        before, target, after = match.groups()
        path = _outside(target, uri)
        if path is not None:
            anchor = target.partition("#")[2]
            if path in ROOT_PAGES:
                place = ROOT_PAGES[path] + (f"#{anchor}" if anchor else "")
            else:
                place = INSTEAD.get(path, f"files/{path}")
        elif from_root and target.startswith("docs/"):
            place = target.removeprefix("docs/")
        elif target.endswith(".ipynb"):
            return before + target.removesuffix(".ipynb") + ".md" + after
        else:
            return match[0]
        return f"{before}{posixpath.relpath(place, posixpath.dirname(uri) or '.')}{after}"

    def name(match):
        if uri in HISTORY or match[1] in NO_CODE:
            return match[0]
        if not _exists(match[1]):
            log.warning("'%s' names `%s`, which does not exist.", uri, match[1])
        elif match[1] in _entries():
            return f"[`{match[1]}{match[2] or ''}`][{match[1]}]"
        elif match[1] in reference_pages():
            place = posixpath.relpath(f"reference/{match[1]}.md", posixpath.dirname(uri) or ".")
            return f"[`{match[1]}`]({place})"
        return match[0]

    return _outside_fences(markdown, lambda text: _NAME.sub(name, _LINK.sub(link, text)))


def _outside_fences(markdown: str, change) -> str:
    pieces, last = [], 0
    for fence in _FENCE.finditer(markdown):
        pieces += [change(markdown[last : fence.start()]), fence[0]]
        last = fence.end()
    return "".join([*pieces, change(markdown[last:])])


@functools.cache
def _exists(path: str) -> bool:
    """Checks whether the sources define a name, through imports and base classes."""
    try:
        first, *rest = path.split(".")
        thing = code()[first]
        for part in rest:
            thing = thing.final_target if thing.is_alias else thing
            thing = thing.all_members[part]
        return True
    except Exception:  # griffe raises KeyError or one of its errors of aliases.
        # An attribute that is set in a constructor, a file such as `kvae.json`, or nothing at all.
        return False


@functools.cache
def _entries() -> frozenset[str]:
    """Returns the names that have an entry in the reference, by which pages can link to them."""
    text = "\n".join(reference_pages().values())
    found = re.findall(r"^::: (\S+)$", text, flags=re.MULTILINE)
    return frozenset(found) - frozenset(reference_pages())
