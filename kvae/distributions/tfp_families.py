"""Families of distributions of TFP: what a network's outputs, or weights, make a distribution of.

A family is a registered function from parameters to a distribution, whose arguments name the
parameters, or a class of TFP, whose parameters TFP itself describes.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from kvae.distributions.tfp_config import is_class_of_tfp, tfp_class
from kvae.utils import names

__all__ = ["Family", "declare"]

# What `register` was told of functions: the shapes of parameters, and the like.
_DECLARED: dict[Callable, dict[str, Any]] = {}


def declare(
    function: Callable,
    package: str,
    *,
    parameters: Mapping[str, Any] | None = None,
    support: tuple[float, float] | None = None,
    whole_numbers: bool = False,
) -> Callable:
    """Registers a function from parameters to a distribution, in Keras too.

    Args:
        function: callable. Its arguments are the parameters, its result a distribution of TFP.
        package: str. The package of the function in Keras's registry.
        parameters: dict or `None`. How many numbers a parameter has, as an int, a shape, or for
            priors and posteriors a function from `latent_dim` to one of them; by name. Defaults to
            `None`: one for each value of z or x, as for parameters that it does not name.
        support: pair or `None`. The smallest and the largest value of x, for likelihoods. Defaults
            to `None`: what TFP knows.
        whole_numbers: bool. Whether x holds whole numbers only, for likelihoods. Defaults to
            `False`: where TFP's distribution is known here as one of whole numbers.

    Raises:
        TypeError: for arguments that have no names.
        ValueError: for `parameters` that the function does not take.
    """
    arguments = inspect.signature(function).parameters
    if any(
        one.kind not in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY) for one in arguments.values()
    ):
        raise TypeError(
            f"The arguments of {function.__name__} name the parameters: write each of them out, "
            "without * and **."
        )
    for name in parameters or {}:
        if name not in arguments:
            raise names.unknown_name(f"parameter of {function.__name__}", name, list(arguments))
    _DECLARED[function] = {
        "parameters": dict(parameters or {}),
        "support": support,
        "whole_numbers": whole_numbers,
    }
    return keras.saving.register_keras_serializable(package=package)(function)


class Family:
    """A family of distributions, e.g. of a posterior: parameters to a distribution of TFP.

    Args:
        source: a registered function, a class of TFP, or the configuration of one.

    Raises:
        TypeError: for anything else, and for functions that nothing has registered.
    """

    def __init__(self, source):
        if isinstance(source, Mapping):
            source = tfp_class(source["of"]) if "of" in source else _loaded(source)
        self.is_class = is_class_of_tfp(source)
        if not self.is_class and source not in _DECLARED:
            raise TypeError(
                f"{source!r} is not registered, so that no saved model could find it again. "
                "Decorate it with @kvae.posteriors.register(package='my_package'), or with "
                "`register` of kvae.priors or kvae.likelihoods."
            )
        self.source = source
        self.name = source.__name__
        self.settings = {} if self.is_class else _DECLARED[source]

    def get_config(self) -> dict:
        """Returns the configuration, from which the constructor makes the family again."""
        if self.is_class:
            return {"of": f"tfd.{self.name}"}
        return keras.saving.serialize_keras_object(self.source)

    def shapes(self, size: int | None) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each parameter as networks return it, by name.

        Args:
            size: int or `None`. The size of the event; `None` for a distribution of one number.
        """
        own = () if size is None else (size,)
        if self.is_class:
            return {
                _raw_name(name, bijector): _raw_shape(self.source, name, shape(own), bijector)
                for name, shape, bijector in self._properties(size)
            }
        declared = self.settings["parameters"]
        return {
            name: _shape(declared.get(name), size, own)
            for name in inspect.signature(self.source).parameters
        }

    def starts(self) -> dict[str, float]:
        """Returns the defaults of the function's arguments, where weights start; 0 without one."""
        if self.is_class:
            return {}
        arguments = inspect.signature(self.source).parameters
        return {
            name: one.default for name, one in arguments.items() if one.default is not one.empty
        }

    def __call__(self, params: dict, size: int | None):
        """Returns the distribution of parameters `[..., *shape]`, as TFP's function or class."""
        if not self.is_class:
            made = self.source(**params)
            if variables := [one.name for one in getattr(made, "trainable_variables", ())]:
                raise ValueError(
                    f"{self.name} makes the variables {variables} anew whenever it is called: take "
                    "them as arguments of the function, which are the parameters."
                )
            return made
        return self.source(
            **{
                name: params[_raw_name(name, bijector)]
                if bijector is None
                else bijector.forward(params[_raw_name(name, bijector)])
                for name, _, bijector in self._properties(size)
            }
        )

    def zeros(self, size: int | None) -> dict:
        """Returns parameters of one example that are all 0 (or where they start), `[1, *shape]`."""
        starts = self.starts()
        return {
            name: tf.fill([1, *shape], float(starts.get(name, 0.0)))
            for name, shape in self.shapes(size).items()
        }

    def _properties(self, size: int | None):
        """Yields names, functions from the event's shape to a parameter's, and bijectors."""
        import tensorflow_probability as tfp

        advice = (
            f"What {self.name} of TFP takes cannot be found from its class: register a function "
            "from parameters to the distribution, and give that."
        )
        try:
            known = self.source.parameter_properties(dtype=tf.float32)
        except NotImplementedError:
            raise ValueError(advice) from None
        for name, one in known.items():
            if not getattr(one, "is_preferred", True):
                continue
            try:
                rank = one.event_ndims
                bijector = one.default_constraining_bijector_fn()
                if not isinstance(rank, int) or (rank > 0 and size is None):
                    raise ValueError(advice)
            except (AttributeError, NotImplementedError, TypeError):
                raise ValueError(advice) from None
            if isinstance(bijector, tfp.bijectors.Identity):
                bijector = None
            vector = rank > 0
            shape = (lambda own, fn=one.shape_fn: tuple(fn(list(own)))) if vector else tuple
            yield name, shape, bijector


def _raw_name(name: str, bijector) -> str:
    return name if bijector is None else f"raw_{name}"


def _raw_shape(source, name: str, shape, bijector) -> tuple[int, ...]:
    shape = tf.TensorShape(shape)
    return tuple((shape if bijector is None else bijector.inverse_event_shape(shape)).as_list())


def _shape(declared, size: int | None, own: tuple) -> tuple[int, ...]:
    if callable(declared):
        declared = declared(size)
    if declared is None:
        return own
    return (int(declared),) if isinstance(declared, int) else tuple(map(int, declared))


def count(shape) -> int:
    """Returns how many numbers a parameter has."""
    return math.prod(shape)


def _loaded(config):
    return keras.saving.deserialize_keras_object(config)
