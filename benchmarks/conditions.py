"""Five conditions of sprites set independently of one another, and counterfactual images.

    python -m benchmarks.conditions --json runs/conditions.json --picture runs/counterfactuals.png

A regressor learns from real training images the factors of an image: the shape, the scale, the
orientation and the place. What it finds in 2,000 images of `--model` (`conditional_vae.sprites`) is
compared with what the model was told, beside the regressor's own errors on 2,000 real test images:

- `all five`: all factors are drawn independently and given, z is drawn from the prior;
- `alone`: one factor is given, and the others are unknown;
- `counterfactual`: a test image is encoded with its factors, one of them is changed, and the code
  is decoded with the new ones: the error of the factor that was changed, and of the others.

Errors are the share of wrong shapes, and mean absolute errors of the scale (0.5 to 1), of the
orientation in degrees and of the place in pixels. A square comes back after a quarter turn and an
ellipse after half a turn, so orientations are compared up to these. `chance` is the error of an
answer that knows nothing: the most frequent shape, the median, any orientation.

The regressor is kept in `--regressor`, and not trained again where it is there already.
"""

import argparse
import math
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.files import write_json

FACTORS = ("shape", "scale", "orientation", "x", "y")
TURNS = np.array([4, 2, 1])  # How often a shape looks the same in a whole turn.
_SCALE, _PLACE = 0.5, 32.0  # The units in which the regressor learns.


def regressor(path: pathlib.Path, epochs: int, seed: int = 0):
    """Returns the network that finds the factors of an image, trained on real images alone."""
    import keras
    from keras import layers

    import kvae

    if path.exists():
        return keras.models.load_model(path)
    keras.utils.set_random_seed(seed)
    convolution = {"strides": 2, "padding": "same", "activation": "relu"}
    network = keras.Sequential(
        [
            keras.Input((64, 64, 1)),
            *(layers.Conv2D(width, 4, **convolution) for width in (16, 32, 64, 64)),
            layers.Flatten(),
            layers.Dense(256, "relu"),
            layers.Dense(3 + 3 + 2),
        ]
    )
    data = kvae.datasets.load("sprite_factors", "train")
    network.compile(keras.optimizers.Adam(1e-3), loss=_loss)
    targets = _targets(data.labels)
    rate = keras.callbacks.LearningRateScheduler(
        lambda epoch: 1e-3 * 0.5 * (1 + math.cos(math.pi * epoch / epochs)) + 1e-5
    )
    network.fit(data.examples, targets, epochs=epochs, batch_size=64, verbose=2, callbacks=[rate])
    path.parent.mkdir(parents=True, exist_ok=True)
    network.compile()  # The loss is no part of the file.
    network.save(path)
    return network


def _targets(told: dict) -> np.ndarray:
    """Returns what the regressor learns, `[n, 6]`: shape, scale, place, orientation as a circle."""
    angle = TURNS[told["shape"]] * told["orientation"]
    numbers = [told["scale"] / _SCALE, told["x"] / _PLACE, told["y"] / _PLACE]
    return np.stack([told["shape"], *numbers, np.cos(angle), np.sin(angle)], 1).astype("float32")


def _loss(target, found):
    import keras

    shape = keras.ops.one_hot(keras.ops.cast(target[:, 0], "int32"), 3)
    logits = keras.losses.categorical_crossentropy(shape, found[:, :3], from_logits=True)
    squares = keras.ops.square(target[:, 1:] - found[:, 3:])
    return logits + 10.0 * keras.ops.sum(squares, axis=-1)


def errors(network, images, told: dict) -> dict[str, np.ndarray]:
    """Returns the error of each factor of each image, `[n]`, against what the model was told.

    A factor that was not told is left out. Orientations need the shape, told or found.
    """
    found = network.predict(np.asarray(images), batch_size=256, verbose=0)
    shape = found[:, :3].argmax(axis=1)
    numbers = {"scale": _SCALE * found[:, 3], "x": _PLACE * found[:, 4], "y": _PLACE * found[:, 5]}
    wrong = {}
    for name, value in told.items():
        if name == "shape":
            wrong[name] = (shape != value).astype(float)
        elif name == "orientation":
            turns = TURNS[told.get("shape", shape)]
            away = np.angle(np.exp(1j * (np.arctan2(found[:, 7], found[:, 6]) - turns * value)))
            wrong[name] = np.degrees(np.abs(away) / turns)
        else:
            wrong[name] = np.abs(numbers[name] - value)
    return wrong


def measure(vae, network, n: int, seed: int = 0) -> dict[str, dict[str, float]]:
    """Returns the mean errors of each factor, by what the images were made of."""
    import kvae

    sprites, test = kvae.datasets.Sprites(), kvae.datasets.load("sprite_factors", "test")[:n]
    told = sprites.conditions(sprites.sample_factors(n, seed))
    rows = {"real images": errors(network, test.examples, test.labels)}
    rows["all five"] = errors(network, vae.sample(n, seed=1, label=told), told)
    alone = [
        errors(network, vae.sample(n, seed=2, label={name: told[name]}), {name: told[name]})
        for name in FACTORS
    ]
    rows["alone"] = {name: error for each in alone for name, error in each.items()}
    changed, kept = {}, {name: [] for name in FACTORS}
    z = vae.posterior.mean(vae.encode(test))
    for name in FACTORS:
        other = {**test.labels, name: told[name]}
        found = errors(network, vae.decode(z, other), other)
        changed[name] = found.pop(name)
        for rest, error in found.items():
            kept[rest].append(error)
    rows["counterfactual, changed"] = changed
    rows["counterfactual, kept"] = kept
    rows["chance"] = {name: np.abs(value - np.median(value)) for name, value in told.items()} | {
        "shape": np.array([2 / 3]),
        "orientation": 90.0 / TURNS[told["shape"]],
    }
    return {
        row: {name: float(np.mean(error[name])) for name in FACTORS} for row, error in rows.items()
    }


def picture(vae, path: pathlib.Path, rows: int = 6) -> None:
    """Draws test images, their reconstructions, and what one changed condition makes of each."""
    from PIL import Image

    import kvae

    test = kvae.datasets.load("sprite_factors", "test")[:rows]
    label = test.labels
    changes = [
        *({"shape": np.full(rows, shape)} for shape in range(3)),
        *({"scale": np.full(rows, scale)} for scale in (0.5, 1.0)),
        *({"orientation": label["orientation"] + math.radians(angle)} for angle in (45, 90)),
        *({"x": np.full(rows, x)} for x in (18.0, 46.0)),
        *({"y": np.full(rows, y)} for y in (18.0, 46.0)),
    ]
    z = vae.posterior.mean(vae.encode(test))
    columns = [test.examples, vae.decode(z, label)]
    columns += [vae.decode(z, {**label, **change}) for change in changes]
    tiles = [
        np.pad(np.asarray(c)[..., 0], ((0, 0), (2, 2), (2, 2)), constant_values=0.5)
        for c in columns
    ]
    whole = np.concatenate([np.concatenate(list(column)) for column in tiles], axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((255 * whole).round().astype(np.uint8)).save(path)


def table(rows: dict[str, dict[str, float]]) -> str:
    """Returns the results as Markdown."""
    units = ("wrong shapes", "scale", "orientation, degrees", "x, pixels", "y, pixels")
    lines = [f"| | {' | '.join(units)} |", "|---" * (len(units) + 1) + "|"]
    for name, row in rows.items():
        first, *others = (row[factor] for factor in FACTORS)
        cells = [f"{100 * first:.1f} %", *(f"{value:.3g}" for value in others)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conditions", description=__doc__)
    parser.add_argument("--model", default="conditional_vae.sprites", help="or a .keras file")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=4, help="of the regressor (4)")
    parser.add_argument(
        "--regressor", type=pathlib.Path, default=pathlib.Path("runs/sprites.keras")
    )
    parser.add_argument("--json", type=pathlib.Path, default=pathlib.Path("runs/conditions.json"))
    parser.add_argument("--picture", type=pathlib.Path, help="write counterfactual images here")
    given = parser.parse_args(arguments)
    import kvae
    import zoo

    is_file = given.model.endswith(".keras")
    vae = kvae.load_model(given.model) if is_file else zoo.load(given.model)
    rows = measure(vae, regressor(given.regressor, given.epochs), given.images)
    write_json(given.json, rows)
    print(table(rows))
    if given.picture is not None:
        picture(vae, given.picture)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
