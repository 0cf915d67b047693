"""Pictures, pixel by pixel: what stands in the file, for every kind of event."""

import numpy as np
import pytest
from PIL import Image

from kvae import plots
from kvae.plots import checked, grid


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


@pytest.mark.parametrize(("side", "n"), [(8, 100), (8, 4), (28, 100), (28, 4)])
def test_gaps_grow_with_the_images(make_linear, side, n, tmp_path):
    """White everywhere, so that neighbours could merge: the share of the gap is what is seen."""
    vae = make_linear((side, side, 1))
    vae.weights[:] = 0
    figure = plots.samples(vae, n=n, path=tmp_path / "s.png")
    line = pixels(figure, tmp_path / "s.png")[0]
    gap, images = (line == 255).sum(), (line != 255).sum()
    assert 0.05 < (gap / (n**0.5 - 1)) / (images / n**0.5) < 0.1
    thumbnail = grid.thumbnail(np.zeros((12, side, side, 1)), 12)
    assert 0.05 < (thumbnail[0] == 255).sum() / 11 / ((thumbnail[0] == 0).sum() / 12) < 0.1
    assert thumbnail.shape[1] <= grid.THUMBNAIL


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
def test_a_saved_grid_is_the_enlarged_tile_pixel_by_pixel(tmp_path, shape, gap, make_linear):
    vae = make_linear(shape)
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


def test_a_constant_manifold_is_one_colour_in_the_file(tmp_path, make_linear):
    vae = make_linear()
    vae.weights[:] = 0
    figure = plots.manifold(vae, gap=0, path=tmp_path / "m.png")
    seen = pixels(figure, tmp_path / "m.png")
    assert seen.size > 100_000 and np.unique(seen).tolist() == [128]


def test_another_resolution_brings_no_colours_between(tmp_path, make_linear):
    vae = make_linear()
    vae.decode = lambda z: np.float32(np.indices((len(z), 4, 4, 1)).sum(axis=0) % 2)
    figure = plots.manifold(vae, n=5, gap=0)
    figure.savefig(tmp_path / "odd.png", dpi=97)
    whole = np.asarray(Image.open(tmp_path / "odd.png").convert("L")).astype(int)
    box = figure.axes[0].get_position().bounds
    height, width = whole.shape
    left, right = int(box[0] * width) + 2, int((box[0] + box[2]) * width) - 2
    top, bottom = int((1 - box[1] - box[3]) * height) + 2, int((1 - box[1]) * height) - 2
    inside = whole[top:bottom, left:right]
    assert set(np.unique(inside)) == {0, 255}


def test_colour_reaches_the_file(tmp_path, make_linear):
    vae = make_linear((5, 6, 3))
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
    assert grid.value_bounds(np.array(values), decoded=False) == bounds


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
        ((5, 9, 9, 1), "volume"),
    ],
)
def test_event_kind(shape, kind):
    assert checked.event_kind(shape) == kind


@pytest.mark.default("shape0", "shape3", "shape5", "shape7", "shape12")
@pytest.mark.parametrize(
    "shape",
    [(27, 31, 1), (9, 5, 3), (6, 7, 4), (5, 5, 2), (1, 1, 1), (30, 3), (1, 1), (12,), (90,)]
    + [(8, 8), (300, 20, 1), (3, 7, 6, 1), (4, 7, 6, 3)],
)
def test_every_kind_of_event_can_be_drawn(shape, tmp_path, make_linear):
    vae = make_linear(shape)
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


def test_of_volumes_the_middle_slice_is_drawn_and_slices_in_a_montage(make_linear):
    vae = make_linear((5, 4, 3, 1))
    x, _ = vae.codes(4)
    figure = plots.reconstructions(vae, x, n=2, gap=1)
    assert "the middle slice, 3 of 5" in figure.axes[0].texts[0].get_text()
    (drawn,) = figure.axes[0].images
    picture = drawn.get_array()
    assert picture.shape[0] % 4 == 1  # Two rows and a gap of a pixel, enlarged by a whole number.
    np.testing.assert_allclose(picture[0, 0], x[0, 2, 0, 0, 0], atol=1e-6)
    figure = plots.slices(vae, x, n=2, cols=3, gap=1)
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["1", "3", "5"] and len(figure.axes[0].get_yticklabels()) == 4
    picture = figure.axes[0].images[0].get_array()
    scale = (picture.shape[0] - 3) // 16
    for row in range(4):  # The decoder gives back its own draws.
        for col, index in enumerate((0, 2, 4)):
            top, left = row * (4 * scale + 1), col * (3 * scale + 1)
            cell = picture[top : top + 4 * scale : scale, left : left + 3 * scale : scale]
            np.testing.assert_allclose(cell, x[row // 2, index, ..., 0], atol=1e-5)
    with pytest.raises(ValueError, match="Slices are of volumes"):
        plots.slices(make_linear((4, 4, 1)), np.zeros((1, 4, 4, 1)))


def test_signals_are_lines_through_their_values(make_linear):
    vae = make_linear((20, 2))
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


def bars(ax):
    """The first and the last x of each bar and its middle y, panel by panel."""
    corners = [path.vertices for c in ax.collections for path in c.get_paths()]
    found = [v for v in corners if len(v) == 5 and np.ptp(v[:, 1]) < 15]
    return np.array([(v[0, 0], v[1, 0], v[:4, 1].mean()) for v in found])


def test_rows_of_a_table_are_bars_with_the_names_of_their_columns(make_linear):
    vae = make_linear((3,))
    x = np.float32([[0.5, -1.0, 2.0], [1.0, 1.0, 0.0]])
    vae.reconstruct = lambda x: x
    figure = plots.reconstructions(vae, x, columns=["age", "$ a $ month", "n" * 50])
    (ax,) = figure.axes
    found = bars(ax).reshape(4, 3, 3)
    length = found[..., 1] - found[..., 0]
    np.testing.assert_allclose(length / length[0, 2], np.tile(x / 2, (2, 1)), atol=1e-6)
    # Each name is as high as its bar, once for a row of panels, and beside the row's own label.
    names = ax.texts[:6]
    assert [name.get_text() for name in names[:2]] == ["age", "$ a $ month"]
    assert names[2].get_text() == "n" * 29 + "…"
    heights = [name.get_position()[1] for name in names]
    np.testing.assert_allclose(heights, [*found[0, :, 2], *found[2, :, 2]], atol=1e-6)
    renderer = figure.canvas.get_renderer()
    left = min(name.get_window_extent(renderer).x0 for name in names)
    rows = ax.get_yticklabels()
    assert [row.get_text() for row in rows] == ["original", "reconstruction"]
    assert max(row.get_window_extent(renderer).x1 for row in rows) <= left
    with pytest.raises(ValueError, match=r"`columns` has 2 names, .*\(3,\)"):
        plots.samples(vae, columns=["a", "b"])


def test_names_are_those_of_the_data_that_the_model_knows(make_linear):
    from kvae.datasets.schema import Column, Schema

    vae = make_linear((2,))
    columns = (Column("age", "gaussian"), Column("height", "gaussian"))
    (ax,) = plots.samples(vae, n=1).axes
    assert [text.get_text() for text in ax.texts[:2]] == ["x[0]", "x[1]"]
    vae.schema = Schema(columns=columns, class_names=("cats", "dogs"))
    (ax,) = plots.samples(vae, n=1).axes
    assert [text.get_text() for text in ax.texts[:2]] == ["age", "height"]
    x, _ = vae.codes(6)
    figure = plots.latent_scatter(vae, x, np.arange(6) % 2)
    assert [text.get_text() for text in figure.axes[0].get_legend().texts] == ["cats", "dogs"]


def test_a_table_of_many_rows_leaves_the_names_out_rather_than_grow(make_linear):
    figure = plots.manifold(make_linear((40,)), n=15)
    assert figure.get_size_inches()[1] * figure.dpi < 3000
    assert not [text for text in figure.axes[0].texts if "x[" in text.get_text()]


def test_flat_images_are_drawn_as_squares_on_request(make_linear):
    vae = make_linear((49,))
    (ax,) = plots.samples(vae, n=4, kind="image", gap=0).axes
    rows, cols = np.asarray(ax.images[0].get_array()).shape
    assert rows == cols and rows % 14 == 0
    with pytest.raises(ValueError, match="not square images"):
        plots.samples(make_linear((50,)), n=4, kind="image")
    with pytest.raises(ValueError, match="cannot be drawn"):
        plots.samples(make_linear((2, 3, 2, 4, 5)), n=4)
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
def test_wrong_examples_are_rejected(name, x, match, make_linear):
    arguments = (x, x) if name == "interpolation" else (x,)
    if name == "interpolation" and x.shape == (4, 4, 1):
        return  # one event, which it takes
    with pytest.raises(ValueError, match=match):
        getattr(plots, name)(make_linear(), *arguments)


def test_a_diverged_model_is_named(make_linear):
    vae = make_linear()
    vae.weights[:] = np.nan
    with pytest.raises(ValueError, match=r"sample\(n\) holds NaN or infinite.*diverged"):
        plots.samples(vae, n=4)


@pytest.mark.parametrize("n", [0, -1, 2.5, "9"])
def test_counts_are_whole_and_positive(n, make_linear):
    with pytest.raises(ValueError, match="`n` is a whole number of at least 1"):
        plots.samples(make_linear(), n=n)


@pytest.mark.parametrize(("side", "seamless"), [(8, False), (16, True)])
def test_a_manifold_of_small_images_has_gaps(tmp_path, make_linear, side, seamless):
    vae = make_linear((side, side, 1))
    vae.weights[:] = 0
    seen = pixels(plots.manifold(vae, n=3, path=tmp_path / "m.png"), tmp_path / "m.png")
    assert (np.unique(seen).tolist() == [128]) == seamless


@pytest.mark.parametrize("channels", [1, 3])
def test_maps_of_anomalies_glow_where_it_costs(tmp_path, make_linear, channels):
    shape, where = (4, 4, channels), np.zeros((2, 4, 4, channels), "float32")
    where[0, 1, 2, 0], where[1, 3, 0, 0] = 2.0, 1.0
    x = np.random.default_rng(0).random(where.shape, "float32")
    path = tmp_path / "a.png"
    figure = plots.anomalies(make_linear(shape), x, where, path, labels=["7", "3"])
    lower = pixels(figure, path)
    gap = grid.gap_of(160)
    lower = lower[160 + gap :]
    for n, (row, col) in enumerate([(1, 2), (3, 0)]):
        cells = lower[:, n * (160 + gap) :][:, :160].reshape(4, 40, 4, 40).mean(axis=(1, 3))
        assert np.unravel_index(cells.argmax(), cells.shape) == (row, col)
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["7", "3"]


def test_anomalies_of_tables_are_bars_and_of_signals_lines(tmp_path, make_linear):
    rows = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    bars = plots.anomalies(make_linear((5,)), rows, rows**2, columns=list("abcde"))
    assert {"a", "e"} <= {text.get_text() for text in bars.axes[0].texts}
    signals = np.where(np.arange(3) == 1, np.nan, np.ones((2, 9, 3))).astype("float32")
    lines = plots.anomalies(make_linear((9, 3)), signals, np.ones((2, 9, 3)))
    assert [t.get_text() for t in lines.axes[0].get_yticklabels()] == ["example", "nats"]
    with pytest.raises(ValueError, match="`where` has the shape"):
        plots.anomalies(make_linear((5,)), rows, rows[:2])
