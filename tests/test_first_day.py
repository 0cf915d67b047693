"""docs/FIRST_DAY.md: its commands parse, its pictures are small, and the script runs them all."""

import dataclasses
import importlib.util
import pathlib
import re
import shlex
import sys

import pytest

from kvae.cli import main
from kvae.cli.command import COMMANDS
from kvae.utils.register import import_modules

ROOT = pathlib.Path(__file__).parents[1]


def load():
    spec = importlib.util.spec_from_file_location("first_day", ROOT / "docs/tools/first_day.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Which dataclasses look up.
    spec.loader.exec_module(module)
    return module


first_day = load()
TEXT = first_day.PAGE.read_text(encoding="utf-8")
COMMANDS_OF_PAGE = first_day.of_page(TEXT)
LINES = [command.words for command in COMMANDS_OF_PAGE if command.text.startswith("kvae ")]


def test_the_day_goes_the_whole_way():
    named = [line.split()[1] for line in LINES]
    assert {"train", "evaluate", "plot", "sample", "export", "verify", "serve"} <= set(named)
    for kind in ("repository", "tflite", "web"):
        assert any(f"--format {kind}" in line for line in LINES)


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """A folder with all files that the commands name."""
    folder = tmp_path_factory.mktemp("day")
    first_day.make_photos(folder / "photos", 3)
    first_day.make_table(folder / "patients.csv", 3)
    for name in ("runs/photos/model.keras", "runs/patients/model.keras", "photos.tflite"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "models").mkdir()
    return folder


@pytest.mark.parametrize("line", LINES, ids=[line[:40] for line in LINES])
def test_commands_parse(line, day, monkeypatch):
    monkeypatch.chdir(day)
    words = shlex.split(line.removesuffix("&"))
    import_modules("kvae.cli.commands")
    seen = []
    command = dataclasses.replace(COMMANDS[words[1]], run=seen.append)
    monkeypatch.setitem(COMMANDS._things, words[1], command)
    assert main(words[1:]) == 0 and len(seen) == 1


def test_the_page_was_recorded():
    """Every command has the output of a run, without what TensorFlow notes in its log."""
    assert "Not recorded" not in TEXT
    assert not re.search(r"^[EIW]\d{4} |^WARNING: All log", TEXT, flags=re.MULTILINE)
    for command in COMMANDS_OF_PAGE:
        assert command.output or command.text == "kill %1", command.text


def test_pictures_are_there_and_small():
    files = [
        first_day.PAGE.parent / first_day.PICTURES / f"{name}.png"
        for name in first_day._PICTURE.findall(TEXT)
    ]
    assert len(files) >= 4
    assert sum(path.stat().st_size for path in files) < 500_000
    assert all(path.stat().st_size > 1_000 for path in files)


def test_outputs_and_seconds_are_not_part_of_the_commands():
    block = "$ ls \\\n>   photos  # 12 s\ncircle\n\n$ kvae list\nmodels\n"
    found = first_day.commands(block)
    assert [command.words for command in found] == ["ls photos", "kvae list"]
    assert [command.output for command in found] == [["circle"], ["models"]]
    found[0].seconds = 3.4
    assert first_day.commands(found[0].shown())[0].lines == found[0].lines
    assert found[0].shown().splitlines()[1] == ">   photos  # 3 s"


def test_long_outputs_are_shortened_in_the_middle():
    lines = first_day._shortened("\n".join(map(str, range(100))))
    assert lines[0] == "0" and lines[-1] == "99" and len(lines) == first_day._SHOWN + 1
    assert first_day._shortened("10 %\r100 %\n") == ["100 %"]


def test_a_command_that_fails_stops_the_recording(tmp_path):
    with pytest.raises(RuntimeError, match="no-such-file"):
        first_day.record("```console\n$ ls no-such-file\n```\n", tmp_path)


@pytest.mark.slow
def test_the_day_runs():
    assert first_day.main(["--quick"]) == 0
