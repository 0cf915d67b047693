"""Pages of the API reference, made from the sources without importing them.

Each package gets one page with the names that it exports, and modules that hold more than their
package exports follow below it. The order is that of the layers in pyproject.toml.
"""

from __future__ import annotations

import pathlib
import re

import griffe

ROOT = pathlib.Path(__file__).parents[2]
PACKAGES = ("kvae", "zoo", "export")


def load() -> griffe.ModulesCollection:
    """Returns the three packages as griffe reads them, with aliases resolved."""
    loader = griffe.GriffeLoader(search_paths=[ROOT])
    for package in PACKAGES:
        loader.load(package)
    loader.resolve_aliases(implicit=True, external=False)
    return loader.modules_collection


def layers() -> list[str]:
    """Returns the packages of the first import contract, from the top layer down."""
    contracts = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^layers = \[(.*?)^\]", contracts, flags=re.DOTALL | re.MULTILINE)[1]
    return re.findall(r"[\w.]+", block)


def exported(module: griffe.Module) -> list[str]:
    """Returns the names that a module exports and that are no modules.

    They are those of `__all__`, or what a stub imports as itself.
    """
    stub = module.filepath.with_suffix(".pyi")
    if stub.is_file():
        names = re.findall(r" import \w+ as (\w+)", stub.read_text(encoding="utf-8"))
    else:
        names = module.exports or ()
    return [
        name
        for name in map(str, names)
        if name in module.members and not name.startswith("_") and not _is_module(module, name)
    ]


def _is_module(module: griffe.Module, name: str) -> bool:
    member = module.members[name]
    try:
        return (member.final_target if member.is_alias else member).is_module
    except griffe.AliasResolutionError:  # Of a package that is not ours.
        return True


def modules(collection: griffe.ModulesCollection) -> list[griffe.Module]:
    """Returns every public module, in the order of the layers and then of their names."""
    order = {name: place for place, name in enumerate(layers())}
    found = []

    def walk(module):
        found.append(module)
        for member in module.members.values():
            if not member.is_alias and member.is_module and not member.name.startswith("_"):
                walk(member)

    for package in PACKAGES:
        walk(collection[package])

    def key(module):
        parts = module.path.split(".")
        layer = next((order[name] for name in (".".join(parts[:2]), parts[0]) if name in order), -1)
        # The root of kvae, which is what users import, comes first.
        return (PACKAGES.index(parts[0]), layer if len(parts) > 1 else -1, module.path)

    return sorted(found, key=key)


def pages(collection: griffe.ModulesCollection) -> dict[str, str]:
    """Returns the Markdown of each page by its path below `reference/`."""
    shown: set[str] = set()
    result = {}
    everything = modules(collection)
    # Packages first: what a package exports is not shown again with the module that defines it.
    for is_package in (True, False):
        for module in everything:
            if module.is_package is not is_package:
                continue
            names = []
            for name in exported(module):
                member = module.members[name]
                path = member.final_target.path if member.is_alias else member.path
                if path not in shown:
                    shown.add(path)
                    names.append(name)
            if names or module.path in PACKAGES:
                result[module.path] = _page(module, names)
    return {module.path: result[module.path] for module in everything if module.path in result}


def _page(module: griffe.Module, names: list[str]) -> str:
    lines = [
        f"# {module.path}",
        "",
        f"::: {module.path}",
        "    options:",
        "      members: false",
        "      show_root_heading: false",
        "      show_root_toc_entry: false",
        "",
    ]
    # The methods of kvae.VAE stand in its base classes, which nobody looks for.
    inherited = ["    options:", "      inherited_members: true"] if "VAE" in names else []
    for name in names:
        lines += [f"::: {module.path}.{name}", *inherited, ""]
    return "\n".join(lines)
