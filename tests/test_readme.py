"""The README is short, its Python runs as it stands, and its tables name what there is."""

import pathlib
import re

import pytest

from kvae.cli import main

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"^\.venv/bin/kvae (\w+)", README, flags=re.MULTILINE)))


BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
EXPORTS = [block for block in BLOCKS if "import export" in block]


def run(blocks) -> None:
    namespace = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)


def test_examples_run_in_order(tmp_path, monkeypatch, capsys):
    """All but the exports, each of which takes half a minute to run in another runtime."""
    monkeypatch.chdir(tmp_path)
    assert len(BLOCKS) >= 4 and len(EXPORTS) == 1
    run(block for block in BLOCKS if block not in EXPORTS)
    printed = capsys.readouterr().out
    assert "(4, 20, 30, 3)" in printed and "nats" in printed
    assert (tmp_path / "evaluation/result.md").is_file()


@pytest.mark.slow
def test_all_examples_run_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(BLOCKS)
    assert (tmp_path / "serving/mnist/1/saved_model.pb").is_file()
    assert (tmp_path / "mnist.tflite").is_file()


def test_names_of_parts_exist():
    """The README's table of parts names all of them, and no others."""
    import kvae

    table = README[README.index("| part | names |") :].split("\n\n")[0]
    modules = (kvae.posteriors, kvae.priors, kvae.likelihoods, kvae.objectives)
    for row, module in zip(table.splitlines()[2:], modules, strict=True):
        assert set(re.findall(r"`(\w+)`", row)) == set(module.REGISTER)


def test_names_of_commands():
    assert len(COMMANDS) >= 7


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_exist(command):
    """Every `kvae` command of the README parses (with --help in place of its work)."""
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0


def test_models_are_those_of_the_cards(capsys):
    """The README shows some of the models, as `kvae list --markdown` describes them."""
    assert main(["list", "--markdown"]) == 0
    table = capsys.readouterr().out.strip().splitlines()
    shown = re.search(r"<!-- models -->\n(.*?)\n<!-- /models -->", README, re.DOTALL)[1]
    head, rows = shown.splitlines()[:2], shown.splitlines()[2:]
    assert head == table[:2] and len(rows) >= 10 and set(rows) <= set(table[2:])


def test_it_is_short():
    assert len(README.splitlines()) < 200
