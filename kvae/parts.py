"""The base of posteriors, priors, likelihoods, objectives and flows, and their registers."""

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import keras

from kvae.utils import arguments, keras_internals, plugins
from kvae.utils.part_names import made_of_name
from kvae.utils.register import Register, import_modules

__all__ = [
    "OnGrid",
    "Part",
    "PartRegister",
    "SharesLatentDim",
    "import_parts",
    "load_plugins",
    "on_demand",
    "resolve",
    "to_write",
    "without_distribution",
]

Class = TypeVar("Class", bound=type)

Method = TypeVar("Method", bound=Callable)


def on_demand(method: Method) -> Method:
    """Marks a method of a base class that new parts write where it is asked for.

    A call of the marked method itself is an error that names the class and the method.
    """

    @functools.wraps(method)
    def missing(self, *arguments, **options):
        raise NotImplementedError(_advice(self, [method.__name__]))

    return missing


def to_write(method: Method) -> Method:
    """Marks a method of a base class that new parts have to write.

    A part without it is refused when its model is made (`Part.check_methods`), and a call of the
    marked method itself is the same error.
    """
    marked = on_demand(method)
    marked.is_to_write = True
    return marked


def without_distribution(part) -> NotImplementedError:
    """Returns the error of a part that is asked for a distribution of TFP and has none."""
    return NotImplementedError(
        f"TensorFlow Probability has no distribution that is the one of a {type(part).__name__}: "
        "use the part's own log_prob, sample and mean."
    )


def _advice(part, methods: list[str]) -> str:
    """Returns what to write, with the first line of each method's documentation."""
    kind = type(part)
    lines = []
    for name in methods:
        method = inspect.unwrap(getattr(kind, name))
        says = inspect.getdoc(method).splitlines()[0]
        lines.append(f"    def {name}{inspect.signature(method)}:  # {says}")
    what = "method" if len(methods) == 1 else "methods"
    first = f"{kind.__name__} lacks the {what} {', '.join(methods)}. Write in it"
    return "\n".join([first, *lines])


class Part(keras.layers.Layer):
    """A replaceable part of a `kvae.VAE`: a Keras layer, so that its variables train and save.

    Parts compute in float32 under every dtype policy, their own policies of half precision
    included, because densities lose their meaning in half precision. Keras casts their inputs.

    Constructors of subclasses get NumPy scalars as Python numbers (`kvae.utils.arguments`).

    A class may give `words`, by which its settings are chosen in names of the form `NAME:WORD`, as
    of `"gaussian:learned"`: a dict from each word to the arguments that it stands for.
    """

    words: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    # Arguments of the constructor that say where variables start, and so are in no configuration.
    only_at_first: ClassVar[tuple[str, ...]] = ()

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

        Args:
            vae: `kvae.VAE`.

        Raises:
            ValueError: when the model's parts do not go together.
        """

    def missing_methods(self) -> list[str]:
        """Returns the names of the methods that the part has to have and has not."""
        kind = type(self)
        marked = (getattr(getattr(kind, name, None), "is_to_write", False) for name in dir(kind))
        return [name for name, it_is in zip(dir(kind), marked, strict=True) if it_is]

    def check_methods(self) -> None:
        """Refuses a part, or parts inside it, of whose class a method is still to be written.

        Raises:
            NotImplementedError: with the names of the class and of the methods.
        """
        for part in keras_internals.flat_layers(self):
            if isinstance(part, Part) and (missing := part.missing_methods()):
                raise NotImplementedError(_advice(part, missing))

    def report(self) -> dict:
        """Returns scalars for the logs by name, e.g. the value of a schedule. Defaults to none."""
        return {}


class OnGrid:
    """A part of z, which lies on a grid where the model has a `latent_shape`.

    A class says by `any_size` that each place of the grid has the same variables.
    """

    latent_shape: tuple[int, ...] | None = None  # That of the model.
    any_size = False

    def resized(self, latent_shape: tuple[int, ...]):
        """Returns the part for z on another grid, which shares the variables of this one."""
        other = type(self).from_config({**self.get_config(), "latent_dim": None})
        other.latent_dim, other.latent_shape = math.prod(latent_shape), latent_shape
        for name in vars(self).keys() - vars(other).keys():  # What `build` has made.
            if not name.startswith("_"):
                setattr(other, name, getattr(self, name))
        other.built = self.built
        return other

    def get_config(self):
        # Configurations of parts of a z that is a vector stay as they were.
        own = {"latent_shape": self.latent_shape} if len(self.latent_shape or ()) > 1 else {}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        shape = config.pop("latent_shape", None)
        part = super().from_config(config)
        if shape is not None:
            part.latent_shape = tuple(shape)
        return part


class SharesLatentDim:
    """A part that is made of others, which get their `latent_dim` from it."""

    def inner(self) -> tuple:
        """Returns the other parts that exist already."""
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


class PartRegister(Register):
    """The parts of one kind by name, each of which Keras can save and load.

    A part registers where it is defined. Its name then works wherever parts have names: in
    `kvae.VAE(prior="mine")`, on the command line, in the contract tests.

    Args:
        kind: str. What the parts are, e.g. `"prior"`.
        base: type. The class that they derive from.
    """

    def __init__(self, kind: str, base: type):
        super().__init__(kind, group=f"kvae.{kind}s")
        self.base = base
        # The part that is made of distributions of TFP, and of functions that return them.
        self.of_distributions: Callable | None = None
        _REGISTERS.append(self)

    def register(
        self,
        *names: str,
        package: str | None = None,
        variants: Mapping[str, dict] | None = None,
        **settings: Any,
    ) -> Callable[[Class], Class]:
        """Returns a decorator that registers a class of parts, in Keras and by name.

        It also takes a function from parameters to a distribution of TFP, for the part
        `Distribution` of posteriors, priors and likelihoods, whose documentation has an example.

        Args:
            *names: str. The names that stand for the class with its default arguments. A class
                that needs arguments may have none.
            package: str or `None`. The package of the class in Keras's registry, which saved
                models refer to. Choose one of your own. Defaults to `None`: `"Custom"`, as Keras
                calls it, or for the classes of this library, `"kvae.priors"` and the like.
            variants: dict or `None`. Further names, and the arguments that each stands for.
            **settings: of a function. `parameters`, a dict of how many numbers a parameter has: an
                int, a shape, or for priors and posteriors a function from `latent_dim` to one of
                them; and for likelihoods `support`, the smallest and the largest value of x, and
                `whole_numbers`, a bool.

        Raises:
            TypeError: for a class that does not derive from the kind's base class.
            ValueError: for a name that another class has registered.

        Example:

        ```python
        @kvae.priors.register("wide_normal", package="my_package")
        class WideNormal(kvae.priors.StandardNormal):
            pass

        kvae.VAE(encoder, decoder, latent_dim=2, prior="wide_normal")
        ```
        """

        def decorate(cls):
            if inspect.isfunction(cls) and self.of_distributions is not None:
                cls = self.of_distributions.declare(cls, package or "Custom", **settings)
                make = functools.partial(self.of_distributions, cls)
                # A definition that is run again replaces itself.
                make.__module__, make.__qualname__ = cls.__module__, cls.__qualname__
                for name in names:
                    self.add(name, make)
                return cls
            if settings:
                raise TypeError(f"{', '.join(settings)} are settings of functions, not of {cls!r}.")
            if not (isinstance(cls, type) and issubclass(cls, self.base)):
                raise TypeError(f"A {self.kind} derives from {self.base.__name__}, not {cls!r}.")
            for name in names:
                self.add(name, cls)
            for name, chosen in (variants or {}).items():
                self.add(name, functools.partial(cls, **chosen))
            own = self.group if cls.__module__.startswith("kvae.") else "Custom"
            return keras.saving.register_keras_serializable(package=package or own)(cls)

        return decorate


_REGISTERS: list[PartRegister] = []


def load_plugins() -> None:
    """Imports the plugins of all kinds of parts, so that Keras can load models with such parts."""
    for register in _REGISTERS:
        plugins.load(register.group)


def resolve(register: Register, identifier, base: type):
    """Makes a part from a name or a serialized config, or passes a part through.

    Args:
        register: `Register`. What the names stand for.
        identifier: str, an instance of `base`, or its serialized config. A name may be followed by
            arguments, `"NAME:ARGUMENT,…"`: a word of the class (`"gaussian:learned"`), values in
            the order of the constructor (`"vamp:50"`), or values by name (`"iwae:num_samples=5"`),
            also of what it hands on to its base class (`"elbo:free_bits=0.1"`).
        base: type. The class that the part has to derive from.

    Raises:
        ValueError: for an unknown name, word or argument, with those that exist.
        TypeError: for an object of another kind.
    """
    if isinstance(identifier, str):
        return made_of_name(register, identifier)
    if isinstance(identifier, dict):
        if register.group is not None:
            plugins.load(register.group)  # The class may be one of theirs.
        identifier = keras.saving.deserialize_keras_object(identifier)
    if isinstance(identifier, base):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, base):
        name = identifier.__name__
        raise TypeError(f"`{register.kind}` is the class {name}: make a part of it, {name}().")
    bases = {kind.__module__.split(".")[0] for kind in _classes(identifier)}
    function = inspect.isfunction(identifier) or "tensorflow_probability" in bases
    if function and register.of_distributions is not None:
        return register.of_distributions(identifier)
    raise TypeError(
        f"`{register.kind}` is a {base.__name__} or one of {', '.join(map(repr, register))}, not "
        f"{identifier!r}."
    )


def _classes(thing) -> tuple[type, ...]:
    """Returns the classes that a thing is of, or that a class derives from."""
    return (thing if isinstance(thing, type) else type(thing)).__mro__


def import_parts(package: str, base: type) -> dict[str, type]:
    """Imports every module of a package and returns its public classes that derive from `base`.

    So a new part is one new file: it needs no mention anywhere else.

    Args:
        package: str. Name of the package.
        base: type. The base class of its parts.

    Returns:
        dict. The classes by name, in alphabetical order. A class is public when the `__all__` of
        its module has it.
    """
    public = {
        name: getattr(module, name)
        for module in import_modules(package)
        for name in getattr(module, "__all__", ())
    }
    return {
        name: value
        for name, value in sorted(public.items())
        if isinstance(value, type) and issubclass(value, base)
    }
