"""The register of commands, and what their help says."""

import shlex
import sys

import pytest

from kvae import cli
from kvae.cli import data, main
from kvae.cli.command import COMMANDS, command
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
def test_defaults_are_the_ones_that_the_help_states(name):
    for action in actions(name):
        if isinstance(action.default, bool) or not isinstance(action.default, (int, float, str)):
            continue
        value = f"{action.default:g}" if isinstance(action.default, float) else action.default
        stated = f"default: {value}" in action.help % {"default": value}
        assert stated or value == "auto", action.dest  # What auto means stands there in words.


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
    parser.add_argument("--name", default="you", help="Whom to greet (default: you).")


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
