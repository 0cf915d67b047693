"""Links of the documentation lead somewhere, and the names of code that it mentions exist."""

import importlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("docs/guides/*.py"))
)
CODE = re.compile(r"^ *(`{3,}).*?^ *\1\s*$", flags=re.DOTALL | re.MULTILINE)
# A group of entry points, and entries of an exported file.
NO_CODE = {"export.formats", "kvae.json", "kvae.sha256"}


def prose(page):
    """Returns the text of a page without its blocks of code."""
    return CODE.sub("", (ROOT / page).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)\s#]+)", prose(page)):
        if not re.match(r"[a-z]+:", target):
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"


def exists(name):
    """Checks whether a dotted name is a module or an attribute of one."""
    parts = name.split(".")
    thing = importlib.import_module(parts[0])
    for place, part in enumerate(parts[1:], 2):
        if not hasattr(thing, part):
            try:
                importlib.import_module(".".join(parts[:place]))
            except ImportError:
                return False
        thing = getattr(thing, part)
    return True


def test_what_exists():
    assert exists("kvae.likelihoods.Bernoulli.log_prob") and exists("export.saved_model")
    assert not exists("kvae.likelihoods.BernoulliLikelihood") and not exists("kvae.nothing")


def test_names_of_code_exist():
    # The changelog names what there was, too.
    named = {
        (page, name)
        for page in PAGES
        if page != "CHANGELOG.md"
        for name in re.findall(r"`@?((?:kvae|zoo|export)(?:\.\w+)+)(?:\([^`\n]*\))?`", prose(page))
    }
    assert len(named) > 30
    wrong = [f"{page}: {name}" for page, name in sorted(named) if not exists(name)]
    wrong = [line for line in wrong if line.split(": ")[1] not in NO_CODE]
    assert not wrong, wrong


def test_paths_exist():
    """Files and folders that the pages name, such as `kvae/random.py` or `tests/zoo`."""
    found = {
        (page, path)
        for page in PAGES
        if page != "CHANGELOG.md"
        for path in re.findall(
            r"`((?:kvae|zoo|export|tests|docs|deploy)/[\w./-]+)`", prose(page), flags=re.ASCII
        )
    }
    assert len(found) > 40
    wrong = [
        f"{page}: {path}"
        for page, path in sorted(found)
        if not (ROOT / path).exists() and "NAME" not in path
    ]
    assert not wrong, wrong
