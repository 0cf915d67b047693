"""kvae.utils.differences: what distinguishes two descriptions, in words."""

import pytest

from kvae.utils.differences import differences


def part(name, **config):
    return {"module": "kvae", "class_name": name, "config": config}


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"latent_dim": 8, "seed": 0}, {"latent_dim": 9, "seed": 0}, ["latent_dim 8, not 9"]),
        ({"hidden": [8, 9]}, {"hidden": []}, ["hidden (8, 9), not ()"]),
        ({"limit": None}, {"limit": 3}, ["limit none, not 3"]),
        ({}, {"prior": part("Vamp")}, ["prior unset, not Vamp"]),
        (
            {"objective": part("ELBO", beta=1.0)},
            {"objective": part("ELBO", beta=2.0)},
            ["beta of the objective 1.0, not 2.0"],
        ),
        (
            {"objective": part("ELBO", beta=1.0)},
            {"objective": part("WAE", weight=1.0)},
            ["objective ELBO, not WAE"],
        ),
        (
            {"prior": part("Flow", base=part("Normal", scale=1))},
            {"prior": part("Flow", base=part("Normal", scale=2))},
            ["scale of the base of the prior 1, not 2"],
        ),
    ],
)
def test_differences(one, other, words):
    assert differences(one, other) == words
