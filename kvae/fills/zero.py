"""Zeros in the place of what was not observed."""

from kvae.fills.fill import Fill, register

__all__ = ["Zero"]


@register("zero")
class Zero(Fill):
    """The encoder sees 0 where nothing was observed.

    It is 0 on the encoder's scale: the mean of a column that the likelihood standardizes, black in
    an image of intensities.

    Args:
        mask: bool. Whether the encoder also sees the mask; see `Fill`. Defaults to `False`.

    Example:

    ```python
    x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    x[::2, 3] = np.nan
    encoder = keras.Sequential([keras.Input((16,)), keras.layers.Dense(16, "relu")])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(8)])
    vae = kvae.VAE(encoder, decoder, 2, likelihood="gaussian", missing="zero:mask")
    vae.compile("adam")
    vae.fit(x, epochs=1)
    ```

    Reference:
        - [Mattei & Frellsen, MIWAE: Deep Generative Modelling and Imputation of Incomplete Data
          Sets, section 3.1](https://arxiv.org/abs/1812.02633)
    """

    def value(self):
        return 0.0
