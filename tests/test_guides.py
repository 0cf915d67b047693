"""The guides run, and their notebooks hold what their sources say."""

import importlib.util
import pathlib
import sys

import pytest

from kvae import likelihoods, objectives, posteriors, priors

TOOLS = pathlib.Path(__file__).parents[1] / "docs" / "tools"


def load(name):
    spec = importlib.util.spec_from_file_location(f"docs_{name}", TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Which dataclasses look up.
    spec.loader.exec_module(module)
    return module


notebooks = load("notebooks")
GUIDES = [path.stem for path in notebooks.sources()]


def source(name):
    return notebooks.FOLDER / f"{name}.py"


def test_every_guide_is_listed():
    assert len(GUIDES) == 15
    assert set(GUIDES) == {path.stem for path in notebooks.FOLDER.glob("*.py")}
    assert set(GUIDES) == {path.stem for path in notebooks.FOLDER.glob("*.ipynb")}


@pytest.mark.parametrize("name", GUIDES)
def test_the_notebook_is_that_of_the_source(name):
    """Its cells are those of the file, and every cell that prints or draws has done so."""
    written = notebooks.from_notebook(source(name).with_suffix(".ipynb").read_text("utf-8"))
    wanted = notebooks.cells(source(name).read_text(encoding="utf-8"))
    assert [(c.kind, c.source, c.alt) for c in written] == [
        (c.kind, c.source, c.alt) for c in wanted
    ], "Run `make guides`."
    for cell in written:
        assert cell.outputs or "print(" not in cell.source or "def " in cell.source
        assert bool(cell.alt) == any("image/png" in o.get("data", {}) for o in cell.outputs)


def test_quick_values_replace_those_of_the_reader():
    assert notebooks.quick("epochs = 100  # quick: 1\nx = 2\n") == "epochs = 1\nx = 2\n"


@pytest.fixture
def forgotten():
    """The names of the parts that a guide writes are forgotten afterwards."""
    registers = [kind.REGISTER for kind in (likelihoods, objectives, posteriors, priors)]
    before = [dict(register._things) for register in registers]
    yield
    for register, things in zip(registers, before, strict=True):
        register._things.clear()
        register._things.update(things)


# The cheapest one. The others run what tests of their own do; all run in full by `make guides`.
@pytest.mark.usefixtures("eagerly", "forgotten")
@pytest.mark.default("sampling")
@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_runs(name):
    """Every cell runs, with fewer epochs and examples; guides state what they refuse themselves."""
    assert notebooks.quick(source(name).read_text("utf-8")).count("# quick:") == 0
    done = notebooks.run(source(name), notebooks.quick)
    for cell in done:
        assert bool(cell.alt) == any("image/png" in o.get("data", {}) for o in cell.outputs)


@pytest.mark.slow
@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_runs_in_full(name):
    notebooks.run(source(name))


def test_an_unknown_guide_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit) as stop:
        notebooks.main(["nothing"])
    shown = capsys.readouterr().err
    assert stop.value.code == 2 and "no guide 'nothing'" in shown and GUIDES[0] in shown
