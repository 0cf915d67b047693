"""The methods that `benchmarks.peers` trains in both libraries, and their settings."""

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["METHODS", "Method"]


class Method(NamedTuple):
    """A method in both libraries.

    Attributes:
        parts: dict. Parts of `kvae.VAE`, by argument: names, or functions without arguments that
            return a part.
        model: str or `None`. The model of pythae, or `None` where it has none.
        settings: dict. Settings of its configuration.
        binary: bool. Whether the images are binarized.
        nll: bool. Whether there is a log p(x).
        sampler: str. kvae's sampler by name; the prior by default, and none where it is empty.
        their_sampler: str or `None`. pythae's sampler. Defaults to `None`: there is none.
        sampler_settings: dict. Settings of pythae's sampler.
        further: dict. What else the worker is told.
        latent_dim: int or `None`. The size of z, where the method needs another one than the rest.
        labels: bool. Whether the model is told the digits.
        sets: int. How many sets of samples are drawn, each as large as the test set.
    """

    parts: dict[str, Any]
    model: str | None
    settings: dict[str, Any] = {}
    binary: bool = True
    nll: bool = True
    sampler: Any = "prior"
    their_sampler: str | None = "NormalSampler"
    sampler_settings: dict[str, Any] = {}
    further: dict[str, Any] = {}
    latent_dim: int | None = None
    labels: bool = False
    sets: int = 5


def _capacity(vae_steps: int) -> Callable:
    def made():
        import kvae

        rising = kvae.schedules.Linear(0.0, 5.0, steps=vae_steps)
        return kvae.objectives.ELBO(beta=10.0, capacity=rising)

    return made


def _discriminator(shape):
    import keras

    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Flatten(),
            keras.layers.Dense(256, "relu"),
            keras.layers.Dense(1),
        ]
    )


def _aae():
    import kvae

    return kvae.objectives.AAE(discriminator=_discriminator((8,)))


def _vaegan():
    import kvae

    # The weight was chosen among 1, 10, 30 and 100, by the distance of samples from a part of the
    # training images that was kept back.
    return kvae.objectives.VAEGAN(
        gamma=30.0, discriminator=_discriminator((8, 8, 1)), discriminator_learning_rate=1e-3
    )


def _perceptual():
    import kvae
    import zoo

    classifier = zoo.load_classifier("digits")
    return kvae.objectives.Perceptual(classifier, ["down_0", "down_1"], weight=100.0)


def _joint(package: str) -> Callable:
    def made():
        import kvae

        if package == "posteriors":
            digit = kvae.posteriors.GumbelSoftmax(latent_dim=10, num_categories=10)
            parts = {"style": "diagonal_gaussian", "digit": digit}
            return kvae.posteriors.Product(parts)
        digit = kvae.priors.UniformCategorical(num_categories=10, latent_dim=10)
        return kvae.priors.Product({"style": "standard_normal", "digit": digit})

    return made


def _joint_objective():
    import kvae

    rising = kvae.schedules.Linear(0.0, 6.0, steps=500)
    return kvae.objectives.JointVAE(gamma=10.0, capacity={"style": rising, "digit": 2.3})


# One of the epochs below has 23 steps.
_EPOCH = 23
_BCE = {"reconstruction_loss": "bce"}
_GAUSSIAN = {"likelihood": "gaussian:scale=0.70710678"}
_DELTA = {**_GAUSSIAN, "posterior": "delta"}
_AUTO = {"binary": False, "nll": False}
_MIXTURE = {"sampler": "gaussian_mixture", "their_sampler": "GaussianMixtureSampler"}
_CODES = {"posterior": "vector_quantized:num_embeddings=64,embedding_dim=8", **_GAUSSIAN}
_QUANTIZED = {"latent_dim": 32, "further": {"grid": [8, 2, 2]}, **_AUTO}

METHODS: dict[str, Method] = {
    "VAE": Method({}, "VAE", _BCE),
    "AE": Method({**_DELTA, "prior": None}, "AE", {}, **_AUTO, **_MIXTURE),
    "BetaVAE": Method({"objective": "elbo:beta=4.0"}, "BetaVAE", {**_BCE, "beta": 4.0}),
    "DisentangledBetaVAE": Method(
        {"objective": _capacity(25 * _EPOCH)},
        "DisentangledBetaVAE",
        {**_BCE, "beta": 10.0, "C": 5.0, "warmup_epoch": 25},
    ),
    "VAE_LinNF": Method({"posterior": "planar"}, "VAE_LinNF", _BCE),
    "VAE_IAF": Method({"posterior": "iaf"}, "VAE_IAF", _BCE),
    "FactorVAE": Method({"objective": "factor_vae:gamma=2.0"}, "FactorVAE", {**_BCE, "gamma": 2.0}),
    "BetaTCVAE": Method(
        {"objective": "beta_tcvae:beta=4.0"}, "BetaTCVAE", {**_BCE, "beta": 4.0, "use_mss": False}
    ),
    "IWAE": Method({"objective": "iwae:num_samples=5"}, "IWAE", {**_BCE, "number_samples": 5}),
    "MIWAE": Method(
        {"objective": "miwae:num_groups=3,num_samples=5"},
        "MIWAE",
        {**_BCE, "number_samples": 5, "number_gradient_estimates": 3},
    ),
    "PIWAE": Method(
        {"objective": "piwae:num_groups=3,num_samples=5"},
        "PIWAE",
        {**_BCE, "number_samples": 5, "number_gradient_estimates": 3},
    ),
    "CIWAE": Method(
        {"objective": "ciwae:num_samples=5"}, "CIWAE", {**_BCE, "number_samples": 5, "beta": 0.5}
    ),
    "INFOVAE_MMD": Method(
        {"objective": "info_vae:lambda_=10.0"}, "INFOVAE_MMD", {**_BCE, "alpha": 0.0, "lbd": 10.0}
    ),
    "VAMP": Method(
        {"prior": "vamp:50"},
        "VAMP",
        {**_BCE, "number_components": 50},
        their_sampler="VAMPSampler",
    ),
    "SVAE": Method(
        {"posterior": "von_mises_fisher", "prior": "uniform_sphere"},
        "SVAE",
        _BCE,
        their_sampler="HypersphereUniformSampler",
    ),
    "PoincareVAE": Method(
        {"posterior": "wrapped_normal", "prior": "wrapped_normal"},
        "PoincareVAE",
        {
            **_BCE,
            "prior_distribution": "wrapped_normal",
            "posterior_distribution": "wrapped_normal",
        },
        their_sampler="PoincareDiskSampler",
    ),
    "HVAE": Method(
        {"objective": "hamiltonian:step_size=0.05"},
        "HVAE",
        {**_BCE, "eps_lf": 0.05, "learn_eps_lf": True, "learn_beta_zero": True},
    ),
    "Adversarial_AE": Method(
        {"objective": _aae},
        "Adversarial_AE",
        {**_BCE, "adversarial_loss_scale": 1.0},
        further={"discriminator": "codes"},
    ),
    "VAEGAN": Method(
        {**_GAUSSIAN, "objective": _vaegan},
        "VAEGAN",
        {"reconstruction_layer": 1},
        further={"discriminator": "images"},
        **_AUTO,
    ),
    "WAE": Method(
        {**_DELTA, "objective": "wae:lambda_=10.0"},
        "WAE_MMD",
        {"kernel_choice": "imq", "reg_weight": 10.0},
        **_AUTO,
    ),
    "WAE-MMD (RBF kernel)": Method(
        {**_DELTA, "objective": "wae:lambda_=10.0,kernel=rbf"},
        "WAE_MMD",
        {"kernel_choice": "rbf", "reg_weight": 10.0},
        **_AUTO,
    ),
    "RAE_L2": Method(
        {**_DELTA, "prior": None, "objective": "rae:beta=0.01,lambda_=0.0001"},
        "RAE_L2",
        {"embedding_weight": 0.01, "reg_weight": 0.0001},
        **_AUTO,
        **_MIXTURE,
    ),
    "RAE_GP": Method(
        {**_DELTA, "prior": None, "objective": "rae:gradient_penalty,beta=0.01,lambda_=0.0001"},
        "RAE_GP",
        {"embedding_weight": 0.01, "reg_weight": 0.0001},
        **_AUTO,
        **_MIXTURE,
    ),
    "VQVAE": Method(
        {**_CODES, "prior": "uniform_codes"},
        "VQVAE",
        {"num_embeddings": 64},
        sampler="pixel_cnn",
        their_sampler="PixelCNNSampler",
        **_QUANTIZED,
    ),
    "MSSSIM_VAE": Method(
        {**_GAUSSIAN, "objective": "ms_ssim:weight=100.0"},
        "MSSSIM_VAE",
        {"beta": 0.01, "window_size": 3},
        **_AUTO,
    ),
    "RHVAE": Method(
        {"objective": "riemannian_hamiltonian:step_size=0.01"},
        "RHVAE",
        {**_BCE, "eps_lf": 0.01},
        sampler="manifold:num_steps=10",
        their_sampler="RHVAESampler",
        sampler_settings={"mcmc_steps_nbr": 10},  # Each takes minutes with all centroids.
        sets=1,
    ),
    # Samplers beside the prior, of a plain VAE and of an autoencoder.
    "GaussianMixtureSampler": Method({}, "VAE", _BCE, nll=False, **_MIXTURE),
    "TwoStageVAESampler": Method(
        {}, "VAE", _BCE, nll=False, sampler="two_stage", their_sampler="TwoStageVAESampler"
    ),
    "MAFSampler": Method({}, "VAE", _BCE, nll=False, sampler="flow", their_sampler="MAFSampler"),
    "IAFSampler": Method(
        {}, "VAE", _BCE, nll=False, sampler="flow:iaf", their_sampler="IAFSampler"
    ),
    # What PyTorch-VAE has and pythae has not: it is no package that could be installed beside.
    "Conditional VAE": Method({"num_classes": 10}, None, labels=True),
    "SWAE (200 Projections)": Method(
        {**_DELTA, "objective": "swae:num_projections=200"}, None, **_AUTO
    ),
    "Categorical VAE": Method(
        {"posterior": "gumbel_softmax:num_categories=10", "prior": "uniform_categorical"},
        None,
        latent_dim=40,
    ),
    "Joint VAE": Method(
        {
            "posterior": _joint("posteriors"),
            "prior": _joint("priors"),
            "objective": _joint_objective,
        },
        None,
        latent_dim=18,
    ),
    # In the classifier's convolutions; the distance below is one of its last hidden layer.
    "DFCVAE": Method({**_GAUSSIAN, "objective": _perceptual}, None, **_AUTO),
    "LogCosh VAE": Method({"likelihood": "log_cosh:learned"}, None, **_AUTO),
    "DIP VAE": Method({"objective": "dip_vae"}, None),
}
