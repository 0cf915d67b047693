"""Everything that kvae calls of TensorFlow beyond its public interface, in one place."""

__all__ = ["called"]


def called(function, tensors: list):
    """Returns what a concrete function of tensors alone returns, as `function(*tensors)` does.

    A call brings its arguments into the form of the signature, which takes longer than the
    products of a small model. Tensors that are in it already need none of that. Gradients go
    through it all the same.

    Args:
        function: `tf.types.experimental.ConcreteFunction`.
        tensors: list of eager tensors, in the order of its arguments.
    """
    call = getattr(function, "_call_flat", None)
    if call is None:  # A version of TensorFlow without it.
        return function(*tensors)
    return call(tensors, function.captured_inputs)
