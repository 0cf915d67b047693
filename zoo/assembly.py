"""Networks and parts put together."""

import kvae

__all__ = ["assemble"]


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
