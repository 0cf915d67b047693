"""Images and their labels as two modalities, beside multivae's models of the same networks.

    python -m benchmarks.modalities --seeds 0 1 2 --peers PYTHON

PYTHON is that of an environment with torch and multivae (`sh benchmarks/install.sh` makes one).
`--small` is the size of the figures in docs/METHODS.md, which are those of seed 0.

MNIST, binarized once, and its digits as one-hot vectors. Both sides have the same networks (400
units for images, 64 for digits, rectified; a joint encoder of both beside each other for JMVAE,
TELBO and JNF), the same likelihoods (Bernoulli, categorical), prior, latents, optimizer, batches
and epochs, and no warm-up. `_OURS` and `_THEIRS` have what each method is made of. TELBO and JNF
train the joint model first in multivae, and then the encoders of single modalities: it has
`--epochs` for each of the two, while kvae trains both at once, in `--epochs` altogether.

What is compared, on the same test rows: −log p(x, y) in nats, estimated with `--samples` draws
from the joint posterior (by multivae's own `compute_joint_nll`, and by `vae.log_prob`); the share
of the digits that each model gives an image (`image → label`); seconds of training, on the machine
as it was. Of MoPoE multivae draws from one component for each row, but divides by the density of
the mixture, which is no estimate of p(x, y): this file draws from all of them. A method, a library
and a seed whose figures stand in the file are not run again.
"""

import argparse
import itertools
import json
import os
import pathlib
import subprocess
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

# What makes each method of kvae's parts, and what multivae calls it. Both draw z twice for MMVAE:
# multivae once from each expert.
_OURS = {
    "mvae": {"posterior": "product_of_experts", "objective": "subset_elbo"},
    "mmvae": {"posterior": "mixture_of_experts", "objective": "elbo:num_samples=2"},
    "mopoe": {"posterior": "mixture_of_products"},
    "mvtcae": {"posterior": "product_of_experts:prior_expert=False", "objective": "mvtcae"},
    "crmvae": {"posterior": "product_of_experts:prior_expert=False", "objective": "crmvae"},
    "jmvae": {"posterior": "joint_experts", "objective": "jmvae:alpha=0.1"},
    "telbo": {"posterior": "joint_experts", "objective": "telbo"},
    "jnf": {"posterior": "flow_experts", "objective": "jnf"},
}
_NORMAL = {"prior_and_posterior_dist": "normal", "learn_prior": False}
_THEIRS = {
    "mvae": ("MVAE", {"warmup": 0}),
    "mmvae": ("MMVAE", {"K": 1, "loss": "iwae_looser", **_NORMAL}),
    "mopoe": ("MoPoE", {}),
    "mvtcae": ("MVTCAE", {"alpha": 0.1, "beta": 1.0}),
    "crmvae": ("CRMVAE", {"beta": 1.0}),
    "jmvae": ("JMVAE", {"alpha": 0.1, "warmup": 0}),
    "telbo": ("TELBO", {"uses_likelihood_rescaling": False}),
    "jnf": ("JNF", {}),
}
METHODS = tuple(_OURS)
_SMALL = {"epochs": 5, "train": 10_000, "test": 300, "samples": 200, "threads": 1}
_JOINT = ("jmvae", "telbo", "jnf")  # Those with an encoder of both modalities.
_STAGES = ("telbo", "jnf")  # Those that multivae trains in two stages.
_WIDTHS = {"image": 400, "label": 64}
_SIZES = {"image": 784, "label": 10}
_PEER = """
import json, sys, time
import numpy as np, torch
from multivae.data.datasets import MultimodalBaseDataset
from multivae import models, trainers
from multivae.models.nn.base_architectures import BaseJointEncoder
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder

path, options = sys.argv[1], json.loads(sys.argv[2])
widths, sizes, latent = options["widths"], options["sizes"], options["latent_dim"]
torch.manual_seed(options["seed"])
torch.set_num_threads(options["threads"])
data = np.load(path)


class Encoder(BaseEncoder):
    def __init__(self, names):
        super().__init__()
        self.latent_dim, self.names = latent, names
        self.bodies = torch.nn.ModuleList(
            [torch.nn.Sequential(torch.nn.Linear(sizes[n], widths[n]), torch.nn.ReLU())
             for n in names]
        )
        width = sum(widths[n] for n in names)
        self.mean, self.log_var = torch.nn.Linear(width, latent), torch.nn.Linear(width, latent)

    def forward(self, x):
        values = [x[n] for n in self.names] if isinstance(x, dict) else [x]
        hidden = [body(v.flatten(1)) for body, v in zip(self.bodies, values)]
        hidden = torch.cat(hidden, dim=1)
        return ModelOutput(embedding=self.mean(hidden), log_covariance=self.log_var(hidden))


class Joint(Encoder, BaseJointEncoder):
    pass


class Decoder(BaseDecoder):
    def __init__(self, name):
        super().__init__()
        self.latent_dim = latent
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(latent, widths[name]), torch.nn.ReLU(),
            torch.nn.Linear(widths[name], sizes[name]),
        )

    def forward(self, z):
        return ModelOutput(reconstruction=self.layers(z))


def dataset(part):
    x = torch.tensor(data[f"{part}_image"].reshape(-1, 784))
    y = torch.nn.functional.one_hot(torch.tensor(data[f"{part}_label"]), 10).float()
    return MultimodalBaseDataset({"image": x, "label": y})


def mixture_nll(test, K):
    # MoPoE's, with draws of every component for every row.
    found = model.inference(test)
    means, scales = found["mus"], torch.exp(0.5 * found["logvars"])
    total = 0.0
    for row in range(means.shape[1]):
        each = torch.distributions.Normal(means[:, row], scales[:, row])
        z = each.rsample([-(-K // len(means))]).flatten(0, 1)
        log_q = torch.logsumexp(each.log_prob(z[:, None]).sum(-1), dim=1) - np.log(len(means))
        log_w = torch.distributions.Normal(0, 1).log_prob(z).sum(-1) - log_q
        for name, decoder in model.decoders.items():
            x = test.data[name][row].expand(len(z), -1)
            log_p = model.recon_log_probs[name](decoder(z).reconstruction, x)
            log_w = log_w + log_p.reshape(len(z), -1).sum(-1)
        total -= torch.logsumexp(log_w, dim=0) - np.log(len(z))
    return total


settings = dict(
    n_modalities=2, latent_dim=latent, input_dims={n: (s,) for n, s in sizes.items()},
    decoders_dist={"image": "bernoulli", "label": "categorical"}, **options["settings"],
)
networks = {n: Encoder([n]) for n in sizes}, {n: Decoder(n) for n in sizes}
joint = {"joint_encoder": Joint(list(sizes))} if options["joint"] else {}
config = getattr(models, options["model"] + "Config")(**settings)
model = getattr(models, options["model"])(config, *networks, **joint)
kind = "Multistage" if options["stages"] else "Base"
config = getattr(trainers, kind + "TrainerConfig")(
    num_epochs=options["epochs"], learning_rate=1e-3, per_device_train_batch_size=128,
    output_dir=options["folder"], no_cuda=True, seed=options["seed"], keep_best_on_train=True,
)
trainer = getattr(trainers, kind + "Trainer")(model, dataset("train"), training_config=config)
begun = time.perf_counter()
trainer.train()
seconds = time.perf_counter() - begun
model, test = trainer.model.eval(), dataset("test")
with torch.no_grad():
    nll = mixture_nll if options["model"] == "MoPoE" else model.compute_joint_nll
    nll = float(nll(test, K=options["samples"])) / len(data["test_label"])
    z = model.encode(test, cond_mod=["image"], return_mean=True).z
    digits = model.decoders["label"](z.reshape(-1, latent)).reconstruction.argmax(-1).numpy()
right = float(np.mean(digits == data["test_label"]))
print(json.dumps({"nll": nll, "image_to_label": right, "seconds": seconds}))
"""


def examples(train: int, test: int) -> dict[str, np.ndarray]:
    """Returns the images (0 or 1) and digits of both parts."""
    import kvae

    found = {}
    for part, count in (("train", train), ("test", test)):
        data = kvae.datasets.load("mnist", part, binarize="static")
        found[f"{part}_image"] = data.examples[:count].astype("float32")
        found[f"{part}_label"] = np.asarray(data.labels[:count]).astype("int64")
    return found


def build(method: str, latent_dim: int, seed: int):
    """Returns kvae's model, compiled."""
    import keras

    import kvae

    layers = keras.layers
    with kvae.random.initial_weights(seed):
        encoders = {
            key: keras.Sequential(
                [
                    keras.Input((28, 28, 1) if key == "image" else (10,)),
                    layers.Flatten(),
                    layers.Dense(width, "relu"),
                ]
            )
            for key, width in _WIDTHS.items()
        }
        decoders = {
            key: keras.Sequential(
                [
                    keras.Input((latent_dim,)),
                    layers.Dense(width, "relu"),
                    layers.Dense(_SIZES[key]),
                    layers.Reshape((28, 28, 1) if key == "image" else (10,)),
                ]
            )
            for key, width in _WIDTHS.items()
        }
        if method in _JOINT:
            inputs = [keras.Input((28, 28, 1)), keras.Input((10,))]
            bodies = [
                layers.Dense(_WIDTHS[key], "relu")(layers.Flatten()(one))
                for key, one in zip(_WIDTHS, inputs, strict=True)
            ]
            joint = keras.Model(inputs, layers.Concatenate()(bodies))
            encoders["image", "label"] = joint
        vae = kvae.VAE(
            encoders=encoders,
            decoders=decoders,
            latent_dim=latent_dim,
            likelihood={"image": "bernoulli", "label": "categorical:10"},
            seed=seed,
            **_OURS[method],
        )
    vae.compile(keras.optimizers.Adam(1e-3))
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


def ours(method: str, data: dict, seed: int, options) -> dict:
    """Trains and measures kvae's model."""
    vae = build(method, options.latent_dim, seed)
    if options.torch_weights:
        draw_as_torch(vae, seed)
    begun = time.perf_counter()
    train = {key: data[f"train_{key}"] for key in _WIDTHS}
    vae.fit(train, epochs=options.epochs, batch_size=128, verbose=0)
    seconds = time.perf_counter() - begun
    test = {key: data[f"test_{key}"] for key in _WIDTHS}
    nll = vae.log_prob(test, num_samples=options.samples).summary()["nll"]
    digits = np.asarray(vae.translate(image=test["image"], to="label"))
    right = float(np.mean(digits == test["label"]))
    return {"nll": nll, "image_to_label": right, "seconds": seconds}


def peers(method: str, data: dict, seed: int, options) -> dict:
    """Trains and measures multivae's model in its own environment."""
    model, settings = _THEIRS[method]
    stages = method in _STAGES
    if stages:
        settings = {**settings, "warmup": options.epochs}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "data.npz"
        np.savez(path, **data)
        told = {
            "model": model,
            "settings": settings,
            "joint": method in _JOINT,
            "stages": stages,
            "widths": _WIDTHS,
            "sizes": _SIZES,
            "latent_dim": options.latent_dim,
            "seed": seed,
            "threads": options.threads,
            "epochs": (1 + stages) * options.epochs,
            "samples": options.samples,
            "folder": folder,
        }
        words = [options.peers, "-c", _PEER, str(path), json.dumps(told)]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Runs what the command line asks for, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
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
    found = json.loads(options.json.read_text()) if options.json.exists() else {}
    data = examples(options.train, options.test)
    libraries = {"kvae": ours, **({"multivae": peers} if options.peers else {})}
    start = " torch_weights" if options.torch_weights else ""
    size = (
        f"epochs={options.epochs} latent_dim={options.latent_dim} train={options.train} "
        f"test={options.test} samples={options.samples}"
    )
    rows = []
    for method, library in itertools.product(options.methods, libraries):
        each = []
        for seed in options.seeds:
            named = f"{method} {library}{start if library == 'kvae' else ''}"
            key = f"{named} seed={seed} {size}"
            if key not in found:
                found[key] = libraries[library](method, data, seed, options)
                options.json.parent.mkdir(parents=True, exist_ok=True)
                options.json.write_text(json.dumps(found, indent=2) + "\n")
            print(key, json.dumps(found[key]), flush=True)
            each.append(found[key])
        rows.append((method, library, each))
    print("\n| method | library | −log p(x, y) in nats | digits right, image → label |")
    print("|---|---|---|---|")
    for method, library, each in rows:
        nll = _spread([one["nll"] for one in each], ".1f")
        right = _spread([100 * one["image_to_label"] for one in each], ".1f")
        print(f"| {method} | {library} | {nll} | {right} % |")


def _spread(values: list[float], form: str) -> str:
    """Returns the mean of some seeds, with the standard deviation where there are several."""
    mean = format(np.mean(values), form)
    return f"{mean} ± {np.std(values, ddof=1):{form}}" if len(values) > 1 else mean


if __name__ == "__main__":
    main()
