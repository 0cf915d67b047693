"""The checks of every part: configurations, saved files, float32."""

import contextlib
import inspect
import json

import keras

from kvae.parts import Part
from kvae.utils import arguments

__all__ = ["check_arguments", "check_part", "copied", "policy"]

_OF_LAYERS = ("name", "dtype", "trainable")  # What Keras gives every layer.


@contextlib.contextmanager
def policy(name: str):
    """Sets Keras's global dtype policy for a block."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def copied(part):
    """Returns a new part of the same configuration, as a saved model brings it back."""
    # What goes through a file: tuples become lists, and nothing but plain values survives.
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(part)))
    return keras.saving.deserialize_keras_object(config, safe_mode=True)


def check_part(part) -> None:
    """Checks what every part promises, of whatever kind it is.

    - It has the methods that a part of its kind has to have.
    - Its configuration is complete: a part that is made from it has the same configuration.
    - Keras saves it and brings it back in safe mode, because its class is registered.
    - It computes in float32, under a policy of half precision too.

    Args:
        part: `kvae.parts.Part`. It is not changed.

    Raises:
        AssertionError: for a promise that is broken.
    """
    name = type(part).__name__
    try:
        part.check_methods()
    except NotImplementedError as error:
        raise AssertionError(str(error)) from None
    config = part.get_config()
    remade = type(part).from_config(config)
    assert remade.get_config() == config, (
        f"{name}.from_config(config) makes {remade.get_config()} of {config}."
    )
    for argument in inspect.signature(type(part)).parameters.values():
        value = getattr(part, argument.name, argument.default)
        if argument.name not in config and argument.default is not argument.empty:
            assert value is argument.default or value == argument.default, (
                f"The configuration of {name} lacks its argument `{argument.name}`, which is "
                f"{value!r}: add it to get_config()."
            )
    check_arguments(part)
    registered = keras.saving.get_registered_name(type(part))
    assert registered != name, (
        f"{name} is not registered with Keras, so no saved model can have it: decorate the class "
        "with the `register` of its kind, e.g. @kvae.priors.register(package='my_package')."
    )
    back = copied(part)
    assert type(back) is type(part), f"Keras brings back a {type(back).__name__}, not a {name}."
    assert _plain(back.get_config()) == _plain(config), (
        f"{name} comes back with the configuration {back.get_config()}, and had {config}."
    )
    with policy("mixed_float16"):
        half = type(part).from_config({**config, "dtype": "mixed_float16"})
    assert half.compute_dtype == "float32", (
        f"{name} computes in {half.compute_dtype} under a policy of half precision: call "
        "super().__init__(**kwargs) and let the base class choose the dtype."
    )


def check_arguments(part) -> dict[str, object]:
    """Checks that each argument of a part's constructor comes back from its configuration.

    That holds of what it hands on to its bases, too. Each argument gets another value, of a few
    that are tried until the constructor takes one; one that is a whole network, or whose words
    nobody can guess, keeps its own.

    Args:
        part: `kvae.parts.Part`. It is not changed.

    Returns:
        dict. The value that each argument got, by name; those that kept their own are left out.

    Raises:
        AssertionError: for an argument of which the configuration knows nothing.
    """
    kind, config, tried = type(part), part.get_config(), {}
    for name, argument in arguments.taken(kind, Part).items():
        if name in _OF_LAYERS or name in kind.only_at_first:
            continue
        for other in _others(config.get(name, argument.default)):
            try:
                found = kind.from_config({**config, name: other}).get_config()
            except (TypeError, ValueError, AttributeError):
                continue
            shown = _plain(found) != _plain(config)
            with contextlib.suppress(TypeError, ValueError):
                # One that others replace, as the number of flows that have one name.
                shown = shown or _plain(kind(**{name: other}).get_config()) != _plain(
                    kind().get_config()
                )
            assert shown, (
                f"{kind.__name__} takes `{name}`, and its configuration does not say that it was "
                f"{other!r}: add it to get_config(), or refuse it. One that says where variables "
                "start, and no more, stands in the class's `only_at_first`."
            )
            again = kind.from_config(found).get_config()
            assert _plain(again) == _plain(found), (
                f"{kind.__name__}(…, {name}={other!r}) comes back as {again}, and was {found}."
            )
            tried[name] = other
            break
    return tried


def _others(value) -> list:
    """Returns some values that an argument may have instead of this one."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, 2 * value, value - 1]
    if isinstance(value, float):
        return [value + 0.25, 0.5 * value, 2.0]
    if isinstance(value, str):
        return ["rotation", "monte_carlo", "rbf", "global", "full", "relu"]
    if isinstance(value, (tuple, list)) and value:
        return [[*value, value[-1]], list(value[:-1])]
    return [3, 0.5, "relu", (1.5, 2.5), (8,), True] if value is None else []


def _plain(config):
    """Returns a configuration as JSON knows it, where tuples are lists."""
    return json.loads(json.dumps({**config, "name": None}, default=str))
