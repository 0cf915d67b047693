"""The Bernoulli likelihood."""

import keras
from keras import ops

from kvae import random
from kvae.likelihoods.likelihood import Likelihood

__all__ = ["Bernoulli"]


@keras.saving.register_keras_serializable(package="kvae")
class Bernoulli(Likelihood):
    """`p(x|z)` = Π Bernoulli(x_i; sigmoid(logits_i)), for x in [0, 1].

    Minus its log-probability is the *binary cross-entropy from logits*, summed over the event (with
    no further constants). For values strictly between 0 and 1 it stays a sensible loss, as in the
    Keras blog post, but is no normalised density any more; binarize the data where figures in nats
    are to be compared.

    Decoder output: logits, of the shape of the event.

    Example:

    ```python
    likelihood = kvae.likelihoods.Bernoulli()
    params = likelihood(np.zeros((2, 784), "float32"))
    likelihood.log_prob(params, np.ones((2, 784), "float32"))    # 784 · log(1/2) = -543.4 nats
    ```
    """

    def call(self, outputs):
        return {"logits": outputs}

    def element_log_prob(self, params, x):
        # log sigmoid(l)·x + log sigmoid(-l)·(1 - x), without overflow for any logit.
        logits = params["logits"]
        return x * logits - ops.softplus(logits)

    def mean(self, params):
        return ops.sigmoid(params["logits"])

    def mode(self, params):
        return ops.cast(params["logits"] > 0, self.dtype)

    def sample(self, params, seed):
        probabilities = self.mean(params)
        noise = random.uniform(ops.shape(probabilities), seed)
        return ops.cast(noise < probabilities, self.dtype)

    def support(self):
        return 0.0, 1.0, "Divide images of 0–255 by 255, or choose a Gaussian likelihood."
