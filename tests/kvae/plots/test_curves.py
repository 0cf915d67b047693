"""Curves of the losses, and the colours in which they are drawn."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from kvae import plots
from kvae.plots import style

# Machado, Oliveira and Fernandes, 2009: full protanopia, deuteranopia, tritanopia (linear RGB).
_DEFICIENCIES = [
    np.eye(3),
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
     [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
     [-0.011820, 0.042940, 0.968881]],
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
     [0.004733, 0.691367, 0.303900]],
]  # fmt: skip


@pytest.mark.parametrize("deficiency", range(4))
def test_palette_can_be_told_apart_by_colour_blind_readers(deficiency):
    def lab(colour):
        rgb = np.array(to_rgb(colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        linear = np.clip(np.asarray(_DEFICIENCIES[deficiency]) @ linear, 0, 1)
        to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
        xyz = np.asarray(to_xyz) @ linear / [0.9505, 1.0, 1.089]
        f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
        return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])

    colours = [lab(colour) for colour in style.PALETTE]
    assert len(colours) >= 10
    # 2.3 is just noticeable; the default tab10 has pairs below 5 here.
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(colours, 2)) > 19


# Loss curves


HISTORY = {
    "loss": [5.0, 4.0, 3.5, 3.25],
    "elbo": [-5.0, -4.0, -3.5, -3.25],
    "reconstruction": [4.0, 3.0, 2.0, 1.5],
    "kl": [1.0, 1.0, 1.5, 1.75],
    "val_loss": [5.5, 4.5, 4.0, 3.75],
    "learning_rate": [0.1, 0.1, 0.1, 0.1],
}


def lines(figure):
    """{(panel's title, line's label): (x, y)}"""
    return {
        (ax.get_title(loc="left"), line.get_label()): line.get_data()
        for ax in figure.axes
        for line in ax.lines
    }


def test_loss_curves_draws_each_metric_in_nats():
    figure = plots.loss_curves(HISTORY)
    drawn = lines(figure)
    assert len(figure.axes) == 4 and len(drawn) == 5
    for title, key in [("Loss", "loss"), ("ELBO", "elbo"), ("Rec", "reconstruction"), ("KL", "kl")]:
        ((x, y),) = [
            v for (t, label), v in drawn.items() if t.startswith(title) and label == "train"
        ]
        np.testing.assert_array_equal(x, [1, 2, 3, 4])
        np.testing.assert_array_equal(y, HISTORY[key])
    ((x, y),) = [v for (_, label), v in drawn.items() if label == "validation"]
    np.testing.assert_array_equal(y, HISTORY["val_loss"])
    assert all(ax.get_ylabel() == "nats per example" for ax in figure.axes)
    assert all(ax.get_yscale() == "linear" for ax in figure.axes)


def test_loss_curves_reads_history_objects_and_csv_files_alike(tmp_path):
    class History:
        history = {"loss": [3.0, 2.0], "val_loss": [4.0, np.nan]}
        epoch = [0, 1]

    path = tmp_path / "log.csv"
    path.write_text("epoch,loss,val_loss\n0,3.0,4.0\n1,2.0,NA\n")
    expected = {"train": ([1, 2], [3, 2]), "validation": ([1], [4])}
    for history in (History(), path, str(path)):
        for (_, label), (x, y) in lines(plots.loss_curves(history)).items():
            np.testing.assert_array_equal(x, expected[label][0])
            np.testing.assert_array_equal(y, expected[label][1])


def test_loss_curves_places_a_validation_of_every_second_epoch_and_a_resumed_training():
    class History:
        history = {"loss": [4.0, 3.0, 2.0, 1.0], "val_loss": [3.5, 1.5]}
        epoch = [10, 11, 12, 13]

    drawn = {label: data for (_, label), data in lines(plots.loss_curves(History())).items()}
    np.testing.assert_array_equal(drawn["train"][0], [11, 12, 13, 14])
    np.testing.assert_array_equal(drawn["validation"][0], [12, 14])


def test_loss_curves_keeps_late_epochs_legible():
    late = 100 + np.linspace(1, 0, 30)
    figure = plots.loss_curves({"loss": [5000.0, *late]})
    low, high = figure.axes[0].get_ylim()
    assert low < 100 and 101 < high < 102
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert any("off scale, from 5000" in text for text in texts)
    low, high = plots.loss_curves({"loss": [103.0, *late]}).axes[0].get_ylim()
    assert high > 103  # nothing is cut off where all fits


def test_loss_curves_rejects(tmp_path):
    with pytest.raises(ValueError, match="no epochs"):
        plots.loss_curves({})
    with pytest.raises(ValueError, match="only: accuracy"):
        plots.loss_curves({"accuracy": [1.0]})
    with pytest.raises(ValueError, match="reconstruction"):
        plots.loss_curves(HISTORY, metrics=["reconstructoin"])
    with pytest.raises(FileNotFoundError, match=r"nothing\.csv"):
        plots.loss_curves(tmp_path / "nothing.csv")
    with pytest.raises(ValueError, match="not int"):
        plots.loss_curves(3)


@pytest.mark.parametrize("suffix", ["pdf", "svg"])
def test_vector_files(tmp_path, suffix):
    path = tmp_path / f"loss.{suffix}"
    plots.loss_curves(HISTORY, path=path)
    assert path.read_bytes()[:5] in (b"%PDF-", b"<?xml")
