"""Names of parts with their settings: `"NAME:WORD"`, `"NAME:VALUE"`, `"NAME:KEY=VALUE"`."""

import ast
import inspect
import keyword
import re
from collections.abc import Callable

from kvae.utils import names
from kvae.utils.register import Register

__all__ = ["made_of_name"]

# Words such as `global`, which Python does not read as names, where one is a whole argument.
_WORDS = "|".join(word for word in keyword.kwlist if word not in ("None", "True", "False"))
_KEYWORD = re.compile(rf"((?:^|[,=])\s*)({_WORDS})(?=\s*(?:,|$))")
# What a model gives its parts, and what Keras gives every layer.
_OF_MODELS = ("latent_dim", "name", "dtype", "trainable")
_TWICE = re.compile(r"multiple values for (?:keyword )?argument '(\w+)'")


def made_of_name(register: Register, text: str):
    """Makes the part that `"NAME"` or `"NAME:ARGUMENT,…"` stands for.

    Args:
        register: `Register`. What the names stand for.
        text: str.

    Raises:
        ValueError: for an unknown name, word or argument, with those that exist.
    """
    name, colon, given = text.partition(":")
    make = register[name]
    if not colon:
        return make()
    kind = f"argument of the {register.kind} {name}"
    try:
        quoted = _KEYWORD.sub(r"\1'\2'", given)
        call = ast.parse(f"f({quoted})", mode="eval").body
        if not isinstance(call, ast.Call) or not call.args + call.keywords:
            raise SyntaxError
        values = [_value(one) for one in call.args]
        settings = {str(one.arg or "**"): _value(one.value) for one in call.keywords}
    except (SyntaxError, ValueError):
        raise ValueError(
            f"{text!r} is not understood: arguments follow a name as in NAME:WORD or "
            "NAME:KEY=VALUE, with commas between them."
        ) from None
    words = getattr(make, "words", {})
    known, more = _settings(make, register)
    for place, value in enumerate(values):
        if words and isinstance(value, str):
            if value not in words:
                raise names.unknown_name(kind, value, words)
            settings = {**words[value], **settings}
        elif place < len(known):
            settings.setdefault(known[place], value)
        else:
            most = f"{len(known)} arguments at most" if known else "no arguments"
            raise ValueError(f"The {register.kind} {name} takes {most}, not {given!r}.")
    for key in settings:
        if key not in (*known, *more):
            more = [one for one in more if _takes(make, one)]
            raise names.unknown_name(kind, key, (*known, *more))
    try:
        return make(**settings)
    except TypeError as error:
        if twice := _TWICE.search(str(error)):
            told = f"{text!r} gives {twice[1]}, which the {register.kind} {name} sets itself."
            raise ValueError(told) from None
        raise ValueError(
            f"{text!r} has a value of another kind: {str(error).rstrip('.')}."
        ) from error


def _settings(make: Callable, register: Register) -> tuple[list[str], list[str]]:
    """Returns what a name takes in its order, and what it takes by name alone.

    The latter are the settings that a constructor hands on to those of its bases, up to the base of
    all parts of this kind, whose own are those of every layer.
    """
    chosen = set(getattr(make, "keywords", ()))  # What the name stands for.
    taken = [
        one for one in inspect.signature(make).parameters.values() if one.name not in _OF_MODELS
    ]
    known = [one.name for one in taken if one.kind is one.POSITIONAL_OR_KEYWORD]
    more = [one.name for one in taken if one.kind is one.KEYWORD_ONLY]
    kind = getattr(make, "func", make)
    for base in kind.__mro__ if isinstance(kind, type) else ():
        if base is getattr(register, "base", kind):
            break
        if "__init__" not in vars(base):
            continue
        own = inspect.signature(base).parameters.values()
        more += [one.name for one in own if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
        if not any(one.kind is one.VAR_KEYWORD for one in own):
            break
    more = dict.fromkeys(name for name in more if name not in (*known, *chosen, *_OF_MODELS))
    return known, list(more)


def _takes(make: Callable, name: str) -> bool:
    """Checks whether a setting of a base is left open by the constructor that hands it on."""
    try:
        make(**{name: None})
    except TypeError as error:
        return not _TWICE.search(str(error))
    except ValueError:  # It is no value of it.
        pass
    return True


def _value(node: ast.expr):
    """Returns what an argument says: a literal of Python, or a word."""
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)
