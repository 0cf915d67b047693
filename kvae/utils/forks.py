"""Forked processes, in which TensorFlow does not work: an error in place of a call that hangs."""

import os
import sys

__all__ = ["check"]

_used_before = False  # Whether TensorFlow was in use when this process, or its parent, forked.
_forked = False


def check() -> None:
    """Checks that TensorFlow can run in this process; to be called before it does.

    TensorFlow's threads are not copied by a fork. Whatever the child asks of them would never be
    answered.

    Raises:
        RuntimeError: if this process was forked after TensorFlow had been used.
    """
    if _forked:
        raise RuntimeError(
            "This process was forked after its parent had used TensorFlow, whose threads a fork "
            "does not copy: a call would never return. Start processes by "
            "multiprocessing.get_context('spawn'), or before TensorFlow is used."
        )


def _note() -> None:
    global _used_before
    _used_before = _used_before or _is_used()


def _mark() -> None:
    global _forked
    _forked = _used_before


def _is_used() -> bool:
    """Returns whether TensorFlow has run an operation: its context has then been set up."""
    # No public function of TensorFlow says it without setting it up.
    module = sys.modules.get("tensorflow.python.eager.context")
    context = None if module is None else module.context_safe()
    return context is not None and getattr(context, "_initialized", True)


os.register_at_fork(before=_note, after_in_child=_mark)
