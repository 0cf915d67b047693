"""kvae.studies: a study is one file, here or outside of the package, which `kvae study` runs."""

import json

import pytest

from kvae import studies
from kvae.cli import main
from kvae.studies import registry

FILE = """
from kvae import studies


@studies.register("how-wide")
class HowWide(studies.Study):
    question = "Do more latents make a better model?"
    datasets = ("digits",)

    def run(self, lab):
        narrow, wide = (lab.fit(f"{d} latents", latent_dim=d) for d in (1, 2))
        lab.finding("Two latents are better than one", None, f"{len(narrow.history)} figures")
        lab.report.table(("latents",), [(run.vae.latent_dim,) for run in (narrow, wide)])
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    (tmp_path / "study_of_mine.py").write_text(FILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("KVAE_PLUGINS", "study_of_mine")
    yield
    registry.STUDIES._things.pop("how-wide", None)


def test_a_file_outside_of_the_package_adds_a_study(plugin, run_study, eagerly, capsys, tmp_path):
    assert "how-wide" in studies.names()
    findings, page = run_study("how-wide")
    assert [found["claim"] for found in findings] == ["Two latents are better than one"]
    assert "# Do more latents make a better model?" in page and "| 1 |" in page

    run_study.refuse()
    folders = ["-o", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    assert main(["study", "how-wide", "--quick", *folders]) == 0
    text = capsys.readouterr().out
    assert text.index("is too short for a conclusion") < text.index("No conclusion, because")

    assert main(["study", "list", "--json"]) == 0
    listed = {study["study"]: study for study in json.loads(capsys.readouterr().out)}
    assert list(listed) == studies.names() and listed["how-wide"]["datasets"] == ["digits"]
    assert all(study["question"] for study in listed.values())
    assert main(["study", "list"]) == 0
    assert "how-wide" in (text := capsys.readouterr().out) and "Do more latents" in text
