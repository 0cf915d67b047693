"""The methods of a trained model, which take arrays and return tensors."""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from kvae import random
from kvae.evaluation.imputation import Imputation, impute
from kvae.evaluation.marginal_likelihood.importance import importance_log_prob
from kvae.evaluation.marginal_likelihood.log_prob import LogProb
from kvae.evaluation.marginal_likelihood.over_labels import log_prob_over_labels
from kvae.models.inputs import (
    LEAST_ROWS,
    concatenated,
    in_batches,
    latent_tensors,
    require_built,
    rows_at_once,
)
from kvae.models.labels import checked_label, with_mask
from kvae.utils import arguments, names

__all__ = ["Inference"]

_OUTPUTS = ("mean", "mode", "sample")
_LARGE = 4096  # The values of an event from which even few rows may be too many at once.


def _is_auto(batch_size) -> bool:
    return isinstance(batch_size, str) and batch_size == "auto"


class Inference:
    """The methods of `kvae.VAE` that encode, decode, sample and estimate densities."""

    def encode(
        self, x, label=None, batch_size: int | str = "auto", mask=None
    ) -> dict[str, tf.Tensor]:
        """Returns the posterior's parameters for `x`, deterministically.

        Args:
            x: array or tensor `[n, *event]`, or what `fit` takes: `kvae.datasets.Dataset`, frames,
                and a `Stream`, `tf.data.Dataset` or generator, which is read batch by batch.
            label: int array or tensor `[n]`, or a dict of conditions; of a conditional model alone.
                Defaults to `None`: the labels of the data.
            batch_size: int or str. The number of examples that are encoded at once, which bounds
                the memory. Defaults to `"auto"`: as many as a layer has 32 MB of outputs for, and
                at least 1024.
            mask: bool array of the shape of x, of a model with `missing`: True where a value was
                observed; NaN in x says the same. Defaults to `None`.

        Returns:
            dict of tensors, e.g. `{"z_mean": [n, latent_dim], "z_log_var": [n, latent_dim]}`; with
            `latent_shape` those of z's size are on its grid, `[n, *latent_shape]`, and
            `vae.as_vectors` makes of them what the posterior takes.

        Raises:
            ValueError: for a wrong shape or NaN, and for a missing, wrong or superfluous label.
        """
        return self.on_grid(self.encode_data(with_mask(x, mask), label, batch_size)[0])

    def encode_data(
        self, x, label=None, batch_size: int | str = "auto"
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor | None]:
        """Returns what `encode` does, and the checked labels of the examples or `None`.

        The arguments are those of `encode`; the parameters are vectors, as the parts take them.
        """
        params, labels = [], []
        for events, own in self.event_batches(
            x, label, LEAST_ROWS if _is_auto(batch_size) else batch_size
        ):
            params.append(self._encoded(events, own, batch_size))
            labels.append(own)
        return concatenated(params), concatenated(labels) if self.conditional else None

    def decode(self, z, label=None, batch_size: int | str = "auto") -> tf.Tensor:
        """Returns the mean E[x|z] of the likelihood for given latents.

        Args:
            z: array or tensor `[n, latent_dim]`, or `[n, *latent_shape]`.
            label: int array or tensor `[n]`, or a dict of conditions; of a conditional model alone.
            batch_size: int or str. The number of latents that are decoded at once. Defaults to
                `"auto"`, as in `encode`.

        Returns:
            Tensor `[n, *event]`, on the scale of the data.

        Raises:
            ValueError: for a wrong shape or NaN, and for a missing, wrong or superfluous label.
        """
        values = self.decoded_to("mean", *latent_tensors(self, z, label), batch_size)
        return self.by_modality(values)

    def reconstruct(
        self, x, label=None, seed=None, batch_size: int | str = "auto", mask=None
    ) -> tf.Tensor:
        """Encodes examples, and decodes their codes to reconstructions E[x|z].

        Args:
            x, label: as in `encode`.
            seed: int, `SeedGenerator` or int32 tensor `[2]`. With a seed z is drawn from q(z|x).
                Defaults to `None`: z is the posterior's mean.
            batch_size: int or str. The number of examples at once. Defaults to `"auto"`, as in
                `encode`.
            mask: as in `encode`.

        Returns:
            Tensor `[n, *event]`, on the scale of the data.

        Raises:
            ValueError: for a wrong shape or NaN, and for a missing, wrong or superfluous label.
        """
        x = with_mask(x, mask)
        if seed is None:
            found = [
                self._in_batches("reconstruct", self._reconstruction, part, batch_size)
                for part in self.event_batches(
                    x, label, LEAST_ROWS if _is_auto(batch_size) else batch_size
                )
            ]
            return self.by_modality(concatenated(found))
        params, label = self.encode_data(x, label, batch_size)
        z = self.code(params, label, random.as_seed(seed))
        return self.by_modality(self.decoded_to("mean", z, label, batch_size))

    def sample(
        self,
        n: int,
        seed=None,
        output: str = "mean",
        temperature: float = 1.0,
        batch_size: int | str = "auto",
        label=None,
    ) -> tf.Tensor:
        """Generates examples: draws z from the prior, and decodes it.

        Args:
            n: int. The number of examples.
            seed: int, `SeedGenerator` or int32 tensor `[2]`; the same seed gives the same bits.
                `None` continues the model's own stream.
            output: str. `"mean"` returns E[x|z], `"mode"` its most probable x, `"sample"` a draw
                from p(x|z). Defaults to `"mean"`.
            temperature: float. Scales the prior's noise; at least 0. Defaults to `1.0`.
            batch_size: int or str. The number of examples at once. Defaults to `"auto"`, as in
                `encode`.
            label: int or int array `[n]`, or a dict of conditions, for a conditional model alone:
                one class, or value, for all examples, or that of each. Defaults to `None`: with an
                objective that guesses labels, classes are drawn from p(y).

        Returns:
            Tensor `[n, *event]`.

        Raises:
            ValueError: for an unknown `output`, an `n`, `temperature` or `batch_size` out of range,
                for a model without a prior, and for a missing, wrong or superfluous label.
        """
        if output not in _OUTPUTS:
            raise names.unknown_name("output", output, _OUTPUTS)
        if self.prior is None:
            raise ValueError(
                f"{self.name} is an autoencoder without a prior, so it has nothing to sample from. "
                "Fit a prior to its codes with kvae.samplers, decode codes of your own with "
                "`decode(z)`, or train a VAE."
            )
        require_built(self)
        if not tf.is_symbolic_tensor(n):
            n = arguments.whole("n", n)
        if not tf.is_symbolic_tensor(temperature):
            temperature = arguments.number("temperature", temperature, least=0.0)
        if isinstance(label, int) or getattr(label, "shape", None) == ():
            label = tf.fill([n], label) if tf.is_tensor(n) else np.full(n, label)
        seed = random.as_seed(self.seed_generator if seed is None else seed)
        if label is None and self.takes_unknown_labels:
            label = self.run_compiled("draw labels", self.drawn_labels, (), n, seed)
        rows = None if tf.is_tensor(n) and self.conditions is None else n
        label = checked_label(self, label, rows, unknown=False)
        given = n, seed, temperature
        if not tf.is_tensor(n) and n <= self._rows_at_once(batch_size, n):  # One call, not two.
            read = self._reader(output)

            def sampled(label, n, seed, temperature):
                z = self._drawn(label, n, seed, temperature)
                return read(self.decode_params(z, label), seed)

            return self.by_modality(
                self.run_compiled(f"sample the {output}", sampled, (label,), *given)
            )
        z = self.run_compiled("draw from the prior", self._drawn, (label,), *given)
        return self.by_modality(self.decoded_to(output, z, label, batch_size, seed))

    def log_prob(
        self,
        x,
        num_samples: int = 100,
        batch_size: int = 100,
        seed=0,
        progress=None,
        label=None,
        mask=None,
        **options,
    ) -> LogProb:
        """Estimates log p(x) in nats by importance sampling from the posterior.

        For a conditional model it estimates log p(x|y), and of incomplete x log p of what was
        observed. With an objective that guesses labels, and where any of them is not known, it
        estimates log p(x) = log Σ_y p(y) p(x|y) for all examples. The documentation of
        `kvae.evaluation.importance_log_prob` describes the estimator, its bias and its error.

        Args:
            x: as in `encode`, in the likelihood's support.
            num_samples: int. The number of importance samples for each example. Defaults to `100`.
            batch_size: int. The number of examples at once. Defaults to `100`.
            seed: int. The seed of the samples: the same seed gives the same estimate. Defaults to
                `0`.
            progress: optional callable, called with the number of finished examples.
            label: as in `encode`.
            mask: as in `encode`.
            **options: `cache`, a file that keeps finished batches, and `max_rows`, which bounds the
                memory.

        Returns:
            `LogProb` with arrays `[n]`, in nats: `value`, `monte_carlo_error` and others; and
            `effective_sample_size`.

        Raises:
            ValueError: for an autoencoder, which has no density; for a wrong shape and values
                outside the likelihood's support; and for a missing, wrong or superfluous label.
        """
        estimate = log_prob_over_labels if self.takes_unknown_labels else importance_log_prob
        return estimate(
            self,
            with_mask(x, mask),
            num_samples=num_samples,
            batch_size=batch_size,
            seed=seed,
            progress=progress,
            label=label,
            **options,
        )

    def impute(
        self,
        x,
        mask=None,
        num_samples: int = 100,
        num_imputations: int | None = None,
        seed=0,
        label=None,
        batch_size: int = 100,
        **options,
    ) -> Imputation:
        """Fills in the values of x that were not observed, by importance sampling.

        The documentation of `kvae.evaluation.impute` describes the estimates.

        Args:
            x: as in `encode`. NaN was not observed.
            mask: as in `encode`.
            num_samples: int. The number of importance samples for each example. Defaults to `100`.
            num_imputations: int or `None`. The number of draws from p(x_mis|x_obs) for each
                example. Defaults to `None`: a single imputation, the mean.
            seed: int. The same seed gives the same values. Defaults to `0`.
            label: as in `encode`.
            batch_size: int. The number of examples at once. Defaults to `100`.
            **options: `progress`, a callable, and `max_rows`, which bounds the memory.

        Returns:
            `kvae.evaluation.Imputation`: `value` `[n, *event]`, or
            `[num_imputations, n, *event]`, with the observed values as they were, bit for bit;
            `effective_sample_size` `[n]` and `observed`. It is an array to NumPy.

        Raises:
            ValueError: for a model without `missing`, an autoencoder, a wrong shape and values
                outside the likelihood's support.

        Example:

        ```python
        x = kvae.datasets.load("digits", "train").examples[:64]
        vae = zoo.build("dense_vae", event_shape=(8, 8, 1), latent_dim=2, missing="zero")
        vae.compile("adam")
        vae.fit(x, epochs=1)
        mask = np.ones(x.shape, bool)
        mask[:, :4, :4] = False                                  # A quarter is missing.
        filled = vae.impute(x, mask, seed=1)
        print(filled.value.shape, filled.effective_sample_size.min())
        ```
        """
        found = impute(
            self,
            with_mask(x, mask),
            num_samples=num_samples,
            num_imputations=num_imputations,
            batch_size=batch_size,
            seed=seed,
            label=label,
            **options,
        )
        if not self.modalities:
            return found
        value, observed = self.by_modality(found.value), self.by_modality(found.observed)
        return dataclasses.replace(found, value=value, observed=observed)

    def quantize(self, *arguments, **options) -> None:
        """Quantizes the layers as `keras.Model.quantize` does."""
        super().quantize(*arguments, **options)
        self._functions.clear()  # They were made with the layers as they were.

    def _encoded(self, x, label, batch_size: int | str) -> dict:
        return self._in_batches("encode", self.encode_params, (x, label), batch_size)

    def decoded_to(self, output: str, z, label, batch_size: int | str = "auto", seed=None):
        """Returns the mean, the mode, the point or a draw of p(x|z), `[n, *event]`.

        Args:
            output: str. `"mean"`, `"mode"`, `"point"` (see `Likelihood.point`) or `"sample"`.
            z, label: tensors, checked.
            batch_size: int or str. As in `encode`.
            seed: int32 tensor `[2]`, of whose two seeds the second makes a draw.
        """
        read = self._reader(output)
        if output == "sample":
            params = self._in_batches(
                "decode to parameters", self.decode_params, (z, label), batch_size
            )
            return self.run_compiled("draw an event", read, (params,), seed)
        return self._in_batches(
            f"decode to the {output}",
            lambda z, label: read(self.decode_params(z, label)),
            (z, label),
            batch_size,
        )

    def _reader(self, output: str):
        """Returns the function from the parameters of p(x|z), and a seed, to x."""
        likelihood = self.likelihood

        def read(params, seed=None):
            if output == "sample":
                return likelihood.sample(params, random.split(seed)[1])
            if output == "point":
                return likelihood.point(likelihood.averaged(params))
            return getattr(likelihood, output)(params)

        return read

    def code(self, params, label, seed=None):
        """Returns a draw from q(z|x), `[n, latent_dim]`, and its mean without a seed."""
        if seed is None:
            return self.run_compiled("the mean code", self._mean_code, (params, label))
        return self.run_compiled("draw a code", self._code, (params, label), seed)

    def _code(self, params, label, seed):
        return self.conditioned_on(label).posterior.sample(params, seed=seed)

    def _mean_code(self, params, label):
        return self.conditioned_on(label).posterior.mean(params)

    def _reconstruction(self, x, label):
        z = self.conditioned_on(label).posterior.mean(self.encode_params(x, label))
        return self.likelihood.mean(self.decode_params(z, label))

    def _drawn(self, label, n, seed, temperature):
        """Returns `n` draws from the prior, by the first of the two seeds of `sample`."""
        prior = self.prior.conditioned_on(label)
        return prior.sample(n, random.split(seed)[0], temperature)

    def _in_batches(self, name: str, function, rows: tuple, batch_size: int | str):
        symbolic = tf.is_symbolic_tensor(rows[0])
        batch_size = self._rows_at_once(batch_size, 0 if symbolic else len(rows[0]))
        return in_batches(lambda *part: self.run_compiled(name, function, part), rows, batch_size)

    def _rows_at_once(self, batch_size: int | str, count: int) -> int:
        """Returns how many of `count` rows are computed with at once."""
        if not _is_auto(batch_size):
            return arguments.whole("batch_size", batch_size)
        few = count <= LEAST_ROWS and math.prod(self.event_shape) < _LARGE
        return LEAST_ROWS if few else rows_at_once(self)

    def run_compiled(self, name, function, rows: tuple, *others):
        """Returns `function(*rows, *others)`, of a graph that is made once and kept.

        The model's methods use it, and so may whatever else is computed with a model again and
        again. With `compile(run_eagerly=True)` the function is called as it is.

        Args:
            name: str, or a tuple that begins with one. The name of the function: the same name
                stands for the same function.
            function: callable, of tensors. It closes over nothing but the model and its parts.
            rows: tuple of tensors `[n, ...]`, dicts or tuples of them, or `None`s.
            *others: tensors and numbers, or dicts of them, of other shapes.
        """
        if getattr(self, "run_eagerly", False):
            return function(*rows, *others)
        return self._functions(name, function, rows, *others)
