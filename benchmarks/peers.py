"""Methods beside pythae's, with the same images, networks, batches and epochs.

    python -m benchmarks.peers --seeds 0 1 2 --peers PYTHON --json docs/peers.json

PYTHON is that of an environment with torch and pythae (`sh benchmarks/install.sh` makes one);
without it kvae's models alone are trained. A method, a library and a seed whose figures stand in
the file are not run again, and docs/METHODS.md has the means of the file.

The images are scikit-learn's digits of 8 × 8 pixels. Both sides have two rectified layers of
`--width` units in each network, initial weights as PyTorch draws them, Adam, `--latent-dim` latents
and the settings below; what is not named there is the default of each library. Methods with a
density see images binarized once, and have a Bernoulli likelihood; the others see intensities, and
the squared error ‖x − x̃‖².

- `nll`: −log p(x) of a test image in nats by `--nll` importance samples, of `vae.log_prob` and of
  pythae's own `get_nll`.
- `reconstruction`: of a test image through one draw of q(z|x), in nats of the Bernoulli likelihood,
  or the squared error.
- `frechet`: of as many samples as there are test images, the Fréchet distance from these in the
  features of the classifier `digits`, the mean of five sets; binarized ones are draws from p(x|z).
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.files import write_json
from benchmarks.peer_methods import METHODS, Method

_WORKER = pathlib.Path(__file__).with_name("pythae_worker.py")


def images(binary: bool) -> dict[str, np.ndarray]:
    """Returns the images of both parts, float32 `[n, 8, 8, 1]` in [0, 1], and their digits."""
    import kvae

    how, found = {"binarize": "static"} if binary else {}, {}
    for part in ("train", "test"):
        data = kvae.datasets.load("digits", part, **how)
        found[part] = data[:].examples.astype("float32")
        found[f"{part}_digits"] = np.asarray(data.labels)
    return found


def build(method: Method, options):
    """Returns kvae's model, compiled."""
    import keras

    import kvae
    from benchmarks.modalities import draw_as_torch

    width, latent_dim = options.width, method.latent_dim or options.latent_dim
    parts = {name: made() if callable(made) else made for name, made in method.parts.items()}
    hidden = lambda: [keras.layers.Dense(width, "relu") for _ in range(2)]  # noqa: E731
    likelihood = kvae.likelihoods.get(parts.get("likelihood", "bernoulli"))
    outputs = 64 * likelihood.num_parameters
    # Means of intensities lie in [0, 1]; a Bernoulli likelihood takes logits.
    last = None if "likelihood" not in parts or outputs > 64 else "sigmoid"

    def network(shape, *own):
        x = inputs = keras.Input(shape)
        x = keras.layers.Flatten()(x)
        if method.labels:
            inputs = [inputs, keras.Input((10,))]
            x = keras.layers.Concatenate()([x, inputs[1]])
        for layer in (*hidden(), *own):
            x = layer(x)
        return keras.Model(inputs, x)

    with kvae.random.initial_weights(options.seed):
        vae = kvae.VAE(
            network((8, 8, 1)),
            network(
                (latent_dim,),
                keras.layers.Dense(outputs, last),
                keras.layers.Reshape((8, 8, likelihood.num_parameters)),
            ),
            latent_dim=latent_dim,
            seed=options.seed,
            **parts,
        )
    draw_as_torch(vae, options.seed)
    vae.compile(keras.optimizers.Adam(options.learning_rate, epsilon=1e-8))
    return vae


def ours(method: Method, data: dict, options) -> dict:
    """Trains kvae's model, and returns its answers."""
    import kvae

    vae = build(method, options)
    train, test, label = data["train"], data["test"], {}
    if method.labels:
        train, label = (train, data["train_digits"]), {"label": data["test_digits"]}
    begun = time.perf_counter()
    vae.fit(train, epochs=options.epochs, batch_size=options.batch_size, verbose=0)
    found = {"seconds": time.perf_counter() - begun}
    found["reconstructions"] = np.asarray(vae.reconstruct(test, seed=options.seed, **label))
    if method.nll:
        known = (test, data["test_digits"]) if method.labels else test
        found["nll"] = vae.log_prob(known, num_samples=options.nll, seed=0).summary()["nll"]
    if method.labels:
        digits = np.tile(data["test_digits"], method.sets)
        found["samples"] = np.asarray(vae.sample(len(digits), seed=options.seed, label=digits))
    elif method.sampler:
        sampler = kvae.samplers.get(method.sampler).fit(vae, train, seed=options.seed)
        found["samples"] = np.asarray(sampler.sample(method.sets * len(test), seed=options.seed))
    return found


def theirs(method: Method, data: dict, options) -> dict:
    """Trains pythae's model in its own environment, and returns its answers."""
    told = {
        "model": method.model,
        "settings": method.settings,
        "sampler": method.their_sampler,
        "sampler_settings": method.sampler_settings,
        "fit_sampler": method.sampler != "prior",
        "samples": method.sets * len(data["test"]),
        "nll": options.nll if method.nll else 0,
        "latent_dim": method.latent_dim or options.latent_dim,
        **{name: getattr(options, name) for name in ("width", "epochs", "batch_size", "seed")},
        "learning_rate": options.learning_rate,
        "threads": options.threads,
        **method.further,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        np.savez(folder / "data.npz", **data)
        (folder / "options.json").write_text(json.dumps(told))
        paths = [str(folder / file) for file in ("data.npz", "options.json", "answer.npz")]
        done = subprocess.run(
            [options.peers, str(_WORKER), *paths], capture_output=True, text=True, cwd=folder
        )
        if done.returncode:
            raise RuntimeError(f"{method.model} of pythae failed:\n{done.stderr[-2000:]}")
        return dict(np.load(folder / "answer.npz"))


def distance(real, others) -> float:
    """Returns the mean Fréchet distance of sets of as many images as the real ones are."""
    import kvae
    import zoo  # noqa: F401  # It registers the classifier.

    features = kvae.evaluation.classifier_features("digits")
    known, count = features(real), len(real)
    starts = range(0, len(others) - count + 1, count)
    each = [features(others[start : start + count]) for start in starts]
    return float(np.mean([kvae.evaluation.frechet_distance(known, one) for one in each]))


def reference(data: dict) -> float:
    """Returns the distance of training images, which a perfect sampler would have."""
    return distance(data["test"], np.random.default_rng(0).permutation(data["train"]))


def figures(method: Method, data: dict, found: dict) -> dict[str, float]:
    """Returns what is compared, of the answers of a model."""
    x, guess = data["test"], np.clip(found["reconstructions"], 1e-7, 1 - 1e-7)
    if method.binary:
        error = -(x * np.log(guess) + (1 - x) * np.log1p(-guess))
    else:
        error = np.square(x - found["reconstructions"])
    said = {"reconstruction": float(error.sum(axis=(1, 2, 3)).mean())}
    if "nll" in found:
        said["nll"] = float(found["nll"])
    if "samples" in found:
        drawn = found["samples"]
        if method.binary:
            drawn = (np.random.default_rng(0).uniform(size=drawn.shape) < drawn).astype("float32")
        said["frechet"] = distance(x, drawn)
    said["seconds"] = float(found["seconds"])
    return said


def main() -> None:
    """Runs what the command line asks for, and prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--latent-dim", type=int, default=8)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--nll", type=int, default=1000, help="importance samples (1000)")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch (1)")
    parser.add_argument("--peers", metavar="PYTHON", help="a Python with pythae (none)")
    parser.add_argument("--json", type=pathlib.Path, required=True)
    options = parser.parse_args()
    shared = {
        name: getattr(options, name)
        for name in ("epochs", "batch_size", "learning_rate", "latent_dim", "width", "nll")
    }
    found = json.loads(options.json.read_text()) if options.json.exists() else {"figures": {}}
    if found.setdefault("settings", shared) != shared:
        raise SystemExit(f"{options.json} has figures of other settings: {found['settings']}")
    sets = {binary: images(binary) for binary in (False, True)}
    found["binary"] = [name for name, method in METHODS.items() if method.binary]
    found["reference"] = {"real": reference(sets[False]), "real_binary": reference(sets[True])}
    for seed in options.seeds:
        options.seed = seed
        for name in options.methods:
            method = METHODS[name]
            libraries = {"kvae": ours}
            if options.peers and method.model:
                libraries["pythae"] = theirs
            for library, run in libraries.items():
                kept = found["figures"].setdefault(name, {}).setdefault(library, {})
                if str(options.seed) not in kept:
                    data = sets[method.binary]
                    try:
                        answer = figures(method, data, run(method, data, options))
                    except (RuntimeError, ValueError) as error:
                        print(name, library, options.seed, "failed:", error, flush=True)
                        continue
                    kept[str(options.seed)] = answer
                    write_json(options.json, found)
                print(name, library, options.seed, json.dumps(kept[str(options.seed)]), flush=True)


if __name__ == "__main__":
    main()
