"""The faults that `make mutations` seeds can still be seeded; the command itself takes minutes."""

import ast
import importlib.util
import pathlib
import re
import sys

import pytest

_spec = importlib.util.spec_from_file_location(
    "mutations", pathlib.Path(__file__).with_name("mutations.py")
)
mutations = importlib.util.module_from_spec(_spec)
sys.modules["mutations"] = mutations
_spec.loader.exec_module(mutations)


def test_none_was_dropped():
    assert len(mutations.FAULTS) >= 46
    assert len({fault.what for fault in mutations.FAULTS}) == len(mutations.FAULTS)


@pytest.mark.parametrize("fault", mutations.FAULTS, ids=lambda fault: fault.what)
def test_a_fault_changes_the_meaning_of_its_file(fault):
    right = (mutations.ROOT / fault.file).read_text(encoding="utf-8")
    assert ast.dump(ast.parse(mutations.wrong_text(fault))) != ast.dump(ast.parse(right))
    for test in fault.tests:
        file, _, function = test.partition("::")
        text = (mutations.ROOT / mutations.TESTS / file).read_text(encoding="utf-8")
        for name in function.split("::"):
            assert re.search(rf"^ *(def|class) {name or 'test_'}", text, re.MULTILINE)
