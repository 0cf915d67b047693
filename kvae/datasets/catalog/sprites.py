"""Sprites: 737,280 binary images with known factors, rendered when they are asked for."""

import functools
import math
import operator
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from kvae.datasets.batches import ordered_batches
from kvae.datasets.dataset_info import DatasetInfo
from kvae.datasets.registry import register
from kvae.datasets.splits import Splits, fixed_permutation
from kvae.utils.names import unknown_name

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["Sprites"]

_SHAPES = ("square", "ellipse", "heart")
_FACTORS = {"shape": 3, "scale": 6, "orientation": 40, "x": 32, "y": 32}
_SIZE = 64
_REACH = 16  # Pixels from a sprite's centre to the border of its stamp.
_STAMP = 2 * _REACH + 1
_ONE = 2**14  # The length of a pixel in the whole numbers in which sprites are drawn.
_HELD_OUT = {"test": 10_000, "validation": 5_000}


class Sprites:
    """Squares, ellipses and hearts of 6 sizes, 40 orientations and 32 × 32 places.

    The factors are those of dSprites; the images are our own, drawn by a formula in whole numbers,
    so that they are the same bits on every machine. An image is a function of its factors alone:

    | factor | values | meaning |
    |---|---|---|
    | shape | 3 | square (21 pixels wide at scale 1), ellipse (28 × 14), heart (about 29) |
    | scale | 6 | 0.5 to 1 in steps of 0.1 |
    | orientation | 40 | 0 to 2π, both included, in steps of 2π/39; counter-clockwise |
    | x, y | 32 each | the centre's column and row, 16 to 47 (rows count from the top) |

    A pixel is 1 where its centre lies in the sprite and 0 elsewhere: there is no anti-aliasing, and
    every sprite is wholly in the image.

    No representation can name every orientation, as in dSprites: the first and the last are the
    same angle, a square looks the same after a quarter turn and an ellipse after half a turn (the
    angles of the grid never meet so exactly, but small sprites fill the same pixels at
    neighbouring angles: 674 of the 720 sprites differ). So no model scores 1 on this factor.

    Factors are int arrays `[n, 5]` in the order of `factor_names`; the index of an image counts
    them with `y` moving fastest.

    Example:

    ```python
    sprites = kvae.datasets.Sprites()
    factors = sprites.sample_factors(100, seed=0, fixed={"shape": 2})
    sprites.images(factors)     # 100 hearts, float32 (100, 64, 64, 1)
    vae = zoo.build("beta_vae")
    vae.compile("adam")
    vae.fit(sprites.batches(64, seed=0, repeat=True), steps_per_epoch=1000, epochs=300)
    ```

    Reference:
        - [Matthey et al., dSprites](https://github.com/google-deepmind/dsprites-dataset): the
          factors
    """

    factor_names = tuple(_FACTORS)
    factor_sizes = tuple(_FACTORS.values())
    event_shape = (_SIZE, _SIZE, 1)

    def __len__(self) -> int:
        return math.prod(self.factor_sizes)

    def factors(self, index: ArrayLike) -> np.ndarray:
        """Returns the factors of images, int64 `[..., 5]`, for their indices `[...]`."""
        index = _whole("index", index)
        if index.size and not (index.min() >= 0 and index.max() < len(self)):
            raise ValueError(f"An index is from 0 to {len(self) - 1}.")
        return np.stack(np.unravel_index(index, self.factor_sizes), axis=-1).astype(np.int64)

    def index(self, factors: ArrayLike) -> np.ndarray:
        """Returns the indices of images, int64 `[...]`, for their factors `[..., 5]`."""
        factors = self._checked(factors)
        return np.ravel_multi_index(np.moveaxis(factors, -1, 0), self.factor_sizes)

    def render(self, factors: ArrayLike) -> np.ndarray:
        """Draws images as they are stored: uint8 `[n, 64, 64, 1]`, 0 or 255.

        Args:
            factors: int array `[n, 5]`.

        Raises:
            ValueError: for another shape, or a factor out of range.
        """
        return self._placed(_stamps(), factors)

    def images(self, factors: ArrayLike) -> np.ndarray:
        """Draws images in [0, 1]: float32 `[n, 64, 64, 1]`, 0 or 1; arguments as `render`'s."""
        return self._placed(_stamps() / np.float32(255), factors)

    @staticmethod
    def conditions(factors: ArrayLike) -> dict[str, np.ndarray]:
        """Returns factors `[n, 5]` in their units, as a model of all factors takes them.

        They are the shape's number, the scale from 0.5 to 1, the orientation in radians from 0 to
        2π, and the column and the row of the centre, in pixels.
        """
        shape, scale, orientation, x, y = np.moveaxis(np.asarray(factors), -1, 0)
        return {
            "shape": shape,
            "scale": np.float32(0.5) + np.float32(0.1) * scale.astype(np.float32),
            "orientation": (orientation * (2.0 * math.pi / 39.0)).astype(np.float32),
            "x": (_REACH + x).astype(np.float32),
            "y": (_REACH + y).astype(np.float32),
        }

    def sample_factors(
        self, n: int, seed: int | Sequence[int], fixed: Mapping | None = None
    ) -> np.ndarray:
        """Draws factors, each uniformly and independently.

        Args:
            n: int.
            seed: int or sequence of ints, of 0 or more. Equal seeds give equal factors.
            fixed: optional mapping from the name or the number of a factor to its value, or to
                values `[n]`. The other factors are those drawn without it.

        Returns:
            int64 array `[n, 5]`.

        Raises:
            ValueError: for an unknown factor, a value out of range, or a seed below 0.
        """
        n = operator.index(n)
        if n < 0:
            raise ValueError(f"`n` is at least 0, not {n}.")
        # NumPy promises the raw bits of Philox forever, but not those of `Generator.integers`.
        # The remainder of 64 random bits by 40 or fewer is uniform to 1 in 10**17.
        bits = np.random.Philox(np.random.SeedSequence(seed)).random_raw(5 * n).reshape(n, 5)
        factors = (bits % np.array(self.factor_sizes, np.uint64)).astype(np.int64)
        for name, value in (fixed or {}).items():
            factors[:, self._number(name)] = value
        return self._checked(factors)

    def sample(
        self, n: int, seed: int | Sequence[int], fixed: Mapping | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws `n` images at random: their factors and `images`; see `sample_factors`."""
        factors = self.sample_factors(n, seed, fixed)
        return factors, self.images(factors)

    def rows(self, split: str) -> np.ndarray:
        """Returns the indices of a split, in a fixed random order.

        Args:
            split: str. `"test"` (10,000 images), `"validation"` (5,000), `"train"` (all others) or
                `"all"`.
        """
        if split == "all":
            return np.arange(len(self))
        if split not in ("train", *_HELD_OUT):
            raise unknown_name("split", split, ("train", *_HELD_OUT, "all"))
        test, validation = _HELD_OUT["test"], _HELD_OUT["validation"]
        parts = np.split(_order(), [test, test + validation])
        return dict(zip(("test", "validation", "train"), parts, strict=True))[split]

    def batches(
        self,
        batch_size: int = 64,
        seed: int = 0,
        *,
        split: str = "train",
        first_epoch: int = 0,
        repeat: bool = False,
    ) -> "tf.data.Dataset":
        """Makes a `tf.data.Dataset` of shuffled batches in [0, 1], drawn when they are needed.

        An epoch is every image of the split once, in an order that depends on `seed` and the number
        of the epoch alone.

        Args:
            batch_size: int. The last batch of an epoch may be smaller.
            seed: int.
            split: str. As in `rows`; `"all"` is what the literature trains on. Defaults to
                `"train"`, which leaves the images of `load("sprites", "test")` unseen (but for
                those equal to one of the training).
            first_epoch: int. The number of the first epoch, for a training that resumes.
            repeat: bool. Endless epochs instead of one.

        Returns:
            `tf.data.Dataset` of float32 `[batch, 64, 64, 1]`.
        """
        import tensorflow as tf

        rows = tf.constant(self.rows(split).astype(np.int32))
        # A stamp in rows as wide as the image, all of them in one line, with room on both sides:
        # the image is a piece of the line, and moving its start moves the sprite.
        pixels, last = _SIZE * _SIZE, (_SIZE + 1) * (self.factor_sizes[-1] - 1)
        line = np.pad(_stamps().reshape(-1, _STAMP, _STAMP), ((0, 0), (0, 0), (0, _SIZE - _STAMP)))
        line = np.pad(line.reshape(len(line), -1), ((0, 0), (last, pixels - _STAMP * _SIZE)))
        length, lines = line.shape[1], tf.constant(line.ravel())
        places = math.prod(self.factor_sizes[-2:])

        def draw(chosen, *_):
            index = tf.gather(rows, chosen)
            x, y = index % places // self.factor_sizes[-1], index % self.factor_sizes[-1]
            start = index // places * length + last - (_SIZE * y + x)
            values = tf.gather(lines, start[:, None] + tf.range(pixels))
            return tf.cast(tf.reshape(values > 0, (-1, *self.event_shape)), tf.float32)

        return ordered_batches(
            len(rows),
            batch_size,
            draw,
            seed=seed,
            shuffle=True,
            first_epoch=first_epoch,
            repeat=repeat,
        )

    def _placed(self, stamps, factors) -> np.ndarray:
        factors = self._checked(factors)
        if factors.ndim != 2:
            raise ValueError(f"Factors have the shape [n, 5], not {factors.shape}.")
        shape, scale, orientation, x, y = factors.T
        images = np.zeros((len(factors), _SIZE, _SIZE), stamps.dtype)
        places = np.lib.stride_tricks.sliding_window_view(
            images, (_STAMP, _STAMP), axis=(1, 2), writeable=True
        )
        places[np.arange(len(factors)), y, x] = stamps[shape, scale, orientation]
        return images[..., None]

    def _number(self, name) -> int:
        if isinstance(name, str):
            if name not in _FACTORS:
                raise unknown_name("factor", name, _FACTORS)
            return self.factor_names.index(name)
        number = operator.index(name)
        if not 0 <= number < len(_FACTORS):
            raise ValueError(f"A factor's number is from 0 to {len(_FACTORS) - 1}, not {number}.")
        return number

    def _checked(self, factors) -> np.ndarray:
        factors = _whole("factors", factors)
        if factors.ndim < 1 or factors.shape[-1] != len(_FACTORS):
            raise ValueError(f"Factors have the shape [..., 5], not {factors.shape}.")
        bad = (factors < 0) | (factors >= np.array(self.factor_sizes))
        if bad.any():
            number = np.argwhere(bad)[0][-1]
            raise ValueError(
                f"The factor {self.factor_names[number]!r} is from 0 to "
                f"{self.factor_sizes[number] - 1}, not {factors[bad][0]}."
            )
        return factors


_FACTS = dict(
    event_shape=Sprites.event_shape,
    train=50_000,
    validation=5_000,
    test=10_000,
    factors=Sprites,
    split_rule="a fixed permutation of all 737,280 images (Philox bits, key 0): test, "
    "validation, and the first 50,000 of the 722,280 others, which Sprites.batches draws "
    "them all from; orientations 0 and 39 are equal, so 5% of the images have a twin",
    license="Apache-2.0",
    source="https://github.com/google-deepmind/dsprites-dataset",
    reference="L. Matthey, I. Higgins, D. Hassabis, A. Lerchner, dSprites: disentanglement "
    "testing sprites dataset, 2017 (the factors; the images are this library's own)",
)


@register(
    "sprites",
    title="64 x 64 binary squares, ellipses and hearts with known factors, rendered",
    classes=3,
    **_FACTS,
)
def read_sprites(info: DatasetInfo, folder: pathlib.Path | None) -> Splits:
    """Renders the first images of each split; the labels are the shapes."""
    return {split: (x, factors[:, 0]) for split, (x, factors) in _rendered(info).items()}


@register(
    "sprite_factors",
    title="the images of sprites, with all five factors as conditions",
    conditions={
        "shape": list(_SHAPES),
        "scale": "real",
        "orientation": "periodic",
        "x": "real",
        "y": "real",
    },
    **_FACTS,
)
def read_sprite_factors(info: DatasetInfo, folder: pathlib.Path | None) -> Splits:
    """Renders the first images of each split; the labels are `Sprites.conditions` of them."""
    found = _rendered(info)
    return {split: (x, Sprites.conditions(factors)) for split, (x, factors) in found.items()}


def _rendered(info: DatasetInfo) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns the first images of each split, and their factors."""
    sprites = Sprites()
    factors = {split: sprites.factors(sprites.rows(split)[:n]) for split, n in info.splits.items()}
    return {split: (sprites.render(each), each) for split, each in factors.items()}


def _whole(what: str, values) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind not in "iu":
        raise ValueError(f"`{what}` are whole numbers, not {values.dtype}.")
    return values.astype(np.int64)


@functools.cache
def _order() -> np.ndarray:
    order = fixed_permutation(math.prod(_FACTORS.values()))
    order.setflags(write=False)
    return order


@functools.cache
def _stamps() -> np.ndarray:
    """Every sprite about its centre: uint8 `[3, 6, 40, 33, 33]`, 0 or 255.

    Only the cosines are not whole numbers; they are rounded before they are used.
    """
    down, right = np.mgrid[-_REACH : _REACH + 1, -_REACH : _REACH + 1]
    up = -down
    stamps = np.zeros((*list(_FACTORS.values())[:3], _STAMP, _STAMP), np.uint8)
    for shape, scale, orientation in np.ndindex(stamps.shape[:3]):
        angle = 2.0 * math.pi * (orientation % 39) / 39.0
        # A heart is made of a square that stands on a corner.
        angle += math.pi / 4 if _SHAPES[shape] == "heart" else 0.0
        cosine, sine = round(_ONE * math.cos(angle)), round(_ONE * math.sin(angle))
        # Coordinates along the sprite's own axes, and lengths, in 1/40 of a pixel over _ONE.
        u, v = 40 * (cosine * right + sine * up), 40 * (cosine * up - sine * right)
        unit = 4 * (5 + scale) * _ONE  # A pixel at scale 1.
        inside = _inside(_SHAPES[shape], u, v, unit)
        stamps[shape, scale, orientation] = 255 * inside
    stamps.setflags(write=False)
    return stamps


def _inside(shape: str, u, v, unit: int):
    if shape == "square":
        return 2 * np.maximum(abs(u), abs(v)) <= 21 * unit
    if shape == "ellipse":
        return u**2 + 4 * v**2 <= (14 * unit) ** 2
    # Half of the square's side is r, and so is the radius of the discs on two sides of it. Its
    # centre is r/4 below the sprite's along both axes, which is the middle of the whole.
    r = 8 * unit
    u, v = u + r // 4, v + r // 4
    disc = np.minimum(u**2 + (v - r) ** 2, (u - r) ** 2 + v**2) <= r**2
    return (np.maximum(abs(u), abs(v)) <= r) | disc
