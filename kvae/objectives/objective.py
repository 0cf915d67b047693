"""The interface of every training objective."""

from kvae import schedules
from kvae.parts import Part, PartRegister, resolve, to_write
from kvae.utils.names import unknown_name

__all__ = ["REGISTER", "Objective", "get", "names", "register"]


class Objective(Part):
    """A training objective: the loss, and the quantities that are reported with it.

    `terms(vae, x, target, training, seed)` returns a dict of tensors of shape `[batch]`, in nats
    per example: `loss` is minimised; `elbo`, `reconstruction` (−E_q log p(x|z)) and `kl` are
    reported with it, and an objective may add further names, which then appear in the logs when
    `metric_names` lists them. `kvae.VAE` averages them over the batch; no objective does. What
    `metric_names` does not list may have any shape: `update` is given it.

    An objective is a layer: networks and state of its own (a critic, a memory bank, the position
    of a schedule) are layers and weights, saved with the model. `update` runs after each optimizer
    step of the model, for what is trained or tracked beside it. Weights that `update` trains are
    made with `trainable=False`, so that the model's optimizer leaves them alone.
    """

    # True if the objective can train on examples whose class is unknown; their label is -1.
    takes_unknown_labels = False
    # True if it compares images, so that examples have to be some.
    of_images = False
    # True if it compares modalities, so that the model has to have several.
    of_modalities = False
    # True if it needs a posterior with an expert of all of them, such as `joint_experts`.
    of_joint_expert = False

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._vae = lambda: None

    def attach(self, vae):
        self._vae = lambda: vae

    @to_write
    def terms(self, vae, x, target, *, training: bool, seed):
        """Returns the per-example quantities of one batch, each `[batch]`, in nats."""
        raise NotImplementedError

    def reported(self, vae, params, loss, reconstruction, kl, **more) -> dict:
        """Returns the dict of `terms` of an objective whose bound is `−(reconstruction + kl)`.

        Args:
            vae: `kvae.VAE`.
            params: dict. The posterior's parameters, whose penalty the loss gets.
            loss, reconstruction, kl: tensors `[batch]` in nats.
            **more: further entries.
        """
        penalty = vae.posterior.penalty(params)
        return {
            "loss": loss if penalty is None else loss + penalty,
            "elbo": -(reconstruction + kl),
            "reconstruction": reconstruction,
            "kl": kl,
            **more,
        }

    def metric_names(self) -> tuple[str, ...]:
        """Returns the keys of the dict of `terms` that the logs show, `loss` first.

        An autoencoder, which has no prior, has neither an `elbo` nor a `kl` to show.
        """
        vae = self._vae()
        if vae is not None and vae.prior is None:
            return ("loss", "reconstruction")
        return ("loss", "elbo", "reconstruction", "kl")

    def counted(self, name: str, terms):
        """Returns by what the examples count in the mean of a metric, `[batch]` of at least 0.

        Args:
            name: str. One of `metric_names`.
            terms: dict. What `terms` returned.

        Returns:
            tensor, or `None` where all of them count alike. Defaults to `None`.
        """
        return None

    def update(self, vae, x, target, terms, seed) -> None:
        """Runs after each optimizer step. By default nothing.

        Args:
            vae: `kvae.VAE`, or the model for the batch's labels.
            x, target: tensors `[batch, *event]`, the batch of the step.
            terms: dict. What `terms` returned for it, before the step.
            seed: int32 tensor `[2]`, the seed that `terms` was given.
        """

    def optimizer_variables(self) -> list:
        """Returns the variables of optimizers of its own, which `update` changes. By default none.

        They are not among the weights, and go back with these where a step is taken back.
        """
        return []

    def prepare(self, vae) -> None:
        """Makes networks that depend on the model's shapes, once, when the model is built."""
        self.built = True

    def scheduled(self) -> dict:
        """Returns the settings that are numbers or schedules, by name."""
        return {}

    def set_scheduled(self, name: str, value) -> None:
        """Gives one of the settings that `scheduled` names another value.

        Graphs that were traced before keep the value that they were traced with, so that this is
        done before `compile`.

        Args:
            name: str. The setting, e.g. `"beta"`.
            value: float or schedule.
        """
        if name not in self.scheduled():
            raise unknown_name("setting", name, self.scheduled())
        setattr(self, name, schedules.resolve(name, value))

    def report(self):
        """Returns the present values of the settings that follow a schedule."""
        return {
            name: schedules.at(value, self._vae())
            for name, value in self.scheduled().items()
            if schedules.is_schedule(value)
        }


REGISTER = PartRegister("objective", Objective)
register = REGISTER.register


def names() -> list[str]:
    """Returns the names that `get` knows, in alphabetical order."""
    return list(REGISTER)


def get(identifier) -> Objective:
    """Returns an objective from its name, its config or itself."""
    return resolve(REGISTER, identifier, Objective)
