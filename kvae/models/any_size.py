"""Models of images of one size for images of other sizes: the same networks, or tile by tile."""

import math

import keras
import numpy as np
import tensorflow as tf

from kvae.models.inputs import require_built
from kvae.models.labels import joined, label_size
from kvae.utils import arguments, tiles

__all__ = ["AnySize"]


class AnySize:
    """The methods of `kvae.VAE` for images of another size than those of its training.

    z lies on a grid (`latent_shape`), whose last axis is of channels. The same holds of signals
    `[t, c]` and of volumes `[d, h, w, c]`.
    """

    def resized(self, size, objective=None):
        """Returns the same model for events of another size, which shares everything with this one.

        The networks begin with `keras.Input((None, None, channels))`. A posterior and a prior of
        which each place of the grid has the same variables go along, such as the diagonal Gaussian,
        the quantizers, `"standard_normal"` and `"uniform_codes"`. What the new model encodes,
        decodes, samples, estimates, saves and exports has the new size, and training it trains this
        one.

        Args:
            size: sequence of int. The sizes of an event without its channels, e.g. `(256, 256)`.
            objective: str, `kvae.objectives.Objective` or `None`. As in `with_prior`. Defaults to
                `None`.

        Returns:
            `kvae.VAE`, built and not compiled.

        Raises:
            ValueError: for a model whose z is on no grid, networks of a fixed size, and parts with
                variables for each place, with what to do.

        Example:

        ```python
        vae = zoo.build("autoencoder_kl", event_shape=(32, 32, 3), filters=(8, 8))
        large = vae.resized((64, 48))
        large.sample(2, seed=0)     # shape (2, 64, 48, 3)
        ```
        """
        _check_grid(self)
        self._check_decoder()
        sizes = len(self.event_shape) - 1
        shape = (size,) if isinstance(size, int) else tuple(size)
        if len(shape) != sizes:
            raise ValueError(
                f"`size` has {sizes} numbers, those of an event of shape {self.event_shape} "
                f"without its channels, not {shape}."
            )
        event = (*(arguments.whole("size", each) for each in shape), self.event_shape[-1])
        latent_shape = self._grid_of(event)
        for name in ("posterior", "prior"):
            part = getattr(self, name)
            if part is not None and not part.any_size:
                raise ValueError(
                    f"The {name} {type(part).__name__} has variables for each place of the grid "
                    f"{self.latent_shape}, and none for {latent_shape}: "
                    + ("" if self._of_tiles() else "encode and decode in tiles, or ")
                    + _INSTEAD[name]
                )
        self._check_heads()
        own = [] if self.missing is None else self.missing.weights
        if event != self.event_shape and any(tuple(w.shape) == self.event_shape for w in own):
            raise ValueError(
                f"The fill {type(self.missing).__name__} has a value for each place of events of "
                f"shape {self.event_shape}, and none for {event}: encode and decode in tiles "
                "(`encode_tiles`), or take another, e.g. vae.with_missing('zero').resized(size)."
            )
        prior = None if self.prior is None else self.prior.resized(latent_shape)
        return self._sharing(
            objective,
            event_shape=event,
            latent_dim=math.prod(latent_shape),
            latent_shape=latent_shape,
            posterior=self.posterior.resized(latent_shape),
            prior=prior,
        )

    def encode_tiles(
        self,
        x,
        label=None,
        overlap: int | None = None,
        margin: int = 0,
        batch_size: int | str = "auto",
    ) -> dict[str, tf.Tensor]:
        """Returns the posterior's parameters of images larger than the model's, tile by tile.

        A tile has the size of the model's events. What neighbouring tiles say of the places that
        they share is blended: the weight of a tile rises evenly from its edge. Networks pad their
        inputs at edges, so that tiles are wrong there: with `margin` their outermost places are
        left out. From the receptive field's radius on, in places of the grid, the result is that of
        the whole image, if the network has no layer that looks at all of it, such as attention or
        group normalization.

        Args:
            x: array `[n, …, channels]`, each size a multiple of that of a place, and at least a
                tile.
            label: as in `encode`.
            overlap: int or `None`. Places of the grid that neighbouring tiles share. Defaults to
                `None`: a quarter of the tile's shortest side, and at least twice the `margin`.
            margin: int. Places at the edges between tiles that count nothing. Defaults to `0`.
            batch_size: as in `encode`.

        Returns:
            dict of tensors `[n, *grid, channels]`, e.g. `{"z_mean": …, "z_log_var": …}`.

        Raises:
            ValueError: for a z on no grid, a posterior with other parameters than those of places,
                sizes that do not fit, and those of `encode`.

        Reference:
            - [Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models](
              https://arxiv.org/abs/2112.10752)
        """
        reason = self._of_tiles()
        if reason:
            raise ValueError(reason)
        names = list(self.posterior.parameter_shapes())

        def encode(part):
            params = self.encode(part, label, batch_size)
            return np.concatenate([params[name] for name in names], axis=-1)

        found = self._in_tiles(encode, x, "x", overlap, margin, decode=False)
        return dict(zip(names, tf.split(tf.constant(found), len(names), axis=-1), strict=True))

    def decode_tiles(
        self,
        z,
        label=None,
        overlap: int | None = None,
        margin: int = 0,
        batch_size: int | str = "auto",
    ) -> tf.Tensor:
        """Returns E[x|z] for latents on a larger grid than the model's, tile by tile.

        Args:
            z: array `[n, …, channels]`, each size at least that of `latent_shape`.
            label, overlap, margin, batch_size: as in `encode_tiles`.

        Returns:
            Tensor `[n, …, channels]`, on the scale of the data.

        Raises:
            ValueError: as in `encode_tiles`.

        Example:

        ```python
        vae = zoo.build("autoencoder_kl", event_shape=(32, 32, 3), filters=(8, 8))
        photos = np.random.default_rng(0).random((2, 64, 96, 3), "float32")
        z = vae.encode_tiles(photos)["z_mean"]     # shape (2, 32, 48, 4)
        vae.decode_tiles(z)                        # shape (2, 64, 96, 3)
        ```
        """

        def decode(part):
            return self.decode(part, label, batch_size)

        return tf.constant(self._in_tiles(decode, z, "z", overlap, margin, decode=True))

    def _in_tiles(self, compute, values, name: str, overlap, margin, decode: bool):
        _check_grid(self)
        self._check_decoder()
        values = np.asarray(values)
        *sizes, channels = self.latent_shape if decode else self.event_shape
        grid = self.latent_shape[:-1]
        if values.ndim != len(sizes) + 2 or values.shape[-1] != channels:
            shape = ", ".join(["n", *["any"] * len(sizes), str(channels)])
            raise ValueError(f"`{name}` has shape {values.shape}, and tiles are of ({shape}).")
        margin = arguments.whole("margin", margin, 0)
        least = max(min(grid) // 4, 2 * margin)
        overlap = least if overlap is None else arguments.whole("overlap", overlap, 0)
        scale = [whole // cells for whole, cells in zip(self.event_shape[:-1], grid, strict=True)]
        factor = [(1, each) if decode else (each, 1) for each in scale]
        try:
            return tiles.blended(compute, values, grid, overlap, margin, factor)
        except ValueError as error:
            raise ValueError(f"`{name}` of shape {values.shape} is not cut: {error}") from error

    def _of_tiles(self) -> str:
        """Returns why the posterior has no parameters of tiles; nothing where it has."""
        name = type(self.posterior).__name__
        if self.posterior.space == "codes":
            return f"The codes of a {name} do not blend: encode the whole image with `resized`."
        if any(s != (self.latent_dim,) for s in self.posterior.parameter_shapes().values()):
            return f"A {name} has parameters of more than a place of the grid, which no tile has."
        return ""

    def _check_decoder(self) -> None:
        """Refuses a decoder for any size that does not give twice the grid twice the image."""
        declared = getattr(self.decoder, "inputs", None)
        if not declared or None not in declared[0].shape[1:]:
            return
        *grid, channels = self.latent_shape
        label = keras.KerasTensor((None, label_size(self))) if self.conditional else None
        z = keras.KerasTensor((None, *(2 * size for size in grid), channels))
        sizes = tuple(self.decoder(joined(self.decoder, z, label)).shape[1 : 1 + len(grid)])
        expected = tuple(2 * size for size in self.event_shape[:-1])
        if sizes != expected:
            raise ValueError(
                f"The decoder makes {sizes} and not {expected} of a grid that is twice as large as "
                f"that of {self.name!r}, as one that crops does: only events of a whole number of "
                "places have other sizes and tiles."
            )

    def _check_heads(self) -> None:
        """Refuses a posterior of which a head sees more than one place of the grid."""
        posterior, places = self.posterior, math.prod(self.latent_shape[:-1])
        for shape in posterior.parameter_shapes().values() if posterior.heads else ():
            if shape != (self.latent_dim,):
                raise ValueError(
                    f"A head of the {type(posterior).__name__} sees the whole grid of "
                    f"{self.latent_shape}: end the encoder in {math.prod(shape) / places:g} "
                    "channels, which are what it says of a place."
                )

    def _grid_of(self, event) -> tuple[int, ...]:
        """Returns the shape of z for events of another shape, of what the networks return."""
        declared = (getattr(self.encoder, "inputs", None), getattr(self.decoder, "inputs", None))
        for name, inputs in zip(("encoder", "decoder"), declared, strict=True):
            fixed = inputs and None not in inputs[0].shape[1:]
            if fixed:
                sizes = ", ".join([*["None"] * (len(event) - 1), str(inputs[0].shape[-1])])
                raise ValueError(
                    f"The {name} takes inputs of shape {tuple(inputs[0].shape)} alone: begin it "
                    f"with keras.Input(({sizes}))."
                )
        label = keras.KerasTensor((None, label_size(self))) if self.conditional else None
        x = keras.KerasTensor((None, *event))
        if self.missing is not None:
            x = self.missing(x, keras.KerasTensor(x.shape, "bool"))
        features = self.encoder(joined(self.encoder, x, label))
        shape = tuple(keras.tree.flatten(features)[0].shape[1:])
        if len(shape) != len(self.latent_shape) or None in shape:
            raise ValueError(
                f"The encoder returns features of shape {shape} for events of shape {event}, which "
                "are on no grid: end it in a convolution."
            )
        return (*shape[:-1], self.latent_shape[-1])


_INSTEAD = {
    "posterior": "train a model with another one, e.g. posterior='diagonal_gaussian'.",
    "prior": "take another one, e.g. vae.with_prior('standard_normal').resized(size).",
}


def _check_grid(vae) -> None:
    """Refuses a model whose z is no grid like its events."""
    require_built(vae)
    grid, event = vae.latent_shape, vae.event_shape
    fits = len(grid) > 1 and len(grid) == len(event)
    fits = fits and not any(
        whole % cells for whole, cells in zip(event[:-1], grid[:-1], strict=True)
    )
    if not fits:
        raise ValueError(
            f"The z of {vae.name!r} has shape {grid}, which is no grid of events of shape {event}: "
            f"give kvae.VAE a `latent_shape` of {len(event)} sizes that divide those of events."
        )
