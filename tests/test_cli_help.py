"""The register of commands, and what their help says."""

import dataclasses
import io
import pathlib
import re
import shlex
import sys
import warnings

import pytest

import zoo
from kvae import cli
from kvae.cli import checks, main, progress
from kvae.cli.command import COMMANDS, command
from kvae.cli.help import Unset
from kvae.utils.register import import_modules

import_modules("kvae.cli.commands")
NAMES = list(COMMANDS)


@pytest.fixture
def register(monkeypatch):
    """The register, which is afterwards as it was."""
    monkeypatch.setattr(COMMANDS, "_things", dict(COMMANDS))
    return COMMANDS


def shown(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


def actions(name):
    parser = cli._parser(name)
    subparsers = next(action for action in parser._actions if action.dest == "command")
    return [action for action in subparsers.choices[name]._actions if action.dest != "help"]


def test_the_commands():
    assert len(NAMES) >= 12
    assert {"list", "train", "evaluate", "sample", "export", "verify", "serve"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_help_is_in_whole_sentences(name, capsys):
    text = shown(capsys, name)
    summary = COMMANDS[name].summary
    assert summary.split()[0].endswith("s") and summary.endswith(".")  # "Lists the models."
    for action in actions(name):
        assert action.help[0].isupper() and action.help.endswith("."), action.dest
    assert f"examples:\n  kvae {name}" in text
    assert summary.split(",")[0].split(":")[0] in " ".join(text.split())


@pytest.mark.parametrize("name", NAMES)
def test_every_option_shows_its_default(name):
    for action in actions(name):
        assert "efault" not in action.help, action.dest  # The formatter alone tells it.
        if action.option_strings and not action.required:
            assert action.default is not None, action.dest


def test_the_default_in_the_help_is_that_of_the_parser(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    parser = cli._Parser(prog="tool")
    for flag, default in {
        "--number": 7,
        "--ratio": 0.5,
        "--several": [0.25, 4.0],
        "--nothing": [],
        "--text": "100%",
        "--unset": Unset("the card's, or 0"),
    }.items():
        parser.add_argument(flag, default=default, help="Use this.")
    parser.add_argument("--flag", action="store_true", help="Do it.")
    parser.add_argument("--kind", choices=("a", "b"), default="b", help="Take this.")
    text = " ".join(parser.format_help().split())
    for line in (
        "--number NUMBER Use this. Default: 7.",
        "--ratio RATIO Use this. Default: 0.5.",
        "--several SEVERAL Use this. Default: 0.25 4.",
        "--nothing NOTHING Use this. Default: none.",
        "--text TEXT Use this. Default: 100%.",
        "--unset UNSET Use this. Default: the card's, or 0.",
        "--flag Do it. Default: off.",
        "--kind KIND Take this. One of: a, b. Default: b.",
    ):
        assert line in text
    assert parser.parse_args([]).unset is None and parser.parse_args([]).number == 7


@pytest.mark.parametrize("width", [40, 60, 80])
@pytest.mark.default("40")
def test_terminals_of_any_width_split_no_name(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setattr("kvae.cli.help._WIDEST", 1000)
    lines = [[], *([name] for name in NAMES)]
    wide = [words(shown(capsys, *line)) for line in lines]
    monkeypatch.setenv("COLUMNS", str(width))
    for line, expected in zip(lines, wide, strict=True):
        text = shown(capsys, *line)
        assert words(text) == expected
        assert max(map(len, text.splitlines())) <= width
    monkeypatch.setenv("TERM", "dumb")  # Letters alone.
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["list", "*.mnist*"]) == 0
    text = capsys.readouterr().out
    assert {"denoising_autoencoder.mnist", "conv_vae.mnist_hierarchical"} <= set(text.split())
    assert max(map(len, text.splitlines())) <= width


def words(text):
    """The words of a help text in any order, with the usage and the ends of lines left out."""
    return sorted(text.partition("\n\n")[2].replace(" \\\n", " ").split())


def test_names_keep_their_capitals(capsys):
    text = shown(capsys)
    assert all(word in text for word in ("ELBO", "REST", "gRPC", "TensorFlow Serving", "log p(x)"))
    assert "SavedModel" in shown(capsys, "export") and "p(x|z)" in shown(capsys, "sample")


def test_kvae_alone_shows_the_help(capsys):
    wanted = shown(capsys)
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 0
    assert capsys.readouterr().out == wanted


@pytest.mark.parametrize("name", NAMES)
def test_examples_parse(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for example in COMMANDS[name].examples:
        program, *words = shlex.split(example)
        assert program == "kvae" and words[0] == name
        for path in map(pathlib.Path, set(words) - set(zoo.list_models(untrained=True))):
            path.parent.mkdir(parents=True, exist_ok=True)  # What the example is of.
            path.write_text("") if path.suffix else path.mkdir(exist_ok=True)
        assert cli._parser(name).parse_args(words).run is COMMANDS[name].run


@pytest.mark.parametrize("name", NAMES)
def test_options_are_not_abbreviated(name):
    """`plot --data` was once `--dataset`."""
    parser = cli._parser(name)
    subparsers = next(action for action in parser._actions if action.dest == "command")
    assert not parser.allow_abbrev and not subparsers.choices[name].allow_abbrev


def test_help_and_lists_answer_without_tensorflow(run_python):
    lines = [["--help"], ["list"], ["info", "dense_vae.digits"], *([n, "--help"] for n in NAMES)]
    run_python(
        "import sys; from kvae.cli import main\n"
        f"for line in {lines!r}:\n"
        "    try: main(line)\n"
        "    except SystemExit: pass\n"
        "    heavy = {'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)\n"
        "    assert not heavy, (line, heavy)"
    )


def test_the_list_of_commands_shows_the_first_sentence_of_each(capsys):
    text = " ".join(shown(capsys).split())
    assert all(f"{name} {COMMANDS[name].summary}" in text for name in NAMES)


def test_names_that_are_read_from_sources_are_those_of_the_registers():
    from kvae import likelihoods, objectives, posteriors, priors, samplers, studies

    found = {
        "architecture": zoo.list_architectures(),
        "likelihood": likelihoods.names(),
        "objective": objectives.names(),
        "posterior": posteriors.names(),
        "prior": priors.names(),
        "sampler": samplers.names(),
        "study": studies.names(),
    }
    assert {kind: checks.registered(kind) for kind in found} == {
        kind: tuple(names) for kind, names in found.items()
    }
    assert zoo.list_recipes() == zoo.list_models(untrained=True)  # By which recipes are checked.


# Every command that loads TensorFlow, and what it is told at once.
LOADING = (
    "demo",
    "evaluate dense_vae.digits",
    "export dense_vae.digits",
    "plot dense_vae.digits samples",
    "sample dense_vae.digits",
    "serve dense_vae.digits --port 0 --no-grpc --backend development",
    "study why-sample",
    "sweep dense_vae",
    "train dense_vae",
    "verify .",
)
WRONG = {
    "compare dense_vae.digits none.keras": "There is no model file none.keras",
    "doctor dense_vae.digits --data none": "There is no none: give --data a folder of images",
    "evaluate dense_vae.digit": "Unknown model 'dense_vae.digit'. Did you mean 'dense_vae.digits'",
    "evaluate none.keras": "There is no model file none.keras",
    "evaluate dense_vae.digits --dataset digit": "Unknown dataset 'digit'. Did you mean 'digits'",
    "evaluate dense_vae.digits --data none": "There is no none: give --data a folder of images",
    "evaluate dense_vae.digits --import nowhere": "There is no module nowhere: give the path",
    "evaluate dense_vae.digits --sampler gnn": "Unknown sampler 'gnn'. Known: flow, ",
    "evaluate dense_vae.digits -o file/below": "file is a file, not a folder",
    "evaluate dense_vae.digits --cache folder": "folder is a folder: give a file",
    "export folder": "folder is a folder, not a model: give a .keras file",
    "export run": "run is a folder, not a model: give run/model.keras",
    "export dense_vae.digits -f pdf": "invalid choice: 'pdf'",
    "export dense_vae.digits -o file/below": "file is a file, not a folder",
    "plot dense_vae.digits samples -o file/a.png": "file is a file, not a folder",
    "sample none/model": "There is no none/model",
    "serve none": "Unknown model 'none'",
    "study why-sampl": "Unknown study 'why-sampl'. Did you mean 'why-sample'",
    "study why-sample --dataset digit": "Unknown dataset 'digit'. Did you mean 'digits'",
    "study why-sample --dataset sprites": "why-sample is made on digits or mnist, not on sprites",
    "study disentanglement --dataset mnist": "disentanglement is made on sprites, not on mnist",
    "study list --quick": "kvae study list makes no study, and takes no --quick",
    "sweep dense": "Unknown architecture 'dense'. Did you mean 'dense_vae'",
    "verify none.tflite": "There is no none.tflite",
    "verify file --model none.keras": "There is no model file none.keras",
}


def test_arguments_are_checked_before_tensorflow_is_imported(run_python, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.keras").write_text("")
    run_python(
        f"""
import contextlib, io, os, shlex, sys
from kvae.cli import main

class Blocked:
    def find_spec(self, name, *_):
        if name in ("tensorflow", "keras"):
            raise ImportError("TensorFlow is not for this test")

sys.meta_path.insert(0, Blocked())
os.chdir({str(tmp_path)!r})

def told(line):
    with contextlib.redirect_stderr(io.StringIO()) as text:
        try:
            status = main(shlex.split(line))
        except SystemExit as stop:
            status = stop.code
    assert status == 2, line
    return text.getvalue()

for line, message in {WRONG!r}.items():
    text = told(line)
    assert message in text and text.count("\\n") == 1, (line, text)
for line in {LOADING!r}:
    first, last = told(line).splitlines()
    assert first == "Loading TensorFlow …", (line, first)
    assert "is not for this test" in last, (line, last)
"""
    )


class _Screen(io.StringIO):
    def isatty(self):
        return True


def test_progress_on_a_terminal_shows_the_epoch_and_the_figures(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", _Screen())
    figures = "loss 98.123, validation 99.012"
    with progress.progress("training conv_vae.mnist_hierarchical", 20, "epoch") as update:
        update(3, figures)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sys.stderr.getvalue())
    lines = re.split(r"[\r\n]+", text)
    assert any(line.startswith("epoch 3/20 ") and figures in line for line in lines)
    assert max(map(len, lines)) <= 60


def test_progress_without_a_terminal_is_a_line_an_epoch(monkeypatch, capsys):
    with progress.progress("training x", 2, "epoch") as update:
        update(1, "loss 2.000")
        update(2, "loss 1.000")
    lines = ["training x", "epoch 1/2: loss 2.000", "epoch 2/2: loss 1.000"]
    assert capsys.readouterr().err.splitlines() == lines
    with progress.progress("evaluating x", 3000) as update:
        update(1000)  # Nobody waits long for it.
        monkeypatch.setattr(progress, "_SILENCE", 0.0)
        update(2000)
    lines = ["evaluating x", "evaluating x: 2,000/3,000"]
    assert capsys.readouterr().err.splitlines() == lines


OUTSIDE = '''
from kvae.cli.command import command


def add_arguments(parser):
    parser.add_argument("--name", default="you", help="Whom to greet.")


@command("hello", add_arguments, "kvae hello --name Ada")
def run(arguments):
    """Greets somebody."""
    print(f"Hello, {arguments.name}.")
'''


def test_a_command_from_outside_is_one_file(register, tmp_path, monkeypatch, capsys):
    (tmp_path / "greeting.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("KVAE_PLUGINS", "greeting")
    monkeypatch.delitem(sys.modules, "greeting", raising=False)
    assert "Greets somebody." in shown(capsys)
    assert "kvae hello --name Ada" in shown(capsys, "hello")
    assert main(["hello", "--name", "Ada"]) == 0
    assert capsys.readouterr().out == "Hello, Ada.\n"


def test_a_plugin_that_cannot_be_imported_is_one_clear_line(monkeypatch, capsys):
    monkeypatch.setenv("KVAE_PLUGINS", "no_such_module_of_mine")
    assert main(["list"]) == 2
    text = capsys.readouterr().err
    assert text.startswith("kvae: error: ") and "no_such_module_of_mine" in text


def test_a_name_is_given_once_and_every_command_has_an_example(register):
    with pytest.raises(ValueError, match="There is a command 'list' already"):
        command("list", lambda parser: None, "kvae list")(lambda arguments: 0)
    with pytest.raises(ValueError, match="needs an example"):
        command("other", lambda parser: None)


def test_warnings_are_shown_in_one_line_without_code(monkeypatch):
    shown = []
    before = warnings.formatwarning

    def run(arguments):
        shown.append(warnings.formatwarning("two\nlines", UserWarning, "here.py", 7))

    monkeypatch.setitem(COMMANDS._things, "list", dataclasses.replace(COMMANDS["list"], run=run))
    assert main(["list"]) == 0
    assert shown == ["kvae: warning: two lines\n"] and warnings.formatwarning is before
