"""The command line on models of several modalities."""

import pytest

from kvae.cli import common, main
from kvae.testing.models import tiny_modalities


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "--dataset", "digits"], "'pixels', 'kind' beside one another: give --data"),
        (["export", "-f", "web", "page"], "has several modalities"),
    ],
)
def test_what_they_take_is_said(words, said, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(common, "load_model", lambda name: tiny_modalities())
    (tmp_path / "pairs.keras").touch()
    assert main([words[0], "pairs.keras", *words[1:]]) == 2
    assert said in capsys.readouterr().err
