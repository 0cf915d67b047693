"""The README is short, it runs as one script, and its tables name what there is."""

import itertools
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
import warnings

import pytest

from kvae.cli import main

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"^\.venv/bin/kvae (\w+)", README, flags=re.MULTILINE)))


BLOCKS = re.findall(r"```(python|sh)\n(.*?)```", README, flags=re.DOTALL)
PYTHON = [block for kind, block in BLOCKS if kind == "python"]
EXPORTS = [block for block in PYTHON if "import export" in block]
# Other packages give these warnings to each other. All other warnings are errors.
FOREIGN = ("__array__ implementation doesn't accept a copy keyword",)
# Of the test below, in which functions run eagerly: those of tf.data do not.
EAGER = "Even though the `tf.config"


def test_python_runs_in_order_without_a_warning(tmp_path, monkeypatch, capsys, eagerly):
    """All but the exports, each of which takes half a minute to run in another runtime.

    Eagerly, of a few images, and trainings for one step: `make slow` runs all of it as it stands.
    """
    import kvae

    fit, load = kvae.VAE.fit, kvae.datasets.load

    def short(self, *arguments, **options):
        return fit(self, *arguments, **{**options, "epochs": 1, "steps_per_epoch": 1})

    monkeypatch.setattr(kvae.VAE, "fit", short)
    monkeypatch.setattr(kvae.datasets, "load", lambda *words, **how: load(*words, **how)[:50])
    monkeypatch.chdir(tmp_path)
    assert len(PYTHON) >= 4 and len(EXPORTS) == 1
    namespace = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for message in (*FOREIGN, EAGER):
            warnings.filterwarnings("ignore", message=re.escape(message))
        for block in PYTHON:
            if block not in EXPORTS:
                exec(compile(block, "README.md", "exec"), namespace)
    printed = capsys.readouterr().out
    assert "(4, 20, 30, 3)" in printed and "nats" in printed
    assert (tmp_path / "evaluation/result.md").is_file()


@pytest.mark.slow
def test_it_runs_as_one_script(tmp_path):
    """All of it from top to bottom, Python and commands, in one folder, warnings being errors."""
    ignored = itertools.chain(*(("-W", f"ignore:{message}") for message in FOREIGN))
    python = [sys.executable, "-W", "error", *ignored]
    script = "\n".join(PYTHON)
    after = README[README.index(PYTHON[-1]) :]
    (commands,) = [block for kind, block in BLOCKS if kind == "sh" and block in after]
    lines = [shlex.split(line, comments=True) for line in commands.splitlines()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for words in [[*python, "-c", script], *lines]:
        if words[0] == ".venv/bin/kvae":
            words = [*python, "-m", "kvae", *words[1:]]
        if "serve" in words:
            serve(words, tmp_path, environment)
            continue
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (words, done.stdout[-2000:], done.stderr[-4000:])
    assert (tmp_path / "serving/mnist/1/saved_model.pb").is_file()
    for name in ("mnist.tflite", "int8.tflite", "samples.png", "latent.png"):
        assert (tmp_path / name).is_file()
    assert (tmp_path / "page/index.html").is_file()
    assert (tmp_path / "runs/digits/model.keras").is_file()


def serve(words, folder, environment) -> None:
    """Runs a server until it answers for its model, and interrupts it."""
    (version,) = (folder / "models/models").glob("*/1")
    name = version.parent.name
    with subprocess.Popen(words, cwd=folder, env=environment) as server:
        try:
            for _ in range(300):
                assert server.poll() is None, "The server has ended."
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:8501/v1/models/{name}") as found:
                        assert b"AVAILABLE" in found.read()
                    break
                except OSError:
                    time.sleep(1.0)
            else:
                raise AssertionError("The server does not answer.")
        finally:
            server.send_signal(signal.SIGINT)


def test_no_two_commands_write_to_the_same_place():
    """A reader who types one page after the other is not told that a run is another's."""
    pages = [README, *(page.read_text() for page in (ROOT / "docs").glob("*.md"))]
    written = [
        place
        for page in pages
        for block in re.findall(r"```(?:sh|python)\n(.*?)```", page, flags=re.DOTALL)
        for place in re.findall(r"-o (\S+)|Checkpoint\(\"(\S+)\"\)", block)
    ]
    written = [first or second for first, second in written]
    assert len(written) >= 6 and len(set(written)) == len(written)


def test_names_of_parts_exist():
    """The README's table of parts names all of them, and no others."""
    import kvae

    table = README[README.index("| part | names |") :].split("\n\n")[0]
    modules = (kvae.posteriors, kvae.priors, kvae.likelihoods, kvae.objectives, kvae.fills)
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
