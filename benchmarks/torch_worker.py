"""Workers that run on PyTorch: loops written by hand, and pythae. They need no other package."""

import logging
import math
import os
import sys
import tempfile

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.cases import CASES, CHANNELS_LAST, SAMPLES, Case
from benchmarks.gate import Gate

_RATE = 1e-3
_DEVICE = os.environ.get("KVAE_BENCH_DEVICE", "cpu")


class Gated(nn.Module):
    def __init__(self, a: int, b: int):
        super().__init__()
        self.value, self.gate = nn.Linear(a, b), nn.Linear(a, b)

    def forward(self, x):
        return self.value(x) * torch.sigmoid(self.gate(x))


def _stack(widths, gated: bool) -> list:
    modules = []
    for a, b in zip(widths, widths[1:], strict=False):
        modules += [Gated(a, b)] if gated else [nn.Linear(a, b), nn.ReLU()]
    return modules


class Encoder(nn.Module):
    def __init__(self, case: Case):
        super().__init__()
        if case.kind == "conv":
            modules = [
                nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(),
                nn.Flatten(), nn.Linear(3136, 16), nn.ReLU(),
            ]  # fmt: skip
            width = 16
        else:
            modules = [nn.Flatten(), *_stack((784, *case.hidden), case.kind == "gated")]
            width = case.hidden[-1]
        self.body = nn.Sequential(*modules)
        self.mean = nn.Linear(width, case.latent_dim)
        self.log_var = nn.Linear(width, case.latent_dim)

    def forward(self, x):
        features = self.body(x)
        return self.mean(features), self.log_var(features)


def decoder(case: Case) -> nn.Module:
    """From z to logits `[batch, 1, 28, 28]`."""
    if case.kind == "conv":
        return nn.Sequential(
            nn.Linear(case.latent_dim, 3136), nn.ReLU(), nn.Unflatten(1, (64, 7, 7)),
            nn.ConvTranspose2d(64, 64, 3, 2, 1, output_padding=1), nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 3, 2, 1, output_padding=1), nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 3, 1, 1),
        )  # fmt: skip
    widths = (case.latent_dim, *case.hidden[::-1])
    return nn.Sequential(
        *_stack(widths, case.kind == "gated"),
        nn.Linear(widths[-1], 784),
        nn.Unflatten(1, (1, 28, 28)),
    )


class Model(nn.Module):
    """The loss of a batch, by hand."""

    def __init__(self, case: Case, images):
        super().__init__()
        self.encoder, self.decoder, self.case = Encoder(case), decoder(case), case
        if case.components:
            self.pseudo_inputs = nn.Parameter(images[: case.components].clone())

    def forward(self, x):
        mean, log_var = self.encoder(x)
        k = self.case.samples
        noise = torch.randn(k, *mean.shape)
        z = mean + torch.exp(0.5 * log_var) * noise
        logits = self.decoder(z.flatten(0, 1)).view(k, len(x), -1)
        target = x.flatten(1).expand(k, -1, -1)
        log_px = -F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(-1)
        if k == 1 and not self.case.components:
            kl = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(-1)
            return (kl - log_px[0]).mean()
        log_q = -0.5 * (noise**2 + log_var + math.log(2 * math.pi)).sum(-1)
        weights = log_px + self._log_prior(z) - log_q
        return -(torch.logsumexp(weights, 0) - math.log(k)).mean()

    def _log_prior(self, z):
        if not self.case.components:
            return -0.5 * (z**2 + math.log(2 * math.pi)).sum(-1)
        mean, log_var = self.encoder(self.pseudo_inputs.clamp(0, 1))
        squared = (z[..., None, :] - mean) ** 2 / log_var.exp()
        each = -0.5 * (squared + log_var + math.log(2 * math.pi)).sum(-1)
        return torch.logsumexp(each, -1) - math.log(len(mean))


def train_torch(case: Case, batch: int, x, gate: Gate, variant: str) -> None:
    torch.manual_seed(0)
    model, x = Model(case, x), x[: gate.count]
    if variant == CHANNELS_LAST:
        model, x = (each.to(memory_format=torch.channels_last) for each in (model, x))
    optimizer = torch.optim.Adam(model.parameters(), _RATE, fused=True)
    loss_of = torch.compile(model) if variant == "torch.compile" else model

    def epoch():
        order = torch.randperm(len(x))
        for start in range(0, len(x), batch):
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(x[order[start : start + batch]])
            loss.backward()
            optimizer.step()
        if _DEVICE != "cpu":
            torch.cuda.synchronize()

    epoch()
    gate.repeat(epoch)


def pythae_model(case: Case):
    from pythae.models import IWAE, VAE, VAMP, IWAEConfig, VAEConfig, VAMPConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class PythaeEncoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.body = Encoder(case)

        def forward(self, x):
            mean, log_var = self.body(x)
            return ModelOutput(embedding=mean, log_covariance=log_var)

    class PythaeDecoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.body = decoder(case)

        def forward(self, z):
            return ModelOutput(reconstruction=torch.sigmoid(self.body(z)))

    settings = {
        "input_dim": (1, 28, 28),
        "latent_dim": case.latent_dim,
        "reconstruction_loss": "bce",
    }
    if case.samples > 1:
        kind, config = IWAE, IWAEConfig(number_samples=case.samples, **settings)
    elif case.components:
        kind, config = VAMP, VAMPConfig(number_components=case.components, **settings)
    else:
        kind, config = VAE, VAEConfig(**settings)
    return kind(config, encoder=PythaeEncoder(), decoder=PythaeDecoder())


def train_pythae(case: Case, batch: int, x, gate: Gate) -> None:
    logging.disable(logging.CRITICAL)
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    class Epochs(TrainingCallback):
        def on_epoch_begin(self, training_config, **facts):
            if facts["epoch"] > 1:
                gate.wait()

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=10**6,
            learning_rate=_RATE,
            per_device_train_batch_size=batch,
            no_cuda=True,
        )
        data = BaseDataset(x, torch.zeros(len(x)))
        BaseTrainer(pythae_model(case), data, training_config=config, callbacks=[Epochs()]).train()


def infer(name: str, variant: str, x, gate: Gate) -> None:
    torch.manual_seed(0)
    case = CASES[0]
    x = x[: gate.count]
    if variant == "torch":
        plain = Model(case, x)
        latents = torch.randn(gate.count, case.latent_dim)

        def work():
            with torch.no_grad():
                if name == "encode":
                    return plain.encoder(x)[0].cpu().numpy()
                z = latents
                if name == "sample":
                    z = torch.randn(gate.count, case.latent_dim)
                elif name == "reconstruct":
                    z = plain.encoder(x)[0]
                return torch.sigmoid(plain.decoder(z)).cpu().numpy()
    else:
        from pythae.samplers import NormalSampler

        model = pythae_model(case).eval()
        batch = 1000 if "1000" in variant else 100
        binary = (x > 0.5).float()

        def work():
            with torch.no_grad():
                if name == "nll":
                    return model.get_nll(binary, n_samples=SAMPLES, batch_size=batch)
                if name == "encode":
                    return model.embed(x).cpu().numpy()
                return NormalSampler(model).sample(gate.count, batch_size=500).cpu().numpy()

    work()
    gate.repeat(work)


def _main(kind: str, variant: str, name: str, batch: str, path: str, count: str) -> None:
    if _DEVICE != "cpu":
        torch.set_default_device(_DEVICE)
        torch.set_float32_matmul_precision("high")  # TensorFlow computes in TF32 as well.
    images = torch.from_numpy(np.load(path).transpose(0, 3, 1, 2).astype("float32") / 255)
    images = images.to(_DEVICE)
    a = torch.randn(2048, 2048)

    def sgemm():
        return (a @ a).cpu().numpy()

    gate = Gate(int(count), sgemm)
    if kind == "infer":
        infer(name, variant, images, gate)
        return
    case = next(case for case in CASES if case.name == name)
    if variant == "pythae":
        train_pythae(case, int(batch), images[: gate.count], gate)
    else:
        train_torch(case, int(batch), images, gate, variant)


if __name__ == "__main__":
    _main(*sys.argv[1:])
