"""Warnings name the line of whoever called."""

import contextlib

import pytest

from kvae.utils import callers


def test_warns_at_the_line_outside_of_the_packages():
    library = {"__name__": "kvae.models.vae", "warn": callers.warn}
    exec("def deep(n):\n    warn('Beware.', RuntimeWarning) if n == 0 else deep(n - 1)", library)
    for depth in (0, 1, 5):
        with pytest.warns(RuntimeWarning, match="Beware") as caught:
            library["deep"](depth)
        assert caught[0].filename == __file__


def test_a_context_manager_between_is_not_named():
    library = {"__name__": "export.writing", "warn": callers.warn, "contextlib": contextlib}
    exec(
        "@contextlib.contextmanager\ndef opened():\n    yield\n    warn('Closed.')\n"
        "def use():\n    with opened():\n        pass\n",
        library,
    )
    with pytest.warns(UserWarning, match="Closed") as caught:
        library["use"]()
    assert caught[0].filename == __file__
