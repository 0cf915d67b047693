"""A posterior with latents that all modalities share, and some of each modality's own."""

from collections.abc import Mapping

from keras import ops

from kvae.posteriors.diagonal_gaussian import DiagonalGaussian
from kvae.posteriors.experts import Experts
from kvae.posteriors.posterior import get, register
from kvae.posteriors.product import Product
from kvae.utils import arguments, names

__all__ = ["SharedAndPrivate"]

_ABSENT = ("prior", "learned")


@register()
class SharedAndPrivate(Product):
    """`q(z|x) = q(s|x) Π_m q_m(w_m|x_m)`: z = (s, w_1, …, w_M) for M modalities.

    The experts of the modalities are combined for s alone, what all of them share. What one
    modality alone knows, such as the style of an image beside its class, has a place of its own,
    w_m, of which its own encoder tells a Gaussian, and which its own decoder alone sees: the
    decoder of m takes `(s, w_m)`. The w_m of an absent modality is that of the prior N(0, I), as in
    DMVAE, or of a learned Gaussian `r_m = N(0, diag(exp(absent_log_var)))`, with which MMVAE+
    trains. In translation s comes from what is given, and w_m, of which nothing is known, is drawn
    from the same (where MMVAE+ takes the prior).

    `objective="dmvae"` (with a product of experts) and `"mmvae_plus"` (with a mixture) draw the
    shared latents from each modality alone, so that s learns what all of them share.
    `"subset_elbo"` and `"elbo"` train it, too.

    Args:
        private: mapping from the names of all modalities to the sizes of w_m. Names are made of
            letters and digits.
        shared: str or `kvae.posteriors.Experts`. q(s|x). Defaults to `"product_of_experts"`.
        absent: str. The w_m of an absent modality: `"prior"` or `"learned"`. Defaults to `"prior"`.
        latent_dim: int or `None`. Of all latents together, so that s gets what the w_m leave. Set
            by `kvae.VAE` when `None`.

    Parameters: those of the experts, as `shared_z_mean`; the mean and log-variance of each w_m, as
    `image_z_mean`; and `present`, `[batch, modalities]`, 1 or 0.

    Raises:
        ValueError: for sizes that leave s none, names of other modalities than the model's, a
            `shared` that does not combine experts, and with `absent="prior"` for a prior whose w_m
            are not standard normal.

    Example:

    ```python
    posterior = kvae.posteriors.SharedAndPrivate({"image": 4, "label": 1})
    vae = kvae.VAE(
        encoders={"image": image_encoder, "label": label_encoder},
        decoders={"image": image_decoder, "label": label_decoder},    # of 3 + 4 and 3 + 1 latents
        likelihood={"image": "bernoulli", "label": "categorical:10"},
        latent_dim=8, posterior=posterior, objective="dmvae",
    )
    ```

    Measured:
        - With the objectives `dmvae` and `mmvae_plus`, see there.

    References:
        - [Lee & Pavlovic, Private-Shared Disentangled Multimodal VAE for Learning of Latent
          Representations](https://arxiv.org/abs/2012.13024)
        - [Palumbo et al., MMVAE+, section 3](https://openreview.net/forum?id=sdQGxouELX)
    """

    of_modalities = True

    def __init__(
        self,
        private: Mapping[str, int],
        shared="product_of_experts",
        absent: str = "prior",
        latent_dim: int | None = None,
        **kwargs,
    ):
        if not isinstance(private, Mapping) or not private or "shared" in private:
            raise ValueError(
                "`private` is a dict from the names of the modalities to the sizes of their own "
                f"latents, of which none is called 'shared', not {private!r}."
            )
        if absent not in _ABSENT:
            raise names.unknown_name("absent", absent, _ABSENT)
        shared = get(shared)
        if not isinstance(shared, Experts):
            raise ValueError(
                f"`shared` combines experts, as 'product_of_experts', which a "
                f"{type(shared).__name__} posterior does not."
            )
        own = {
            key: DiagonalGaussian(arguments.whole(f"private[{key!r}]", size))
            for key, size in private.items()
        }
        shared.latent_dim = None  # What the others leave.
        super().__init__({"shared": shared, **own}, latent_dim, **kwargs)
        self.absent = absent
        self._given = tuple(own)  # The order in which Keras keeps their weights.

    @property
    def shared(self) -> Experts:
        """q(s|x), the posterior of the shared latents."""
        return self.parts["shared"]

    @property
    def private(self) -> dict:
        """The posteriors of the modalities' own latents by name."""
        return {name: part for name, part in self.parts.items() if name != "shared"}

    @property
    def reads(self):
        """The numbers of the modalities that each expert of s reads, see `Experts`."""
        return self.shared.reads

    @reads.setter
    def reads(self, value):
        self.shared.reads = value

    def arranged(self, modalities) -> None:
        """Brings the private parts into the order of a model's modalities, before it is built.

        Raises:
            ValueError: for other names.
        """
        own = names.in_order("private", self.private, modalities)
        self.parts = {"shared": self.shared, **{key: self.parts[key] for key in own}}

    def seen_by(self, z, modality: str):
        """Returns the latents that the decoder of a modality sees, `(s, w_m)`."""
        start = sum(self.sizes[: list(self.parts).index(modality)])
        own = z[..., start : start + self.parts[modality].latent_dim]
        return ops.concatenate([z[..., : self.shared.latent_dim], own], axis=-1)

    def attach(self, vae):
        self.arranged(vae.modalities)
        super().attach(vae)
        pairs = self.pairs(vae.prior) or [(None, vae.prior)]
        if self.absent == "prior" and not all(p.standard_normal for _, p in pairs[1:] or pairs):
            raise ValueError(
                "The latents of an absent modality are those of the prior, N(0, I), and this prior "
                "has others: use absent='learned', or prior='standard_normal'."
            )

    def build(self, features_shape):
        shapes = [features_shape] * len(self.private)
        if isinstance(features_shape, dict) and "experts" in features_shape:
            shapes = features_shape["experts"]
        elif isinstance(features_shape, dict) or isinstance(features_shape[0], (list, tuple)):
            raise ValueError(
                "SharedAndPrivate takes the features of the encoders, and not its parameters."
            )
        for part, shape in zip(self.parts.values(), [features_shape, *shapes], strict=False):
            if not part.built:
                part.build(shape)
        if self.absent == "learned":
            self.absent_log_vars = {
                key: self.add_weight((size,), "zeros", name=f"{key}_absent_log_var")
                for key, size in zip(self.private, self.sizes[1:], strict=True)
            }
        self.built = True

    def get_build_config(self):
        return None  # Keras does not build a reloaded one: its model does, which knows the order.

    def call(self, features, training=False):
        several = isinstance(features, dict) and "experts" in features
        own = features["experts"] if several else [features] * len(self.private)
        shared = self.shared(features, training=training)
        each = [
            part(seen, training=training)
            for part, seen in zip(self.private.values(), own, strict=False)
        ]
        return self._of_present(self.named([shared, *each]), shared["present"])

    def given(self, params, present) -> dict:
        """Returns the parameters of q(z|x) for fewer modalities, as `Experts.given` does."""
        shared, *each = self.of(params)
        return self._of_present(self.named([self.shared.given(shared, present), *each]), present)

    def expert(self, params, number: int) -> dict:
        """Returns the mean and log-variance of s by one expert, see `Experts.expert`."""
        return self.shared.expert(self.of(params)[0], number)

    def _of_present(self, params, present) -> dict:
        """Puts what is known of absent modalities into the place of their parameters."""
        shared, *each = self.of(params)
        found = [shared]
        for number, (key, own) in enumerate(zip(self.private, each, strict=True)):
            there = ops.cast(present, "bool")[:, number : number + 1]
            log_var = self.absent_log_vars[key] if self.absent == "learned" else 0.0
            mean = ops.where(there, own["z_mean"], 0.0)
            found.append({"z_mean": mean, "z_log_var": ops.where(there, own["z_log_var"], log_var)})
        return {**self.named(found), "present": ops.cast(present, self.dtype)}

    def get_config(self):
        config = super().get_config()
        shared, *_ = config.pop("parts")
        return {
            **config,
            "private": {key: self.parts[key].latent_dim for key in self._given},
            "shared": shared[1],
            "absent": self.absent,
        }
