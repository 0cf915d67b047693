"""The method `compile`, and the configuration that is saved of it."""

import keras

from kvae.models.fit import precision
from kvae.models.fit.skips import Skips

__all__ = ["Compile"]


class Compile:
    """The methods of `kvae.VAE` that configure training."""

    skips: Skips | None = None  # Before it is compiled.

    def compile(
        self,
        optimizer="adam",
        reproducible: bool = False,
        *,
        jit_compile="auto",
        steps_per_execution="auto",
        skip_norm: float | None = None,
        **kwargs,
    ) -> None:
        """Configures training: an optimizer, and Keras's further arguments.

        Args:
            optimizer: str or `keras.optimizers.Optimizer`. Defaults to `"adam"`.
            reproducible: bool. Whether a training gives the same bits on every run, on the same
                machine and with the same versions. The initial weights have to be the same, too:
                `zoo.build` draws them by its `seed`, and networks of your own are made in a block
                of `kvae.random.initial_weights` (`fit` warns where they were not). `fit` then turns
                on TensorFlow's deterministic operations for the rest of the process, where an
                operation without such a form is an error, and so is a random one of the program's
                own without a seed. Several steps run in one call under XLA alone. Defaults to
                `False`: trainings are as fast as they can be, and equal up to rounding.
            jit_compile: bool or `"auto"`. Whether XLA compiles the steps. Defaults to `"auto"`:
                `fit` decides, and other methods do what Keras does.
            steps_per_execution: int or `"auto"`. The number of steps in each call into the runtime,
                between which no callback is called. Defaults to `"auto"`: `fit` decides, and other
                methods take 1.
            skip_norm: float or `None`. A step whose gradient has a larger norm, or one that is not
                finite, is skipped: the optimizer and all weights stay as they are, statistics of
                batches and codebooks too. `fit` warns, and `skipped` in its logs counts such steps;
                their losses are in the means of the epoch. Defaults to `None`: no step is skipped.
            **kwargs: further arguments of `keras.Model.compile`.

        Raises:
            ValueError: for a loss or metrics, which the objective defines; for several steps in
                each call that would not repeat bit for bit; for weights in float16; and for a
                `skip_norm` that is not above 0.
        """
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if kwargs.get(name) is not None:
                raise ValueError(
                    f"compile() takes no `{name}`: a VAE's loss follows from its likelihood and "
                    "objective, e.g. VAE(..., likelihood='bernoulli', objective=ELBO(beta=2.0)). "
                    "For terms or figures of your own, override `compute_loss` or "
                    "`compute_metrics` in a subclass."
                )
        several = steps_per_execution not in (1, "auto")
        if reproducible and several and jit_compile is not True:
            raise ValueError(
                "Several steps in each call drift from run to run without XLA: with "
                "reproducible=True leave out `steps_per_execution`, or give jit_compile=True."
            )
        precision.check_weights(self)
        if kwargs.get("auto_scale_loss", True):
            optimizer = precision.scaled(self, optimizer)
        self.skips = None if skip_norm is None else Skips(skip_norm)
        self.reproducible = reproducible
        self.steps_chosen = None if steps_per_execution == "auto" else int(steps_per_execution)
        self.jit_chosen = jit_compile != "auto"
        super().compile(
            optimizer=optimizer,
            jit_compile=jit_compile,
            steps_per_execution=self.steps_chosen or 1,
            **kwargs,
        )
        self._functions.clear()
        self.forget_training_functions()
        self._prepared_for = None
        if self.trainable_variables:
            self.prepare_optimizer()

    def get_compile_config(self):
        config = super().get_compile_config()
        if config and self.steps_chosen is None:
            config["steps_per_execution"] = "auto"
        if config and not self.jit_chosen:
            config["jit_compile"] = "auto"
        if config and self.skips is not None:
            config["skip_norm"] = self.skips.limit
        return {**config, "reproducible": True} if config and self.reproducible else config

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
