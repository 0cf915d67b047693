"""The interface of every training objective."""

from kvae.parts import Part

__all__ = ["Objective"]


class Objective(Part):
    """What training minimises, and the quantities that it reports.

    `terms(vae, x, target, training, seed)` returns a dict of tensors of shape `[batch]`, in nats
    per example: `loss` is minimised; `elbo`, `reconstruction` (−E_q log p(x|z)) and `kl` are
    reported with it, and an objective may add further names, which then appear in the logs.
    `kvae.VAE` averages them over the batch; no objective does.

    An objective is a layer: networks and state of its own (a critic, a memory bank, the position
    of a schedule) are layers and weights, saved with the model. `update` runs after each optimizer
    step of the model, for what is trained or tracked beside it.
    """

    def terms(self, vae, x, target, *, training: bool, seed):
        """Returns the per-example quantities of one batch, each `[batch]`, in nats."""
        raise NotImplementedError

    def metric_names(self) -> tuple[str, ...]:
        """The keys of the returned dict, `loss` first."""
        return ("loss", "elbo", "reconstruction", "kl")

    def update(self, vae, x, target, seed) -> None:
        """Runs after each optimizer step. By default nothing."""

    def prepare(self, vae) -> None:
        """Runs once when the model is built, to make networks that depend on its shapes."""
        self.built = True
