"""Models of tables, whose columns may be of different kinds."""

import math

import kvae
from zoo.arguments import Activation, Count, EventShape, Widths
from zoo.networks import dense_model
from zoo.recipes import recipe
from zoo.registry import architecture

__all__ = ["tabular_vae"]

_TABLES = (
    "Nazábal et al. 2020, Handling Incomplete Heterogeneous Data using VAEs, "
    "https://arxiv.org/abs/1807.03653"
)


def _of_columns(event_shape, columns=None, standardize: bool = False):
    if len(event_shape) != 1:
        raise ValueError(
            f"tabular_vae takes rows, event_shape=(columns,), not {tuple(event_shape)}. Use "
            "conv_vae for images, timeseries_vae for signals."
        )
    if columns is None:
        columns = [("gaussian",)] * math.prod(event_shape)
    return kvae.likelihoods.MixedTabular(columns, standardize)


@architecture(
    likelihood=_of_columns, small={"event_shape": (64,), "latent_dim": 3, "hidden": (16,)}
)
def tabular_vae(
    event_shape: EventShape = (31,),
    latent_dim: Count = 8,
    hidden: Widths = (64, 64),
    activation: Activation = "silu",
    **parts,
) -> kvae.VAE:
    """A VAE of tables, whose columns may be of different kinds.

    The encoder sees categories of a `MixedTabular` likelihood as one-hot vectors.

    Args:
        event_shape: tuple `(columns,)`. Shape of one row. Defaults to `(31,)`.
        latent_dim: int. Size of `z`. Defaults to `8`.
        hidden: sequence of int. Widths of the encoder; the decoder mirrors them. Defaults to
            `(64, 64)`.
        activation: str. A Keras activation, or `"gated"`. Defaults to `"silu"`.
        columns: sequence of column descriptions, see `kvae.likelihoods.MixedTabular`, or `None`:
            all of them Gaussian. Defaults to `None`.
        standardize: bool. Whether columns are seen relative to their statistics in the training
            data (see `kvae.likelihoods.MixedTabular`), where these are not standardised. Defaults
            to `False`.
        **parts: further arguments of `kvae.VAE`; a `likelihood` replaces the one of `columns` and
            `standardize`.

    Raises:
        ValueError: for rows of another number of columns.

    Reference:
        - [Nazábal et al., Handling Incomplete Heterogeneous Data using VAEs](
          https://arxiv.org/abs/1807.03653)
    """
    first = _one_hot(kvae.likelihoods.get(parts["likelihood"]))
    return dense_model(event_shape, latent_dim, hidden, activation, first, **parts)


def _one_hot(likelihood):
    """Returns the layer by which the encoder sees categories; `None` where there are none."""
    if not isinstance(likelihood, kvae.likelihoods.MixedTabular) or not likelihood.scale_input:
        return None
    # Two classes are two levels already.
    sizes = [
        column[1] if column[0] == "categorical" and column[1] > 2 else 0
        for column in likelihood.columns
    ]
    return kvae.layers.OneHotLevels(sizes, name="one_hot") if any(sizes) else None


recipe(
    "tabular_vae.breast_cancer",
    "breast_cancer",
    {"columns": (*[("gaussian",)] * 30, ("bernoulli",))},
    epochs=400,
    batch_size=64,
    num_samples=5000,
    paper=_TABLES,
)
# In its own units, as a frame has them; the sizes are those of `benchmarks/tables.py`.
recipe(
    "tabular_vae.wine",
    "wine",
    {
        "event_shape": (14,),
        "columns": tuple(column.description for column in kvae.datasets.info("wine").columns),
        "standardize": True,
        "latent_dim": 16,
        "hidden": (256, 256),
    },
    epochs=150,
    batch_size=8,
    num_samples=5000,
    paper=_TABLES,
)
