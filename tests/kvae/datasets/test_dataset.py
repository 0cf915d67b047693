"""kvae.datasets.Dataset: order, binarization and noise are functions of the seed and the epoch."""

import hashlib

import numpy as np
import pytest

from kvae.datasets import Dataset

N, BATCH = 23, 5
EVENT = (4, 2)


def numbered(**options):
    """Row i holds the number i everywhere."""
    rows = np.arange(N, dtype="float32")
    return Dataset(np.broadcast_to(rows[:, None, None], (N, *EVENT)).copy(), **options)


def intensities(value=0.3, n=400, **options):
    return Dataset(np.full((n, *EVENT), value, "float32"), **options)


def epochs(data, count, **options):
    """The batches of `count` epochs as arrays, `[count][steps]`."""
    batches = iter(data.batches(BATCH, repeat=True, **options))
    return [[np.asarray(next(batches)) for _ in range(data.steps(BATCH))] for _ in range(count)]


def order(batches):
    return [int(row) for batch in batches for row in batch[:, 0, 0]]


# Order.


@pytest.mark.default("True-5", "False-23", "True-100")
@pytest.mark.parametrize("batch_size", [1, 5, 23, 100])
@pytest.mark.parametrize("shuffle", [False, True])
def test_an_epoch_holds_every_row_once(batch_size, shuffle):
    data = numbered()
    dataset = data.batches(batch_size, shuffle=shuffle)
    batches = [np.asarray(batch) for batch in dataset]
    assert len(batches) == data.steps(batch_size) == int(dataset.cardinality())
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert all(batch.shape[1:] == EVENT and batch.dtype == np.float32 for batch in batches)
    rows = order(batches)
    assert sorted(rows) == list(range(N))
    assert (rows == list(range(N))) != shuffle


def test_the_order_is_a_function_of_seed_and_epoch():
    data = numbered(seed=3)
    orders = [order(epoch) for epoch in epochs(data, 4, shuffle=True)]
    assert len({tuple(rows) for rows in orders}) == 4
    assert all(sorted(rows) == list(range(N)) for rows in orders)
    assert [order(epoch) for epoch in epochs(numbered(seed=3), 4, shuffle=True)] == orders
    assert order(epochs(numbered(seed=4), 1, shuffle=True)[0]) not in orders


@pytest.mark.default("dynamic-0.0")
@pytest.mark.parametrize("binarize, noise", [(None, 0.0), ("dynamic", 0.0), ("dynamic", 0.5)])
def test_a_later_start_goes_on_with_the_same_epochs(binarize, noise):
    data = Dataset(np.random.default_rng(0).random((N, *EVENT)), binarize=binarize, noise=noise)

    def batches(count, first_epoch):
        iterator = iter(data.batches(BATCH, shuffle=True, repeat=True, first_epoch=first_epoch))
        return [next(iterator) for _ in range(count * data.steps(BATCH))]

    whole = batches(4, first_epoch=0)
    for start in (1, 3):
        rest = batches(4 - start, first_epoch=start)
        for a, b in zip(whole[start * data.steps(BATCH) :], rest, strict=True):
            np.testing.assert_array_equal(a, b)
    once = list(data.batches(BATCH, shuffle=True, first_epoch=2))
    for a, b in zip(whole[2 * data.steps(BATCH) : 3 * data.steps(BATCH)], once, strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_order_is_as_likely():
    # Where row 0 lands in 300 epochs of 6 rows: 50 ± 6.5 times in each place.
    data = Dataset(np.arange(6, dtype="float32")[:, None])
    batches = iter(data.batches(6, shuffle=True, repeat=True))
    places = [int(np.argmin(next(batches)[:, 0])) for _ in range(300)]
    counts = np.bincount(places, minlength=6)
    assert np.sum((counts - 50) ** 2 / 50) < 20.5  # χ² with 5 degrees of freedom, p = 0.001


# Binarization.


def test_dynamic_draws_differ_by_epoch_and_average_to_the_intensity():
    data = intensities(0.3, binarize="dynamic")
    draws = [np.concatenate(epoch) for epoch in epochs(data, 5, shuffle=True)]
    for draw in draws:
        assert set(np.unique(draw)) == {0.0, 1.0}
    assert not any(np.array_equal(draws[0], other) for other in draws[1:])
    n = sum(draw.size for draw in draws)
    assert abs(np.mean(draws) - 0.3) < 5 * np.sqrt(0.3 * 0.7 / n)
    # And within an epoch every batch is drawn by itself.
    batches = [draw.reshape(-1, BATCH * 8) for draw in draws]
    assert len({row.tobytes() for epoch in batches for row in epoch}) == 5 * data.steps(BATCH)


@pytest.mark.parametrize("binarize", ["static", "dynamic"])
def test_unshuffled_batches_and_images_hold_one_fixed_draw(binarize):
    data = intensities(0.3, binarize=binarize)
    images = data.examples
    assert set(np.unique(images)) == {0.0, 1.0} and images.dtype == np.float32
    assert abs(images.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / images.size)
    for epoch in epochs(data, 2):
        np.testing.assert_array_equal(np.concatenate(epoch), images)
    np.testing.assert_array_equal(intensities(0.3, binarize=binarize).examples, images)
    other = intensities(0.3, binarize=binarize, seed=1).examples
    assert not np.array_equal(other, images)


def test_static_draws_are_the_same_in_every_shuffled_epoch():
    x = np.random.default_rng(0).random((N, *EVENT))
    data = Dataset(x, binarize="static")
    known = {row.tobytes() for row in data.examples}
    for epoch in epochs(data, 3, shuffle=True):
        assert {row.tobytes() for row in np.concatenate(epoch)} == known


def test_extreme_intensities_are_certain():
    x = np.zeros((50, *EVENT), np.uint8)
    x[:, 1] = 255
    for data in (Dataset(x, binarize="static"), Dataset(x, binarize="dynamic")):
        np.testing.assert_array_equal(data.examples, x / 255)
        for batch in data.batches(50, shuffle=True):
            np.testing.assert_array_equal(batch, x / 255)


def test_uint8_stands_for_intensities():
    x = np.arange(24, dtype=np.uint8).reshape(3, *EVENT) * 10
    data = Dataset(x)
    np.testing.assert_allclose(data.examples, x / 255.0, rtol=1e-6)
    np.testing.assert_allclose(next(iter(data.batches(3))), x / 255.0, rtol=1e-6)
    assert data.x.dtype == np.uint8  # Kept as it is: a quarter of the memory.


@pytest.mark.parametrize("binarize", [None, "static", "dynamic"])
def test_slices_keep_the_draw_and_what_belongs_to_the_rows(binarize):
    x = np.random.default_rng(0).random((N, *EVENT)).astype("float32")
    data = Dataset(x, np.arange(N), binarize=binarize, name="mine", split="test", seed=5)
    part = data[7:15]
    np.testing.assert_array_equal(part.examples, data.examples[7:15])
    np.testing.assert_array_equal(part[2:4].examples, data.examples[9:11])
    np.testing.assert_array_equal(part.labels, np.arange(7, 15))
    np.testing.assert_array_equal(np.concatenate(list(part.batches(3))), data.examples[7:15])
    assert (len(part), part.name, part.split, part.seed) == (8, "mine", "test", 5)
    with pytest.raises(TypeError, match="indexed by a slice"):
        data[3]


# Targets and noise.


def test_targets_follow_their_rows():
    data = numbered(target=np.arange(N)[:, None, None] * np.full(EVENT, 2.0))
    for x, target in data.batches(BATCH, shuffle=True):
        np.testing.assert_array_equal(target, 2 * x)
    np.testing.assert_array_equal(data[4:6].target[:, 0, 0], [8, 10])


def test_noise_is_on_the_inputs_alone():
    data = intensities(0.5, noise=0.1)
    pairs = [batch for epoch in range(2) for batch in data.batches(100, first_epoch=epoch)]
    x = np.concatenate([pair[0] for pair in pairs])
    target = np.concatenate([pair[1] for pair in pairs])
    np.testing.assert_array_equal(target, np.full_like(x, 0.5))
    noise = (x - target) / 0.1
    assert abs(noise.mean()) < 5 / np.sqrt(noise.size)
    assert abs(noise.var() - 1) < 5 * np.sqrt(2 / noise.size)
    assert len({row.tobytes() for row in x.reshape(-1, 100 * 8)}) == 8  # All draws differ.
    again = [pair for epoch in range(2) for pair in data.batches(100, first_epoch=epoch)]
    np.testing.assert_array_equal(np.concatenate([pair[0] for pair in again]), x)


def test_noisy_inputs_stay_intensities():
    data = intensities(0.5, noise=2.0, binarize="dynamic")
    x, target = next(iter(data.batches(400, shuffle=True)))
    assert np.min(x) == 0.0 and np.max(x) == 1.0
    assert set(np.unique(target)) == {0.0, 1.0}


# Content and errors.


def test_sha256_is_of_the_stored_content():
    x = np.arange(24, dtype=np.uint8).reshape(3, *EVENT)
    expected = hashlib.sha256(b"|u1(3, 4, 2)" + x.tobytes()).hexdigest()
    assert Dataset(x).sha256 == Dataset(x, binarize="static", seed=3).sha256 == expected
    hashes = {Dataset(x[::-1]).sha256, Dataset(x.reshape(3, 8)).sha256, Dataset(x * 1.0).sha256}
    assert len(hashes | {expected}) == 4


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"x": np.zeros((0, 4))}, r"\(0, 4\)"),
        ({"x": np.zeros(4)}, r"\[n, \*event\].*\(4,\)"),
        ({"x": np.array([["a"]])}, "numbers"),
        ({"x": np.ones((2, 2), object)}, "numbers"),
        ({"x": np.zeros((3, 4)), "labels": [1, 2]}, "`labels` has 2 rows, x has 3"),
        ({"x": np.zeros((3, 4)), "target": np.zeros((2, 4))}, "`target` has 2 rows, x has 3"),
        ({"x": np.full((3, 4), 1.5), "binarize": "static"}, r"\[0, 1\], not 1.5 to 1.5"),
        ({"x": np.full((3, 4), np.nan), "binarize": "static"}, r"\[0, 1\], not nan"),
        ({"x": np.zeros((3, 4)), "binarize": "statc"}, "Unknown binarization.*'static'"),
        ({"x": np.zeros((3, 4)), "target": np.zeros((3, 4)), "noise": 0.1}, "no `target`"),
    ],
)
def test_refuses_what_makes_no_dataset(arguments, message):
    with pytest.raises(ValueError, match=message):
        Dataset(**arguments)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_refuses_batches_without_rows(batch_size):
    with pytest.raises(ValueError, match="`batch_size` is a whole number of at least 1"):
        numbered().batches(batch_size)
