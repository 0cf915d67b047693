"""The pictures show what the model computed: their data, pixels and files are checked, not their
mere existence."""

import itertools
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import scipy.stats
from matplotlib.colors import to_rgb
from PIL import Image

from kvae import plots
from kvae.plots import arrays, grid, style
from kvae.posteriors import DiagonalGaussian
from kvae.priors import StandardNormal


class Linear:
    """A model whose decoder is known, 0.5 + z @ weights, and which records what it is given."""

    def __init__(self, event_shape=(4, 4, 1), latent_dim=2, log_var=None, seed=0):
        size = int(np.prod(event_shape))
        self.event_shape, self.latent_dim = event_shape, latent_dim
        self.posterior, self.prior = DiagonalGaussian(latent_dim), StandardNormal(latent_dim)
        self.weights = np.random.default_rng(seed).normal(0, 0.05, (latent_dim, size))
        self.log_var = np.zeros(latent_dim) if log_var is None else np.asarray(log_var)
        self.decoded, self.sampled = [], []

    def encode(self, x):
        z = (np.asarray(x).reshape(len(x), -1) - 0.5) @ np.linalg.pinv(self.weights)
        return {"z_mean": z.astype("float32"), "z_log_var": np.tile(self.log_var, (len(x), 1))}

    def decode(self, z):
        self.decoded.append(np.array(z))
        return (0.5 + z @ self.weights).reshape(-1, *self.event_shape).astype("float32")

    def reconstruct(self, x, seed=None):
        return self.decode(self.encode(x)["z_mean"])

    def sample(self, n, seed=None, output="mean"):
        self.sampled.append((n, seed, output))
        if self.prior is None:
            raise ValueError("no prior to sample from")
        return self.decode(np.random.default_rng(seed).normal(size=(n, self.latent_dim)))

    def codes(self, n, seed=1):
        """Examples [n, *event] and the codes [n, D] that `encode` gives back for them."""
        z = np.random.default_rng(seed).normal(size=(n, self.latent_dim))
        return (0.5 + z @ self.weights).reshape(n, *self.event_shape).astype("float32"), z


def pixels(figure, path):
    """The part of a saved picture [h, w] (0..255) that its axes cover."""
    (ax,) = figure.axes
    whole = np.asarray(Image.open(path).convert("L"))
    box = ax.get_window_extent()
    edges = np.array([box.x0, box.y0, box.x1, box.y1])
    np.testing.assert_allclose(edges, edges.round(), atol=1e-6)
    left, bottom, right, top = edges.round().astype(int)
    return whole[len(whole) - top : len(whole) - bottom, left:right]


# tile


def test_tile_places_each_image():
    images = np.arange(1, 9).reshape(4, 2, 1)
    expected = [[1, 3, 5], [2, 4, 6], [7, 0, 0], [8, 0, 0]]
    np.testing.assert_array_equal(plots.tile(images, 2, 3, gap=0, fill=0), expected)
    with_gap = [
        [1, 0, 3, 0, 5],
        [2, 0, 4, 0, 6],
        [0, 0, 0, 0, 0],
        [7, 0, 0, 0, 0],
        [8, 0, 0, 0, 0],
    ]
    np.testing.assert_array_equal(plots.tile(images, 2, 3, gap=1, fill=0), with_gap)


def test_tile_of_a_constant_has_no_seams():
    np.testing.assert_array_equal(
        plots.tile(np.full((6, 5, 7, 3), 0.25), 2, 3, gap=0), np.full((10, 21, 3), 0.25)
    )


@pytest.mark.parametrize(("dtype", "white"), [("float32", 1), ("uint8", 255)])
def test_tile_fills_with_white_and_keeps_the_type(dtype, white):
    picture = plots.tile(np.zeros((3, 2, 2), dtype), 2, 2, gap=1)
    assert picture.shape == (5, 5) and picture.dtype == dtype
    assert (picture[2] == white).all() and (picture[3:, 3:] == white).all()
    assert (picture[:2, :2] == 0).all()


def test_tile_rejects_what_does_not_fit():
    with pytest.raises(ValueError, match="5 images do not fit in 2 x 2"):
        plots.tile(np.zeros((5, 2, 2)), 2, 2)
    with pytest.raises(ValueError, match=r"\[n, h, w\]"):
        plots.tile(np.zeros((2, 2)), 1, 1)
    with pytest.raises(ValueError, match="gap"):
        plots.tile(np.zeros((1, 2, 2)), 1, 1, gap=-1)


def test_a_thumbnail_is_the_enlarged_images_alone():
    events = np.linspace(0, 1, 5 * 4 * 2).reshape(5, 4, 2, 1).astype(np.float32)
    picture = grid.thumbnail(events, 3, width=20)  # 3 × 2 pixels, enlarged 2 times; 2 gaps of 2.
    assert picture.dtype == np.uint8 and picture.shape == (2 * 8 + 2, 3 * 4 + 2 * 2)
    image = np.round(events[4, ..., 0] * 255).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(picture[10:, 6:10], image)
    assert (picture[10:, 12:] == 255).all() and (picture[8:10] == 255).all()
    assert grid.thumbnail(np.zeros((1, 30, 40, 3)), 1, width=10).shape == (30, 40, 3)
    with pytest.raises(ValueError, match="cannot be drawn as image"):
        grid.thumbnail(np.zeros((2, 4, 4, 4, 1)), 2)


def test_rectangle_holds_every_cell_without_an_empty_row():
    for n in range(1, 130):
        rows, cols = grid.rectangle(n)
        assert rows * cols >= n > (rows - 1) * cols
        assert n <= 5 or cols <= 2.5 * rows
        if round(n**0.5) ** 2 == n:
            assert rows == cols
    assert grid.rectangle(12, cols=5) == (3, 5)


# Pixels in the file


@pytest.mark.parametrize("gap", [0, 1])
@pytest.mark.parametrize("shape", [(8, 8, 1), (27, 31, 1)])
def test_a_saved_grid_is_the_enlarged_tile_pixel_by_pixel(tmp_path, shape, gap):
    vae = Linear(shape)
    path = tmp_path / "samples.png"
    figure = plots.samples(vae, n=6, seed=3, gap=gap, path=path)
    images = vae.sample(6, seed=3)[..., 0]
    seen = pixels(figure, path)
    scale = (seen.shape[1] - 2 * gap) // (3 * shape[1])
    assert scale > 1 and seen.shape[0] == 2 * scale * shape[0] + gap
    big = np.kron(np.clip(images, 0, 1), np.ones((1, scale, scale)))
    expected = plots.tile(np.minimum(np.floor(big * 256), 255), 2, 3, gap=gap, fill=255)
    # A colour map has 256 levels; PIL's conversion of equal channels to grey is exact.
    assert np.abs(seen.astype(int) - expected).max() <= 1


def test_a_constant_manifold_is_one_colour_in_the_file(tmp_path):
    vae = Linear()
    vae.weights[:] = 0
    figure = plots.manifold(vae, path=tmp_path / "m.png")
    seen = pixels(figure, tmp_path / "m.png")
    assert seen.size > 100_000 and np.unique(seen).tolist() == [128]


def test_another_resolution_brings_no_colours_between(tmp_path):
    vae = Linear()
    vae.decode = lambda z: np.float32(np.indices((len(z), 4, 4, 1)).sum(axis=0) % 2)
    figure = plots.manifold(vae, n=5)
    figure.savefig(tmp_path / "odd.png", dpi=97)
    whole = np.asarray(Image.open(tmp_path / "odd.png").convert("L")).astype(int)
    box = figure.axes[0].get_position().bounds
    height, width = whole.shape
    left, right = int(box[0] * width) + 2, int((box[0] + box[2]) * width) - 2
    top, bottom = int((1 - box[1] - box[3]) * height) + 2, int((1 - box[1]) * height) - 2
    inside = whole[top:bottom, left:right]
    assert set(np.unique(inside)) == {0, 255}


def test_colour_reaches_the_file(tmp_path):
    vae = Linear((5, 6, 3))
    vae.weights[:] = 0
    vae.decode = lambda z: np.broadcast_to(np.float32([1.0, 0.4, 0.0]), (len(z), 5, 6, 3))
    figure = plots.samples(vae, n=4, gap=0, path=tmp_path / "s.png")
    image = np.asarray(Image.open(tmp_path / "s.png").convert("RGB"))
    assert (image == [255, 102, 0]).all(axis=-1).sum() == pixels(figure, tmp_path / "s.png").size


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        ([0.0, 0.4], (0, 1)),
        ([-0.1, 1.2], (0, 1)),
        ([-1.0, 0.9], (-1, 1)),
        ([0.0, 16.0], (0, 16)),
        ([-3.0, 2.0], (-3, 2)),
    ],
)
def test_black_and_white_are_the_ends_that_the_data_mean(values, bounds):
    assert grid._bounds(np.array(values), decoded=False) == bounds


# What the model is asked for


def test_manifold_decodes_the_gaussian_quantiles_with_y_upward():
    vae = Linear()
    figure = plots.manifold(vae)
    (z,) = vae.decoded
    quantiles = scipy.stats.norm.ppf(np.linspace(0.05, 0.95, 15))
    z = z.reshape(15, 15, 2)
    np.testing.assert_allclose(z[..., 0], np.tile(quantiles, (15, 1)), rtol=1e-6, atol=1e-7)
    # The first row of the picture is its top: the largest y.
    np.testing.assert_allclose(
        z[..., 1], np.tile(quantiles[::-1, None], (1, 15)), rtol=1e-6, atol=1e-7
    )
    (ax,) = figure.axes
    labels = [text.get_text() for text in ax.get_xticklabels()]
    assert labels[0] == "−1.64" and labels[len(labels) // 2] == "0.00" and labels[-1] == "1.64"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("z[0]", "z[1]")
    ticks = dict(zip([t.get_text() for t in ax.get_yticklabels()], ax.get_yticks(), strict=True))
    assert ticks["1.64"] < ticks["0.00"] < ticks["−1.64"]  # image rows count downward


def test_manifold_of_many_dimensions_varies_two_and_leaves_the_others_at_zero():
    vae = Linear(latent_dim=5)
    plots.manifold(vae, n=4)
    plots.manifold(vae, n=4, dims=(3, 1))
    first, second = vae.decoded
    assert (first[:, 2:] == 0).all() and len(np.unique(first[:, 0])) == 4
    assert (second[:, [0, 2, 4]] == 0).all()
    assert len(np.unique(second[:4, 3])) == 4 and len(np.unique(second[:4, 1])) == 1


def test_manifold_chooses_the_dimensions_with_the_most_kl():
    # Of four dimensions with unit-variance means, KL = (1 + s² − 1 − log s²) / 2 is largest where
    # the variance s² is farthest from 1; dimension 0 has the largest mean spread but a middling KL.
    vae = Linear(latent_dim=4, log_var=[0.0, -6.0, -0.1, -3.0])
    x, _ = vae.codes(200)
    figure = plots.manifold(vae, n=3, x=x)
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("z[1]", "z[3]")


def test_manifold_of_one_dimension_is_one_row():
    vae = Linear(latent_dim=1)
    plots.manifold(vae, n=7)
    expected = scipy.stats.norm.ppf(np.linspace(0.05, 0.95, 7))[:, None]
    np.testing.assert_allclose(vae.decoded[0], expected, rtol=1e-6, atol=1e-7)


def test_manifold_without_a_prior_spans_the_codes_or_says_what_it_needs():
    vae = Linear(latent_dim=3)
    vae.prior = None
    with pytest.raises(ValueError, match="give `x`"):
        plots.manifold(vae)
    x, z = vae.codes(50)
    plots.manifold(vae, n=5, x=x, dims=(0, 2))
    decoded = vae.decoded[-1]
    for d in (0, 2):
        np.testing.assert_allclose(decoded[:, d].min(), z[:, d].min(), rtol=1e-4)
        np.testing.assert_allclose(decoded[:, d].max(), z[:, d].max(), rtol=1e-4)
    np.testing.assert_allclose(decoded[:, 1], z[:, 1].mean(), rtol=1e-3)
    # The steps between have the proportions of the Gaussian quantiles.
    q = scipy.stats.norm.ppf(np.linspace(0.05, 0.95, 5))
    steps = np.diff(decoded[:5, 0])
    np.testing.assert_allclose(steps / steps.sum(), np.diff(q) / (q[-1] - q[0]), rtol=1e-4)


@pytest.mark.parametrize(
    "bad",
    [{"dims": (0, 3)}, {"dims": (1, 1)}, {"dims": (0,)}, {"n": 1}, {"quantiles": (0.0, 0.9)}],
)
def test_manifold_rejects(bad):
    with pytest.raises(ValueError, match="`(dims|n|quantiles)`"):
        plots.manifold(Linear(latent_dim=3), **bad)


def test_samples_asks_for_what_it_draws_and_lets_the_model_refuse():
    vae = Linear()
    figure = plots.samples(vae, n=12, seed=7, output="sample")
    assert vae.sampled == [(12, 7, "sample")]
    assert len(figure.axes) == 1 and len(figure.axes[0].images) == 1  # one picture, so no seams
    vae.prior = None
    with pytest.raises(ValueError, match="no prior to sample from"):
        plots.samples(vae)


def test_reconstructions_puts_originals_above_what_the_model_makes_of_them():
    vae = Linear((4, 4, 1), latent_dim=2)
    x = np.random.default_rng(2).uniform(size=(9, 4, 4, 1)).astype("float32")
    (ax,) = plots.reconstructions(vae, x, n=5, gap=0).axes
    picture = np.asarray(ax.images[0].get_array())
    scale = picture.shape[1] // 20
    small = picture[scale // 2 :: scale, scale // 2 :: scale]
    np.testing.assert_allclose(small[:4], np.concatenate(x[:5, ..., 0], axis=1), rtol=1e-6)
    made = np.clip(vae.reconstruct(x[:5])[..., 0], 0, 1)
    np.testing.assert_allclose(small[4:], np.concatenate(made, axis=1), rtol=1e-6)
    labels = dict(zip([t.get_text() for t in ax.get_yticklabels()], ax.get_yticks(), strict=True))
    assert labels["original"] < labels["reconstruction"]


def test_reconstructions_takes_uint8_and_datasets():
    class Data:
        images = np.full((3, 4, 4, 1), 0.2, "float32")
        labels = None

    vae = Linear()
    a = plots.reconstructions(vae, Data()).axes[0].images[0].get_array()
    b = plots.reconstructions(vae, np.full((3, 4, 4, 1), 51, "uint8")).axes[0].images[0].get_array()
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=1e-6)
    assert a[0, 0] == pytest.approx(0.2)


def test_interpolation_is_linear_between_the_codes_and_ends_with_the_originals():
    vae = Linear()
    x, z = vae.codes(4)
    (ax,) = plots.interpolation(vae, x[:2], x[2:], steps=5).axes
    walked = vae.decoded[-1].reshape(2, 5, 2)
    for k, t in enumerate([0, 0.25, 0.5, 0.75, 1]):
        np.testing.assert_allclose(walked[:, k], (1 - t) * z[:2] + t * z[2:], atol=1e-4)
    labels = [text.get_text() for text in ax.get_xticklabels()]
    assert labels == ["start", "0", "0.25", "0.5", "0.75", "1", "end"]
    first, middle, last = (np.asarray(image.get_array()) for image in ax.images)
    size = first.shape[1]
    assert last.shape == first.shape and middle.shape[1] == 5 * size + 4
    step = size // 4
    np.testing.assert_allclose(first[:size:step, ::step], x[0, ..., 0], rtol=1e-6)
    np.testing.assert_allclose(last[:size:step, ::step], x[2, ..., 0], rtol=1e-6)


def test_slerp_follows_the_great_arc():
    vae = Linear()
    ends = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 0.0], [1.0, 0.0]])
    x = (0.5 + ends @ vae.weights).reshape(-1, 4, 4, 1).astype("float32")
    plots.interpolation(vae, x[[0, 2]], x[[1, 3]], steps=4, method="slerp")
    walked = vae.decoded[-1].reshape(2, 4, 2)
    angle = np.linspace(0, np.pi / 2, 4)
    arc = 2 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    np.testing.assert_allclose(walked[0], arc, atol=1e-4)
    np.testing.assert_allclose(walked[1], np.tile([1.0, 0.0], (4, 1)), atol=1e-4)  # no arc at all


def test_interpolation_takes_one_event_and_rejects_odd_pairs():
    vae = Linear()
    x, _ = vae.codes(3)
    plots.interpolation(vae, x[0], x[1], steps=2)
    assert len(vae.decoded[-1]) == 2
    with pytest.raises(ValueError, match="1 rows and `x_end` 2"):
        plots.interpolation(vae, x[:1], x[1:])
    with pytest.raises(ValueError, match="slerp"):
        plots.interpolation(vae, x[:1], x[:1], method="cubic")


# The latent scatter


def drawn_points(figure):
    return np.concatenate([np.asarray(c.get_offsets()) for c in figure.axes[0].collections])


def by_rows(points):
    return points[np.lexsort(np.asarray(points).T)]


def test_scatter_shows_the_posterior_means_in_their_classes_colours():
    vae = Linear()
    x, z = vae.codes(60)
    labels = np.arange(60) % 3 + 4
    figure = plots.latent_scatter(vae, x, labels)
    points = drawn_points(figure)
    np.testing.assert_allclose(by_rows(points), by_rows(z), atol=1e-4)
    (collection,) = figure.axes[0].collections
    legend = figure.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["4", "5", "6"]
    nearest = np.linalg.norm(points[:, None] - z[None], axis=-1).argmin(axis=1)
    for k, handle in enumerate(legend.legend_handles):
        ours = collection.get_facecolors()[labels[nearest] == 4 + k]
        assert len(ours) == 20
        assert np.abs(ours[:, :3] - to_rgb(handle.get_color())).max() < 1e-6
    assert figure.axes[0].get_aspect() == 1.0


def test_scatter_of_many_dimensions_is_the_plane_of_the_largest_variance():
    vae = Linear((8, 8, 1), latent_dim=4)
    z = np.random.default_rng(5).normal(size=(300, 4)) * [0.1, 3.0, 0.2, 1.0]
    x = (0.5 + z @ vae.weights).reshape(-1, 8, 8, 1)
    figure = plots.latent_scatter(vae, x)
    centred = z - z.mean(axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    shares = singular**2 / (singular**2).sum()
    points = drawn_points(figure)
    # Principal components are known up to their sign and, here, the drawing order.
    np.testing.assert_allclose(
        by_rows(np.abs(points)), by_rows(np.abs(left[:, :2] * singular[:2])), atol=1e-3
    )
    (ax,) = figure.axes
    assert f"{shares[0]:.1%} of variance" in ax.get_xlabel()
    assert f"{shares[1]:.1%} of variance" in ax.get_ylabel()


def test_scatter_survives_a_collapsed_posterior():
    vae = Linear(latent_dim=3)
    figure = plots.latent_scatter(vae, np.full((9, 4, 4, 1), 0.5, "float32"))
    np.testing.assert_allclose(drawn_points(figure), np.zeros((9, 2)), atol=1e-6)


def test_one_dimension_is_a_histogram_of_every_example():
    vae = Linear(latent_dim=1)
    x, z = vae.codes(90)
    for labels in (None, np.arange(90) % 2):
        figure = plots.latent_scatter(vae, x, labels)
        (ax,) = figure.axes
        assert sum(patch.get_height() for patch in ax.patches) == 90
        edges = [patch.get_x() for patch in ax.patches]
        assert min(edges) == pytest.approx(z.min(), abs=1e-3)


def test_scatter_labels_may_be_names_numbers_or_many():
    vae = Linear()
    x, _ = vae.codes(130)
    named = plots.latent_scatter(vae, x[:4], ["b", "a", "b", "a"])
    assert [t.get_text() for t in named.axes[0].get_legend().get_texts()] == ["a", "b"]
    titled = plots.latent_scatter(vae, x[:4], [0, 1, 0, 1], class_names=["cat", "dog"])
    assert [t.get_text() for t in titled.axes[0].get_legend().get_texts()] == ["cat", "dog"]
    real = plots.latent_scatter(vae, x, np.linspace(0, 1, 130))
    assert len(real.axes) == 2 and real.axes[0].get_legend() is None  # a colour bar instead
    many = plots.latent_scatter(vae, x, np.arange(130) % 26)
    marks = {(h.get_marker(), h.get_color()) for h in many.axes[0].get_legend().legend_handles}
    assert len(marks) == 26
    assert len(drawn_points(many)) == 130


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (np.zeros(4), r"labels.*\(4,\); 5 examples take \(5,\)"),
        (np.zeros((5, 2)), r"labels.*\(5, 2\)"),
        ([0.0, 1, 2, 3, np.nan], "NaN"),
    ],
)
def test_scatter_rejects_labels(labels, match):
    vae = Linear()
    with pytest.raises(ValueError, match=match):
        plots.latent_scatter(vae, vae.codes(5)[0], labels)


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


# Events of every kind


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((28, 28, 1), "image"),
        ((27, 31, 3), "image"),
        ((28, 28), "image"),
        ((64, 1), "signal"),
        ((100, 6), "signal"),
        ((128, 9), "signal"),
        ((13,), "table"),
    ],
)
def test_event_kind(shape, kind):
    assert arrays.event_kind(shape) == kind


@pytest.mark.parametrize(
    "shape",
    [(27, 31, 1), (9, 5, 3), (6, 7, 4), (5, 5, 2), (1, 1, 1), (30, 3), (1, 1), (12,), (90,)]
    + [(8, 8), (300, 20, 1)],
)
def test_every_kind_of_event_can_be_drawn(shape, tmp_path):
    vae = Linear(shape)
    x, _ = vae.codes(6)
    figures = [
        plots.reconstructions(vae, x, path=tmp_path / "r.png"),
        plots.samples(vae, n=7, path=tmp_path / "s.png"),
        plots.manifold(vae, n=3, path=tmp_path / "m.png"),
        plots.interpolation(vae, x[:2], x[2:4], steps=3, path=tmp_path / "i.png"),
    ]
    for figure, name in zip(figures, "rsmi", strict=True):
        with Image.open(tmp_path / f"{name}.png") as image:
            image.verify()
        size = Image.open(tmp_path / f"{name}.png").size
        np.testing.assert_allclose(size, figure.get_size_inches() * figure.dpi, atol=1)
        # Nothing is cut off: the outermost pixels are the white margin.
        edge = np.asarray(Image.open(tmp_path / f"{name}.png").convert("L"))
        assert (np.r_[edge[0], edge[-1], edge[:, 0], edge[:, -1]] == 255).all()


def test_signals_are_lines_through_their_values():
    vae = Linear((20, 2))
    x, _ = vae.codes(3)
    x[0, 5, 1] = 0.9
    (ax,) = plots.reconstructions(vae, x, value_range=(0, 1)).axes
    curves = [c for c in ax.collections if len(c.get_paths()) and len(c.get_paths()[0]) == 20]
    assert len(curves) == 2  # a collection for each channel
    paths = curves[1].get_paths()
    assert len(paths) == 6
    heights = paths[0].vertices[:, 1]
    assert heights.argmin() == 5  # y counts downward, so the largest value is the highest point
    values = (heights.max() - heights) / np.ptp(heights)
    truth = x[0, :, 1]
    np.testing.assert_allclose(values, (truth - truth.min()) / np.ptp(truth), atol=1e-5)


def test_flat_images_are_drawn_as_squares_on_request():
    vae = Linear((49,))
    (ax,) = plots.samples(vae, n=4, kind="image", gap=0).axes
    rows, cols = np.asarray(ax.images[0].get_array()).shape
    assert rows == cols and rows % 14 == 0
    with pytest.raises(ValueError, match="not square images"):
        plots.samples(Linear((50,)), n=4, kind="image")
    with pytest.raises(ValueError, match="cannot be drawn"):
        plots.samples(Linear((2, 3, 4, 5)), n=4)
    with pytest.raises(ValueError, match="`kind` is one of"):
        plots.samples(vae, n=4, kind="picture")


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (np.zeros((3, 5, 5, 1)), r"\(3, 5, 5, 1\); this model takes \(n, 4, 4, 1\)"),
        (np.zeros((4, 4, 1)), r"takes \(n, 4, 4, 1\)"),
        (np.zeros((0, 4, 4, 1)), "no rows"),
        (np.full((2, 4, 4, 1), np.nan), "NaN"),
        (np.full((2, 4, 4, 1), "a"), "array of numbers"),
    ],
)
@pytest.mark.parametrize("name", ["reconstructions", "latent_scatter", "interpolation"])
def test_wrong_examples_are_rejected(name, x, match):
    arguments = (x, x) if name == "interpolation" else (x,)
    if name == "interpolation" and x.shape == (4, 4, 1):
        return  # one event, which it takes
    with pytest.raises(ValueError, match=match):
        getattr(plots, name)(Linear(), *arguments)


def test_a_diverged_model_is_named():
    vae = Linear()
    vae.weights[:] = np.nan
    with pytest.raises(ValueError, match=r"sample\(n\) holds NaN or infinite.*diverged"):
        plots.samples(vae, n=4)


@pytest.mark.parametrize("n", [0, -1, 2.5, "9"])
def test_counts_are_whole_and_positive(n):
    with pytest.raises(ValueError, match="`n` is a whole number of at least 1"):
        plots.samples(Linear(), n=n)


# Files and global state


def test_a_failing_save_leaves_the_old_file_whole(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    path = tmp_path / "picture.png"
    plots.samples(Linear(), n=4, path=path)
    before = path.read_bytes()

    def fail(self, target, **kwargs):
        with open(target, "wb") as stream:
            stream.write(before[:100])
        raise OSError("No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="No space left"):
        plots.samples(Linear(), n=9, path=path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["picture.png"]


def test_the_same_picture_is_the_same_bytes(tmp_path):
    x, _ = Linear().codes(30)
    for name in ("a.png", "b.png"):
        plots.latent_scatter(Linear(), x, np.arange(30) % 3, path=tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("suffix", ["pdf", "svg"])
def test_vector_files(tmp_path, suffix):
    path = tmp_path / f"loss.{suffix}"
    plots.loss_curves(HISTORY, path=path)
    assert path.read_bytes()[:5] in (b"%PDF-", b"<?xml")


def test_an_unknown_suffix_is_rejected_before_the_model_works():
    vae = Linear()
    with pytest.raises(ValueError, match=r"\.png, \.pdf or \.svg, not 'a\.jpg'"):
        plots.samples(vae, path="a.jpg")
    assert not vae.sampled


def test_the_users_settings_neither_change_nor_are_changed(tmp_path):
    plots.samples(Linear(), n=4, path=tmp_path / "a.png")
    odd = {"figure.facecolor": "black", "savefig.bbox": "tight", "savefig.dpi": 50, "font.size": 30}
    with matplotlib.rc_context(odd):
        before = dict(matplotlib.rcParams)
        plots.samples(Linear(), n=4, path=tmp_path / "b.png")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_importing_is_light_and_drawing_leaves_pyplot_alone():
    code = """
import sys
import kvae.plots
heavy = {"tensorflow", "keras", "matplotlib", "sklearn"} & set(sys.modules)
assert not heavy, heavy
kvae.plots.loss_curves({"loss": [2.0, 1.0]})
assert "matplotlib.pyplot" not in sys.modules and "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# The real model


def test_every_picture_of_a_real_model(tmp_path):
    keras = pytest.importorskip("keras")
    import kvae

    layers = keras.layers
    encoder = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(8, "relu")])
    decoder = keras.Sequential([keras.Input((2,)), layers.Dense(64), layers.Reshape((8, 8, 1))])
    vae = kvae.VAE(encoder, decoder, latent_dim=2)
    data = kvae.datasets.Dataset(
        np.random.default_rng(0).uniform(size=(40, 8, 8, 1)), labels=np.arange(40) % 4
    )
    vae.compile("adam")
    history = vae.fit(data, validation_data=data, epochs=2, verbose=0)
    figure = plots.latent_scatter(vae, data)
    means = np.asarray(vae.encode(data)["z_mean"])
    np.testing.assert_allclose(by_rows(drawn_points(figure)), by_rows(means), atol=1e-6)
    assert len(figure.axes[0].get_legend().get_texts()) == 4
    picture = plots.samples(vae, n=4, seed=5, gap=0).axes[0].images[0].get_array()
    step = picture.shape[0] // 16
    np.testing.assert_allclose(
        np.asarray(picture)[: 8 * step : step, : 8 * step : step],
        np.asarray(vae.sample(4, seed=5))[0, ..., 0],
        atol=1e-6,
    )
    plots.reconstructions(vae, data, path=tmp_path / "r.png")
    plots.manifold(vae, n=4, x=data)
    plots.interpolation(vae, data.images[:3], data.images[3:6])
    drawn = lines(plots.loss_curves(history))
    ((_, y),) = [v for (t, label), v in drawn.items() if t[:2] == "KL" and label == "validation"]
    np.testing.assert_array_equal(y, history.history["val_kl"])


# Conditional models.


class Conditional(Linear):
    """A model of two classes, of which the second is brighter; it records its labels."""

    num_classes = 2

    def encode(self, x, label):
        self.labels = label
        return super().encode(x)

    def reconstruct(self, x, label):
        return self.decode(self.encode(x, label)["z_mean"])

    def sample(self, n, seed=None, output="mean", label=None):
        return super().sample(n, seed, output) + 0.1 * np.reshape(label, (-1, 1, 1, 1))


def test_samples_of_a_conditional_model_have_a_row_for_each_class():
    vae = Conditional()
    (ax,) = plots.samples(vae, n=6, gap=0, value_range=(0, 1)).axes
    picture = np.asarray(ax.images[0].get_array(), np.float64)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "1"]
    assert [n for n, _, _ in vae.sampled] == [3, 3]
    first, second = np.split(picture[..., 0] if picture.ndim == 3 else picture, 2)
    np.testing.assert_allclose(second - first, 0.1, atol=1e-5)  # The same noise in each column.
    one = plots.samples(Conditional(), n=3, label=1, cols=3, gap=0, value_range=(0, 1))
    shown = np.asarray(one.axes[0].images[0].get_array(), np.float64)
    np.testing.assert_allclose(shown[..., 0] if shown.ndim == 3 else shown, second, atol=1e-6)


def test_labels_of_a_dataset_reach_a_conditional_model():
    from kvae.datasets import Dataset

    vae = Conditional()
    data = Dataset(vae.codes(5)[0], np.array([0, 1, 1, 0, 1]))
    plots.reconstructions(vae, data, n=3)
    np.testing.assert_array_equal(vae.labels, [0, 1, 1])
    plots.latent_scatter(vae, data)
    np.testing.assert_array_equal(vae.labels, data.labels)
