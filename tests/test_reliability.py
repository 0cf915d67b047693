"""docs/RELIABILITY.md names tests that exist, and says which of them are slow."""

import ast
import functools
import pathlib
import re

TESTS = pathlib.Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "RELIABILITY.md").read_text(encoding="utf-8")
NAMED = r"`([\w/]*test_\w+)::(test_\w+)`"  # Below tests/.


def test_every_promise_names_its_tests():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 15
    assert all(re.search(NAMED, row) for row in rows)
    # In the form that is looked for below.
    assert len(re.findall(NAMED, PAGE)) == PAGE.count("::")


@functools.cache
def marks(file):
    """Returns for each test of a file whether it is slow."""
    tree = ast.parse((TESTS / f"{file}.py").read_text(encoding="utf-8"))
    return {
        node.name: "pytest.mark.slow" in map(ast.unparse, node.decorator_list)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }


def test_every_test_exists_and_is_as_slow_as_it_says():
    for line in PAGE.splitlines():
        quick, _, slowly = line.partition(", slowly ")
        for text, is_slow in ((quick, False), (slowly, True)):
            for file, function in re.findall(NAMED, text):
                assert marks(file).get(function) == is_slow, f"{file}::{function}"
