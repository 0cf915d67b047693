"""The layers hold: no circles, nothing low imports something high, nobody uses private names."""

import ast
import functools
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGES = ("kvae", "zoo", "export")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


@functools.cache  # A second of each process that collects the tests.
def trees() -> dict:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


@functools.cache
def nodes() -> dict:
    return {path: list(ast.walk(tree)) for path, tree in trees().items()}


def name(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).as_posix()


def is_module(dotted: str) -> bool:
    path = ROOT.joinpath(*dotted.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def imports(nodes):
    """Yields the node, the module and the name of each import, wherever it stands in a file."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name, None, alias.asname
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node, node.module or "", alias.name, alias.asname


def private(word: str) -> bool:
    return word.startswith("_") and not (word.startswith("__") and word.endswith("__"))


def test_contracts():
    """The contracts of pyproject.toml, as `make lint` checks them."""
    code = "from importlinter import cli; print(cli.lint_imports(no_cache=True, no_logo=True))"
    # A process of its own: what writes to the terminal outlives pytest's capture of a test.
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert found.stdout.splitlines()[-1:] == ["0"], found.stdout + found.stderr


def test_imports_are_absolute():
    relative = [
        f"{name(path)}:{node.lineno}"
        for path, found in nodes().items()
        for node in found
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_nothing_inside_kvae_imports_its_root():
    """`import kvae` is for users: it would hide from which layer a name comes."""
    found = [
        f"{name(path)}:{node.lineno}"
        for path, inside in nodes().items()
        if name(path).startswith("kvae/")
        for node, module, imported, _ in imports(inside)
        if (imported is None and module.split(".")[0] == "kvae")
        or (module == "kvae" and not is_module(f"kvae.{imported}"))
    ]
    assert found == []


def private_uses(nodes):
    """Yields the line and the name of each private name that is taken from another module."""
    modules = set()
    for node, module, imported, renamed in imports(nodes):
        if module.split(".")[0] not in PACKAGES:
            continue
        parts = [*module.split("."), *([imported] if imported else [])]
        if any(map(private, parts)):
            yield node.lineno, ".".join(parts)
        if imported is None:
            modules.add(renamed or module.split(".")[0])
        elif is_module(f"{module}.{imported}"):
            modules.add(renamed or imported)
    for node in nodes:
        if isinstance(node, ast.Attribute) and private(node.attr):
            owner = node.value
            while isinstance(owner, ast.Attribute):
                owner = owner.value
            if isinstance(owner, ast.Name) and owner.id in modules:
                yield node.lineno, ast.unparse(node)


def test_no_module_uses_private_names_of_another():
    found = [
        f"{name(path)}:{line} {used}"
        for path, inside in nodes().items()
        for line, used in private_uses(inside)
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "from kvae.models.vae import _hidden",
        "from kvae.models import vae\nvae._hidden()",
        "import kvae.models.vae as model\nprint(model.VAE._hidden)",
        "def late():\n    from kvae.utils._io import write",
    ],
)
def test_private_names_would_be_found(code):
    assert list(private_uses(list(ast.walk(ast.parse(code)))))


def private_attributes(nodes):
    """Yields each private attribute that the file itself does not define, and its line."""
    defined, uses = set(), []
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
        elif isinstance(node, ast.Attribute) and private(node.attr):
            uses.append(node)
            if isinstance(node.ctx, ast.Store):
                defined.add(node.attr)
    for node in uses:
        if node.attr in defined:
            continue
        own = ast.unparse(node.value) in ("self", "cls", "super()", "os")  # `os._exit` is public.
        if not own:
            yield node.lineno, ast.unparse(node)


def test_no_object_is_asked_for_what_is_private_to_its_class():
    """But Keras's own objects, in the one module whose task that is."""
    found = [
        f"{name(path)}:{line} {used}"
        for path, inside in nodes().items()
        if name(path) != "kvae/utils/keras_internals.py"
        for line, used in private_attributes(inside)
    ]
    assert found == []


def test_private_attributes_would_be_found():
    for code, wrong in (
        ("def f(vae):\n    return vae.encoder._weights", True),
        ("class A:\n    def f(self): self._weights()", False),
    ):
        assert bool(list(private_attributes(list(ast.walk(ast.parse(code)))))) == wrong


def test_files_are_short():
    limits = {**dict.fromkeys((*PACKAGES, "benchmarks"), 400), "tests": 500}
    long = {
        name(path): lines
        for folder, most in limits.items()
        for path in sorted((ROOT / folder).rglob("*.py"))
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > most
    }
    assert long == {}
