"""docs/RELIABILITY.md names tests that exist."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]


def test_every_promise_names_its_tests():
    page = (ROOT / "docs" / "RELIABILITY.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 15
    for row in rows:
        named = re.findall(r"`(test_\w+)::(test_\w+)`", row)
        assert named, row
        for file, function in named:
            (path,) = (ROOT / "tests").rglob(f"{file}.py")
            assert re.search(rf"def {function}\(", path.read_text(encoding="utf-8")), function
