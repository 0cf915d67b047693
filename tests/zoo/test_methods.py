"""docs/METHODS.md is what the registers, the docstrings and the cards say."""

import pathlib

import pytest

import kvae
from zoo import methods_page
from zoo.peers import PEERS, Row

DOCS = pathlib.Path(__file__).parents[2] / "docs"
# What a part changes of another, or stands in for, has no paper of its own.
WITHOUT_PAPER = {"PriorNoise", "Rescaled"}


def test_it_is_what_registers_docstrings_and_cards_say():
    page = (DOCS / "METHODS.md").read_text(encoding="utf-8")
    assert page == methods_page.page(), "make methods"


@pytest.mark.parametrize("kind", methods_page.KINDS)
def test_every_name_stands_there_with_its_equation_and_its_paper(kind):
    found = methods_page.methods(kind)
    named = {name for names in found.values() for name in names}
    assert named == set(getattr(kvae, f"{kind}s").names())
    assert [part.__name__ for part in found if methods_page.equation(part) is None] == []
    assert {part.__name__ for part in found if not methods_page.papers(part)} <= WITHOUT_PAPER


def test_figures_are_those_of_cards_or_of_the_docstring():
    assert methods_page.figure(kvae.priors.Vamp).startswith("[`vamp_vae.mnist`](MODELS.md#vamp_")
    assert "--models m1+m2" in methods_page.figure(kvae.objectives.SemiSupervised)
    assert methods_page.figure(kvae.posteriors.StudentT) == "not measured"


def test_a_row_of_another_library_is_had_when_its_parts_are_registered():
    assert methods_page.spelled(Row("VAMP", {"prior": "vamp:50"})) == '`prior="vamp:50"`'
    assert methods_page.spelled(Row("New", {"prior": "of_tomorrow"})) is None
    names = [row.name for row in PEERS["pythae"]]
    assert len(names) == len(set(names)) == 25 + 10  # Models and samplers of its two tables.
