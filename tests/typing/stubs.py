"""`make stubs`: writes `__init__.pyi` for each package whose names follow from a register.

Type checkers and editors do not run the imports of such a package, so its stub says what they would
find. A test holds the committed stubs to what this command writes. Packages whose `__all__` is a
list of literals need none, and those that import lazily have one that is written by hand.
"""

import ast
import importlib
import inspect
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = ("kvae", "zoo", "export")
HEAD = "# Written by `make stubs` from what the package registers.\n\n"


def _needs_stub(source: str) -> bool:
    """Checks whether the names of a package are known only when it runs."""
    if "attach_stub(" in source:
        return False
    for node in ast.parse(source).body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and "__all__" in ast.unparse(node):
            return not isinstance(node.value, ast.List) or any(
                not isinstance(element, ast.Constant) for element in node.value.elts
            )
    return False


def packages() -> list[str]:
    """Returns the packages that have a generated stub, as dotted names."""
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("__init__.py")):
            if _needs_stub(path.read_text(encoding="utf-8")):
                found.append(".".join(path.parent.relative_to(ROOT).parts))
    return found


def stub_path(package: str) -> pathlib.Path:
    """Returns the place of a package's stub."""
    return ROOT.joinpath(*package.split("."), "__init__.pyi")


def stub(package: str) -> str:
    """Returns the text of a package's stub: imports of its names and its own functions."""
    module = importlib.import_module(package)
    tree = ast.parse(inspect.getsource(module))
    imported = {
        alias.asname or alias.name: f"from {node.module} import {alias.name}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    imports, definitions, used = set(), [], set()
    for name in module.__all__:
        if name in functions:
            node = functions[name]
            node.body = [ast.Expr(ast.Constant(...))]
            definitions.append(ast.unparse(node))
            used |= {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        elif name in imported:
            imports.add(f"{imported[name]} as {name}")
        else:
            value = getattr(module, name)
            imports.add(f"from {value.__module__} import {value.__qualname__} as {name}")
    # What the annotations of the functions name.
    imports |= {imported[name] for name in used & set(imported) - set(module.__all__)}
    return _formatted(HEAD + "\n".join([*sorted(imports), "", *definitions]))


def _formatted(text: str) -> str:
    """Returns the text as `make lint` wants it."""
    for command in (["check", "--quiet", "--select", "I", "--fix"], ["format"]):
        line = [sys.executable, "-m", "ruff", *command, "--stdin-filename", "stub.pyi", "-"]
        done = subprocess.run(
            line, input=text, capture_output=True, text=True, cwd=ROOT, check=True
        )
        text = done.stdout
    return text


def main() -> None:
    """Writes all stubs, and removes those that are no longer needed."""
    needed = {stub_path(package): stub(package) for package in packages()}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("__init__.pyi"):
            if path not in needed and path.read_text(encoding="utf-8").startswith(HEAD):
                path.unlink()
    for path, text in needed.items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
