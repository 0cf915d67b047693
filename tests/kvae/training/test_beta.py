"""kvae.training.train_over_beta: one architecture for several weights of the KL divergence."""

import pytest

import kvae
from kvae import training


def test_one_architecture_over_beta(make_vae, eagerly):
    data = kvae.datasets.load("digits", "train", binarize="static")[:60]
    starts = []

    def build(objective):
        vae = make_vae(objective=objective)
        starts.append((float(objective.beta), vae.get_weights()))
        return vae

    done = []
    result = training.train_over_beta(
        build, (0.0, 100.0), data, data, epochs=2, batch_size=20, progress=done.append
    )
    assert list(result) == ["β = 0", "β = 100"] and done == [1, 2]
    assert [beta for beta, _ in starts] == [0.0, 100.0]
    assert result["β = 100"]["rate"] < result["β = 0"]["rate"]
    with pytest.raises(ValueError):
        training.train_over_beta(build, (), data, data, epochs=1)
