"""Networks and parts put together."""

import keras

import kvae

__all__ = ["CHANNELS_LAST", "assemble", "join_label"]

# Every layer with a data format gets this one, whatever keras.json says: the zoo's weights need it.
CHANNELS_LAST = {"data_format": "channels_last"}


def join_label(inputs, x, num_classes: int | None):
    """Appends a one-hot label to flat features, for a conditional model.

    Args:
        inputs: tensor. The network's first input.
        x: tensor `[batch, features]`. What has been made of it.
        num_classes: int or `None`, for which nothing is appended.

    Returns:
        The network's inputs, and the features with the label.
    """
    if num_classes is None:
        return inputs, x
    label = keras.Input((num_classes,), name="label")
    return [inputs, label], keras.layers.Concatenate(name="with_label")([x, label])


def assemble(name, event_shape, latent_dim, likelihood, encoder, make_decoder, **parts) -> kvae.VAE:
    """Makes a model whose decoder has the output shape that the likelihood asks for.

    Args:
        name: str. The architecture.
        event_shape: tuple. Shape of one example.
        latent_dim: int.
        likelihood: str or `Likelihood`.
        encoder: keras.Model.
        make_decoder: callable. From the shape of its outputs to the decoder.
        **parts: further arguments of `kvae.VAE`.
    """
    likelihood = kvae.likelihoods.get(likelihood)
    decoder = make_decoder(likelihood.output_shape(event_shape))
    return kvae.VAE(
        encoder, decoder, latent_dim=latent_dim, likelihood=likelihood, name=name, **parts
    )
