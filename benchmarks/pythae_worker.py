"""Trains a model of pythae for `benchmarks.peers`. It runs where torch and pythae are installed.

    python benchmarks/pythae_worker.py DATA.npz OPTIONS.json ANSWER.npz

The options hold the name of a model, the settings of its configuration and of its sampler, and
what both libraries share; the answer has reconstructions, samples, the NLL and the seconds.
"""

import json
import logging
import sys
import tempfile
import time

import numpy as np
import torch
from pythae import models, samplers, trainers
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseDiscriminator, BaseEncoder
from pythae.pipelines import TrainingPipeline

SHAPE = (1, 8, 8)
TRAINERS = {
    "RAE_L2": "CoupledOptimizerTrainer",
    "PIWAE": "CoupledOptimizerTrainer",
    "Adversarial_AE": "AdversarialTrainer",
    "FactorVAE": "AdversarialTrainer",
    "VAEGAN": "CoupledOptimizerAdversarialTrainer",
}
RATES = {
    "CoupledOptimizerTrainer": ("encoder", "decoder"),
    "AdversarialTrainer": ("autoencoder", "discriminator"),
    "CoupledOptimizerAdversarialTrainer": ("encoder", "decoder", "discriminator"),
}


def layers(*widths) -> torch.nn.Sequential:
    """Returns dense layers, each rectified."""
    pairs = zip(widths, widths[1:], strict=False)
    made = [layer for a, b in pairs for layer in (torch.nn.Linear(a, b), torch.nn.ReLU())]
    return torch.nn.Sequential(*made)


class Encoder(BaseEncoder):
    """From images to all that some model reads: a mean, a log-variance and a concentration."""

    def __init__(self, width: int, latent_dim: int, grid=None, scalar: bool = False):
        super().__init__()
        self.latent_dim, self.grid = latent_dim, grid
        self.body = layers(64, width, width)
        self.mean = torch.nn.Linear(width, latent_dim)
        self.log_var = None if grid else torch.nn.Linear(width, 1 if scalar else latent_dim)

    def forward(self, x):
        hidden = self.body(x.flatten(1))
        if self.grid:
            return ModelOutput(embedding=self.mean(hidden).reshape(-1, *self.grid))
        spread = self.log_var(hidden)
        return ModelOutput(
            embedding=self.mean(hidden), log_covariance=spread, log_concentration=spread
        )


class Decoder(BaseDecoder):
    """From codes to images in [0, 1]."""

    def __init__(self, width: int, latent_dim: int):
        super().__init__()
        self.latent_dim = latent_dim
        self.body = layers(latent_dim, width, width)
        self.last = torch.nn.Linear(width, 64)

    def forward(self, z):
        images = torch.sigmoid(self.last(self.body(z.flatten(1))))
        return ModelOutput(reconstruction=images.reshape(-1, *SHAPE))


class Discriminator(BaseDiscriminator):
    """One hidden layer of 256 units, which is also what the VAEGAN compares."""

    def __init__(self, inputs: int):
        super().__init__()
        self.body, self.last, self.depth = layers(inputs, 256), torch.nn.Linear(256, 1), 2

    def forward(self, x, output_layer_levels=None):
        hidden = self.body(x.flatten(1))
        probability = torch.sigmoid(self.last(hidden))
        return ModelOutput(embedding=probability, embedding_layer_1=hidden)


def build(options: dict):
    """Returns the model."""
    name, latent_dim = options["model"], options["latent_dim"]
    settings = {"input_dim": SHAPE, "latent_dim": latent_dim, **options["settings"]}
    if "discriminator" in options:
        of_images = options["discriminator"] == "images"
        settings["discriminator_input_dim"] = SHAPE if of_images else latent_dim
    kind = getattr(models, f"{name}Config", None) or getattr(models, f"{name}_Config")
    config = kind(**settings)
    encoder = Encoder(options["width"], latent_dim, options.get("grid"), name == "SVAE")
    networks = {"encoder": encoder, "decoder": Decoder(options["width"], latent_dim)}
    if "discriminator" in options:
        networks["discriminator"] = Discriminator(64 if of_images else latent_dim)
    return getattr(models, name)(config, **networks)


def train(model, options: dict, images, folder: str) -> float:
    """Trains the model, and returns the seconds that it took."""
    trainer = TRAINERS.get(options["model"], "BaseTrainer")
    rates = [f"{name}_learning_rate" for name in RATES.get(trainer, ())] or ["learning_rate"]
    config = getattr(trainers, f"{trainer}Config")(
        output_dir=folder,
        num_epochs=options["epochs"],
        per_device_train_batch_size=options["batch_size"],
        no_cuda=True,
        seed=options["seed"],
        keep_best_on_train=False,
        **dict.fromkeys(rates, options["learning_rate"]),
    )
    pipeline = TrainingPipeline(model=model, training_config=config)
    begun = time.perf_counter()
    pipeline(train_data=images)
    return time.perf_counter() - begun


def sample(model, options: dict, images, count: int):
    """Fits the sampler that the options name, and draws images."""
    name = options["sampler"]
    arguments = [model]
    if options["sampler_settings"] or name in ("PixelCNNSampler", "TwoStageVAESampler"):
        arguments.append(getattr(samplers, f"{name}Config")(**options["sampler_settings"]))
    sampler = getattr(samplers, name)(*arguments)
    if options["fit_sampler"]:
        sampler.fit(images)
    images = sampler.sample(num_samples=count, batch_size=500)
    return images[torch.randperm(count)]  # That of a mixture returns one component after another.


def main(data_path: str, options_path: str, answer_path: str) -> None:
    """Trains and measures the model of the options."""
    logging.disable(logging.INFO)
    with open(options_path, encoding="utf-8") as file:
        options = json.load(file)
    data = np.load(data_path)
    train_images, test = (
        torch.tensor(np.moveaxis(data[part], -1, 1)) for part in ("train", "test")
    )
    torch.set_num_threads(options["threads"])
    torch.manual_seed(options["seed"])
    model = build(options)
    with tempfile.TemporaryDirectory() as folder:
        seconds = train(model, options, train_images, folder)
    model.eval()
    torch.manual_seed(options["seed"])
    answer = {"seconds": seconds}
    if options["model"] in ("HVAE", "RHVAE"):  # Theirs are those of the last step.
        found = model.encoder(test)
        noise = torch.randn_like(found.embedding)
        codes = found.embedding + torch.exp(0.5 * found.log_covariance) * noise
        images = model.decoder(codes).reconstruction
    else:
        images = model.reconstruct(test)
    answer["reconstructions"] = images.detach().numpy()
    if options["sampler"]:
        images = sample(model, options, train_images, options["samples"])
        answer["samples"] = images.detach().numpy()
    if options["nll"]:
        # The steps of these two change the posterior, and not log p(x), which is estimated with
        # draws of q(z|x) as that of a VAE: their own estimators take hours.
        kind = models.VAE if options["model"] in ("HVAE", "RHVAE") else type(model)
        with torch.no_grad():
            answer["nll"] = -kind.get_nll(model, test, options["nll"], 100)
    for name in ("reconstructions", "samples"):
        if name in answer:
            answer[name] = np.moveaxis(answer[name].reshape(-1, *SHAPE), 1, -1)
    np.savez(answer_path, **answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
