"""The pictures show what the model computed: their data, pixels and files are checked, not their
mere existence.
"""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import scipy.stats
from matplotlib.colors import to_rgb

from kvae import plots

# What the model is asked for


def test_manifold_decodes_the_gaussian_quantiles_with_y_upward(make_linear):
    vae = make_linear()
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


def test_manifold_of_many_dimensions_varies_two_and_leaves_the_others_at_zero(make_linear):
    vae = make_linear(latent_dim=5)
    plots.manifold(vae, n=4)
    plots.manifold(vae, n=4, dims=(3, 1))
    first, second = vae.decoded
    assert (first[:, 2:] == 0).all() and len(np.unique(first[:, 0])) == 4
    assert (second[:, [0, 2, 4]] == 0).all()
    assert len(np.unique(second[:4, 3])) == 4 and len(np.unique(second[:4, 1])) == 1


def test_manifold_chooses_the_dimensions_with_the_most_kl(make_linear):
    # Of four dimensions with unit-variance means, KL = (1 + s² − 1 − log s²) / 2 is largest where
    # the variance s² is farthest from 1; dimension 0 has the largest mean spread but a middling KL.
    vae = make_linear(latent_dim=4, log_var=[0.0, -6.0, -0.1, -3.0])
    x, _ = vae.codes(200)
    figure = plots.manifold(vae, n=3, x=x)
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("z[1]", "z[3]")


def test_manifold_of_one_dimension_is_one_row(make_linear):
    vae = make_linear(latent_dim=1)
    plots.manifold(vae, n=7)
    expected = scipy.stats.norm.ppf(np.linspace(0.05, 0.95, 7))[:, None]
    np.testing.assert_allclose(vae.decoded[0], expected, rtol=1e-6, atol=1e-7)


def test_manifold_without_a_prior_spans_the_codes_or_says_what_it_needs(make_linear):
    vae = make_linear(latent_dim=3)
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
def test_manifold_rejects(bad, make_linear):
    with pytest.raises(ValueError, match="`(dims|n|quantiles)`"):
        plots.manifold(make_linear(latent_dim=3), **bad)


def test_samples_asks_for_what_it_draws_and_lets_the_model_refuse(make_linear):
    vae = make_linear()
    figure = plots.samples(vae, n=12, seed=7, output="sample")
    assert vae.sampled == [(12, 7, "sample")]
    assert len(figure.axes) == 1 and len(figure.axes[0].images) == 1  # one picture, so no seams
    vae.prior = None
    with pytest.raises(ValueError, match="no prior to sample from"):
        plots.samples(vae)


def test_reconstructions_puts_originals_above_what_the_model_makes_of_them(make_linear):
    vae = make_linear((4, 4, 1), latent_dim=2)
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


def test_reconstructions_takes_uint8_and_datasets(make_linear):
    class Data:
        examples = np.full((3, 4, 4, 1), 0.2, "float32")
        labels = None

    vae = make_linear()
    a = plots.reconstructions(vae, Data()).axes[0].images[0].get_array()
    b = plots.reconstructions(vae, np.full((3, 4, 4, 1), 51, "uint8")).axes[0].images[0].get_array()
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=1e-6)
    assert a[0, 0] == pytest.approx(0.2)


def test_interpolation_is_linear_between_the_codes_and_ends_with_the_originals(make_linear):
    vae = make_linear()
    x, z = vae.codes(4)
    (ax,) = plots.interpolation(vae, x[:2], x[2:], steps=5, gap=1).axes
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


def test_slerp_follows_the_great_arc(make_linear):
    vae = make_linear()
    ends = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 0.0], [1.0, 0.0]])
    x = (0.5 + ends @ vae.weights).reshape(-1, 4, 4, 1).astype("float32")
    plots.interpolation(vae, x[[0, 2]], x[[1, 3]], steps=4, method="slerp")
    walked = vae.decoded[-1].reshape(2, 4, 2)
    angle = np.linspace(0, np.pi / 2, 4)
    arc = 2 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    np.testing.assert_allclose(walked[0], arc, atol=1e-4)
    np.testing.assert_allclose(walked[1], np.tile([1.0, 0.0], (4, 1)), atol=1e-4)  # no arc at all


def test_interpolation_takes_one_event_and_rejects_odd_pairs(make_linear):
    vae = make_linear()
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


def test_scatter_shows_the_posterior_means_in_their_classes_colours(make_linear):
    vae = make_linear()
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


def test_scatter_of_many_dimensions_is_the_plane_of_the_largest_variance(make_linear):
    vae = make_linear((8, 8, 1), latent_dim=4)
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


def test_scatter_survives_a_collapsed_posterior(make_linear):
    vae = make_linear(latent_dim=3)
    figure = plots.latent_scatter(vae, np.full((9, 4, 4, 1), 0.5, "float32"))
    np.testing.assert_allclose(drawn_points(figure), np.zeros((9, 2)), atol=1e-6)


def test_one_dimension_is_a_histogram_of_every_example(make_linear):
    vae = make_linear(latent_dim=1)
    x, z = vae.codes(90)
    for labels in (None, np.arange(90) % 2):
        figure = plots.latent_scatter(vae, x, labels)
        (ax,) = figure.axes
        assert sum(patch.get_height() for patch in ax.patches) == 90
        edges = [patch.get_x() for patch in ax.patches]
        assert min(edges) == pytest.approx(z.min(), abs=1e-3)


def test_scatter_labels_may_be_names_numbers_or_many(make_linear):
    vae = make_linear()
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
def test_scatter_rejects_labels(labels, match, make_linear):
    vae = make_linear()
    with pytest.raises(ValueError, match=match):
        plots.latent_scatter(vae, vae.codes(5)[0], labels)


# Files and global state


def test_a_failing_save_leaves_the_old_file_whole(tmp_path, monkeypatch, make_linear):
    from matplotlib.figure import Figure

    path = tmp_path / "picture.png"
    plots.samples(make_linear(), n=4, path=path)
    before = path.read_bytes()

    def fail(self, target, **kwargs):
        with open(target, "wb") as stream:
            stream.write(before[:100])
        raise OSError("No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="is full .*picture.png was not written"):
        plots.samples(make_linear(), n=9, path=path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["picture.png"]


def test_the_same_picture_is_the_same_bytes(tmp_path, make_linear):
    x, _ = make_linear().codes(30)
    for name in ("a.png", "b.png"):
        plots.latent_scatter(make_linear(), x, np.arange(30) % 3, path=tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_an_unknown_suffix_is_rejected_before_the_model_works(make_linear):
    vae = make_linear()
    with pytest.raises(ValueError, match=r"\.png, \.pdf or \.svg, not 'a\.jpg'"):
        plots.samples(vae, path="a.jpg")
    assert not vae.sampled


def test_the_users_settings_neither_change_nor_are_changed(tmp_path, make_linear):
    plots.samples(make_linear(), n=4, path=tmp_path / "a.png")
    odd = {"figure.facecolor": "black", "savefig.bbox": "tight", "savefig.dpi": 50, "font.size": 30}
    with matplotlib.rc_context(odd):
        before = dict(matplotlib.rcParams)
        plots.samples(make_linear(), n=4, path=tmp_path / "b.png")
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


@pytest.mark.slow  # Each is drawn above; tests/test_cli.py draws those of real models.
def test_every_picture_of_a_real_model(tmp_path, eagerly):
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
    plots.interpolation(vae, data.examples[:3], data.examples[3:6])
    (panel,) = [
        ax for ax in plots.loss_curves(history).axes if ax.get_title(loc="left").startswith("KL")
    ]
    (line,) = [line for line in panel.lines if line.get_label() == "validation"]
    np.testing.assert_array_equal(line.get_ydata(), history.history["val_kl"])


# Conditional models.


@pytest.fixture
def make_conditional_linear(make_linear):
    class Conditional(make_linear):
        """A model of two classes, of which the second is brighter; it records its labels."""

        num_classes = 2

        def encode(self, x, label):
            self.labels = label
            return super().encode(x)

        def decode(self, z, label):
            self.decoded_as = np.asarray(label)
            return super().decode(z) + 0.1 * self.decoded_as[:, None, None, None]

        def reconstruct(self, x, label):
            return self.decode(self.encode(x, label)["z_mean"], label)

        def sample(self, n, seed=None, output="mean", label=None):
            z = np.random.default_rng(seed).normal(size=(n, self.latent_dim))
            self.sampled.append((n, seed, output))
            return self.decode(z, np.full(n, label))

    return Conditional


def test_samples_of_a_conditional_model_have_a_row_for_each_class(make_conditional_linear):
    vae = make_conditional_linear()
    (ax,) = plots.samples(vae, n=6, gap=0, value_range=(0, 1)).axes
    picture = np.asarray(ax.images[0].get_array(), np.float64)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "1"]
    assert [n for n, _, _ in vae.sampled] == [3, 3]
    first, second = np.split(picture[..., 0] if picture.ndim == 3 else picture, 2)
    np.testing.assert_allclose(second - first, 0.1, atol=1e-5)  # The same noise in each column.
    one = plots.samples(make_conditional_linear(), n=3, label=1, cols=3, gap=0, value_range=(0, 1))
    shown = np.asarray(one.axes[0].images[0].get_array(), np.float64)
    np.testing.assert_allclose(shown[..., 0] if shown.ndim == 3 else shown, second, atol=1e-6)


def test_labels_of_a_dataset_reach_a_conditional_model(make_conditional_linear):
    from kvae.datasets import Dataset

    vae = make_conditional_linear()
    data = Dataset(vae.codes(5)[0], np.array([0, 1, 1, 0, 1]))
    plots.reconstructions(vae, data, n=3)
    np.testing.assert_array_equal(vae.labels, [0, 1, 1])
    plots.latent_scatter(vae, data)
    np.testing.assert_array_equal(vae.labels, data.labels)


def test_a_manifold_of_a_class(make_conditional_linear):
    vae = make_conditional_linear()
    pictures = [
        np.asarray(
            plots.manifold(vae, n=2, label=label, gap=0, value_range=(0, 1))
            .axes[0]
            .images[0]
            .get_array(),
            np.float64,
        )
        for label in (0, 1)
    ]
    np.testing.assert_allclose(pictures[1] - pictures[0], 0.1, atol=1e-5)


def test_an_interpolation_is_decoded_as_the_class_of_its_start_or_a_given_one(
    make_conditional_linear,
):
    from kvae.datasets import Dataset

    vae = make_conditional_linear()
    start, end = (Dataset(vae.codes(2)[0], np.array(labels)) for labels in ([0, 1], [1, 1]))
    plots.interpolation(vae, start, end, steps=3)
    np.testing.assert_array_equal(vae.decoded_as, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(vae.labels, [1, 1])  # Each end is encoded as what it is.
    plots.interpolation(vae, start, end, steps=2, label=0)
    np.testing.assert_array_equal(vae.decoded_as, [0] * 4)
    np.testing.assert_array_equal(vae.labels, [1, 1])
    plots.interpolation(vae, start.examples, end.examples, steps=2, label=[1, 0])
    np.testing.assert_array_equal(vae.decoded_as, [1, 1, 0, 0])
    np.testing.assert_array_equal(vae.labels, [1, 0])


def test_pictures_of_a_real_conditional_model(tmp_path, eagerly):
    import zoo
    from kvae.datasets import Dataset

    vae = zoo.build("dense_vae", event_shape=(8, 8, 1), latent_dim=2, hidden=(4,), num_classes=3)
    x = Dataset(np.random.default_rng(0).random((6, 8, 8, 1)), np.arange(6) % 3)
    one, two = (plots.manifold(vae, n=3, x=x, label=label) for label in (0, 2))
    one, two = (np.asarray(figure.axes[0].images[0].get_array()) for figure in (one, two))
    assert np.any(one != two)
    plots.interpolation(vae, x[:2], x[2:4], steps=2, path=tmp_path / "i.png")
    with pytest.raises(ValueError, match="needs labels"):
        plots.interpolation(vae, x.examples[:1], x.examples[1:2], steps=2)
    for arguments in ({}, {"label": 3}, {"label": 0.5}):
        with pytest.raises(ValueError, match="needs labels|it is one class|whole numbers"):
            plots.manifold(vae, n=2, **arguments)
    plain = zoo.build("dense_vae", event_shape=(8, 8, 1), latent_dim=2, hidden=(4,))
    for picture in (
        lambda: plots.manifold(plain, n=2, label=1),
        lambda: plots.interpolation(plain, x.examples[:1], x.examples[1:2], label=1),
    ):
        with pytest.raises(ValueError, match="takes no labels"):
            picture()
