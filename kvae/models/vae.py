"""The model: a variational autoencoder that is made of replaceable parts."""

import threading

import keras
import tensorflow as tf

from kvae import conditions as conditions_of
from kvae import fills, likelihoods, objectives, posteriors, priors, random
from kvae.datasets.schema import Schema
from kvae.detection.calibration import Calibration
from kvae.models import network_checks
from kvae.models.any_size import AnySize
from kvae.models.building import Building
from kvae.models.classification import Classification
from kvae.models.compiled_functions import CompiledFunctions
from kvae.models.configuration import MODELS, OPTIONAL, PARTS, Configuration
from kvae.models.decoding import Decoding
from kvae.models.distributions import Distributions
from kvae.models.encoding import Encoding
from kvae.models.fit.guard import Guard
from kvae.models.fit.hooks import Terms
from kvae.models.fit.trainer import Trainer
from kvae.models.fit.worker_logs import WorkerLogs
from kvae.models.grids import Grids, latent_sizes
from kvae.models.inference import Inference
from kvae.models.labels import (
    Conditioned,
    checked_label,
    recognized_label,
    split_label,
)
from kvae.models.modalities import OfModalities, check_alone, joined_networks
from kvae.models.network_models import NetworkModels
from kvae.models.reading import Reading
from kvae.models.saving import Saving
from kvae.models.trainable import Trainable
from kvae.utils import arguments, forks

__all__ = ["VAE"]


@keras.saving.register_keras_serializable(package="kvae")
class VAE(
    Building,
    Configuration,
    Inference,
    Classification,
    Distributions,
    OfModalities,
    Encoding,
    Decoding,
    Grids,
    AnySize,
    Reading,
    Trainer,
    Trainable,
    NetworkModels,
    Saving,
    keras.Model,
):
    """A variational autoencoder `p(x|z) p(z)` with approximate posterior `q(z|x)`.

    The networks are yours; the four parts say what their outputs mean. A new method is a new part,
    never a new model: `fit`, saving, sampling, evaluation and export stay the same.

    All losses are in nats, summed over pixels and latents and averaged over the batch. `fit`,
    `validation_data` and `evaluate` report the same quantities: `loss`, `elbo`, `reconstruction`
    (−E_q log p(x|z)) and `kl`.

    `schema`, a `kvae.datasets.Schema` or `None`, names the classes and the columns of the data. It
    is saved with the model; `kvae train` sets it, and so may you. So is `calibration`, which the
    `fit` of a `kvae.detection.Detector` sets, and a training of the model takes away.

    Keras's hooks work in a subclass: `compute_loss` for another loss, `train_step`, `test_step` and
    `compute_metrics`, `add_loss` in a layer or in `call`, and metrics as attributes. The
    documentation of `compute_loss` has an example.

    With `num_classes` it is the conditional model `p(x|z, y) p(z|y)`, `q(z|x, y)` of labelled data:
    an encoder of two inputs is called on `[x, one_hot(y)]`, a decoder of two on
    `[z, one_hot(y)]`, and a prior may depend on y (`"class_conditional"`). Training takes
    `fit((x, labels))`, a `kvae.datasets.Dataset` with labels, or batches `((x, label),)` and
    `((x, label), target)`; the other methods take `label`. Labels are integers `[batch]`.

    `conditions` generalises `num_classes`: several things that the model is told of an example, of
    several kinds, each of which may be unknown for a row. The label is then a dict from their names
    to arrays, and the second input of the networks has `vae.conditions.size` numbers; see
    `kvae.conditions.Conditions`.

    `encoders` and `decoders`, dicts by name, make a model of several modalities, such as images and
    their labels, `p(x_1|z) p(x_2|z) p(z)`. Data are dicts of the same names, and every example may
    lack some of them: an entry that is left out, NaN, or `mask={name: bool array [n]}`. q(z|x)
    combines the experts of those that are there; see `kvae.posteriors.ProductOfExperts`. Methods
    return dicts (a call of the model a record), `translate` turns some modalities into others, and
    `log_prob` is log p of those that are given. An encoder with the input `(K,)` of a modality that
    is `"categorical:K"` sees class numbers as one-hot vectors.

    Args:
        encoder: keras.Model. `x` `[batch, *event]` to features `[batch, ...]`, or straight to the
            posterior's parameters (a dict, e.g. `{"z_mean": …, "z_log_var": …}`).
        decoder: keras.Model. `z` `[batch, *latent_shape]` to the likelihood's parameters, e.g.
            logits `[batch, *event]` for a Bernoulli.
        latent_dim: int. The size of a `z` that is a vector, short for `latent_shape=(latent_dim,)`.
        posterior: str, `kvae.posteriors.Posterior`, or what `kvae.posteriors.Distribution` takes of
            TFP. Defaults to `None`: `"diagonal_gaussian"`, with `encoders` `"product_of_experts"`.
        prior: str, `kvae.priors.Prior`, a distribution of TFP (`kvae.priors.Distribution`) or
            `None` (an autoencoder that does not sample). Defaults to `"standard_normal"`.
        likelihood: str, `kvae.likelihoods.Likelihood`, or what `kvae.likelihoods.Distribution`
            takes of TFP; with `encoders` a dict of such by modality. Defaults to `"bernoulli"`.
        objective: str or `kvae.objectives.Objective`. Defaults to `"elbo"`.
        seed: int. Seeds the noise of training and of draws without a seed. The state of the
            generator is saved with the weights, so that a resumed training goes on with the same
            stream. Defaults to `0`.
        num_classes: int or `None`. The number of classes of a conditional model. Defaults to
            `None`: the model takes no labels.
        missing: str, `kvae.fills.Fill` or `None`. With `"zero"`, `"mean"` or `"learned"` NaN in x,
            and what a `mask` beside x (True for observed) leaves out, was not observed: log p(x) is
            that of the observed values, and the name says what the encoder sees in the place of the
            others. With `"zero:mask"` and the like it also sees the mask, as further entries of the
            last axis, and takes inputs of twice that size. Defaults to `None`: NaN is an error.
        conditions: mapping, `kvae.conditions.Conditions` or `None`. What a conditional model is
            told, e.g. `{"digit": 10, "thickness": "real", "tags": ("multi", 5)}`. Defaults to
            `None`.
        encoders: mapping or `None`. Of a model of several modalities the encoder of each by name,
            with a `keras.Input`, in the place of `encoder`; a tuple of names stands for a network
            that reads all of these. Defaults to `None`: a single one.
        decoders: mapping or `None`. The decoder of each modality, in the place of `decoder`.
        latent_shape: sequence of int or `None`. The shape of a `z` on a grid, e.g. `(8, 8, 4)`: the
            decoder takes it so, `encode` returns it so, and an encoder that ends in features
            `[batch, 8, 8, n]` gets heads that see one place of the grid each. Parts compute with
            its numbers as a vector. Defaults to `None`: `(latent_dim,)`.

    Call arguments:
        inputs: tensor `[batch, *event]`, for a conditional model the pair `(x, label)`.

    Returns:
        Tensor `[batch, *event]`: the mean of p(x|z) at the posterior's mean.

    Raises:
        TypeError: for networks that are no Keras 3 layers or models.
        ValueError: when the decoder's output does not fit the event and the likelihood, parts and
            networks do not go together, the encoder returns a sample beside its parameters, or the
            decoder ends in a sigmoid or softmax where the likelihood takes logits.
        NotImplementedError: for a part of your own that lacks a method, with its name.

    Warns:
        UserWarning: for a decoder that ends in another activation, e.g. ReLU, where the likelihood
            takes any numbers.

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

    schema: Schema | None = None
    calibration: Calibration | None = None

    @arguments.with_plain_arguments
    def __init__(
        self,
        encoder=None,
        decoder=None,
        latent_dim: int | None = None,
        posterior=None,
        prior="standard_normal",
        likelihood="bernoulli",
        objective="elbo",
        seed: int = 0,
        num_classes: int | None = None,
        missing=None,
        conditions=None,
        encoders=None,
        decoders=None,
        latent_shape=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if encoders is None and decoders is None:
            network_checks.check_kind("encoder", encoder)
            network_checks.check_kind("decoder", decoder)
        if num_classes is not None and num_classes < 1:
            raise ValueError(f"`num_classes` is None or at least 1, not {num_classes}.")
        latent_dim, latent_shape = latent_sizes(latent_dim, latent_shape)
        if num_classes is not None and conditions is not None:
            raise ValueError(
                "`num_classes` is the short form of one condition: leave it out with `conditions`."
            )
        if encoders is not None or decoders is not None:
            check_alone(encoder, decoder, num_classes, conditions, latent_shape)
            encoder, decoder, posterior, likelihood, missing = joined_networks(
                encoders, decoders, latent_dim, posterior, likelihood, missing
            )
        self.num_classes = num_classes
        self.conditions = conditions_of.of_model(conditions)
        self.encoder = encoder
        self.decoder = decoder
        self.latent_dim, self.latent_shape = latent_dim, latent_shape
        self.posterior = posteriors.get("diagonal_gaussian" if posterior is None else posterior)
        self.prior = priors.get(prior)
        self.likelihood = likelihoods.get(likelihood)
        self.objective = objectives.get(objective)
        self.missing = fills.get(missing)
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
            part.latent_shape = latent_shape
        if self.prior is None and self.posterior.has_density:
            raise ValueError(
                f"A model with a {type(self.posterior).__name__} posterior needs a prior; only an "
                "autoencoder (posterior='delta') may have prior=None."
            )
        for part in self.parts:
            part.check_methods()
            part.attach(self)
        if self.conditions is not None:
            self.conditions.check_methods()
        if self.missing is not None:
            self.likelihood.take_missing()
        self.reproducible = False
        # True where a seed or a file determines the weights; the user's networks may be seeded too.
        self.weights_are_known = random.weights_are_seeded()
        self._functions = CompiledFunctions()
        self.training_lock = threading.RLock()
        self._terms = Terms()
        self.guard = Guard(self)
        self._worker_logs = WorkerLogs()
        MODELS[id(self)] = self
        self._trackers = {
            name: keras.metrics.Mean(name=name) for name in self.objective.metric_names()
        }
        self.event_shape = None
        inputs = getattr(encoder, "inputs", None) if getattr(encoder, "built", False) else None
        if inputs and None not in inputs[0].shape[1:]:
            event = inputs[0].shape[1:]
            event = event if self.missing is None else self.missing.event_shape(event)
            self.build((None, *event))

    # Models that share the parts of this one.

    def with_prior(self, prior, objective=None) -> "VAE":
        """Returns a model `p(x|z) p(z)` with another prior, which shares everything else.

        The networks, the posterior and the likelihood are the same objects, so that a training of
        one model trains the other. The new model has a stream of noise of its own, is not compiled,
        and saves, loads, samples and exports like any other. An autoencoder becomes a model that
        samples; `kvae.samplers` fits priors for it.

        Args:
            prior: str, `kvae.priors.Prior` or `None`, as in the constructor. A prior whose
                variables exist already keeps their values.
            objective: str, `kvae.objectives.Objective` or `None`. Defaults to `None`: an objective
                with the settings and the weights of this model's, and a state of its own.

        Returns:
            `kvae.VAE`, built where this model is.

        Raises:
            ValueError: where the prior does not go with the posterior or the objective.

        Example:

        ```python
        sampler = kvae.samplers.GaussianMixture().fit(autoencoder, train)
        model = autoencoder.with_prior(sampler.as_prior())
        model.save("autoencoder_that_samples.keras")
        ```
        """
        prior = priors.get(prior)
        # One that draws from the prior draws from the new one.
        posterior = self.posterior.with_prior(prior)
        return self._sharing(objective, prior=prior, posterior=posterior)

    def with_missing(self, missing) -> "VAE":
        """Returns the same model for incomplete x, which shares everything with this one.

        A model that was trained on complete data knows p(x), and so log p(x_obs); what it lacks is
        a posterior for incomplete x. Importance sampling corrects its guess, and a training of the
        encoder alone on incomplete data makes it a good one.

        Args:
            missing: str or `kvae.fills.Fill`, as in the constructor; without the mask, which this
                model's encoder has no room for.

        Returns:
            `kvae.VAE`, built where this model is, and not compiled.

        Example:

        ```python
        vae = zoo.load("dense_vae.digits").with_missing("zero")
        vae.freeze("decoder")
        vae.compile("adam")
        x = kvae.datasets.load("digits", "train", binarize="static").examples[:100]
        vae.fit(x, mask=np.random.default_rng(0).random(x.shape) < 0.5, epochs=1)
        ```
        """
        return self._sharing(None, missing=fills.get(missing))

    def _sharing(self, objective, event_shape=None, **changes) -> "VAE":
        """Returns a model with other parts, and this one's where nothing else is said."""
        own = objective is None
        if own:
            objective = type(self.objective).from_config(self.objective.get_config())
        parts = {name: getattr(self, name) for name in (*PARTS, *OPTIONAL)}
        settings = {**self._settings(), **parts, "objective": objective, **changes}
        settings.pop("calibration", None)  # Scores under other parts are other scores.
        other = type(self).from_config(settings)
        if self.built and not other.built:  # Its encoder has no keras.Input.
            other.build((None, *(event_shape or self.event_shape)))
        other.weights_are_known = self.weights_are_known
        if own and self.built:
            weights = self.objective.get_weights()
            if [w.shape for w in weights] != [tuple(w.shape) for w in other.objective.weights]:
                raise ValueError(
                    f"{type(self.objective).__name__} has a network of its own for what it sees of "
                    "a model of this size: give another `objective`, e.g. 'elbo'."
                )
            other.objective.set_weights(weights)
        return other

    @property
    def conditional(self) -> bool:
        """True for a model of p(x|y), which takes labels."""
        return self.num_classes is not None or self.conditions is not None

    def conditioned_on(self, label):
        """Returns the model for these labels, with the same graph-level interface.

        Args:
            label: int array or tensor `[batch]` of classes, a dict of conditions, or `None` for a
                model without labels, which is returned as it is.

        Returns:
            `Conditioned`, with `encode_params`, `decode_params`, `prior`, `posterior` and others.

        Raises:
            ValueError: for a missing label, a wrong one, or one given to an unconditional model.
        """
        label = checked_label(self, label)
        return self if label is None else Conditioned(self, label)

    def __call__(self, inputs, *arguments, **options):
        # This is not done in `call`, whose errors Keras wraps and which gets tensors alone.
        forks.check()
        x, label = split_label(self, inputs)
        if label is not None:
            x = x, recognized_label(self, label, x)
        return super().__call__(x, *arguments, **options)

    def call(self, inputs, training=False):
        x, label = split_label(self, inputs)
        if self.takes_unknown_labels:
            label = self.guessed(x, checked_label(self, label, tf.shape(x)[0]))
        model = self.conditioned_on(label)
        z = model.posterior.mean(model.encode_params(x, training=training))
        return self.likelihood.mean(model.decode_params(z, training=training))

    @property
    def parts(self) -> list:
        """The posterior, the prior, the likelihood, the objective and the fill that there are."""
        parts = (self.posterior, self.prior, self.likelihood, self.objective, self.missing)
        return [part for part in parts if part is not None]
