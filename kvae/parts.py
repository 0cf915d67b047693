"""What posteriors, priors, likelihoods and objectives have in common."""

import keras

from kvae.utils import arguments, names

__all__ = ["Part", "SharesLatentDim", "resolve"]


class Part(keras.layers.Layer):
    """A replaceable part of a `kvae.VAE`: a Keras layer, so that its variables train and save.

    Parts compute in float32 whatever the global dtype policy is, and also where they are given one
    of half precision themselves: densities lose their meaning in it. Keras casts their inputs.

    Constructors of subclasses get scalars of NumPy as numbers of Python (`kvae.utils.arguments`).
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = arguments.with_plain_arguments(cls.__init__)

    def __init__(self, *, dtype="float32", **kwargs):
        if keras.dtype_policies.get(dtype).compute_dtype in ("float16", "bfloat16"):
            dtype = "float32"
        super().__init__(dtype=dtype, **kwargs)

    def attach(self, vae) -> None:
        """Tells the part which model it belongs to, when the model is made and not built yet.

        A part that needs the model later keeps it behind a function (`self._vae = lambda: vae`), so
        that Keras does not take the model for a layer of the part. `VAE.with_prior` makes models
        that share their posterior and likelihood: such a part stays with the first of them.

        Raises:
            ValueError: where the model's parts do not go together.
        """

    def report(self) -> dict:
        """Scalars for the logs, by name, e.g. the position of a schedule. By default none."""
        return {}


class SharesLatentDim:
    """A part made of others that have its `latent_dim`: they are told when it is set."""

    def inner(self) -> tuple:
        """Returns the other parts, as far as they are made."""
        raise NotImplementedError

    @property
    def latent_dim(self):
        return self._latent_dim

    @latent_dim.setter
    def latent_dim(self, value):
        self._latent_dim = value
        if value is not None:
            for part in self.inner():
                part.latent_dim = value


def resolve(kind: str, identifier, known: dict[str, type], base: type):
    """Makes a part from a name, or passes one through.

    Args:
        kind: str. `"posterior"`, `"prior"`, … for the error.
        identifier: str, `Part` or serialized config.
        known: dict. The classes by name.
        base: type. The class that the part has to derive from.

    Raises:
        ValueError: for an unknown name.
        TypeError: for an object of another kind.
    """
    if isinstance(identifier, str):
        if identifier not in known:
            raise names.unknown_name(kind, identifier, known)
        return known[identifier]()
    if isinstance(identifier, dict):
        identifier = keras.saving.deserialize_keras_object(identifier)
    if not isinstance(identifier, base):
        raise TypeError(
            f"`{kind}` is a {base.__name__} or one of {', '.join(map(repr, sorted(known)))}, "
            f"not {identifier!r}."
        )
    return identifier
