"""Images and their labels as two modalities, beside multivae's models of the same networks.

    python -m benchmarks.modalities --small --seeds 0 --peers PYTHON --json docs/modalities.json

PYTHON is that of an environment with torch and multivae (`sh benchmarks/install.sh` makes one);
without it kvae's models alone are trained. A method, a library and a seed whose figures stand in
the file are not run again, and docs/METHODS.md has the means of the file. Without `--small` the
models train for 50 epochs on all of MNIST.

MNIST, binarized once, and its digits as one-hot vectors. Both sides have the same networks (400
units for images, 64 for digits, rectified; a joint encoder of both beside each other for JMVAE,
TELBO and JNF; one layer of 128 between the levels of Nexus and MHVAE), the same likelihoods
(Bernoulli, categorical), prior, latents, Adam, batches and epochs, and no warm-up. `METHODS` has
what each method is made of. L being `--latent-dim`, DMVAE, MMVAE+ and CMVAE have L/2 shared latents
and L/4 of each modality, Nexus L/2 on top and below them L of the image and L/4 of the digit, MHVAE
L/2 on top and L below. CVAE is told the digit, and is a model of the image alone.

TELBO and JNF train the joint model first in multivae, and then the encoders of single modalities:
it has `--epochs` for each of the two, while kvae trains both at once, in `--epochs` altogether.

What is compared, on the same test rows:

- `nll`: −log p(x, y) in nats (CVAE: −log p(x|y)), estimated with `--samples` draws from the joint
  posterior, private latents and all levels included: by `vae.log_prob`, and by multivae's own
  `compute_joint_nll` where that is an estimate of it (`own_estimate`). Elsewhere
  `multivae_worker.py` has the same estimate of multivae's models: those of MMVAE and MoPoE draw
  from one component for each row (MMVAE from one for all rows, chosen at random), but divide by
  the density of the mixture; that of DMVAE adds up the ratios of all rows; those of MMVAE+ and
  CMVAE draw private latents from the prior that only training takes; CVAE, Nexus and MHVAE have
  none.
- `image_to_label`: the share of the digits that each model gives an image.
- `seconds` of training, on the machine as it was.
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.files import write_json

__all__ = ["METHODS", "Method", "build", "draw_as_torch", "sizes"]

_WORKER = pathlib.Path(__file__).with_name("multivae_worker.py")
_SMALL = {"epochs": 5, "train": 10_000, "test": 300, "samples": 200, "threads": 1}
_WIDTHS = {"image": 400, "label": 64}
_DIMENSIONS = {"image": 784, "label": 10}
_HIDDEN, _MESSAGE = 128, 10
_BATCH_SIZE, _LEARNING_RATE = 128, 1e-3


class Method(NamedTuple):
    """A method of both libraries.

    Attributes:
        parts: function of the sizes of latents that returns arguments of `kvae.VAE`.
        model: str. Its class in multivae.
        settings: dict. Of its configuration there.
        latents: str. How latents are shared out, see `sizes`.
        joint: bool. Whether there is an encoder of both modalities.
        stages: bool. Whether multivae trains it in two stages.
        own_estimate: bool. Whether `compute_joint_nll` of multivae estimates −log p(x, y).
    """

    parts: Callable[[dict], dict[str, Any]]
    model: str
    settings: dict = {}
    latents: str = "one"
    joint: bool = False
    stages: bool = False
    own_estimate: bool = False


def sizes(latents: str, latent_dim: int) -> dict:
    """Returns the sizes of the shared latents, of each modality's own, and of what decoders see."""
    half, quarter = latent_dim // 2, latent_dim // 4
    if latents == "private":
        own = dict.fromkeys(_WIDTHS, quarter)
        return {"shared": half, "own": own, "seen": dict.fromkeys(_WIDTHS, half + quarter)}
    if latents == "levels":
        own = {"image": latent_dim, "label": quarter}
        return {"shared": half, "own": own, "seen": own}
    top = half if latents == "hierarchy" else latent_dim
    return {"shared": top, "own": {}, "seen": dict.fromkeys(_WIDTHS, latent_dim)}


def _named(**parts) -> Callable[[dict], dict]:
    """Returns a function of the sizes for parts that do not depend on them."""
    return lambda found: {"latent_dim": found["shared"], **parts}


def _private(objective: str, clusters: int = 0, **settings) -> Callable[[dict], dict]:
    """Returns a function that makes shared latents and those of each modality."""

    def parts(found: dict) -> dict:
        import kvae

        priors, own = kvae.priors, found["own"]
        prior = "standard_normal"
        if clusters:
            # Components of variance 1, as in the paper's own code.
            mixture = priors.GaussianMixture(clusters, found["shared"], log_var_bound=0.0)
            each = {key: priors.StandardNormal(size) for key, size in own.items()}
            prior = priors.Product({"shared": mixture, **each})
        return {
            "latent_dim": found["shared"] + sum(own.values()),
            "posterior": kvae.posteriors.SharedAndPrivate(own, **settings),
            "prior": prior,
            "objective": objective,
        }

    return parts


def _nexus(found: dict) -> dict:
    import kvae

    groups = (found["shared"], *found["own"].values())
    return {
        "latent_dim": sum(groups),
        "posterior": kvae.posteriors.Nexus(found["own"], _MESSAGE, hidden=(_HIDDEN,)),
        "prior": kvae.priors.Hierarchical(groups=groups, hidden=(_HIDDEN,), star=True),
        "objective": "nexus:dropout=0.5",
    }


def _mhvae(found: dict) -> dict:
    import kvae

    groups = found["shared"], found["seen"]["image"]
    settings = {"groups": groups, "hidden": (_HIDDEN,)}
    return {
        "latent_dim": sum(groups),
        "posterior": kvae.posteriors.HierarchicalExperts(**settings, features_dim=_HIDDEN),
        "prior": kvae.priors.Hierarchical(**settings),
        "objective": "mhvae",
    }


_NORMAL = {"prior_and_posterior_dist": "normal"}
# What draws from the experts of a mixture does so once from each: kvae's MMVAE twice from all.
_LOOSER = {"K": 1, "loss": "iwae_looser", **_NORMAL}
_MIXTURE = {"shared": "mixture_of_experts", "absent": "learned"}
_OF_ALL = {"joint": True, "own_estimate": True}
# The names are those of MultiVae's table of models, see zoo/peers.py.
METHODS = {
    "CVAE": Method(_named(num_classes=10), "CVAE"),
    "JMVAE": Method(
        _named(posterior="joint_experts", objective="jmvae:alpha=0.1"),
        "JMVAE",
        {"alpha": 0.1, "warmup": 0},
        **_OF_ALL,
    ),
    "TELBO": Method(
        _named(posterior="joint_experts", objective="telbo"),
        "TELBO",
        {"uses_likelihood_rescaling": False},
        stages=True,
        **_OF_ALL,
    ),
    "MVAE": Method(
        _named(posterior="product_of_experts", objective="subset_elbo"),
        "MVAE",
        {"warmup": 0},
        own_estimate=True,
    ),
    "MMVAE": Method(
        _named(posterior="mixture_of_experts", objective="elbo:num_samples=2"),
        "MMVAE",
        {**_LOOSER, "learn_prior": False},
    ),
    "MoPoE": Method(_named(posterior="mixture_of_products"), "MoPoE"),
    "MVTCAE": Method(
        _named(posterior="product_of_experts:prior_expert=False", objective="mvtcae"),
        "MVTCAE",
        {"alpha": 0.1, "beta": 1.0},
        own_estimate=True,
    ),
    "DMVAE": Method(
        _private("dmvae"),
        "DMVAE",
        {"modalities_specific_dim": "own"},
        "private",
    ),
    "JNF": Method(_named(posterior="flow_experts", objective="jnf"), "JNF", stages=True, **_OF_ALL),
    "MMVAE+": Method(
        _private("mmvae_plus", **_MIXTURE),
        "MMVAEPlus",
        {**_LOOSER, "modalities_specific_dim": "image"},
        "private",
    ),
    "Nexus": Method(
        _nexus,
        "Nexus",
        {"modalities_specific_dim": "own", "msg_dim": _MESSAGE, "dropout_rate": 0.5, "warmup": 1},
        "levels",
    ),
    "CMVAE": Method(
        _private("mmvae_plus", clusters=10, **_MIXTURE),
        "CMVAE",
        {**_LOOSER, "modalities_specific_dim": "image", "number_of_clusters": 10},
        "private",
    ),
    "MHVAE": Method(_mhvae, "MHVAE", {"n_latent": 2, "beta": 1.0}, "hierarchy"),
    "CRMVAE": Method(
        _named(posterior="product_of_experts:prior_expert=False", objective="crmvae"),
        "CRMVAE",
        {"beta": 1.0},
        own_estimate=True,
    ),
}


def examples(train: int, test: int) -> dict[str, np.ndarray]:
    """Returns the images (0 or 1) and digits of both parts."""
    import kvae

    found = {}
    for part, count in (("train", train), ("test", test)):
        data = kvae.datasets.load("mnist", part, binarize="static")
        found[f"{part}_image"] = data.examples[:count].astype("float32")
        found[f"{part}_label"] = np.asarray(data.labels[:count]).astype("int64")
    return found


def _shape(key: str) -> tuple[int, ...]:
    return (28, 28, 1) if key == "image" else (_DIMENSIONS[key],)


def _networks(method: Method, seen: dict) -> dict:
    """Returns the encoders, decoders and likelihoods of a model as arguments of `kvae.VAE`."""
    from keras import Input, Model, layers

    def bodies(keys):
        inputs = [Input(_shape(key)) for key in keys]
        each = [
            layers.Dense(_WIDTHS[key], "relu")(layers.Flatten()(x))
            for key, x in zip(keys, inputs, strict=True)
        ]
        return inputs, each

    def decoder(key, further=0):
        inputs = [Input((seen[key],)), *([Input((further,))] if further else [])]
        x = layers.Concatenate()(inputs) if further else inputs[0]
        x = layers.Dense(_DIMENSIONS[key])(layers.Dense(_WIDTHS[key], "relu")(x))
        return Model(inputs if further else inputs[0], layers.Reshape(_shape(key))(x))

    if method.model == "CVAE":
        inputs = [Input(_shape(key)) for key in _WIDTHS]
        x = layers.Concatenate()([layers.Flatten()(inputs[0]), inputs[1]])
        encoder = Model(inputs, layers.Dense(_WIDTHS["image"], "relu")(x))
        return {"encoder": encoder, "decoder": decoder("image", _DIMENSIONS["label"])}
    encoders: dict = {}
    for key in _WIDTHS:
        inputs, each = bodies([key])
        encoders[key] = Model(inputs[0], each[0])
    if method.joint:
        inputs, each = bodies(_WIDTHS)
        encoders[tuple(_WIDTHS)] = Model(inputs, layers.Concatenate()(each))
    return {
        "encoders": encoders,
        "decoders": {key: decoder(key) for key in _WIDTHS},
        "likelihood": {"image": "bernoulli", "label": "categorical:10"},
    }


def build(method: Method, options):
    """Returns kvae's model, compiled."""
    import keras

    import kvae

    found = sizes(method.latents, options.latent_dim)
    with kvae.random.initial_weights(options.seed):
        networks = _networks(method, found["seen"])
        vae = kvae.VAE(**networks, seed=options.seed, **method.parts(found))
    if options.torch_weights:
        draw_as_torch(vae, options.seed)
    vae.compile(keras.optimizers.Adam(_LEARNING_RATE, epsilon=1e-8))
    return vae


def draw_as_torch(vae, seed: int) -> None:
    """Draws the initial weights of dense layers as PyTorch does: uniform, within 1 / √inputs."""
    import keras

    rng = np.random.default_rng(seed)
    for layer in vae._flatten_layers():
        if isinstance(layer, keras.layers.Dense):
            bound = 1 / np.sqrt(layer.kernel.shape[0])
            for weights in (layer.kernel, layer.bias):
                weights.assign(rng.uniform(-bound, bound, weights.shape))


def ours(method: Method, data: dict, options) -> dict:
    """Trains and measures kvae's model."""
    vae = build(method, options)
    if method.model == "CVAE":
        train, test = ((data[f"{part}_image"], data[f"{part}_label"]) for part in ("train", "test"))
    else:
        train, test = ({k: data[f"{part}_{k}"] for k in _WIDTHS} for part in ("train", "test"))
    begun = time.perf_counter()
    vae.fit(train, epochs=options.epochs, batch_size=_BATCH_SIZE, verbose=0)
    said = {"seconds": time.perf_counter() - begun}
    said["nll"] = vae.log_prob(test, num_samples=options.samples, seed=0).summary()["nll"]
    if method.model != "CVAE":
        digits = np.asarray(vae.translate(image=test["image"], to="label"))
        said["image_to_label"] = float(np.mean(digits == test["label"]))
    return said


def theirs(method: Method, data: dict, options) -> dict:
    """Trains and measures multivae's model in its own environment."""
    found = sizes(method.latents, options.latent_dim)
    settings = dict(method.settings)
    if style := settings.get("modalities_specific_dim"):  # Sizes of all, or one for each.
        settings["modalities_specific_dim"] = found["own"].get(style, found["own"])
    if method.stages:
        settings["warmup"] = options.epochs
    told = {
        **{name: getattr(method, name) for name in ("model", "joint", "stages", "own_estimate")},
        **{name: getattr(options, name) for name in ("seed", "threads", "samples")},
        "settings": settings,
        "sizes": found,
        "widths": _WIDTHS,
        "dimensions": _DIMENSIONS,
        "hidden": _HIDDEN,
        "epochs": (1 + method.stages) * options.epochs,
        "batch_size": _BATCH_SIZE,
        "learning_rate": _LEARNING_RATE,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        np.savez(folder / "data.npz", **data)
        (folder / "options.json").write_text(json.dumps({**told, "folder": name}))
        words = [options.peers, str(_WORKER), *(str(folder / f"{n}") for n in _FILES)]
        done = subprocess.run(words, capture_output=True, text=True, cwd=folder)
        if done.returncode:
            raise RuntimeError(f"{method.model} of multivae failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


_FILES = ("data.npz", "options.json")


def main() -> None:
    """Runs what the command line asks for, and prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.modalities", description=__doc__)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--latent-dim", type=int, default=20)
    parser.add_argument("--train", type=int, default=60_000, help="rows to train on (60000)")
    parser.add_argument("--test", type=int, default=1000, help="rows to test on (1000)")
    parser.add_argument("--samples", type=int, default=1000, help="importance samples (1000)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch (all)")
    parser.add_argument("--peers", metavar="PYTHON", help="a Python with multivae (none)")
    parser.add_argument(
        "--torch-weights", action="store_true", help="start kvae's models as PyTorch would"
    )
    parser.add_argument(
        "--small",
        action="store_true",
        help=" ".join(f"--{key} {value}" for key, value in _SMALL.items()) + " --torch-weights",
    )
    parser.add_argument("--json", type=pathlib.Path, default=pathlib.Path("runs/modalities.json"))
    options = parser.parse_args()
    if options.small:  # What is given beside it counts.
        parser.set_defaults(**_SMALL, torch_weights=True)
        options = parser.parse_args()
    shared = ("epochs", "latent_dim", "train", "test", "samples", "torch_weights")
    settings = {name: getattr(options, name) for name in shared}
    found = json.loads(options.json.read_text()) if options.json.exists() else {"figures": {}}
    if found.setdefault("settings", settings) != settings:
        raise SystemExit(f"{options.json} has figures of other settings: {found['settings']}")
    data = examples(options.train, options.test)
    libraries = {"kvae": ours, **({"multivae": theirs} if options.peers else {})}
    for seed in options.seeds:
        options.seed = seed
        for name in options.methods:
            for library, run in libraries.items():
                kept = found["figures"].setdefault(name, {}).setdefault(library, {})
                if str(seed) not in kept:
                    kept[str(seed)] = run(METHODS[name], data, options)
                    write_json(options.json, found)
                print(name, library, seed, json.dumps(kept[str(seed)]), flush=True)


if __name__ == "__main__":
    main()
