"""The register of commands, and what their help says."""

import shlex
import sys

import pytest

from kvae import cli
from kvae.cli import data, main
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


@pytest.mark.parametrize("name", [name for name in NAMES if name != "train"])
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
        "--text TEXT Use this. Default: 100%.",
        "--unset UNSET Use this. Default: the card's, or 0.",
        "--flag Do it. Default: off.",
        "--kind KIND Take this. One of: a, b. Default: b.",
    ):
        assert line in text
    assert parser.parse_args([]).unset is None and parser.parse_args([]).number == 7


@pytest.mark.parametrize("width", [40, 60, 80])
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
def test_examples_parse(name):
    for example in COMMANDS[name].examples:
        program, *words = shlex.split(example)
        assert program == "kvae" and words[0] == name
        assert cli._parser(name).parse_args(words).run is COMMANDS[name].run


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


def test_samplers_are_those_of_the_register():
    from kvae import samplers

    assert list(data.SAMPLERS) == list(samplers.names())


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
