"""A look at the latent variables after each epoch, and a warning when they carry nothing."""

import keras

from kvae.callbacks.examples import some_examples
from kvae.callbacks.summaries import SummaryWriter
from kvae.evaluation.latents import advice
from kvae.evaluation.latents.summary import latent_summary
from kvae.utils import callers

__all__ = ["LatentMonitor"]


class LatentMonitor(keras.callbacks.Callback):
    """Adds `kvae.evaluation.latent_summary` to the logs, and warns of posterior collapse.

    The logs get `rate`, `active_units`, `mutual_information`, `aggregate_kl`,
    `total_correlation` and the KL of each dimension, `kl_z0`, `kl_z1`, … (`marginal_kl_z0`, … for a
    Gaussian with correlations), in nats, for posteriors that have these figures; for an autoencoder
    they get `active_units` alone. The examples and the noise are the same each time. The training
    is left as it is: no random stream of the model advances, so that a resumed training still
    repeats what it would have done.

    In the list of callbacks it stands before a `Checkpoint` that keeps its figures in the history.

    Args:
        data: array `[n, *event]`, `kvae.datasets.Dataset`, `Stream` or `tf.data.Dataset`, e.g.
            validation data; for a conditional model with labels, e.g. `(x, labels)`.
        num_examples: int. The number of examples, taken at even distances from `data`. The cost
            grows with its square, and the mutual information is at most its logarithm. Defaults to
            `500`.
        every: int. The number of epochs between two measurements. Defaults to `1`.
        seed: int. Seeds the codes that are drawn. Defaults to `0`.
        log_dir: path. A folder for TensorBoard, which gets the scalars, the reports of the parts
            (such as `beta`), and histograms of the KLs and of the variances of the means over the
            dimensions. Defaults to `None`.
        per_dimension: bool. Whether the logs get the KL of each dimension, which TensorBoard gets
            in any case. Defaults to `True`.
        min_kl: float. The KL in nats below which a posterior counts as collapsed. Defaults to
            `0.1`.
        patience: int. The number of measurements in a row that have to find a collapse before a
            warning, because many trainings begin with one; at the end of a training one is enough.
            Each kind of collapse is warned of once. Defaults to `3`.

    Attributes:
        summary: `kvae.evaluation.LatentSummary`. The last one.

    Raises:
        ValueError: for fewer than two examples, and for a number that is out of its range.

    Example:

    ```python
    validation = kvae.datasets.load("digits", "validation")
    monitor = kvae.callbacks.LatentMonitor(validation, log_dir="logs/mine")
    vae.fit(data, epochs=50, callbacks=[monitor])
    monitor.summary.active_units
    ```

    References:
        - [Burda et al., Importance Weighted Autoencoders, section 5](
          https://arxiv.org/abs/1509.00519)
        - [Bowman et al., Generating Sentences from a Continuous Space, section 3.1](
          https://arxiv.org/abs/1511.06349): the collapse
    """

    def __init__(
        self,
        data,
        *,
        num_examples: int = 500,
        every: int = 1,
        seed: int = 0,
        log_dir=None,
        per_dimension: bool = True,
        min_kl: float = 0.1,
        patience: int = 3,
    ):
        super().__init__()
        for name, value, least in (
            ("num_examples", num_examples, 2),
            ("every", every, 1),
            ("patience", patience, 1),
        ):
            if value < least:
                raise ValueError(f"`{name}` is at least {least}, not {value}.")
        if not min_kl >= 0:
            raise ValueError(f"`min_kl` is at least 0, in nats, not {min_kl!r}.")
        self._data = some_examples(data, num_examples, type(self).__name__)
        self.every, self.seed, self.log_dir = every, seed, log_dir
        self.per_dimension, self.min_kl, self.patience = per_dimension, min_kl, patience
        self.summary = None
        self._warned = set()
        self._state, self._looks = "healthy", 0
        self._writer = None

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every:
            return
        self.summary = latent_summary(self.model, self._data, seed=self.seed)
        if logs is not None:  # The reports of the parts are there already.
            logs.update(self.summary.scalars(self.per_dimension))
        if self.log_dir is not None:
            reports = {name: float(value) for name, value in self.model.report().items()}
            self._write(epoch, {**self.summary.scalars(), **reports})
        state = self.summary.state(self.min_kl)
        self._looks = self._looks + 1 if state == self._state else 1
        self._state = state
        if self._looks >= self.patience:
            self._warn(epoch)

    def on_train_end(self, logs=None):
        if self.summary is not None:
            self._warn(None)
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, epoch, scalars) -> None:
        if self._writer is None:
            self._writer = SummaryWriter(self.log_dir)
        self._writer.scalars({f"latent/{name}": value for name, value in scalars.items()}, epoch)
        for name in ("kl_per_dimension", "marginal_kl_per_dimension", "variance_of_means"):
            values = getattr(self.summary, name)
            if values is not None:
                self._writer.histogram(f"latent/{name}", values, epoch)
        self._writer.flush()

    def _warn(self, epoch: int | None) -> None:
        if "collapsed" not in self._state:
            return
        wanted = advice.asked_for_collapse(self.model, self.summary, self.min_kl)
        if (self._state, wanted is None) in self._warned:
            return
        self._warned.add((self._state, wanted is None))
        when = "at the end of the training" if epoch is None else f"after epoch {epoch + 1}"
        callers.warn(self._message(when, wanted))

    def _message(self, when: str, wanted: str | None) -> str:
        found = self.summary
        verb = "has collapsed" if self._state == "collapsed" else "has partly collapsed"
        figures = (
            f"The posterior {verb} ({when}, on {found.num_examples} examples): "
            f"{advice.told(found)}."
        )
        if wanted is None:
            wanted = advice.against_collapse(self._state)
        return f"{figures} {wanted}"
