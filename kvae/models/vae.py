"""The one model: a variational autoencoder out of replaceable parts."""

import keras
import numpy as np
import tensorflow as tf

from kvae import likelihoods, objectives, posteriors, priors, random
from kvae.datasets.dataset import Dataset
from kvae.datasets.stream import Stream
from kvae.models.inference import Inference
from kvae.models.inputs import Inputs, is_concrete
from kvae.models.labels import Labels, joined
from kvae.training import blocks, distributed
from kvae.training.checkpoint import Checkpoint
from kvae.training.finite import FiniteLoss
from kvae.training.steps import LastSteps

__all__ = ["VAE"]

_OUTPUTS = ("mean", "mode", "sample")
_PARTS = ("encoder", "decoder", "posterior", "prior", "likelihood", "objective")


@keras.saving.register_keras_serializable(package="kvae")
class VAE(Inputs, Labels, Inference, keras.Model):
    """A variational autoencoder `p(x|z) p(z)` with approximate posterior `q(z|x)`.

    The networks are yours; the four parts say what their outputs mean. A new method is a new part,
    never a new model: `fit`, saving, sampling, evaluation and export stay the same.

    All losses are in nats, summed over pixels and latents and averaged over the batch. `fit`,
    `validation_data` and `evaluate` report the same quantities: `loss`, `elbo`, `reconstruction`
    (−E_q log p(x|z)) and `kl`.

    With `num_classes` it is the conditional model `p(x|z, y) p(z|y)`, `q(z|x, y)` of labelled data:
    an encoder of two inputs is called on `[x, one_hot(y)]`, a decoder of two on
    `[z, one_hot(y)]`, and a prior may depend on y (`"class_conditional"`). Training takes
    `fit((x, labels))`, a `kvae.datasets.Dataset` with labels, or batches `((x, label),)` and
    `((x, label), target)`; the other methods take `label`. Labels are integers `[batch]`.

    Args:
        encoder: keras.Model. `x` `[batch, *event]` to features `[batch, ...]`, or straight to the
            posterior's parameters (a dict, e.g. `{"z_mean": …, "z_log_var": …}`).
        decoder: keras.Model. `z` `[batch, latent_dim]` to the likelihood's parameters, e.g. logits
            `[batch, *event]` for a Bernoulli.
        latent_dim: int. Size of `z`.
        posterior: str or `kvae.posteriors.Posterior`. Defaults to `"diagonal_gaussian"`.
        prior: str, `kvae.priors.Prior` or `None` (an autoencoder without a prior does not sample).
            Defaults to `"standard_normal"`.
        likelihood: str or `kvae.likelihoods.Likelihood`. Defaults to `"bernoulli"`.
        objective: str or `kvae.objectives.Objective`. Defaults to `"elbo"`.
        num_classes: int or `None`. Classes of a conditional model. Defaults to `None`: no labels.
        seed: int. Seeds the noise of training and of unseeded draws. Its state is saved with the
            weights, so a resumed training goes on with the same stream. Defaults to `0`.

    Call arguments:
        inputs: tensor `[batch, *event]`, of a conditional model the pair `(x, label)`.

    Returns:
        Tensor `[batch, *event]`: the mean of p(x|z) at the posterior's mean.

    Raises:
        ValueError: when the decoder's output does not fit the event and the likelihood, or parts
            and networks do not go together.

    Example:

    ```python
    encoder = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(64, "relu")]
    )
    decoder = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(64),
         keras.layers.Reshape((8, 8, 1))]
    )
    vae = kvae.VAE(encoder, decoder, latent_dim=2)
    vae.compile("adam")
    vae.fit(kvae.datasets.load("digits", "train"), epochs=2)
    vae.sample(4, seed=1)     # shape (4, 8, 8, 1)
    ```

    Reference:
        - [Kingma & Welling, Auto-Encoding Variational Bayes](https://arxiv.org/abs/1312.6114)
        - with labels: [Sohn et al., Learning Structured Output Representation using Deep
          Conditional Generative Models](https://papers.nips.cc/paper/5775)
    """

    def __init__(
        self,
        encoder,
        decoder,
        latent_dim: int,
        posterior="diagonal_gaussian",
        prior="standard_normal",
        likelihood="bernoulli",
        objective="elbo",
        seed: int = 0,
        num_classes: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if num_classes is not None and num_classes < 1:
            raise ValueError(f"`num_classes` is None or at least 1, not {num_classes}.")
        self.num_classes = num_classes
        self.encoder = encoder
        self.decoder = decoder
        self.latent_dim = latent_dim
        self.posterior = posteriors.get(posterior)
        self.prior = priors.get(prior)
        self.likelihood = likelihoods.get(likelihood)
        self.objective = objectives.get(objective)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        for part in (self.posterior, self.prior):
            if part is None:
                continue
            if part.latent_dim is None:
                part.latent_dim = latent_dim
            elif part.latent_dim != latent_dim:
                raise ValueError(
                    f"{type(part).__name__} has latent_dim={part.latent_dim}, the model "
                    f"{latent_dim}."
                )
        if self.prior is None and self.posterior.has_density:
            raise ValueError(
                f"A model with a {type(self.posterior).__name__} posterior needs a prior; only an "
                "autoencoder (posterior='delta') may have prior=None."
            )
        for part in self._parts():
            part.attach(self)
        self.reproducible = False
        self._trackers = {
            name: keras.metrics.Mean(name=name) for name in self.objective.metric_names()
        }
        self.event_shape = None
        inputs = getattr(encoder, "inputs", None) if getattr(encoder, "built", False) else None
        if inputs and None not in inputs[0].shape[1:]:
            self.build(tuple(inputs[0].shape))

    # Building, saving.

    def build(self, input_shape):
        shape = tuple(input_shape)
        if shape and isinstance(shape[0], (list, tuple)):
            shape = tuple(shape[0])  # Of a pair (x, label).
        if len(shape) < 2 or None in shape[1:]:
            raise ValueError(
                f"Inputs have the shape (n, *event), each size of the event known, not {shape}."
            )
        self.event_shape = tuple(int(size) for size in shape[1:])
        label = keras.KerasTensor((None, self.num_classes)) if self.conditional else None
        self._check_networks()
        features = self.encoder(
            joined(self.encoder, keras.KerasTensor((None, *self.event_shape)), label)
        )
        self.posterior(features)
        if self.prior is not None:
            self.prior.build((None, self.latent_dim))
        declared = getattr(self.decoder, "inputs", None)
        if declared and tuple(declared[0].shape[1:]) != (self.latent_dim,):
            raise ValueError(
                f"The decoder takes inputs of shape {tuple(declared[0].shape)}; with "
                f"latent_dim={self.latent_dim} it is {(None, self.latent_dim)}."
            )
        z = keras.KerasTensor((None, self.latent_dim))
        outputs = self.decoder(joined(self.decoder, z, label))
        expected = self.likelihood.output_shape(self.event_shape)
        if tuple(outputs.shape[1:]) != expected:
            raise ValueError(
                f"The decoder returns shape {tuple(outputs.shape)}; "
                f"{type(self.likelihood).__name__} needs {(None, *expected)} for inputs of shape "
                f"{(None, *self.event_shape)}."
            )
        self.likelihood(outputs)
        self.objective.prepare(self)
        self.built = True

    def with_prior(self, prior, objective=None) -> "VAE":
        """Returns a model `p(x|z) p(z)` with another prior, which shares everything else.

        The networks, the posterior and the likelihood are the same objects: what trains one model
        trains the other. The new one has a stream of noise of its own, is not compiled
        and saves, loads, samples and exports like any other. An autoencoder becomes a model that
        samples; `kvae.samplers` fits priors for it.

        Args:
            prior: str, `kvae.priors.Prior` or `None`, as in the constructor. A prior whose
                variables exist already keeps their values.
            objective: str, `kvae.objectives.Objective` or `None`. Defaults to `None`: one with the
                settings and the weights of this model's, and a state of its own.

        Raises:
            ValueError: where the prior does not go with the posterior or the objective.

        Example:

        ```python
        sampler = kvae.samplers.GaussianMixtureSampler().fit(autoencoder, train)
        model = autoencoder.with_prior(sampler.as_prior())
        model.save("autoencoder_that_samples.keras")
        ```
        """
        prior, own = priors.get(prior), objective is None
        if own:
            objective = type(self.objective).from_config(self.objective.get_config())
        other = type(self).from_config(
            {
                **self._settings(),
                "encoder": self.encoder,
                "decoder": self.decoder,
                # One that draws from the prior draws from the new one.
                "posterior": self.posterior.with_prior(prior),
                "prior": prior,
                "likelihood": self.likelihood,
                "objective": objective,
            }
        )
        if self.built and not other.built:  # Its encoder has no keras.Input.
            other.build((None, *self.event_shape))
        if own and self.built:
            other.objective.set_weights(self.objective.get_weights())
        return other

    def get_config(self):
        parts = {part: keras.saving.serialize_keras_object(getattr(self, part)) for part in _PARTS}
        return {**self._settings(), **parts}

    def _settings(self) -> dict:
        """The configuration but for the networks and the parts."""
        return {
            **super().get_config(),
            "latent_dim": self.latent_dim,
            "seed": self.seed,
            "num_classes": self.num_classes,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for part in _PARTS:
            if isinstance(config[part], dict):
                config[part] = keras.saving.deserialize_keras_object(
                    config[part], custom_objects=custom_objects
                )
        return cls(**config)

    def save_own_variables(self, store):
        # Keras leaves the state of generators out; without it a resumed run repeats its noise.
        for name, state in self._seed_states().items():
            store[name] = state.numpy()

    def load_own_variables(self, store):
        for name, state in self._seed_states().items():
            if name in store.keys():
                state.assign(store[name])

    def encoder_model(self) -> keras.Model:
        """Returns a functional model from `x` to the posterior's parameters, sharing weights.

        It saves and loads alone, like any Keras model. Of a conditional model it takes a pair: the
        labels are one-hot, `[batch, num_classes]`.
        """
        image = keras.Input(self.event_shape, name="image")
        return self._model_of(self.encoder, self.posterior, image, "encoder_model")

    def decoder_model(self) -> keras.Model:
        """Returns a functional model from `z` to the likelihood's parameters, sharing weights.

        Of a conditional model it takes a pair: the labels are one-hot, `[batch, num_classes]`.
        """
        z = keras.Input((self.latent_dim,), name="z")
        return self._model_of(self.decoder, self.likelihood, z, "decoder_model")

    def _model_of(self, network, part, values, name) -> keras.Model:
        label = keras.Input((self.num_classes,), name="label") if self.conditional else None
        inputs = joined(network, values, label)
        return keras.Model(inputs, part(network(inputs)), name=name)

    # Graph-level pieces, for objectives, evaluation and export: tensors in, tensors out.

    def encode_params(self, x, label=None, training: bool = False) -> dict:
        """Returns the posterior's parameters for a batch of tensors, without any checks."""
        inputs = joined(self.encoder, tf.convert_to_tensor(x), self._one_hot(label))
        return self.posterior(self.encoder(inputs, training=training), training=training)

    def decode_params(self, z, label=None, training: bool = False) -> dict:
        """Returns the likelihood's parameters for `z` `[..., latent_dim]`, each `[..., *event]`.

        Labels are those of the batch, the last of the leading axes.
        """
        z = tf.convert_to_tensor(z, tf.float32)
        lead = tf.shape(z)[:-1]
        one_hot = self._one_hot(label)
        if one_hot is not None and z.shape.rank != 2:
            one_hot = tf.broadcast_to(one_hot, tf.concat([lead, [self.num_classes]], axis=0))
            one_hot = tf.reshape(one_hot, (-1, self.num_classes))
        inputs = joined(self.decoder, tf.reshape(z, (-1, self.latent_dim)), one_hot)
        outputs = self.decoder(inputs, training=training)
        params = self.likelihood(outputs, training=training)
        if z.shape.rank == 2:
            return params
        return {
            name: tf.reshape(value, tf.concat([lead, tf.shape(value)[1:]], axis=0))
            for name, value in params.items()
        }

    def call(self, inputs, training=False):
        x, label = self._pair(inputs)
        model = self.given(label)
        z = model.posterior.mean(model.encode_params(x, training=training))
        return self.likelihood.mean(model.decode_params(z, training=training))

    # Training.

    def compile(
        self,
        optimizer="adam",
        reproducible: bool = False,
        *,
        jit_compile="auto",
        steps_per_execution="auto",
        **kwargs,
    ):
        """Configures training: an optimizer, and Keras's further arguments.

        Args:
            optimizer: str or `keras.optimizers.Optimizer`. Defaults to `"adam"`.
            reproducible: bool. Whether a training has to give the same bits on every run on the
                same machine and versions. `fit` then turns on TensorFlow's deterministic
                operations, for the rest of the process (an operation that has no such form is an
                error, and so is a random one of the program's own without a seed), and takes
                several steps in each call under XLA alone. Defaults to `False`: as fast as it
                goes, and equal from run to run up to rounding.
            jit_compile: bool or `"auto"`. Whether XLA compiles the steps. Defaults to `"auto"`:
                `fit` decides (see there), and otherwise as Keras does.
            steps_per_execution: int or `"auto"`. Steps in each call into the runtime, between which
                no callback is called. Defaults to `"auto"`: `fit` decides, and otherwise 1.
            **kwargs: those of Keras.

        Raises:
            ValueError: when a loss or metrics are given, which the objective defines, and for
                several steps in each call that would not repeat bit for bit.
        """
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if kwargs.get(name) is not None:
                raise ValueError(
                    f"compile() takes no `{name}`: a VAE's loss follows from its likelihood and "
                    "objective, e.g. VAE(..., likelihood='bernoulli', objective=ELBO(beta=2.0))."
                )
        several = steps_per_execution not in (1, "auto")
        if reproducible and several and jit_compile is not True:
            raise ValueError(
                "Several steps in each call drift from run to run without XLA: with "
                "reproducible=True leave out `steps_per_execution`, or give jit_compile=True."
            )
        self.reproducible = reproducible
        self.steps_chosen = None if steps_per_execution == "auto" else int(steps_per_execution)
        self.jit_chosen = jit_compile != "auto"
        super().compile(
            optimizer=optimizer,
            jit_compile=jit_compile,
            steps_per_execution=self.steps_chosen or 1,
            **kwargs,
        )
        self._last_calls = {}  # Training functions by their number of steps.
        self._blocks = blocks.Cache()
        self._build_optimizer()

    def get_compile_config(self):
        config = super().get_compile_config()
        if config and self.steps_chosen is None:
            config["steps_per_execution"] = "auto"
        if config and not self.jit_chosen:
            config["jit_compile"] = "auto"
        return {**config, "reproducible": True} if config and self.reproducible else config

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))

    def report(self) -> dict:
        """Returns what the parts report for the logs, by name, e.g. the `beta` of a schedule."""
        return {name: value for part in self._parts() for name, value in part.report().items()}

    @property
    def metrics(self):
        return list(self._trackers.values())

    def get_metrics_result(self):
        # With the names of the logs Keras takes these, which are those of all replicas together.
        return {**super().get_metrics_result(), **self.report()}

    @property
    def metric_trackers(self) -> dict:
        """The `keras.metrics.Mean` of each quantity that is reported, by name."""
        return self._trackers

    def train_step(self, data):
        return self._track(*self.optimize(data))

    def optimize(self, data):
        """Takes one step of the optimizer on a batch.

        Returns:
            The objective's terms, each `[batch]`, and the weights `[batch]` or `None`.
        """
        x, label, target, weight = self._unpack(data)
        seed = self._step_seed(random.as_seed(self.seed_generator))
        mean = _mean_of_the_step(tf.shape(x)[0], weight)
        with tf.GradientTape() as tape:
            model = self.given(label)
            terms = self.objective.terms(model, x, target, training=True, seed=seed)
            terms["loss"] = self._with_regularizers(terms["loss"])
            scaled = self.optimizer.scale_loss(mean(terms["loss"]))
        variables = self.trainable_variables
        self.optimizer.apply_gradients(
            zip(tape.gradient(scaled, variables), variables, strict=True)
        )
        self.objective.update(self.given(label), x, target, terms, seed=seed)
        return terms, weight

    def make_train_function(self, force=False):
        if self._blocks.present is None:
            return super().make_train_function(force=force)
        # Keras has made its iterator over an epoch: evaluation has a number of its own.
        self.steps_per_execution = self.steps_chosen or 1
        self.train_function = self._blocks.present
        return self.train_function

    def test_step(self, data):
        x, label, target, weight = self._unpack(data)
        # Keyed by the number of examples seen, so evaluating twice gives the same figures and
        # validation leaves the noise of the training alone.
        seen = tf.cast(self._trackers["loss"].count, tf.int32)
        seed = self._step_seed(random.fold_in(self.seed, seen))
        model = self.given(label)
        terms = self.objective.terms(model, x, target, training=False, seed=seed)
        terms["loss"] = self._with_regularizers(terms["loss"])
        return self._track(terms, weight)

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        sample_weight=None,
        initial_epoch=0,
        steps_per_epoch=None,
        **kwargs,
    ):
        """Trains the model; `keras.Model.fit` with checks and an order that repeats.

        Args:
            x: array `[n, *event]`, `kvae.datasets.Dataset` or `Stream` (read while it trains),
                `tf.data.Dataset` or generator; of a conditional model `(x, labels)`, a `Dataset`
                or `Stream` with labels, or batches `((x, label),)` or `((x, label), target)`.
            y: optional array of the shape of `x`: what to reconstruct (defaults to `x`).
            batch_size: int. Defaults to `128`; not for `tf.data` and generators.
            validation_data: like `x`, or a tuple `(x, y)` (conditional: `((x, labels), y)`).

        All other arguments are those of Keras. Arrays are shuffled by the model's seed and the
        number of the epoch (`keras.utils.set_random_seed` makes Keras's own shuffle repeat the
        same order every epoch).

        A long training on data in memory runs many steps in each call into the runtime, under XLA
        where the networks are dense: `on_train_batch_end` is then called once for each call. A
        callback of your own that is called at every step makes it one step in each call, as do
        `tf.data`, generators, a `train_step` of a subclass's own, a distribution strategy and
        `run_eagerly`; `verbose=1` says so. With `compile(steps_per_execution=n)` it is n, and the
        last call of an epoch runs the steps that are left.

        Returns:
            `keras.callbacks.History` with `loss`, `elbo`, `reconstruction`, `kl`, in nats.

        Raises:
            ValueError: for a wrong shape, NaN, or values outside the likelihood's support.
            FloatingPointError: after an epoch whose loss is not finite.
        """
        self._assert_compile_called("fit")
        if x is None:
            raise ValueError(
                "`fit` takes an array `x`, a Dataset, a tf.data.Dataset or a generator."
            )
        if class_weight is not None:
            raise ValueError("A VAE has no classes: use `sample_weight` to weight examples.")
        if validation_split and validation_data is None:
            x, y, sample_weight, validation_data = self._split(
                x, y, sample_weight, validation_split
            )
        x, y = self._prepare(x, y, in_memory=sample_weight is None and steps_per_epoch is None)
        # Keras makes a list of its own kind anew, which knows what each callback overrides.
        given = keras.tree.flatten(getattr(callbacks, "callbacks", callbacks) or [])
        plan = blocks.plan(self, x, batch_size or 128, epochs, steps_per_epoch, given)
        if plan.reason and verbose in (1, "auto"):
            print(
                f"{self.name}: one step in each call, because {plan.reason}. "
                "compile(steps_per_execution=…) sets another number."
            )
        last, before = None, self.train_function
        if isinstance(x, (Dataset, Stream)):
            batch_size = batch_size or 128
            steps_per_epoch = steps_per_epoch or self._steps(x, batch_size)
            if plan.steps > 1:
                x = self._blocks.begin(self, x, batch_size, plan, initial_epoch, shuffle)
                self.steps_per_execution = plan.steps
            else:
                x = self._batches(
                    x, batch_size, shuffle=shuffle, first_epoch=initial_epoch, repeat=True
                )
                last = self._last_steps(steps_per_epoch)
            batch_size, y, shuffle = None, None, False
        elif isinstance(x, (np.ndarray, tuple)):
            batch_size = batch_size or 128
        elif not isinstance(x, keras.utils.PyDataset):
            shuffle = False  # Such data comes in an order of its own, and Keras would warn.
        if validation_data is not None:
            size = kwargs.pop("validation_batch_size", None) or 128
            validation_data = self._prepare_validation(validation_data, size)
            kwargs["validation_batch_size"] = size
        self._build_optimizer()
        if self.reproducible:
            tf.config.experimental.enable_op_determinism()
        callbacks = [FiniteLoss(), *given, *([] if last is None else [last])]
        try:
            return super().fit(
                x=x,
                y=y,
                batch_size=batch_size,
                epochs=epochs,
                verbose=verbose,
                callbacks=callbacks,
                validation_data=validation_data,
                shuffle=shuffle,
                sample_weight=sample_weight,
                initial_epoch=initial_epoch,
                steps_per_epoch=steps_per_epoch,
                **kwargs,
            )
        finally:
            if last is not None:
                last.restore()
            if self._blocks.present is not None:
                self._blocks.end()
                self.train_function = before
                self.steps_per_execution = self.steps_chosen or 1
            for callback in given:
                if isinstance(callback, Checkpoint):
                    callback.release()

    def evaluate(self, x=None, y=None, batch_size=None, **kwargs):
        """Returns the objective's quantities on `x`, in nats; the arguments are Keras's.

        The same data, batch size and seed give the same figures.
        """
        self._assert_compile_called("evaluate")
        if kwargs.get("_use_cached_eval_dataset"):  # `fit` validates: the data has been checked.
            return super().evaluate(x=x, y=y, batch_size=batch_size, **kwargs)
        x, y = self._prepare(x, y, in_memory=kwargs.get("sample_weight") is None)
        if isinstance(x, (Dataset, Stream)):
            x, y, batch_size = self._batches(x, batch_size or 128), None, None
        elif isinstance(x, (np.ndarray, tuple)):
            batch_size = batch_size or 128
        return super().evaluate(x=x, y=y, batch_size=batch_size, **kwargs)

    def predict(self, x, batch_size=None, **kwargs):
        """Returns the mean reconstruction `[n, *event]` as an array; the arguments are Keras's.

        Of a conditional model `x` is `(x, labels)` or a `Dataset` with labels.
        """
        x, label = self._pair(x)
        if isinstance(x, Dataset):
            x, label = x.images, self._dataset_labels(x)
        if is_concrete(x):
            x = self._check_events(np.asarray(x), "x", support=False)
            label = self._labels(label, len(x))
        x = x if label is None else (x, label.numpy())
        return super().predict(x, batch_size=batch_size, **kwargs)

    # Helpers.

    def _maybe_symbolic_build(self, *arguments, **options):
        # Under a strategy Keras builds a model for the mean of the replicas' first batches, which
        # fails where their sizes differ.
        if not self.built:
            super()._maybe_symbolic_build(*arguments, **options)

    def _parts(self) -> list:
        parts = (self.posterior, self.prior, self.likelihood, self.objective)
        return [part for part in parts if part is not None]

    def _seed_states(self) -> dict:
        """The states of the model's generator and of those of its networks (dropout), by name."""
        own = self.seed_generator.state
        others = (v for v in self.variables if v.name == own.name and v is not own)
        return {"seed_state": own, **{f"seed_state_{i}": v for i, v in enumerate(others, start=1)}}

    def _build_optimizer(self) -> None:
        # Not inside the step: one that fails would spoil the next `fit`, and an optimizer without
        # its variables is not saved whole.
        if self.built and self.optimizer is not None and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)

    def _last_steps(self, steps: int) -> LastSteps | None:
        """What cuts the last call of each epoch short, where `steps` are no whole calls."""
        left = steps % self.steps_per_execution
        return LastSteps(steps, left, self._last_calls) if left else None

    def _step_seed(self, seed):
        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            seed = random.fold_in(seed, context.replica_id_in_sync_group)
        return seed

    def _with_regularizers(self, loss):
        return loss + tf.add_n(self.losses) if self.losses else loss

    def _track(self, terms, weight):
        for name, tracker in self._trackers.items():
            tracker.update_state(terms[name], sample_weight=weight)
        logs = {name: tracker.result() for name, tracker in self._trackers.items()}
        logs = {**logs, **self.report()}
        if distributed.is_multi_worker(tf.distribute.get_strategy()):
            # Keras averages the logs of several workers over their first axis.
            logs = {name: tf.reshape(tf.cast(v, tf.float32), [1]) for name, v in logs.items()}
        return logs


def _mean_of_the_step(size, weight):
    """A function of values `[size]`: their weighted mean over the examples of a step.

    On one of several replicas it is the replica's part of that mean, because the optimizer adds the
    gradients up. Replicas may have different numbers of examples, and none.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        if weight is None:
            return tf.reduce_mean
        total = tf.reduce_sum(weight)
    else:
        weight = tf.ones([size]) if weight is None else weight
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.reduce_sum(weight))
    return lambda values: tf.reduce_sum(values * weight) / tf.maximum(total, 1e-12)
