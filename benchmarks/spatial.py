"""A z on a grid beside one that is a vector, and images larger than those of the training.

    python -m benchmarks.spatial --tasks frey_faces sprites shapes --output runs/spatial

`frey_faces` (28 × 20, Gaussian with a learned σ) and `sprites` (64 × 64, Bernoulli) train
`autoencoder_kl` and, with as many latents and the same steps, `conv_vae`. Printed are the test
images' −ELBO in nats and the peak signal-to-noise ratio of their reconstructions.

`shapes` are images of 128 × 128 × 3 that are drawn here: discs and boxes of random colours with
smooth edges on a slanted ground. `autoencoder_kl` trains on crops of 64 × 64, and reconstructs
whole test images: at once (`resized`), in tiles side by side, and in tiles that overlap by a
quarter and are blended. `seams` is the mean step of the error across the lines where tiles of 64
pixels meet side by side, as a multiple of that across all other lines; compare it with that of
images at once. Tiles that overlap end there as well, and elsewhere.

A row that stands in the file already is not measured again. Seeds are of weights, order and noise.
"""

import argparse
import functools
import itertools
import json
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.files import write_json

_FILTERS = (8, 16, 32)
_EPOCHS = {"frey_faces": 60, "sprites": 3, "shapes": 12}
_BETA = 0.001  # For codes that keep what tiles need; the prior is not sampled here.


def shapes(n: int, size: int = 128, seed: int = 0) -> np.ndarray:
    """Draws images of discs and boxes, float32 `[n, size, size, 3]` in [0, 1]."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size].astype("float32")
    images = np.empty((n, size, size, 3), "float32")
    for image in images:
        ends = rng.random((2, 3))
        slant = (rows * rng.random() + columns * rng.random()) / (2 * size)
        image[:] = ends[0] + (ends[1] - ends[0]) * slant[..., None]
        for _ in range(rng.integers(6, 13)):
            top, left = rng.uniform(0, size, 2)
            half = rng.uniform(size / 24, size / 6, 2)
            if rng.random() < 0.5:
                outside = np.hypot(rows - top, columns - left) - half[0]
            else:
                outside = np.maximum(abs(rows - top) - half[0], abs(columns - left) - half[1])
            share = np.clip(0.5 - outside, 0.0, 1.0)[..., None]  # The edge is a pixel wide.
            image[:] = (1 - share) * image + share * rng.random(3)
    return images


def crops(images: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Cuts a square of this size out of each image, at random."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, images.shape[1] - size + 1, (len(images), 2))
    cut = [x[r : r + size, c : c + size] for x, (r, c) in zip(images, corners, strict=True)]
    return np.stack(cut)


def signal_to_noise(x, y) -> float:
    """Returns the peak signal-to-noise ratio of values in [0, 1], in decibels."""
    return float(-10 * np.log10(np.mean(np.square(np.asarray(y, np.float64) - x))))


def seams(x, y, tile: int) -> float:
    """Returns the step of the error across the lines between tiles, relative to other lines."""
    error = np.asarray(y, np.float64) - x
    steps = [np.abs(np.diff(error, axis=axis)).mean(axis=(0, 3 - axis, 3)) for axis in (1, 2)]
    between = np.zeros(len(steps[0]), bool)
    between[tile - 1 :: tile] = True
    return float(np.mean([step[between].mean() / step[~between].mean() for step in steps]))


def model(architecture: str, event, seed: int, likelihood: str, **parts):
    """Returns a compiled model with the latents of `autoencoder_kl`, whatever the architecture."""
    import keras

    import zoo

    factor = 2 ** (len(_FILTERS) - 1)
    grid = (event[0] // factor, event[1] // factor, 4)
    sizes = {"latent_shape": grid, "filters": _FILTERS}
    if architecture == "conv_vae":
        sizes = {"latent_dim": int(np.prod(grid)), "filters": (32, 64)}
    vae = zoo.build(
        architecture, event_shape=event, likelihood=likelihood, seed=seed, **sizes, **parts
    )
    vae.compile(keras.optimizers.Adam(2e-3))
    return vae


def beside(task, architecture: str, seed: int, epochs: int, examples: int, output) -> dict:
    """Trains a model of a data set, and returns its figures on the test images."""
    import kvae

    train, test = (kvae.datasets.load(task, split) for split in ("train", "test"))
    train, test = train.examples[:examples], test.examples[:500]
    likelihood = "bernoulli" if task == "sprites" else "gaussian:learned"
    vae = model(architecture, train.shape[1:], seed, likelihood)
    vae.fit(train, batch_size=64, epochs=epochs, verbose=2)
    found = vae.evaluate(test, return_dict=True, verbose=0)
    name = f"{task}_{architecture}"
    kvae.plots.reconstructions(vae, test[:10], path=output / f"{name}.png")
    kvae.plots.samples(vae, 30, path=output / f"{name}_samples.png")
    return {
        "latents": vae.latent_dim,
        "parameters": vae.count_params(),
        "-elbo": -float(found["elbo"]),
        "kl": float(found["kl"]),
        "psnr": signal_to_noise(test, vae.reconstruct(test)),
    }


def larger(seed: int, epochs: int, examples: int, output) -> dict:
    """Trains on crops, and returns the figures of whole images, at once and in tiles."""
    import kvae

    train, test = shapes(min(examples, 2000), seed=1), shapes(32, seed=2)
    objective = kvae.objectives.ELBO(beta=_BETA)
    vae = model("autoencoder_kl", (64, 64, 3), seed, "gaussian:scale=0.1", objective=objective)
    for epoch in range(epochs):  # Other crops in each.
        part = crops(train, 64, seed=epoch)
        vae.fit(part, batch_size=16, initial_epoch=epoch, epochs=epoch + 1, verbose=2)
    whole = vae.resized((128, 128))
    ways = {"at once": whole.reconstruct(test)}
    for name, overlap in (("tiles side by side", 0), ("blended tiles", 4)):
        z = vae.encode_tiles(test, overlap=overlap)["z_mean"]
        ways[name] = vae.decode_tiles(z, overlap=overlap)
    small = crops(test, 64, seed=0)
    found = {"crops of 64 × 64": {"psnr": signal_to_noise(small, vae.reconstruct(small))}}
    for name, made in ways.items():
        found[name] = {"psnr": signal_to_noise(test, made), "seams": seams(test, made, 64)}
    draw(output / "shapes.png", test[:6], *(np.asarray(made)[:6] for made in ways.values()))
    return found


def draw(path: pathlib.Path, *rows: np.ndarray) -> None:
    """Writes a picture of rows of images."""
    import keras

    import kvae

    picture = kvae.plots.tile(np.clip(np.concatenate(rows), 0, 1), len(rows), len(rows[0]), gap=4)
    keras.utils.save_img(path, picture, scale=True)


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spatial", description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=list(_EPOCHS), default=list(_EPOCHS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, help="in place of 60, 3 and 12")
    parser.add_argument("--examples", type=int, default=4000, help="training images at most (4000)")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/spatial"))
    given = parser.parse_args(arguments)
    given.output.mkdir(parents=True, exist_ok=True)
    file = given.output / "spatial.json"
    rows = json.loads(file.read_text()) if file.exists() else {}

    def measured(key: str, measure) -> None:
        if key not in rows:
            rows[key] = measure()
            write_json(file, rows)
        print(key, json.dumps(rows[key], indent=1), flush=True)

    size = {"examples": given.examples, "output": given.output}
    for task, seed in itertools.product(given.tasks, given.seeds):
        run = {"seed": seed, "epochs": given.epochs or _EPOCHS[task], **size}
        key = f"{task}, {run['epochs']} epochs, {given.examples} examples, seed {seed}"
        if task == "shapes":
            measured(key, functools.partial(larger, **run))
            continue
        for name in ("autoencoder_kl", "conv_vae"):
            measured(f"{name}, {key}", functools.partial(beside, task, name, **run))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
