"""Runs a study as small as it can be, through the command line."""

import json

import pytest


@pytest.fixture
def run_study(tmp_path, monkeypatch, capsys):
    """`run_study(name)` -> the findings and the page `README.md`.

    Of such trainings nothing may be concluded; here the verdicts are compared with the tables.
    """
    from kvae import cli
    from kvae.studies import lab

    monkeypatch.setattr(
        lab, "_QUICK", {"epochs": 1, "num_samples": 5, "limit": 150, "compiled": False}
    )
    refusal = lab.Lab.refusal
    monkeypatch.setattr(lab.Lab, "refusal", lambda self, runs: "")

    def run(name, *arguments, dataset="digits"):
        folder = tmp_path / "out"
        command = ["study", name, "--quick", "--json", "-o", str(folder), *arguments]
        assert cli.main([*command, "--cache", str(tmp_path / "cache")]) == 0
        result = json.loads(capsys.readouterr().out)[0]
        assert result["study"] == name
        report = folder / f"{name}-{dataset}"
        page, html = ((report / file).read_text() for file in ("README.md", "index.html"))
        for found in result["findings"]:  # The page says what the figures say.
            assert found["holds"] in (True, False, None)
            verdict = {True: "Supported:", False: "Not supported", None: "Undecided"}
            assert f"- {verdict[found['holds']]}" in page
        assert "nan" not in page.lower().replace("nano", "")
        for picture in report.glob("*.png"):
            assert f"({picture.name})" in page and f'"{picture.name}"' in html
        return result["findings"], page

    run.refuse = lambda: monkeypatch.setattr(lab.Lab, "refusal", refusal)
    return run
