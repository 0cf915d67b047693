"""kvae.datasets.Sprites: bits that never change, geometry, factors, draws and batches."""

import dataclasses
import hashlib
import math

import numpy as np
import pytest

from kvae import datasets
from kvae.datasets.catalog.sprites import _stamps, read_sprites

sprites = datasets.Sprites()
SQUARE, ELLIPSE, HEART = range(3)


def image(shape, scale=5, orientation=0, x=16, y=16):
    return sprites.render(np.array([[shape, scale, orientation, x, y]]))[0, ..., 0] > 0


def test_the_bits_never_change():
    """Figures of trained models rest on these bytes."""
    assert hashlib.sha256(_stamps().tobytes()).hexdigest() == (
        "3878f08391815355e859eb3f41df2fb17fd6b0d16f613b1fcdf95e07cb2ac39a"
    )
    assert sprites.rows("test")[:3].tolist() == [220276, 68642, 368138]
    assert sprites.sample_factors(2, 0).tolist() == [[1, 1, 36, 29, 22], [1, 5, 11, 3, 12]]


@pytest.mark.parametrize("scale", range(6))
def test_areas_are_those_of_the_figures(scale):
    """The mean over the angles counts the pixels of the continuous figure, but for its outline."""
    s = 0.5 + 0.1 * scale
    areas = 21.0**2, math.pi * 14 * 7, (4 + math.pi) * 8**2
    lengths = 4 * 21.0, 70.0, 16 * math.pi + 4 * 8
    for shape, (area, length) in enumerate(zip(areas, lengths, strict=True)):
        pixels = (_stamps()[shape, scale] > 0).sum(axis=(1, 2)).mean()
        # A tie on the outline is inside: at most the upright square's, of all its 4 sides.
        assert abs(pixels - area * s**2) < 0.05 * length * s, (shape, scale)


def test_the_formula_against_the_plane():
    """Pixels that are clearly in or out of the continuous figures, by the definition in floats."""
    rows, columns = np.mgrid[:64, :64]
    for shape, scale, orientation, x, y in sprites.sample_factors(60, 1):
        angle, s = 2 * math.pi * orientation / 39, 0.5 + 0.1 * scale
        right, up = columns - (16.0 + x), (16.0 + y) - rows
        point = (right + 1j * up) * np.exp(-1j * angle) / s
        if shape == SQUARE:
            depth = 10.5 - np.maximum(abs(point.real), abs(point.imag))
        elif shape == ELLIPSE:
            depth = 14.0 * (1 - abs(point.real / 14 + 1j * point.imag / 7))
        else:  # Two discs and a square on its corner, the tip down at orientation 0.
            point = point * np.exp(-1j * math.pi / 4) + 2 * (1 + 1j)
            box = 8 - np.maximum(abs(point.real), abs(point.imag))
            depth = np.max([box, 8 - abs(point - 8), 8 - abs(point - 8j)], axis=0)
        drawn = image(shape, scale, orientation, x, y)
        clear = abs(depth) > 0.01
        assert clear.mean() > 0.97
        np.testing.assert_array_equal(drawn[clear], depth[clear] > 0)


def test_moving_a_sprite_moves_its_pixels():
    for shape in range(3):
        here = image(shape, x=3, y=4)
        assert here.any()
        np.testing.assert_array_equal(np.roll(here, (7, 20), (0, 1)), image(shape, x=23, y=11))


def test_sprites_are_whole():
    stamps = _stamps()
    for edge in (stamps[..., 0, :], stamps[..., -1, :], stamps[..., 0], stamps[..., -1]):
        assert not edge.any()
    assert set(np.unique(stamps)) == {0, 255}


def test_symmetries():
    stamps = _stamps()
    np.testing.assert_array_equal(stamps[:, :, 0], stamps[:, :, 39])  # 0 and 2π
    upright = stamps[SQUARE, 5, 0]
    np.testing.assert_array_equal(upright, np.rot90(upright))
    for shape, turns, alike in ((SQUARE, 4, True), (ELLIPSE, 2, True), (HEART, 2, False)):
        turned = np.rot90(stamps[shape], 4 // turns, axes=(-2, -1))
        assert np.array_equal(stamps[shape], turned) == alike
    heart = image(HEART)
    np.testing.assert_array_equal(heart[:, 17:48], heart[:, 47:16:-1])  # Left and right mirror.
    widths = heart.sum(axis=1)[heart.any(axis=1)]
    assert widths[-1] == 1 and widths.argmax() < len(widths) / 2  # The tip points down.
    # Neighbouring angles that fill the same pixels, as the class says.
    assert len(np.unique(stamps.reshape(720, -1), axis=0)) == 674


def test_index_and_factors_are_inverse():
    assert len(sprites) == 737_280
    index = np.array([0, 1, 32, 1024, 737_279, 345_678])
    factors = sprites.factors(index)
    assert factors[:5].tolist() == [
        [0, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [0, 0, 1, 0, 0], [2, 5, 39, 31, 31]
    ]  # fmt: skip
    np.testing.assert_array_equal(sprites.index(factors), index)


def test_draws():
    factors = sprites.sample_factors(20_000, 3)
    for column, size in zip(factors.T, sprites.factor_sizes, strict=True):
        counts = np.bincount(column, minlength=size)
        assert len(counts) == size
        # Chi-squared of size - 1 degrees of freedom, six of its standard deviations.
        expected = len(factors) / size
        assert np.sum((counts - expected) ** 2) / expected < size - 1 + 6 * math.sqrt(2 * size - 2)
    assert np.abs(np.corrcoef(factors.T) - np.eye(5)).max() < 6 / math.sqrt(20_000)
    np.testing.assert_array_equal(factors, sprites.sample_factors(20_000, 3))
    assert not np.array_equal(factors, sprites.sample_factors(20_000, 4))
    fixed = sprites.sample_factors(20_000, 3, fixed={"scale": 2, 4: np.arange(20_000) % 32})
    np.testing.assert_array_equal(fixed[:, [0, 2, 3]], factors[:, [0, 2, 3]])
    assert set(fixed[:, 1]) == {2} and fixed[:40, 4].tolist() == [*range(32), *range(8)]
    some, images = sprites.sample(3, 5)
    np.testing.assert_array_equal(images, sprites.render(some) / np.float32(255))
    assert images.dtype == np.float32 and images.shape == (3, 64, 64, 1)


def test_splits_are_disjoint_and_complete():
    parts = [sprites.rows(split) for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [722_280, 5_000, 10_000]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), sprites.rows("all"))


def test_load_renders_the_beginning_of_each_split(monkeypatch):
    small = dict(train=50, validation=5, test=10)
    splits = read_sprites(dataclasses.replace(datasets.info("sprites"), **small), None)
    for split, n in small.items():
        factors = sprites.factors(sprites.rows(split)[:n])
        np.testing.assert_array_equal(splits[split][0], sprites.render(factors))
        np.testing.assert_array_equal(splits[split][1], factors[:, 0])


class Few(datasets.Sprites):
    """20 images make an epoch."""

    def rows(self, split):
        return np.arange(100_000, 700_000, 30_000)


def test_batches_are_every_image_once_and_repeat():
    def batches(seed, number=3, **options):
        return [batch.numpy() for batch in Few().batches(8, seed, **options).take(number)]

    first, second = batches(1), batches(1, first_epoch=1)
    whole, expected = np.concatenate(first), sprites.images(sprites.factors(Few().rows("all")))
    assert whole.dtype == np.float32 and whole.shape == expected.shape
    order = [np.flatnonzero((expected == each).all(axis=(1, 2, 3))).item() for each in whole]
    assert sorted(order) == list(range(20)) != order
    assert not np.array_equal(first[0], second[0])  # Another order in every epoch.
    assert not np.array_equal(first[0], batches(2)[0])  # And by every seed.
    endless = np.concatenate(batches(1, 6, repeat=True))
    np.testing.assert_array_equal(endless, np.concatenate([*first, *second]))


@pytest.mark.slow  # The batches are above, and `test_fit.py` trains on batches.
def test_a_model_trains_on_batches(make_vae):
    vae = make_vae(event=(64, 64, 1), optimizer="sgd", eager=True)
    history = vae.fit(Few().batches(8, 0, repeat=True), steps_per_epoch=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sprites.render([[0, 6, 0, 0, 0]]), "'scale' is from 0 to 5, not 6"),
        (lambda: sprites.render([[0, 0, 0, 0, -1]]), "'y' is from 0 to 31, not -1"),
        (lambda: sprites.render([0, 0, 0, 0, 0]), r"\[n, 5\], not \(5,\)"),
        (lambda: sprites.images([[0, 0, 0, 0]]), r"\[..., 5\]"),
        (lambda: sprites.index([[0.5, 0, 0, 0, 0]]), "whole numbers, not float64"),
        (lambda: sprites.factors(737_280), "from 0 to 737279"),
        (lambda: sprites.sample_factors(2, 0, {"scales": 1}), "'scale'"),
        (lambda: sprites.sample_factors(2, 0, {5: 1}), "from 0 to 4, not 5"),
        (lambda: sprites.sample_factors(2, 0, {"shape": 3}), "'shape' is from 0 to 2, not 3"),
        (lambda: sprites.sample_factors(2, -1), "non-negative"),
        (lambda: sprites.sample_factors(-2, 1), "at least 0"),
        (lambda: sprites.rows("valid"), "'validation'"),
        (lambda: sprites.batches(0, 0), "`batch_size` is a whole number of at least 1"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
