"""The register of architectures: what `zoo.build` knows of each of them."""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from kvae import likelihoods, objectives, posteriors, priors, random
from kvae.models import VAE
from kvae.utils import names
from kvae.utils.register import Register
from zoo.arguments import CountOrNone, EventShape, Seed, check_of

__all__ = ["ARCHITECTURES", "Architecture", "architecture"]

# The parts of a model, each with the function that makes one of its name or configuration.
_PARTS = {
    "posterior": posteriors.get,
    "prior": priors.get,
    "likelihood": likelihoods.get,
    "objective": objectives.get,
}
_DEFAULTS = {
    "posterior": "diagonal_gaussian",
    "prior": "standard_normal",
    "likelihood": "bernoulli",
    "objective": "elbo",
}
# What every model takes beside its parts.
_COMMON = {
    "event_shape": EventShape,
    "seed": Seed,
    "num_classes": CountOrNone,
    "missing": Any,
    "conditions": Any,
}


@dataclasses.dataclass(eq=False)
class Architecture:
    """A registered architecture: how it is built, from which arguments, and what is its own.

    Attributes:
        name: str. Its name for `zoo.build`.
        builder: callable. Makes the model from the networks' arguments, which are those of its
            signature, and from the parts of `kvae.VAE`.
        parts: mapping. For `"posterior"`, `"prior"`, `"likelihood"` and `"objective"` the part
            that a model has when the caller gives none: a name, `None` (for the prior of an
            autoencoder), or a function that makes the part from arguments of its own and of the
            builder's.
        conditional: bool. Whether it takes `num_classes` and `conditions`.
        noise: float. Noise on the inputs of a training that names none.
        small: mapping. Arguments that make a model of a few weights, for tests and trials.
    """

    name: str
    builder: Callable[..., VAE]
    parts: Mapping[str, Any]
    conditional: bool = True
    noise: float = 0.0
    small: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        functools.update_wrapper(self, self.builder)  # Its documentation, and where it is defined.

    @property
    def autoencoder(self) -> bool:
        """True without a prior of its own: its models neither sample nor have a log p(x)."""
        return self.parts["prior"] is None

    @functools.cached_property
    def defaults(self) -> dict[str, Any]:
        """The arguments of the networks and of the architecture's own parts, with their defaults.

        Those of `kvae.VAE`, which every architecture takes, are not among them.
        """
        found = {name: one.default for name, one in _parameters(self.builder).items()}
        for makers in self.makers.values():
            found.update(makers)
        return found

    @functools.cached_property
    def makers(self) -> dict[str, dict[str, Any]]:
        """For each part the arguments that nothing but this part is made from, with defaults.

        They would be of no use beside a part of the caller's own.
        """
        shared = _parameters(self.builder)
        return {
            part: {
                name: one.default for name, one in _parameters(make).items() if name not in shared
            }
            for part, make in self.parts.items()
            if callable(make)
        }

    def checked(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Returns arguments of `zoo.build`, with Python's own numbers and tuples in them.

        Raises:
            ValueError: for a name that the architecture does not take, with those that it takes;
                for a value of another kind; and for a part beside the arguments that make it.
        """
        known = {*self.defaults, *_PARTS, *_COMMON}
        for name in arguments:
            if name not in known:
                raise names.unknown_name(f"argument of {self.name}", name, known)
        for part, makers in self.makers.items():
            for name in makers:
                if part in arguments and name in arguments:
                    raise ValueError(
                        f"`{name}` is an argument of {self.name}'s own {part}, and `{part}` "
                        "replaces that: give one of them, not both."
                    )
        found = {
            name: self._checks[name](name, value) if name in self._checks else value
            for name, value in arguments.items()
        }
        for name in ("num_classes", "conditions"):
            if not self.conditional and found.get(name) is not None:
                raise ValueError(
                    f"{self.name} is no conditional model: it takes no labels. Leave `{name}` out."
                )
        return found

    @functools.cached_property
    def _checks(self) -> dict[str, Callable]:
        makers = [make for make in self.parts.values() if callable(make)]
        kinds: dict[str, Any] = dict(_COMMON)
        for function in (self.builder, *makers):
            hints = typing.get_type_hints(function, include_extras=True)
            for name, one in _parameters(function).items():
                kinds.setdefault(name, hints.get(name, type(one.default)))
        checks = {name: check_of(kind) for name, kind in kinds.items()}
        return {name: check for name, check in checks.items() if check is not None}

    def part(self, kind: str, arguments: Mapping[str, Any]):
        """Returns a part of the model that `build` would make, without making the model.

        Args:
            kind: str. `"posterior"`, `"prior"`, `"likelihood"` or `"objective"`.
            arguments: mapping. As of `build`.
        """
        return _PARTS[kind](self._part(kind, self.checked(arguments)))

    def _part(self, kind: str, arguments: dict):
        """Returns what a model is given as a part: the caller's, or the architecture's own."""
        if kind in arguments:
            return arguments[kind]
        own = self.parts[kind]
        if not callable(own):
            return own
        values = {**self.defaults, **arguments}
        return own(**{name: values[name] for name in _parameters(own)})

    def build(self, **arguments) -> VAE:
        """Builds an untrained model; see `zoo.build`."""
        arguments = self.checked(arguments)
        if "seed" not in arguments and random.weights_are_seeded():
            return self._build(arguments)
        with random.initial_weights(arguments.get("seed", 0)):
            return self._build(arguments)

    def _build(self, arguments: dict[str, Any]) -> VAE:
        used = {*_parameters(self.builder), *_COMMON}
        given = {name: arguments[name] for name in used if name in arguments}
        parts = {kind: self._part(kind, arguments) for kind in _PARTS}
        return self.builder(name=self.name, **given, **parts)


ARCHITECTURES: Register = Register("architecture", group="zoo.architectures")


def architecture(
    *,
    conditional: bool = True,
    noise: float = 0.0,
    small: Mapping[str, Any] | None = None,
    **parts,
) -> Callable:
    """Registers a function that builds models as the architecture of its name.

    The function has an argument for each thing that its networks are made from, `event_shape` among
    them, all with defaults. Values are checked by the argument's annotation, one of the kinds of
    `zoo.arguments`, or by the type of its default. It takes further keyword arguments, which it
    hands on to `kvae.VAE`: `name`, `posterior`, `prior`, `likelihood`, `objective` and, where the
    caller gives them, `seed`, `num_classes`, `conditions` and `missing`.

    Args:
        conditional: bool. Whether models of it may take labels (`num_classes`). Defaults to `True`.
        noise: float. Noise on the inputs of a training that names none. Defaults to `0.0`.
        small: optional mapping. Arguments that make a model of a few weights, for tests.
        **parts: `posterior`, `prior`, `likelihood` or `objective` of a model for which the caller
            gives none: a name, `prior=None` for an autoencoder, or a function that makes the part.
            Arguments of such a function become arguments of the architecture; those that the
            builder has too are shared.

    Returns:
        A decorator, which returns the function as it is.

    Raises:
        ValueError: for an unknown part, or a name that another function has registered.

    Example:

    ```python
    @zoo.architecture(objective=lambda beta=4.0: kvae.objectives.ELBO(beta=beta))
    def tiny_vae(event_shape=(8, 8, 1), latent_dim: int = 2, **parts):
        encoder = keras.Sequential([keras.Input(event_shape), keras.layers.Flatten()])
        decoder = keras.Sequential(
            [keras.Input((latent_dim,)), keras.layers.Dense(64), keras.layers.Reshape(event_shape)]
        )
        return kvae.VAE(encoder, decoder, latent_dim, **parts)

    vae = zoo.build("tiny_vae", beta=2.0)
    ```
    """
    for part in parts:
        if part not in _PARTS:
            raise names.unknown_name("part", part, _PARTS)

    def register(builder):
        name = builder.__name__
        found = Architecture(
            name, builder, {**_DEFAULTS, **parts}, conditional, noise, dict(small or {})
        )
        ARCHITECTURES.add(name, found)
        return builder

    return register


def _parameters(function: Callable) -> dict[str, inspect.Parameter]:
    """Returns the named parameters of a function by name."""
    return {
        name: one
        for name, one in inspect.signature(function).parameters.items()
        if one.kind is not one.VAR_KEYWORD
    }
