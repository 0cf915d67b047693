"""Names of parts with their settings: `"NAME:WORD"`, `"NAME:VALUE"`, `"NAME:KEY=VALUE"`."""

import ast
import inspect
import keyword
import re
from collections.abc import Callable

from kvae.utils import arguments, names
from kvae.utils.register import Register

__all__ = ["made_of_name"]

# Words such as `global`, which Python does not read as names, where one is a whole argument.
_WORDS = "|".join(word for word in keyword.kwlist if word not in ("None", "True", "False"))
_KEYWORD = re.compile(rf"((?:^|[,=])\s*)({_WORDS})(?=\s*(?:,|$))")
# What a model gives its parts, and what Keras gives every layer.
_OF_MODELS = ("latent_dim", "name", "dtype", "trainable")


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
        pairs = [(str(one.arg or "**"), _value(one.value)) for one in call.keywords]
    except (SyntaxError, ValueError):
        raise ValueError(
            f"{text!r} is not understood: arguments follow a name as in NAME:WORD or "
            "NAME:KEY=VALUE, with commas between them."
        ) from None
    settings = dict(pairs)
    twice = [key for place, (key, _) in enumerate(pairs) if key in dict(pairs[:place])]
    words = getattr(make, "words", {})
    known = _arguments(make, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    for place, value in enumerate(values):
        if words and isinstance(value, str):
            if value not in words:
                raise names.unknown_name(kind, value, words)
            settings = {**words[value], **settings}
        elif place < len(known):
            twice += [known[place]] if known[place] in settings else []
            settings[known[place]] = value
        else:
            most = f"{len(known)} arguments at most" if known else "no arguments"
            raise ValueError(f"The {register.kind} {name} takes {most}, not {given!r}.")
    if twice:
        raise ValueError(f"{text!r} gives {twice[0]!r} twice.")
    named = [*known, *_arguments(make, inspect.Parameter.KEYWORD_ONLY)]
    if not settings.keys() <= set(named):
        named = list(dict.fromkeys([*named, *_handed_on(make, register)]))
    for key in settings:
        if key not in named:
            raise names.unknown_name(kind, key, named)
    try:
        return make(**settings)
    except TypeError as error:
        told = f"{text!r} has a value of another kind: {str(error).rstrip('.')}."
        raise ValueError(told) from error


def _arguments(make: Callable, kind) -> list[str]:
    """Returns the arguments of this kind, without what models and Keras give, or the name says."""
    chosen = getattr(make, "keywords", {})
    return [
        key
        for key, one in inspect.signature(make).parameters.items()
        if one.kind is kind and key not in (*_OF_MODELS, *chosen)
    ]


def _handed_on(make: Callable, register: Register) -> list[str]:
    """Returns the settings that a constructor hands on to its bases, and that its part keeps.

    What a base takes and the class sets itself is no part of its configuration.
    """
    kind = getattr(make, "func", make)
    found = arguments.taken(kind, getattr(register, "base", kind)) if isinstance(kind, type) else {}
    config = make().get_config() if found else {}
    chosen = getattr(make, "keywords", {})
    return [one for one in config if one in found and one not in (*_OF_MODELS, *chosen)]


def _value(node: ast.expr):
    """Returns what an argument says: a literal of Python, or a word."""
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)
