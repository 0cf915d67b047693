"""Likelihoods of methods on the same data, networks and steps, for docs/METHODS.md.

`python -m benchmarks.methods --method objective=hamiltonian --method prior=vamp:50` trains a
`dense_vae` (8 latents, two layers of 64) on binarized digits of 8 × 8 pixels with each choice of
parts, and prints its test NLL in nats by importance sampling. `--method` alone is the plain VAE.
"""

import argparse
import time

import keras
import numpy as np

import kvae
import zoo

__all__ = ["measure"]


def measure(parts: dict[str, str], epochs: int, seed: int, num_samples: int) -> dict[str, float]:
    """Trains a model, and returns its test `nll`, the standard error and the seconds.

    Args:
        parts: dict of str. Arguments of `zoo.build`, by name.
        epochs: int. Passes over the data in batches of 64, with Adam at 0.002.
        seed: int. Of the weights, the order and the noise.
        num_samples: int. Importance samples for each test image.
    """
    train, test = (
        kvae.datasets.load("digits", split, binarize="dynamic") for split in ("train", "test")
    )
    vae = zoo.build(
        "dense_vae", event_shape=(8, 8, 1), latent_dim=8, hidden=(64, 64), seed=seed, **parts
    )
    vae.compile(keras.optimizers.Adam(0.002))
    start = time.monotonic()
    vae.fit(train, batch_size=64, epochs=epochs, verbose=0)
    seconds = time.monotonic() - start
    nll = -np.asarray(vae.log_prob(test, num_samples=num_samples, seed=seed).value, np.float64)
    error = nll.std(ddof=1) / np.sqrt(len(nll))
    return {"nll": nll.mean(), "standard_error": error, "seconds": seconds}


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods", description=__doc__)
    parser.add_argument("--method", nargs="*", action="append", metavar="PART=NAME", default=[])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-samples", type=int, default=1000)
    given = parser.parse_args()
    print("| method | test NLL, nats | training, s |\n|---|---|---|")
    for method in given.method or [[]]:
        parts = dict(one.split("=", 1) for one in method)
        found = measure(parts, given.epochs, given.seed, given.num_samples)
        print(
            f"| {' '.join(method) or 'plain VAE'} | {found['nll']:.2f} ± "
            f"{found['standard_error']:.2f} | {found['seconds']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    _main()
