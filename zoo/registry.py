"""Architectures by name: untrained and pretrained."""

import inspect

import kvae
from kvae import random
from kvae.utils import forks, names
from zoo import cards, conv, dense, hub, sequence, weights
from zoo.arguments import checked

__all__ = ["build", "likelihood", "list_architectures", "load", "with_beta"]

_ARCHITECTURES = {
    "beta_tcvae": conv.build_beta_tcvae,
    "beta_vae": conv.build_beta_vae,
    "blog_vae": dense.build_blog_vae,
    "conv_autoencoder": conv.build_conv_autoencoder,
    "conv_vae": conv.build_conv_vae,
    "dense_autoencoder": dense.build_dense_autoencoder,
    "dense_vae": dense.build_dense_vae,
    "denoising_autoencoder": conv.build_denoising_autoencoder,
    "factor_vae": conv.build_factor_vae,
    "gated_vae": dense.build_gated_vae,
    "hvae": dense.build_hvae,
    "iaf_vae": dense.build_iaf_vae,
    "iwae": dense.build_iwae,
    "lstm_autoencoder": sequence.build_lstm_autoencoder,
    "tabular_vae": dense.build_tabular_vae,
    "timeseries_vae": sequence.build_timeseries_vae,
    "vamp_vae": dense.build_vamp_vae,
    "vqvae": conv.build_vqvae,
}


def list_architectures() -> list[str]:
    """Returns the names that `build` takes, sorted."""
    return sorted(_ARCHITECTURES)


def build(architecture: str, **arguments):
    """Builds an untrained model.

    Args:
        architecture: str. One of `list_architectures()`.
        **arguments: of the architecture, e.g. `event_shape`, `latent_dim`; and the parts of
            `kvae.VAE`: `posterior`, `prior`, `likelihood`, `objective`, `seed`, `num_classes` (a
            conditional model). A part replaces the architecture's own. The initial weights are
            those of `seed`, too: the same in every process. Without a `seed` they are those of 0,
            or of the program where it has called `keras.utils.set_random_seed` or is in a block of
            `kvae.random.initial_weights`.

    Returns:
        `kvae.VAE`, built and not compiled.

    Raises:
        ValueError: for an unknown architecture or argument, with the known ones; for a value of
            the wrong kind; and for a part together with arguments that only the architecture's own
            part would use, e.g. `objective` and the `beta` of a `beta_vae`.

    Example:

    ```python
    vae = zoo.build("conv_vae", event_shape=(32, 32, 3), latent_dim=64, likelihood="gaussian")
    ```
    """
    forks.check()
    if architecture not in _ARCHITECTURES:
        raise names.unknown_name("architecture", architecture, _ARCHITECTURES)
    builder = _ARCHITECTURES[architecture]
    arguments = checked(architecture, builder, arguments)
    if "seed" not in arguments and random.weights_are_seeded():
        return builder(**arguments)
    with random.initial_weights(arguments.get("seed", 0)):
        return builder(**arguments)


def likelihood(architecture: str, arguments: dict):
    """Returns the likelihood of a model that `build` would make of these arguments."""
    default = inspect.signature(_ARCHITECTURES[architecture]).parameters["likelihood"].default
    given = arguments.get("likelihood", default)
    if given is None:  # The builder makes one.
        return build(architecture, **arguments).likelihood
    return kvae.likelihoods.get(given)


def with_beta(architecture: str, arguments: dict, change) -> dict:
    """Returns arguments of `build` for the same objective with another β.

    Args:
        architecture, arguments: as of `build`.
        change: callable. From the objective's own `beta` to a number or a schedule.

    Raises:
        ValueError: for an objective without a `beta`.
    """
    objective = build(architecture, **arguments).objective
    config = objective.get_config()
    if "beta" not in config:
        raise ValueError(
            f"The objective {type(objective).__name__} has no `beta`: leave out what sets it "
            "(--beta, warmup_epochs)."
        )
    # What the architecture makes its objective from is in the configuration now.
    makes = getattr(_ARCHITECTURES[architecture], "makes", {}).get("objective", ())
    rest = {name: value for name, value in arguments.items() if name not in makes}
    changed = {**config, "beta": change(config["beta"])}
    return {**rest, "objective": type(objective).from_config(changed)}


def load(name: str):
    """Loads a pretrained model, compiled with Adam for those who train it further.

    Args:
        name: str. One of `zoo.list_models()`, or `"hf://user/repo"` for what `zoo.push_to_hub` put
            on the Hugging Face Hub, with `@` and a branch, tag or commit where it is to be another
            state than the last. That needs huggingface_hub, and is downloaded once.

    Returns:
        `kvae.VAE`.

    Raises:
        ValueError: for an unknown name, or weights that are not what the card says.
        FileNotFoundError: when the weights, the repository or its revision are not there.
        PermissionError: when the repository asks for a token that may read it.
        ConnectionError: when the Hub cannot be reached.

    Example:

    ```python
    vae = zoo.load("conv_vae.mnist")
    vae.sample(4, seed=1)     # shape (4, 28, 28, 1)
    ```
    """
    if hub.is_address(name):
        return hub.load(name)
    card = cards.card(name)
    path = weights.find(card)
    model = build(card.architecture, **card.arguments)
    model.load_weights(path)
    model.compile()
    return model
