"""The semi-supervised objective: some labels are known, and a classifier guesses the others."""

import math
from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import layers

from kvae.distributions import base_noise
from kvae.layers import hidden_layers
from kvae.objectives.elbo import ELBO
from kvae.objectives.importance_weighted import IWAE
from kvae.objectives.objective import Objective, get, register

__all__ = ["SemiSupervised"]

_PARTS = ("loss", "reconstruction", "kl")


@register("semi_supervised")
class SemiSupervised(Objective):
    """The bound of a conditional model of which most labels are unknown, with a classifier.

    The model is p(x|z, y) p(z|y) p(y) with q(z|x, y) and q(y|x), Kingma et al.'s M2. With a label y
    the loss is the bound of p(x, y), and the cross-entropy of the classifier beside it,

        −B(x, y) − log p(y) − α log q(y|x).

    Without one, which the label −1 says, it is the bound of p(x), with the exact sum over labels,

        Σ_y q(y|x) [−B(x, y) − log p(y)] − H(q(y|x)).

    B is the ELBO, or another bound of log p(x|y). It is computed for all labels of every row, with
    the same noise for each: a step costs about as much as `num_classes` steps without this.

    `elbo` is the bound of log p(x), or of log p(x, y) for rows with a label. `kl` holds what is
    paid for the label, too. `accuracy` is the share of the labelled rows whose label the classifier
    finds (0 where there are none). `vae.predict_proba(x)` returns q(y|x).

    Args:
        classifier: keras.Model or `None`. From what the encoder sees of x to logits
            `[batch, num_classes]`. Defaults to `None`: a network of dense layers is made.
        alpha: float. The weight of the cross-entropy of each labelled row, at least 0. The paper
            has 0.1·N in all: of N rows with n labels, 0.1·N/n for each. Defaults to `1.0`.
        bound: str, `kvae.objectives.ELBO` or `kvae.objectives.IWAE` and those that derive from
            them, without `capacity` and `free_bits`. Defaults to `"elbo"`.
        class_probabilities: sequence of float or `None`. p(y), in the order of the classes.
            Defaults to `None`: all classes are as probable.
        hidden: sequence of int. Widths of the network that is made where none is given. Defaults to
            `(500,)`.
        activation: str. That of its hidden layers. Defaults to `"relu"`.

    Raises:
        ValueError: for a negative `alpha`, probabilities that do not sum to 1, another bound; and,
            with the model, for one without classes and a classifier of other shapes.

    Example:

    ```python
    data = kvae.datasets.load("digits", "train")
    labels = np.where(np.arange(len(data)) < 100, data.labels, -1)
    vae = zoo.build(
        "dense_vae", event_shape=(8, 8, 1), latent_dim=8, num_classes=10,
        objective=kvae.objectives.SemiSupervised(alpha=10.0),
    )
    vae.compile("adam")
    vae.fit((data.examples, labels), epochs=1)
    vae.predict_proba(data.examples[:5])     # [5, 10]
    ```

    Measured:
        - MNIST with 100 labels, M1+M2: error 4.1 % (published: 3.33),
          `python -m benchmarks.few_labels --models m1+m2 --seeds 0`

    Reference:
        - [Kingma et al., Semi-supervised Learning with Deep Generative Models, eq. 6–9](
          https://arxiv.org/abs/1406.5298)
    """

    takes_unknown_labels = True

    def __init__(
        self,
        classifier=None,
        alpha: float = 1.0,
        bound="elbo",
        class_probabilities: Sequence[float] | None = None,
        hidden: Sequence[int] = (500,),
        activation: str = "relu",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if isinstance(classifier, dict):
            classifier = keras.saving.deserialize_keras_object(classifier)
        if classifier is not None and not isinstance(classifier, keras.layers.Layer):
            raise TypeError(
                f"`classifier` is a Keras model from x to logits, not {classifier!r}. Leave it out "
                "for a network of dense layers of the widths `hidden`."
            )
        if not 0 <= alpha < math.inf:
            raise ValueError(f"`alpha` is a finite number of at least 0, not {alpha!r}.")
        self.alpha, self.hidden, self.activation = alpha, tuple(hidden), activation
        self.class_probabilities = _checked(class_probabilities)
        self.bound = get(bound)
        if not _of_each_row(self.bound):
            raise ValueError(
                f"`bound` is one of log p(x|y) of each row by itself, and {bound!r} is not: give "
                "'elbo' without `capacity` and `free_bits`, or 'iwae' and others like it."
            )
        self._given = classifier is not None
        self.classifier = classifier

    def attach(self, vae):
        super().attach(vae)
        if vae.num_classes is None:
            raise ValueError(
                "SemiSupervised guesses labels, and this model has no classes: give "
                "kvae.VAE(..., num_classes=…)."
            )
        known = self.class_probabilities
        if known is not None and len(known) != vae.num_classes:
            raise ValueError(
                f"`class_probabilities` has {len(known)} numbers for {vae.num_classes} classes."
            )
        self.bound.attach(vae)

    def prepare(self, vae):
        super().prepare(vae)
        self.bound.prepare(vae)
        shape = vae.seen_shape
        if self.classifier is None:
            x = keras.Input(shape, name="image")
            hidden = layers.Flatten(name="flatten", data_format="channels_last")(x)
            hidden = hidden_layers(hidden, self.hidden, self.activation)
            logits = layers.Dense(vae.num_classes, name="logits")(hidden)
            self.classifier = keras.Model(x, logits, name="classifier")
        found = tuple(self.classifier.compute_output_shape((None, *shape)))
        if found != (None, vae.num_classes):
            raise ValueError(
                f"The classifier returns shape {found} for inputs of shape {(None, *shape)}; it "
                f"returns logits {(None, vae.num_classes)}."
            )
        if not self.classifier.built:
            self.classifier.build((None, *shape))

    def metric_names(self):
        return (*self.bound.metric_names(), "accuracy")

    def counted(self, name, terms):
        return terms["known"] if name == "accuracy" else None

    def scheduled(self):
        return self.bound.scheduled()

    def set_scheduled(self, name, value):
        self.bound.set_scheduled(name, value)

    def report(self):
        return self.bound.report()

    def log_class_probabilities(self, num_classes: int) -> tf.Tensor:
        """Returns log p(y), `[num_classes]`."""
        given = self.class_probabilities
        return tf.math.log(tf.constant(given or [1.0 / num_classes] * num_classes, tf.float32))

    def classify(self, vae, x, training: bool = False, observed=None) -> tf.Tensor:
        """Returns log q(y|x) `[batch, num_classes]` for x `[batch, *event]`, without checks.

        `observed` is that of `kvae.VAE.encode_params`.
        """
        logits = self.classifier(vae.seen(tf.convert_to_tensor(x), observed), training=training)
        return tf.nn.log_softmax(tf.cast(logits, tf.float32))

    def terms(self, vae, x, target, *, training, seed):
        classes, label = vae.num_classes, vae.label
        log_q = self.classify(vae, x, training)
        known = label >= 0
        own = tf.one_hot(label, classes)
        # A label that is known has all the weight; [batch, num_classes].
        weight = tf.where(known[:, None], own, tf.exp(log_q))
        with base_noise.shared(classes):
            found = self.bound.terms(
                vae.for_each_label(),
                x,
                tf.tile(target, [classes, *[1] * (len(target.shape) - 1)]),
                training=training,
                seed=seed,
            )
        log_p = self.log_class_probabilities(classes)

        def mean(values):
            return tf.reduce_sum(weight * tf.transpose(tf.reshape(values, (classes, -1))), axis=1)

        named = {name: mean(found[name]) for name in self.bound.metric_names()}
        # What the label costs: log q(y|x) − log p(y), where q is certain of one that is known.
        certain = tf.where(known[:, None], tf.zeros_like(log_q), log_q)
        costs = tf.reduce_sum(weight * (certain - log_p), axis=1)
        cross_entropy = -tf.reduce_sum(own * log_q, axis=1)  # 0 where no label is known.
        bounds = {name: named[name] - costs for name in named.keys() - {*_PARTS, "elbo"}}
        hit = tf.equal(tf.argmax(log_q, axis=1, output_type=tf.int32), label)
        return {
            **bounds,
            "loss": named["loss"] + costs + self.alpha * cross_entropy,
            "elbo": named["elbo"] - costs,
            "reconstruction": named["reconstruction"],
            "kl": named["kl"] + costs,
            "accuracy": tf.cast(hit, tf.float32),
            "known": tf.cast(known, tf.float32),
        }

    def get_config(self):
        classifier = keras.saving.serialize_keras_object(self.classifier) if self._given else None
        return {
            **super().get_config(),
            "classifier": classifier,
            "alpha": self.alpha,
            "bound": keras.saving.serialize_keras_object(self.bound),
            "class_probabilities": self.class_probabilities,
            "hidden": list(self.hidden),
            "activation": self.activation,
        }


def _of_each_row(bound) -> bool:
    """Checks whether the loss is a bound of log p(x) of a row, whatever the others are."""
    if isinstance(bound, ELBO):
        return type(bound).cost is ELBO.cost and bound.capacity is None and not bound.free_bits
    return isinstance(bound, IWAE)


def _checked(probabilities) -> list[float] | None:
    if probabilities is None:
        return None
    found = [float(value) for value in probabilities]
    if not all(value > 0 for value in found) or abs(sum(found) - 1) > 1e-5:
        raise ValueError(
            f"`class_probabilities` are positive numbers that sum to 1, not {found}: leave out "
            "classes that never occur."
        )
    return found
