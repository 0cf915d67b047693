"""Texts that others wrote are made printable before a terminal shows them."""

import ast
import pathlib
import sys
import unicodedata

import pytest

from kvae import cli
from kvae.utils.terminal import printable, say

ROOT = pathlib.Path(cli.__file__).parent


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("é 漢字 👩\u200d🔬 [bold]\tx\ny", "é 漢字 👩\u200d🔬 [bold]\tx\ny"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b2J\x85", r"\x9b2J\x85"),
        ("a\rb\x08\x7f\x00", r"a\rb\x08\x7f\x00"),
        ("\u202egnp.exe\u202c\u2066x\u2069", r"\u202egnp.exe\u202c\u2066x\u2069"),
        ("\u200bx\ufeff\u2028", r"\u200bx\ufeff\u2028"),
        ("name\udcff", r"name\udcff"),
        (3, "3"),
    ],
)
def test_control_characters_are_written_out(text, shown, capsys):
    assert printable(text) == shown
    say(text, end="")
    assert capsys.readouterr().out == shown


def test_every_control_character():
    # Python's own list, but for private letters and those that no Unicode has yet, and for those
    # that join letters (emoji, Indic and Persian scripts): they move nothing.
    directions = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    rest = []
    for letter in map(chr, range(sys.maxunicode + 1)):
        kind = unicodedata.category(letter)
        if kind in ("Cc", "Zl", "Zp", "Cs") or unicodedata.bidirectional(letter) in directions:
            assert (printable(letter) == letter) == (letter in "\t\n"), hex(ord(letter))
        elif kind not in ("Cf", "Cn"):
            rest.append(letter)
    assert printable("".join(rest)) == "".join(rest)


def test_commands_print_by_it():
    for path in ROOT.rglob("*.py"):
        calls = [
            ast.unparse(node)
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
        ]
        assert all(call.startswith("print(json.dumps(") for call in calls), path.name


@pytest.mark.parametrize(
    "command",
    [
        ["info", "\x1b[2Jnothing"],
        ["evaluate", "\x1b[2Jnothing.keras"],
        ["\x1b[2Jnothing"],
        ["list", "--\x1b[2J"],
        ["export", "dense_vae.digits", "-f", "\x1b[2J"],
    ],
)
def test_errors_of_the_command_line(command, capsys):
    try:
        status = cli.main(command)
    except SystemExit as end:
        status = end.code
    shown = capsys.readouterr()
    assert status == 2 and "\x1b" not in shown.out + shown.err
    assert r"\x1b[2J" in shown.err and shown.err.count("\n") == 1
