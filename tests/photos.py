"""Synthetic photos: a coloured shape on a shaded ground, lit differently and a little noisy.

`python -m tests.photos` compares likelihoods by the photos that they reconstruct (two minutes).
"""

import numpy as np

import kvae
import zoo
from kvae.training import Settings, train
from zoo.defaults import LEARNED, suited
from zoo.recipes import Recipe


def coloured_shapes(n: int, size: int, seed: int = 0) -> np.ndarray:
    """Returns photos of circles, squares and triangles, uint8 `[n, size, size, 3]`."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / (size - 1)
    photos = np.empty((n, size, size, 3), np.uint8)
    for photo in photos:
        one, other = rng.uniform(0.15, 0.7, (2, 3))
        angle, hue = rng.uniform(0, 2 * np.pi), rng.uniform(0, 6)
        shade = 0.5 + 0.7 * ((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle))[..., None]
        ground = one * (1 - shade) + other * shade
        colour = 0.1 + 0.85 * np.clip(abs((hue + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
        (across, down), radius = rng.uniform(0.3, 0.7, 2), rng.uniform(0.15, 0.28)
        dx, dy = x - across, y - down
        outside = (
            np.hypot(dx, dy) - radius,
            np.maximum(abs(dx), abs(dy)) - 0.85 * radius,
            np.maximum(dy, 0.87 * abs(dx) - 0.5 * dy) - 0.6 * radius,
        )[rng.integers(3)]
        inside = np.clip(0.5 - outside * size, 0, 1)[..., None]
        image = (ground * (1 - inside) + colour * inside) * rng.uniform(0.85, 1.1)
        photo[:] = 255 * np.clip(image + rng.normal(0, 0.02, image.shape), 0, 1)
    return photos


def psnr(images, others) -> float:
    """Returns the peak signal-to-noise ratio of images in [0, 1], in dB."""
    return float(-10 * np.log10(np.mean((np.asarray(images) - np.asarray(others)) ** 2)))


def reconstruct_photos(size, count, seed=0, sizes=None, likelihood=None, **settings):
    """Trains on photos as the command line does; returns the PSNR, and that of the mean image."""
    photos = coloured_shapes(count + 32, size)
    data, test = kvae.datasets.Dataset(photos[:-32]), kvae.datasets.Dataset(photos[-32:])
    arguments = {"event_shape": (size, size, 3), **(sizes or {})}
    if likelihood is not None:
        arguments["likelihood"] = likelihood
    recipe = Recipe("conv_vae.photos", "/photos", arguments)
    recipe = suited(recipe, count, lambda: data, intensities=True, likelihood=likelihood is None)
    vae = zoo.build(recipe.architecture, seed=seed, **recipe.arguments)
    train(vae, data, Settings(batch_size=recipe.batch_size, final_rate=0.02, **settings))
    mean = np.broadcast_to(data.examples.mean(axis=0), test.examples.shape)
    return psnr(vae.reconstruct(test), test.examples), psnr(mean, test.examples)


if __name__ == "__main__":
    for name in (LEARNED, "gaussian:global,scale=0.1", "discretized_logistic", "gaussian"):
        found, mean = reconstruct_photos(32, 1000, likelihood=name, epochs=25)
        print(f"{name}: {found:.1f} dB, and {mean:.1f} dB of the mean image", flush=True)
