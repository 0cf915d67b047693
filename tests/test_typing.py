"""What type checkers see: the stubs, a typical script, and mistakes that they are to find."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def stubs():
    spec = importlib.util.spec_from_file_location("stubs", ROOT / "tests/typing/stubs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_stubs_are_what_the_packages_register(stubs):
    """`make stubs` writes them."""
    needed = {stubs.stub_path(package): package for package in stubs.packages()}
    present = {
        path
        for package in stubs.PACKAGES
        for path in (ROOT / package).rglob("__init__.pyi")
        if path.read_text(encoding="utf-8").startswith(stubs.HEAD)
    }
    assert present == set(needed)
    for path, package in needed.items():
        assert path.read_text(encoding="utf-8") == stubs.stub(package), package


def test_a_stub_has_the_names_and_the_functions_of_its_package(stubs):
    text = stubs.stub("kvae.utils.exports")  # A plain module serves as well.
    assert text.startswith(stubs.HEAD)
    assert (
        "def attach_stub(package: str, file: str) -> tuple[Callable, Callable, list[str]]" in text
    )
    assert "from collections.abc import Callable" in text


@pytest.mark.slow  # And `make lint`.
def test_pyright_agrees_with_the_script_and_finds_the_mistakes():
    """As `make lint` does, with the settings of pyproject.toml."""
    done = subprocess.run(
        [sys.executable, "-m", "pyright"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 errors, 0 warnings" in done.stdout
