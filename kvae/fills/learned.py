"""A learned value in the place of what was not observed."""

from kvae.fills.fill import Fill, register

__all__ = ["Learned"]


@register("learned")
class Learned(Fill):
    """The encoder sees a value of its own for each place of an event, which trains with it.

    It starts at 0, on the encoder's scale.

    Args:
        mask: bool. Whether the encoder also sees the mask; see `Fill`. Defaults to `False`.

    Example:

    ```python
    vae = zoo.build("dense_vae", event_shape=(8, 8, 1), latent_dim=2, missing="learned")
    ```

    Reference:
        - [Devlin et al., BERT, section 3.1](https://arxiv.org/abs/1810.04805): a learned vector in
          the place of hidden inputs.
    """

    def build(self, values_shape, *_):
        self.filling = self.add_weight(
            shape=tuple(values_shape[1:]), initializer="zeros", name="filling"
        )
        self.built = True

    def value(self):
        return self.filling
