"""A base for products: posteriors and priors whose z joins the latents of several parts."""

import re
from collections.abc import Mapping

import keras
import tensorflow as tf

from kvae.distributions.base_noise import Noise

__all__ = ["Joined"]

_NAME = re.compile(r"[A-Za-z0-9]+")


class Joined:
    """A part that is made of others by name: z is z_1, …, z_K, and the z_k are independent.

    What a part calls `z_mean` is called `NAME_z_mean` here, and so are its noise and its tensors.
    """

    parts: dict

    def take(self, parts, get, kind: str) -> None:
        """Keeps the parts.

        Args:
            parts: mapping from names to parts, or a sequence of parts, or of pairs of both.
            get: function from what stands for a part to the part.
            kind: str. What they are, for errors.
        """
        if isinstance(parts, Mapping):
            pairs = list(parts.items())
        else:
            named = [isinstance(part, (list, tuple)) and len(part) == 2 for part in parts]
            pairs = [
                tuple(part) if pair else (str(index), part)
                for index, (part, pair) in enumerate(zip(parts, named, strict=True))
            ]
        for name, _ in pairs:
            if not _NAME.fullmatch(str(name)):
                raise ValueError(
                    f"The names of parts are made of letters and digits, not {name!r}: those of "
                    "their parameters begin with it and an underscore."
                )
        if len(pairs) < 2 or len(dict(pairs)) < len(pairs):
            raise ValueError(
                f"`parts` are two or more {kind}s with different names, not "
                f"{[name for name, _ in pairs]}."
            )
        self.parts = {str(name): get(part) for name, part in pairs}

    @property
    def latent_dim(self):
        return self._latent_dim

    @latent_dim.setter
    def latent_dim(self, value):
        """Sets the size of z; one part that has no size yet gets what the others leave."""
        parts = getattr(self, "parts", {})
        unknown = [part for part in parts.values() if part.latent_dim is None]
        known = sum(part.latent_dim for part in parts.values() if part.latent_dim is not None)
        if value is not None and len(unknown) == 1 and value > known:
            unknown[0].latent_dim = value - known
            unknown, known = [], value
        if value is None and parts and not unknown:
            value = known
        if value is not None and parts and (unknown or known != value):
            sizes = {name: part.latent_dim for name, part in parts.items()}
            raise ValueError(
                f"The parts of {type(self).__name__} have latent_dim {sizes}, which is to be "
                f"{value} in all. One of them may leave it out, and gets the rest."
            )
        self._latent_dim = value

    @property
    def sizes(self) -> tuple:
        """The size of z of each part."""
        return tuple(part.latent_dim for part in self.parts.values())

    @property
    def space(self):
        """The space of z: `"real"` if all parts lie in R^n, otherwise the spaces of the parts."""
        spaces = tuple(part.space for part in self.parts.values())
        return "real" if set(spaces) == {"real"} else spaces

    def split(self, z) -> list:
        """Returns the z of each part, of z `[..., latent_dim]`."""
        return tf.split(z, self.sizes, axis=-1)

    def of(self, tensors: dict) -> list[dict]:
        """Returns the tensors of each part by its own names."""
        found: dict[str, dict] = {name: {} for name in self.parts}
        for key, value in tensors.items():
            name, _, own = key.partition("_")
            if name in found:  # An encoder may return more than its posterior reads.
                found[name][own] = value
        return list(found.values())

    def named(self, each) -> dict:
        """Returns one dict of what the parts have by name, in their order."""
        return {
            f"{name}_{key}": value
            for name, own in zip(self.parts, each, strict=True)
            for key, value in own.items()
        }

    def base_noise(self) -> dict[str, Noise]:
        return self.named(self.each("base_noise"))

    def each(self, method: str, *arguments) -> list:
        """Calls a method of all parts, each with its own of every list of arguments."""
        parts = self.parts.values()
        return [getattr(part, method)(*own) for part, *own in zip(parts, *arguments, strict=True)]

    def joined_distribution(self, *arguments):
        """Returns the distribution of TFP whose blocks are those of the parts."""
        from tensorflow_probability import distributions as tfd

        return tfd.Blockwise(self.each("distribution", *arguments), dtype_override=tf.float32)

    def report(self) -> dict:
        return self.named(self.each("report"))

    def get_config(self) -> dict:
        parts = [
            [name, keras.saving.serialize_keras_object(part)] for name, part in self.parts.items()
        ]
        return {**super().get_config(), "parts": parts}


class Seen:
    """A model as one part of a product sees it: with the part and its counterpart alone.

    Args:
        vae: `kvae.VAE`.
        posterior: the part of the posterior.
        prior: the part of the prior, or `None`.
        name: str. That of the posterior's part.
    """

    def __init__(self, vae, posterior, prior, name):
        self._vae, self._name = vae, name
        self.posterior, self.prior = posterior, prior
        self.latent_dim = posterior.latent_dim

    def __getattr__(self, name):
        return getattr(self._vae, name)

    def encode_params(self, *arguments, **options) -> dict:
        """Does what `kvae.VAE.encode_params` does, for the parameters of the part."""
        params = self._vae.encode_params(*arguments, **options)
        start = f"{self._name}_"
        return {key[len(start) :]: value for key, value in params.items() if key.startswith(start)}
