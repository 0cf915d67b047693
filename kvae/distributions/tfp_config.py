"""Distributions of TensorFlow Probability as configurations of plain values, and back.

A distribution is the name of its class and the arguments that it was made with, among which are
tensors, variables and further distributions, bijectors and linear operators. Classes are looked up
by name in TFP and TensorFlow, so that a file can name nothing else, and functions are refused.
"""

import inspect

import numpy as np
import tensorflow as tf

__all__ = ["array_of", "config_of", "is_class_of_tfp", "is_of_tfp", "rebuilt", "tfp_class"]


def is_of_tfp(thing) -> bool:
    """Checks whether an object is a distribution of TFP, without importing TFP."""
    return any(_is_distribution(kind) for kind in type(thing).__mro__)


def is_class_of_tfp(thing) -> bool:
    """Checks whether an object is a class of TFP's distributions, without importing TFP."""
    return isinstance(thing, type) and any(_is_distribution(kind) for kind in thing.__mro__)


def _is_distribution(kind: type) -> bool:
    return kind.__name__ == "Distribution" and kind.__module__.startswith("tensorflow_probability.")


def _homes() -> dict:
    """Returns where classes are looked up: the modules and base classes by name."""
    import tensorflow_probability as tfp

    return {
        "tfd": (tfp.distributions, tfp.distributions.Distribution),
        "tfb": (tfp.bijectors, tfp.bijectors.Bijector),
        "linalg": (tf.linalg, tf.linalg.LinearOperator),
    }


def tfp_class(name: str) -> type:
    """Returns the class of a name such as `"tfd.Normal"`.

    Raises:
        ValueError: for a name that is none of a distribution, bijector or linear operator.
    """
    home, _, own = name.partition(".")
    module, base = _homes().get(home, (None, None))
    found = getattr(module, own, None) if own.isidentifier() else None
    if base is None or not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(
            f"{name!r} is no distribution or bijector of the installed TensorFlow Probability."
        )
    return found


def config_of(distribution) -> dict:
    """Returns the configuration of a distribution.

    Returns:
        dict with `distribution`, of nested plain values, and `variables`, a list of the variables'
        values in the order of their numbers there.

    Raises:
        TypeError: for what cannot be written down: functions, and classes of other modules.
    """
    variables: list = []
    written = _written(distribution, variables, type(distribution).__name__.lstrip("_"))
    values = [
        {"name": variable.name.split(":")[0], "trainable": variable.trainable, **_array(variable)}
        for variable in variables
    ]
    return {"distribution": written, "variables": values}


def _array(value) -> dict:
    value = np.asarray(value)
    return {"shape": list(value.shape), "dtype": value.dtype.name, "values": value.ravel().tolist()}


def array_of(config) -> np.ndarray:
    """Returns the array that `_array` wrote down."""
    return np.array(config["values"], config["dtype"]).reshape(config["shape"])


def _written(value, variables: list, where: str):
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, tf.Variable):
        number = next((i for i, one in enumerate(variables) if one is value), len(variables))
        if number == len(variables):
            variables.append(value)
        return {"variable": number}
    if isinstance(value, tf.DType) or (isinstance(value, type) and issubclass(value, np.generic)):
        return {"dtype": tf.as_dtype(value).name}
    if isinstance(value, (tf.Tensor, np.ndarray, np.generic)):
        return {"array": _array(value)}
    if isinstance(value, tf.TensorShape):
        return {"items": value.as_list()}
    if isinstance(value, (list, tuple)):
        return {"items": [_written(one, variables, where) for one in value]}
    if hasattr(value, "pretransformed_input"):  # A DeferredTensor or TransformedVariable.
        bijector = getattr(value.transform_fn, "__self__", value.transform_fn)
        return {
            "transformed": _written(value.pretransformed_input, variables, where),
            "by": _written(bijector, variables, where),
        }
    name = _name_of(type(value))
    if name is None:
        raise TypeError(
            f"The {where} holds {value!r}, which no file can hold. Register a function that makes "
            "the distribution from its parameters (`register` of kvae.priors, kvae.posteriors or "
            "kvae.likelihoods), and give that. The guide “Choosing and writing a part” has one."
        )
    defaults = inspect.signature(tfp_class(name).__init__).parameters
    kept = {
        key: _written(one, variables, f"{where}'s {key}" if key != "distribution" else where)
        for key, one in value.parameters.items()
        if key in defaults and not _is_default(one, defaults[key].default)
    }
    return {"of": name, "arguments": kept}


def _is_default(value, default) -> bool:
    return value is default or (isinstance(value, (bool, str)) and value == default)


def _name_of(kind: type) -> str | None:
    """Returns the name of a class of TFP. Some are made as a twin whose name has a `_` before."""
    for home, (module, base) in _homes().items():
        name = kind.__name__.lstrip("_")
        public = getattr(module, name, None)
        if issubclass(kind, base) and isinstance(public, type):
            if public is kind or issubclass(public, kind):
                return f"{home}.{name}"
    return None


def rebuilt(config, variables: list):
    """Returns the distribution of a configuration.

    Args:
        config: dict. What `config_of` returned as `distribution`.
        variables: list of tensors. The values of its variables.

    Raises:
        ValueError: for a configuration that `config_of` does not write.
    """
    if not isinstance(config, dict):
        return config
    if "variable" in config:
        return variables[config["variable"]]
    if "dtype" in config:
        return tf.as_dtype(config["dtype"])
    if "array" in config:
        return tf.constant(array_of(config["array"]))
    if "items" in config:
        return [rebuilt(one, variables) for one in config["items"]]
    if "transformed" in config:
        return rebuilt(config["by"], variables).forward(rebuilt(config["transformed"], variables))
    if "of" not in config:
        raise ValueError(f"{sorted(config)} are no parts of a distribution's configuration.")
    arguments = {key: rebuilt(one, variables) for key, one in config["arguments"].items()}
    return tfp_class(config["of"])(**arguments)
