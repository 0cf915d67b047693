"""Networks whose layers have spectral norms of 1."""

import keras

__all__ = ["spectrally_normalized"]


def spectrally_normalized(network: keras.Model, power_iterations: int = 1) -> keras.Model:
    """Returns a copy of a network in which every layer with a kernel keeps a spectral norm of 1.

    Such layers change no distance by more than their activations do. Each of them is wrapped in
    `keras.layers.SpectralNormalization`, which divides the kernel by its largest singular value in
    each step of training, as power iteration estimates it. The weights are new ones.

    Args:
        network: keras.Model, sequential or functional, which may hold others.
        power_iterations: int. Iterations in each step. Defaults to `1`.

    Returns:
        keras.Model of the same shapes.

    Raises:
        ValueError: for a network without such a layer, and for layers with kernels that this
            wrapper does not reach, as recurrent ones have.

    Example:

    ```python
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(64, "relu")])
    decoder = kvae.layers.spectrally_normalized(decoder)
    ```

    Reference:
        - [Miyato et al., Spectral Normalization for Generative Adversarial Networks](
          https://arxiv.org/abs/1802.05957)
    """
    wrapped = []

    def clone(layer):
        copy = type(layer).from_config(layer.get_config())
        if not hasattr(layer, "kernel"):
            inside = [weight.path for weight in layer.weights if "kernel" in weight.name]
            if inside:
                raise ValueError(
                    f"The layer {layer.name} of {network.name} has kernels inside, {inside}, and "
                    "`keras.layers.SpectralNormalization` wraps a layer with one kernel. Make the "
                    "network of such layers."
                )
            return copy
        wrapped.append(layer.name)
        if isinstance(layer, keras.layers.SpectralNormalization):
            return copy
        return keras.layers.SpectralNormalization(
            copy, power_iterations=power_iterations, name=layer.name
        )

    copy = keras.models.clone_model(network, clone_function=clone, recursive=True)
    if not wrapped:
        raise ValueError(
            f"No layer of {network.name} has a kernel, so that there is none to normalize. A "
            "network has to be built: give its first layer as keras.Input(shape)."
        )
    return copy
