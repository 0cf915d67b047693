"""A likelihood for tables whose columns are of different kinds."""

import numpy as np
from keras import ops

from kvae import random
from kvae.likelihoods.bernoulli import Bernoulli
from kvae.likelihoods.categorical import Categorical
from kvae.likelihoods.gaussian import Gaussian
from kvae.likelihoods.gaussian_mixture import GaussianMixture
from kvae.likelihoods.likelihood import register
from kvae.likelihoods.log_normal import LogNormal
from kvae.likelihoods.negative_binomial import NegativeBinomial
from kvae.likelihoods.ordinal import Ordinal
from kvae.likelihoods.poisson import Poisson
from kvae.likelihoods.rounded_mixture import RoundedMixture
from kvae.likelihoods.scale import ScaledInput, Standardized
from kvae.utils import names

__all__ = ["MixedTabular"]

_KINDS = {
    "gaussian": lambda standardize, _: Gaussian("per_pixel", standardize=standardize),
    "bernoulli": lambda *_: Bernoulli(),
    "categorical": lambda _, scale_input, num_classes: Categorical(num_classes, scale_input),
    "poisson": lambda *scales: Poisson(10.0, *scales),
    "negative_binomial": lambda *scales: NegativeBinomial(10.0, *scales),
    "log_normal": lambda standardize, _: LogNormal(standardize=standardize),
    "ordinal": lambda _, scale_input, num_classes: Ordinal(num_classes, scale_input=scale_input),
    "gaussian_mixture": lambda standardize, _, size: GaussianMixture(size, standardize=standardize),
    "rounded_mixture": lambda standardize, _, size, *atoms: RoundedMixture(
        size, atoms, standardize=standardize
    ),
}
# Kinds of a size, and what that is.
_SIZED = {
    "categorical": "number of classes",
    "ordinal": "number of classes",
    "gaussian_mixture": "number of components",
    "rounded_mixture": "number of components",
}


@register("mixed_tabular")
class MixedTabular(ScaledInput, Standardized):
    """`p(x|z)` = Π p(x_j|z) over the columns j of a table, each with a likelihood of its own.

    Columns are described by tuples:

    | column | values of x | decoder outputs | minus its log-probability |
    |---|---|---|---|
    | `("gaussian",)` | real | 2: mean, log-variance | squared error / 2σ² + log(2πσ²) / 2 |
    | `("bernoulli",)` | 0 or 1 | 1: logit | binary cross-entropy |
    | `("categorical", K)` | 0, 1, …, K - 1 | K: logits | categorical cross-entropy |
    | `("poisson",)` | 0, 1, 2, … | 1: log-rate | Poisson loss + log x! |
    | `("negative_binomial",)` | 0, 1, … | 2: log-rate, log of r | see `NegativeBinomial` |
    | `("log_normal",)` | positive | 2: location, log-variance | see `LogNormal` |
    | `("ordinal", K)` | 0, 1, …, K - 1, in order | 2: location, log-scale | see `Ordinal` |
    | `("gaussian_mixture", M)` | real | 3 M: logits, means, log-variances | see `GaussianMixture` |
    | `("rounded_mixture", M)` | whole | 3 M: logits, means, log-scales | see `RoundedMixture` |
    | `("rounded_mixture", M, 0, 40)` | whole, 0 and 40 frequent | 3 M + 2 | see `RoundedMixture` |

    The name alone stands for a tuple of one: `"gaussian"` for `("gaussian",)`.

    Terms of all columns are in nats and are summed with equal weight. A density (of real and of
    positive numbers) changes with the unit of its column and may outweigh the rest: standardise
    such columns.

    Args:
        columns: list of tuples or names, one for each column of x, in order.
        standardize: bool. Whether columns of real and positive numbers and of counts are seen
            relative to their statistics in the training data, as by `Gaussian` and `Poisson`.
            Defaults to `False`.
        scale_input: bool. Whether the encoder sees classes and counts on a scale of their own, as
            by `Categorical` and `Poisson`. Defaults to `True`.

    Decoder output: `[batch, width]` for events `(d,)`; `width` is the sum of the third column of
    the table. The outputs stand kind by kind, in the order in which the kinds first appear (the
    layout matters to whoever reads raw outputs only; a decoder learns any).

    Parameters are named by kind: `gaussian_mean`, `bernoulli_logits`, `categorical_5_logits`, ….
    `mean` of a categorical column is the mean class number; for categories without an order
    use `mode` (`vae.sample(n, output="mode")`).

    Raises:
        ValueError: without columns, for a kind that is not known, and for another number of columns
            in the data; `check` names the column that is outside its support.

    Example:

    ```python
    likelihood = kvae.likelihoods.MixedTabular(
        [("gaussian",), ("bernoulli",), ("categorical", 5), ("poisson",)]
    )
    likelihood.output_shape((4,))     # (9,)
    ```

    Reference:
        - [Nazábal et al., Handling Incomplete Heterogeneous Data using VAEs, section 2.2](
          https://arxiv.org/abs/1807.03653)
    """

    decoder_outputs = "the parameters of all columns"

    def __init__(self, columns=None, standardize: bool = False, scale_input: bool = True, **kwargs):
        super().__init__(scale_input, standardize=standardize, **kwargs)
        if not columns or not isinstance(columns, (list, tuple)):
            raise ValueError(
                "`columns` is a list with a description of each column of the table, e.g. "
                f"MixedTabular([('gaussian',), ('categorical', 5)]), and not {columns!r}."
            )
        self.columns = [_column(column) for column in columns]
        groups: dict[tuple, list[int]] = {}
        for position, column in enumerate(self.columns):
            groups.setdefault(column, []).append(position)
        self._groups = list(groups.values())
        # No label and "_" is the beginning of another one.
        self._labels = [
            "@".join(["_".join(map(str, column[:2])), *map(str, column[2:])]) for column in groups
        ]
        scales = self.standardize, self.scale_input
        self._parts = [_KINDS[kind](*scales, *arguments) for kind, *arguments in groups]
        order = [position for group in self._groups for position in group]
        self._back = np.argsort(order).astype("int32")  # Which accelerators ask for.
        self._widths = [
            part.num_parameters * len(group)
            for part, group in zip(self._parts, self._groups, strict=True)
        ]

    @property
    def discrete(self):
        found = [False] * len(self.columns)
        for part, group in zip(self._parts, self._groups, strict=True):
            for position in group:
                found[position] = bool(part.discrete)
        return found[0] if len(set(found)) == 1 else tuple(found)

    def output_shape(self, event_shape):
        if tuple(event_shape) != (len(self.columns),):
            raise ValueError(
                f"MixedTabular has {len(self.columns)} columns, so events have the shape "
                f"{(len(self.columns),)}, not {tuple(event_shape)}."
            )
        return (sum(self._widths),)

    def build(self, outputs_shape):
        for part, width in zip(self._parts, self._widths, strict=True):
            part.build((*outputs_shape[:-1], width))
        self.built = True

    @property
    def needs_data(self):
        return any(part.needs_data for part in self._parts)

    def encoder_input(self, x):
        if self.standardize:
            self.ensure_built(x.shape[1:])
        return self._changed(lambda part, own: part.encoder_input(own), x)

    def from_encoder_input(self, values):
        return self._changed(lambda part, own: part.from_encoder_input(own), values)

    def _changed(self, function, x):
        """Returns the same as `_of_columns`, but x itself if no part changes its columns."""
        own = [ops.take(x, group, axis=-1) for group in self._groups]
        seen = [function(part, columns) for part, columns in zip(self._parts, own, strict=True)]
        if all(new is old for new, old in zip(seen, own, strict=True)):
            return x
        return self._in_order([ops.cast(columns, self.dtype) for columns in seen])

    def set_statistics(self, mean, deviation):
        for part, group in zip(self._parts, self._groups, strict=True):
            if getattr(part, "standardize", False):
                part.set_statistics(mean[group], deviation[group])

    def far_columns(self, mean, deviation, largest):
        far = np.zeros(mean.shape, bool)
        for part, group in zip(self._parts, self._groups, strict=True):
            if isinstance(part, Standardized):
                far[group] = part.far_columns(mean[group], deviation[group], largest[group])
        return far

    def advice(self):
        if not self.standardize:
            return super().advice()
        return (
            "Rates of columns of counts end at exp(10) = 22,026: of larger counts give log(1 + x), "
            "as a Gaussian column."
        )

    def call(self, outputs):
        ends = np.cumsum(self._widths).tolist()
        blocks = [outputs[..., end - w : end] for w, end in zip(self._widths, ends, strict=True)]
        return {
            f"{label}_{name}": value
            for label, part, block in zip(self._labels, self._parts, blocks, strict=True)
            for name, value in part(block).items()
        }

    def element_log_prob(self, params, x):
        return self._by_column(
            lambda i, part, own: part.element_log_prob(own, ops.take(x, self._groups[i], axis=-1)),
            params,
        )

    def filled(self, x, observed=None):
        x = ops.cast(x, self.dtype)
        observed = ops.logical_not(ops.isnan(x)) if observed is None else observed
        return self._in_order(
            part.filled(ops.take(x, group, axis=-1), ops.take(observed, group, axis=-1))
            for part, group in zip(self._parts, self._groups, strict=True)
        )

    def averaged(self, params):
        found = {}
        for label, part, own in self._own(params):
            found |= {f"{label}_{name}": value for name, value in part.averaged(own).items()}
        return found

    def point(self, averages):
        return self._by_column(lambda i, part, own: part.point(own), averages)

    def mean(self, params):
        return self._by_column(lambda i, part, own: part.mean(own), params)

    def mode(self, params):
        return self._by_column(lambda i, part, own: part.mode(own), params)

    def sample(self, params, seed):
        return self._by_column(
            lambda i, part, own: part.sample(own, random.fold_in(seed, i)), params
        )

    def _by_column(self, function, params):
        """Applies `function(number, part, its parameters)` and puts the columns in order."""
        parts = enumerate(self._own(params))
        return self._in_order(function(i, part, own) for i, (_, part, own) in parts)

    def _own(self, params):
        """Yields the label of each kind, its likelihood and its parameters."""
        for label, part in zip(self._labels, self._parts, strict=True):
            start = f"{label}_"
            own = {k.removeprefix(start): v for k, v in params.items() if k.startswith(start)}
            yield label, part, own

    def _in_order(self, blocks):
        """Joins the columns of all kinds and puts them in the order of the table."""
        return ops.take(ops.concatenate(list(blocks), axis=-1), self._back, axis=-1)

    def support(self):
        """Returns the widest range of any column; `check` checks each column by its own range."""
        ranges = [part.support() for part in self._parts]
        return min(r[0] for r in ranges), max(r[1] for r in ranges), "See the columns."

    def element_in_support(self, x):
        return self._of_columns(lambda part, own: part.element_in_support(own), x)

    def _of_columns(self, function, x):
        """Applies `function(part, its columns of x)`, and joins what it returns."""
        return self._in_order(
            function(part, ops.take(x, group, axis=-1))
            for part, group in zip(self._parts, self._groups, strict=True)
        )

    def check_support(self, x, name="x"):
        if x.ndim != 2 or x.shape[1] != len(self.columns):
            raise ValueError(
                f"`{name}` has shape {x.shape}; MixedTabular takes (n, {len(self.columns)})."
            )
        for part, group in zip(self._parts, self._groups, strict=True):
            for position in group:
                part.check_support(x[:, position], f"{name}[:, {position}]")

    def get_config(self):
        return {**super().get_config(), "columns": [list(column) for column in self.columns]}


def _column(column) -> tuple:
    if not isinstance(column, (str, tuple, list)) or not column:
        raise ValueError(f"A column is described as a tuple, e.g. ('gaussian',), not {column!r}.")
    kind, *arguments = (column,) if isinstance(column, str) else column
    if kind not in _KINDS:
        raise names.unknown_name("kind of column", kind, _KINDS)
    atoms = kind == "rounded_mixture" and len(arguments) > 1
    if len(arguments) != (kind in _SIZED) and not atoms:
        what = f"('{kind}', {_SIZED[kind]})" if kind in _SIZED else f"('{kind}',)"
        raise ValueError(f"A {kind} column is described as {what}, not as {column!r}.")
    return (kind, *arguments)
