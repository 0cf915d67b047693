"""The base of posteriors of several modalities that share the networks of a hierarchical prior."""

from kvae.parts import to_write
from kvae.posteriors.posterior import Posterior

__all__ = ["OfHierarchy"]


class OfHierarchy(Posterior):
    """A posterior relative to its `kvae.priors.Hierarchical`, with one encoder for each modality.

    A new one gives `sizes`.

    Args:
        latent_dim: int or `None`. Size of all groups together; set by `kvae.VAE` when `None`.

    Raises:
        ValueError: in a model of one modality, for encoders of several, and for another prior than
            `kvae.priors.Hierarchical` of the same groups with a standard normal top.
    """

    fully_amortized = False
    of_modalities = True
    star = False  # Whether its prior's lower groups depend on the top alone.

    def __init__(self, latent_dim: int | None = None, **kwargs):
        super().__init__(latent_dim, **kwargs)
        self.reads = None  # Which encoder reads which modalities; each reads one.
        self._of_prior = None

    @property
    @to_write
    def sizes(self) -> tuple[int, ...]:
        """The sizes of the groups, the top one first."""
        raise NotImplementedError

    def attach(self, vae):
        super().attach(vae)
        name, prior = type(self).__name__, vae.prior
        if self.reads is not None or not vae.modalities:
            raise ValueError(
                f"{name} combines one encoder for each modality: make the model with "
                "encoders={…}, none of which reads several."
            )
        fits = getattr(getattr(prior, "top", None), "standard_normal", False)
        fits = fits and prior.sizes == self.sizes and (prior.star or not self.star)
        if self.sizes[0] < 1 or not fits:
            star = ", star=True" if self.star else ""
            raise ValueError(
                f"{name} shares the networks of its prior: use prior="
                f"kvae.priors.Hierarchical(groups={list(self.sizes)}{star}), whose top is "
                "'standard_normal' and has at least one latent."
            )
        self._of_prior = lambda: prior  # Behind a function: it is no part of this one.

    def with_prior(self, prior):
        if not self.is_of(prior) and self._of_prior is not None:
            raise ValueError(
                f"A {type(self).__name__} posterior is relative to the prior that it was trained "
                "with. Build a model with the other prior, and train it."
            )
        return self

    def is_of(self, prior) -> bool:
        """Returns whether this is the prior whose networks it shares."""
        if self._of_prior is None or prior is None:
            return False
        own = self._of_prior()
        return prior is own or getattr(prior, "lower", None) is getattr(own, "lower", own)

    def below(self, index: int, before):
        """Returns mean and log-variance of p(z_l|z_<l) of group `index + 1`."""
        return self._of_prior().lower.after(index, before)

    def get_build_config(self):
        return None  # Keras does not build a reloaded one: its model does, with its prior.
