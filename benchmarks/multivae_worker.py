"""Trains a model of multivae for `benchmarks.modalities`. It runs where multivae is installed.

    python benchmarks/multivae_worker.py DATA.npz OPTIONS.json

The options hold the name of a model, the settings of its configuration, and what both libraries
share; the last line of what it prints is JSON with the figures.
"""

import json
import math
import sys
import time

import numpy as np
import torch
from multivae import models, trainers
from multivae.data.datasets import MultimodalBaseDataset
from multivae.models.nn import base_architectures
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from torch.distributions import Normal

OPTIONS = json.loads(open(sys.argv[2]).read())
WIDTHS, DIMENSIONS, SIZES = OPTIONS["widths"], OPTIONS["dimensions"], OPTIONS["sizes"]
SHARED, OWN, SEEN = SIZES["shared"], SIZES["own"], SIZES["seen"]
HIDDEN = OPTIONS["hidden"]
SINGLE = ["CVAE"]  # Models of one modality, of which they are told the other.


def layers(*widths) -> torch.nn.Sequential:
    """Returns dense layers, all but the last rectified."""
    made = []
    for a, b in zip(widths, widths[1:], strict=False):
        made += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    return torch.nn.Sequential(*made[:-1])


class Gaussian(torch.nn.Module):
    """Heads for the mean and the log-variance of a Gaussian."""

    def __init__(self, inputs: int, size: int):
        super().__init__()
        self.mean, self.log_var = torch.nn.Linear(inputs, size), torch.nn.Linear(inputs, size)

    def forward(self, hidden):
        return ModelOutput(embedding=self.mean(hidden), log_covariance=self.log_var(hidden))


class Encoder(BaseEncoder):
    """The encoder of some modalities, each with a body of its own."""

    def __init__(self, keys, size: int, style: int = 0):
        super().__init__()
        self.keys, self.latent_dim, self.style_dim = list(keys), size, style
        self.bodies = torch.nn.ModuleList(
            [torch.nn.Sequential(*layers(DIMENSIONS[k], WIDTHS[k]), torch.nn.ReLU()) for k in keys]
        )
        width = sum(WIDTHS[k] for k in keys)
        self.heads = Gaussian(width, size)
        self.styles = Gaussian(width, style) if style else None

    def hidden(self, x):
        values = [x[k] for k in self.keys] if isinstance(x, dict) else [x]
        each = [body(v.flatten(1)) for body, v in zip(self.bodies, values, strict=True)]
        return torch.cat(each, dim=1)

    def forward(self, x):
        hidden = self.hidden(x)
        found = self.heads(hidden)
        if self.styles is not None:
            style = self.styles(hidden)
            found["style_embedding"] = style.embedding
            found["style_log_covariance"] = style.log_covariance
        return found


class Joint(Encoder, base_architectures.BaseJointEncoder):
    """The encoder of all modalities."""


class Private(Encoder, base_architectures.BaseMultilatentEncoder):
    """The encoder of one modality, of shared latents and its own."""


class Features(Encoder):
    """The encoder of one modality without heads."""

    def __init__(self, key: str):
        super().__init__([key], WIDTHS[key])
        self.heads = None

    def forward(self, x):
        return ModelOutput(embedding=self.hidden(x))


class Told(base_architectures.BaseJointEncoder):
    """The encoder of an image and its label, joined before the first layer."""

    def __init__(self):
        super().__init__()
        self.latent_dim = SHARED
        self.body = layers(sum(DIMENSIONS.values()), WIDTHS["image"])
        self.heads = Gaussian(WIDTHS["image"], SHARED)

    def forward(self, x):
        joined = torch.cat([x["image"], x["label"]], dim=1)
        return self.heads(torch.relu(self.body(joined)))


class Telling(base_architectures.BaseConditionalDecoder):
    """The decoder of z and a label."""

    def __init__(self):
        super().__init__()
        self.latent_dim = SHARED
        inputs = SHARED + DIMENSIONS["label"]
        self.layers = layers(inputs, WIDTHS["image"], DIMENSIONS["image"])

    def forward(self, z, cond_mods):
        joined = torch.cat([z, cond_mods["label"]], dim=1)
        return ModelOutput(reconstruction=self.layers(joined))


class Network(BaseEncoder):
    """A network with one hidden layer, with heads of a Gaussian or without."""

    def __init__(self, inputs: int, outputs: int, gaussian: bool = True):
        super().__init__()
        self.latent_dim = outputs
        self.body = torch.nn.Sequential(*layers(inputs, HIDDEN), torch.nn.ReLU())
        self.out = Gaussian(HIDDEN, outputs) if gaussian else torch.nn.Linear(HIDDEN, outputs)

    def forward(self, x):
        found = self.out(self.body(x))
        return found if isinstance(found, ModelOutput) else ModelOutput(embedding=found)


class Decoder(BaseDecoder):
    """A network with one hidden layer from latents."""

    def __init__(self, *widths: int):
        super().__init__()
        self.latent_dim = widths[0]
        self.layers = layers(*widths)

    def forward(self, z):
        return ModelOutput(reconstruction=self.layers(z))


class Heads(BaseEncoder):
    """The top group of a hierarchy, by features."""

    def __init__(self, inputs: int, size: int):
        super().__init__()
        self.latent_dim, self.heads = size, Gaussian(inputs, size)

    def forward(self, x):
        return self.heads(x)


class Below(Network):
    """The lower group by the top one and features, which a dense layer reads first."""

    def __init__(self, key: str):
        super().__init__(SHARED + HIDDEN, SEEN[key])
        self.reader = torch.nn.Linear(WIDTHS[key], HIDDEN)

    def forward(self, x):
        top, features = x[:, :SHARED], x[:, SHARED:]
        return super().forward(torch.cat([self.reader(features), top], dim=1))


def hierarchy() -> dict:
    """Returns the networks of MHVAE beside its encoders and decoders."""
    return {
        "bottom_up_blocks": {k: [Heads(WIDTHS[k], SHARED)] for k in DIMENSIONS},
        "top_down_blocks": [torch.nn.Identity()],
        "posterior_blocks": {k: [Below(k)] for k in DIMENSIONS},
        "prior_blocks": [Network(SHARED, SEEN["image"])],
    }


def nexus() -> dict:
    """Returns the networks of Nexus beside its encoders and decoders."""
    message = OPTIONS["settings"]["msg_dim"]
    return {
        "top_encoders": {k: Network(size, message, gaussian=False) for k, size in OWN.items()},
        "joint_encoder": Network(message, SHARED),
        "top_decoders": {k: Decoder(SHARED, HIDDEN, size) for k, size in OWN.items()},
    }


def build():
    """Returns the model that the options name."""
    name, settings = OPTIONS["model"], OPTIONS["settings"]
    config = getattr(models, name + "Config")
    if name in SINGLE:
        config = config(
            input_dims={k: (size,) for k, size in DIMENSIONS.items()},
            latent_dim=SHARED,
            main_modality="image",
            conditioning_modalities=["label"],
            decoder_dist="bernoulli",
        )
        return getattr(models, name)(config, Told(), Telling())
    config = config(
        n_modalities=len(DIMENSIONS),
        latent_dim=SHARED,
        input_dims={k: (size,) for k, size in DIMENSIONS.items()},
        decoders_dist={"image": "bernoulli", "label": "categorical"},
        **settings,
    )
    decoders = {k: Decoder(SEEN[k], WIDTHS[k], size) for k, size in DIMENSIONS.items()}
    if name == "MHVAE":
        encoders, further = {k: Features(k) for k in DIMENSIONS}, hierarchy()
    elif name == "Nexus":
        encoders, further = {k: Encoder([k], OWN[k]) for k in DIMENSIONS}, nexus()
    elif OWN:
        encoders, further = {k: Private([k], SHARED, OWN[k]) for k in DIMENSIONS}, {}
    else:
        encoders = {k: Encoder([k], SHARED) for k in DIMENSIONS}
        further = {"joint_encoder": Joint(DIMENSIONS, SHARED)} if OPTIONS["joint"] else {}
    return getattr(models, name)(config, encoders, decoders, **further)


def density(gaussian, z):
    """Returns the log-density of independent numbers in nats."""
    return gaussian.log_prob(z).sum(-1)


def normal(mean, log_var):
    """Returns a Gaussian."""
    return Normal(mean, torch.exp(0.5 * log_var))


def of_mixture(means, log_vars, count: int):
    """Returns as many draws of each component of a mixture, and log q of them."""
    each = normal(means, log_vars)
    z = each.rsample([math.ceil(count / len(means))]).flatten(0, 1)
    log_q = torch.stack([density(normal(*one), z) for one in zip(means, log_vars, strict=True)])
    return z, torch.logsumexp(log_q, dim=0) - math.log(len(means))


def draws(model, x, count: int):
    """Returns draws of q(z|x) as each decoder sees them, `[count, rows, size]`, and log p/q.

    This is for models whose own estimate is none of log p(x): see `benchmarks.modalities`.
    """
    name, told = OPTIONS["model"], MultimodalBaseDataset(x)
    standard = Normal(0.0, 1.0)
    if name == "CVAE":
        found = model.encoder(x)
        q = normal(found.embedding, found.log_covariance)
        z = q.rsample([count])
        return {"image": z}, density(standard, z) - density(q, z)
    if name == "MoPoE":
        found = model.inference(told)
        z, log_q = of_mixture(found["mus"], found["logvars"], count)
        return dict.fromkeys(DIMENSIONS, z), density(standard, z) - log_q
    if name == "MHVAE":
        from multivae.models.base.base_utils import poe

        top, skips = model.modality_encode(x)
        zero = torch.zeros_like(top["image"].embedding)
        means = [*(top[k].embedding for k in x), zero]
        log_vars = [*(top[k].log_covariance for k in x), zero]
        q = normal(*poe(torch.stack(means), torch.stack(log_vars)))
        first = q.rsample([count])
        log_w, flat = density(standard, first) - density(q, first), first.flatten(0, 1)
        p = model.prior_blocks[0](flat)
        each = [
            model.posterior_blocks[k][0](torch.cat([flat, skips[k][0].repeat(count, 1)], dim=1))
            for k in x
        ]
        means = torch.stack([*(one.embedding for one in each), p.embedding])
        log_vars = torch.stack([*(one.log_covariance for one in each), p.log_covariance])
        q = normal(*poe(means, log_vars))
        z = q.rsample()
        log_w = log_w.flatten() + density(normal(p.embedding, p.log_covariance), z) - density(q, z)
        shape = count, -1
        return dict.fromkeys(DIMENSIONS, z.reshape(*shape, z.shape[-1])), log_w.reshape(shape)
    found = {k: model.encoders[k](x[k]) for k in x}
    if name == "Nexus":
        log_w, z = 0.0, {}
        for k, one in found.items():
            q = normal(one.embedding, one.log_covariance)
            z[k] = q.rsample([count])
            log_w = log_w - density(q, z[k])
        message = torch.stack([model.top_encoders[k](z[k]).embedding for k in z]).mean(0)
        one = model.joint_encoder(message)
        q = normal(one.embedding, one.log_covariance)
        s = q.rsample()
        log_w = log_w + density(standard, s) - density(q, s)
        for k in z:
            log_w = log_w + density(Normal(model.top_decoders[k](s).reconstruction, 1.0), z[k])
        return z, log_w
    if name == "DMVAE":
        mean, log_var, _, _ = model._infer_latent_parameters(told)
        q = normal(mean, log_var)
        s = q.rsample([count])
        log_w = -density(q, s)
    else:  # MMVAE, MMVAEPlus and CMVAE.
        means = torch.stack([one.embedding for one in found.values()])
        s, log_q = of_mixture(means, torch.stack([o.log_covariance for o in found.values()]), count)
        log_w = -log_q
    if name == "CMVAE":
        each = zip(model.mean_clusters, model.logvar_clusters, strict=True)
        each = torch.stack([density(normal(*one), s) for one in each], dim=-1)
        log_w = log_w + torch.logsumexp(each + torch.log(model.pc_params), dim=-1)
    else:
        log_w = log_w + density(standard, s)
    if not OWN:
        return dict.fromkeys(DIMENSIONS, s), log_w
    z = {}
    for k, one in found.items():
        q = normal(one.style_embedding, one.style_log_covariance)
        w = q.rsample([len(s)])
        log_w = log_w + density(standard, w) - density(q, w)
        z[k] = torch.cat([s, w], dim=-1)
    return z, log_w


def nll(model, data: dict, count: int, rows: int = 50) -> float:
    """Returns the sum of −log p(x) over rows in nats, by draws of `draws`."""
    total = 0.0
    for start in range(0, len(data["image"]), rows):
        x = {k: value[start : start + rows] for k, value in data.items()}
        z, log_w = draws(model, x, count)
        for k, drawn in z.items():
            target = x[k].repeat(len(drawn), 1)
            if OPTIONS["model"] in SINGLE:
                label = {"label": x["label"].repeat(len(drawn), 1)}
                outputs = model.decoder(drawn.flatten(0, 1), label).reconstruction
                log_p = model.recon_log_prob(outputs, target)
            else:
                outputs = model.decoders[k](drawn.flatten(0, 1)).reconstruction
                log_p = model.recon_log_probs[k](outputs, target)
            log_w = log_w + log_p.sum(-1).reshape(len(drawn), -1)
        total -= float((torch.logsumexp(log_w, dim=0) - math.log(len(log_w))).sum())
    return total


def main() -> None:
    """Trains the model, and prints its figures."""
    torch.manual_seed(OPTIONS["seed"])
    torch.set_num_threads(OPTIONS["threads"])
    data = np.load(sys.argv[1])

    def examples(part: str) -> dict:
        x = torch.tensor(data[f"{part}_image"].reshape(-1, DIMENSIONS["image"]))
        y = torch.nn.functional.one_hot(torch.tensor(data[f"{part}_label"]), DIMENSIONS["label"])
        return {"image": x, "label": y.float()}

    model = build()
    kind = "Multistage" if OPTIONS["stages"] else "Base"
    config = getattr(trainers, kind + "TrainerConfig")(
        num_epochs=OPTIONS["epochs"],
        learning_rate=OPTIONS["learning_rate"],
        per_device_train_batch_size=OPTIONS["batch_size"],
        output_dir=OPTIONS["folder"],
        no_cuda=True,
        seed=OPTIONS["seed"],
        keep_best_on_train=True,
    )
    train = MultimodalBaseDataset(examples("train"))
    trainer = getattr(trainers, kind + "Trainer")(model, train, training_config=config)
    begun = time.perf_counter()
    trainer.train()
    said = {"seconds": time.perf_counter() - begun}
    model, test, count = trainer.model.eval(), examples("test"), OPTIONS["samples"]
    with torch.no_grad():
        if OPTIONS["own_estimate"]:
            total = float(model.compute_joint_nll(MultimodalBaseDataset(test), K=count))
        else:
            total = nll(model, test, count)
        said["nll"] = total / len(data["test_label"])
        if OPTIONS["model"] not in SINGLE:
            told = MultimodalBaseDataset({"image": test["image"], "label": test["label"]})
            z = model.encode(told, cond_mod=["image"], return_mean=True)
            digits = model.decode(z, modalities="label")["label"].argmax(-1).numpy()
            said["image_to_label"] = float(np.mean(digits.ravel() == data["test_label"]))
    print(json.dumps(said))


if __name__ == "__main__":
    main()
