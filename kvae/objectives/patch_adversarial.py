"""A bound with a critic of patches, by which reconstructions get the texture of the data."""

import keras
from keras import layers, ops

from kvae import schedules
from kvae.objectives.adversarial import OfExamples
from kvae.objectives.objective import register

__all__ = ["PatchAdversarial"]


@register("patch_adversarial")
class PatchAdversarial(OfExamples):
    """`−E_q log p(x|z) + β KL(q(z|x) ‖ p(z)) − w Σ_i log D_i(x̃)`: a bound with a critic.

    D_i is the probability that a discriminator of convolutions gives to the i-th patch of an image
    being data, and x̃ the reconstruction, the mean of p(x|z). The bound alone averages over what z
    leaves open, which makes details smooth; a patch of x̃ that looks smooth gives itself away. In
    the logs `adversarial` is the mean of −log D_i over the patches, in nats: log 2 where the
    discriminator cannot tell. `elbo`, `reconstruction` and `kl` are those of any model; the loss
    bounds no likelihood. Latent diffusion trains its autoencoder so, with two things that are not
    here: distances in the features of a network, and a w that balances the gradients of both parts.

    The discriminator learns after each step of the model. Begin with a weight of 0, by a schedule
    such as `kvae.schedules.Linear(0.0, 1.0, steps=1000, delay=10_000)`, so that the model has
    learned to reconstruct before.

    Args:
        weight: float or schedule (`kvae.schedules`). w, of at least 0. Defaults to `1.0`.
        beta: float or schedule. Defaults to `1.0`; for codes that another model learns, 1e-6.
        discriminator_width: int. Defaults to `32`. Where no `discriminator` is given, from x to
            logits `[batch, …, 1]`, it is a PatchGAN of `discriminator_depth` convolutions of stride
            2, of 4 × 4 pixels with this width, twice as many, … filters, and one to the logits. The
            depth of 2 has patches of 22 × 22 pixels. Events that are no images have one logit.
        **settings: of `kvae.objectives.OfExamples`.

    Raises:
        ValueError: for settings out of range, an autoregressive likelihood and a model with missing
            values.

    Example:

    ```python
    objective = kvae.objectives.PatchAdversarial(beta=1e-6)
    vae = zoo.build(
        "autoencoder_kl", event_shape=(32, 32, 3), likelihood="gaussian:scale=0.1",
        objective=objective,
    )
    ```

    References:
        - [Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, section
          3.2.2](https://arxiv.org/abs/1611.07004)
        - [Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models, appendix
          G](https://arxiv.org/abs/2112.10752)
    """

    of_patches = True

    def __init__(
        self,
        weight: schedules.Number = 1.0,
        beta: schedules.Number = 1.0,
        discriminator_width: int = 32,
        **settings,
    ):
        super().__init__(discriminator_width=discriminator_width, **settings)
        self.weight = schedules.resolve("weight", weight)
        self.beta = schedules.resolve("beta", beta)

    def convolutions(self, inputs, seed):
        x = self.halved(inputs, self.discriminator_width, 4, seed)
        return layers.Conv2D(
            1,
            4,
            padding="same",
            kernel_initializer=keras.initializers.GlorotUniform(seed + self.discriminator_depth),
            data_format="channels_last",
            dtype="float32",
        )(x)

    def scheduled(self):
        return {"weight": self.weight, "beta": self.beta}

    def terms(self, vae, x, target, *, training, seed):
        params = vae.encode_params(x, training=training)
        z, kl = self.draw(vae, params, seed=seed, training=training)
        outputs = vae.decode_params(z, training=training)
        reconstruction = -ops.mean(vae.likelihood.log_prob(outputs, target), axis=0)
        made = vae.likelihood.mean(outputs)
        wrong = ops.softplus(-self.discriminator(made))  # −log D_i, [num_samples, batch, …].
        patches = tuple(range(2, len(wrong.shape)))
        total = ops.mean(ops.sum(wrong, axis=patches), axis=0)
        loss = reconstruction + schedules.at(self.beta, vae) * kl
        loss = loss + schedules.at(self.weight, vae) * total
        adversarial = ops.mean(wrong, axis=(0, *patches))
        more = {"adversarial": adversarial, "made": made}
        return self.reported(vae, params, loss, reconstruction, kl, **more)

    def cost(self, vae, params, z, kl, *, seed):
        return schedules.at(self.beta, vae) * kl, {}

    def get_config(self):
        return {
            **super().get_config(),
            "weight": schedules.serialize(self.weight),
            "beta": schedules.serialize(self.beta),
            **self.discriminator_config(),
        }
