"""Models of several modalities: their networks as one each, and translation between them."""

import math
from collections.abc import Mapping

import keras
from keras import ops

from kvae import fills, likelihoods, posteriors, random
from kvae.likelihoods.classes import OfClasses
from kvae.likelihoods.modalities import check_names
from kvae.models import network_checks
from kvae.models.inputs import require_built
from kvae.utils import callers, names

__all__ = ["EXPORTED", "OfModalities", "check_alone", "joined_networks", "warn_of_names"]

_OUTPUTS = ("mean", "mode", "sample")

# What else exported models take and return by name, as `export.signatures` specifies it.
EXPORTED = {
    *("z", "z_start", "z_end", "image_start", "image_end", "guess", "mask", "cells", "seed"),
    *("temperature", "steps", "num_samples", "embedding", "elbo", "log_prob"),
    *("effective_sample_size", "score", "p_value", "is_anomaly", "map", "probabilities"),
}


def joined_networks(encoders, decoders, latent_dim: int, posterior, likelihood, missing) -> tuple:
    """Makes the networks and parts of a model of several modalities.

    Args:
        encoders: mapping from the names of the modalities to networks with a `keras.Input` each;
            a tuple of names stands for a network of so many inputs, which reads all of them.
        decoders: mapping from the same names to networks from z to the parameters of p(x_m|z).
        latent_dim: int.
        posterior: str, `kvae.posteriors.Posterior` or `None`, which stands for
            `"product_of_experts"`.
        likelihood: mapping from the names to likelihoods or their names, or one for all.
        missing: str, `kvae.fills.Fill` or `None`, which stands for `"zero"`.

    Returns:
        The `encoder`, `decoder`, `posterior`, `likelihood` and `missing` of `kvae.VAE`.

    Raises:
        TypeError, ValueError: for networks and parts that do not go together, with the modality.
    """
    for name, value in (("encoders", encoders), ("decoders", decoders)):
        if not isinstance(value, Mapping) or not value:
            raise TypeError(
                f"`{name}` is a dict from the names of the modalities to networks, not {value!r}."
            )
    single = {key: network for key, network in encoders.items() if not isinstance(key, tuple)}
    joint_ones = {key: network for key, network in encoders.items() if isinstance(key, tuple)}
    encoders = single
    check_names(encoders)
    if not isinstance(likelihood, Mapping):
        if isinstance(likelihood, likelihoods.Likelihood):
            raise ValueError(
                "Each modality has a likelihood of its own: likelihood={"
                + ", ".join(f"{key!r}: …" for key in encoders)
                + "}."
            )
        likelihood = dict.fromkeys(encoders, likelihood)
    for name, value in (("decoders", decoders), ("likelihood", likelihood)):
        if set(value) != set(encoders):
            raise ValueError(
                f"`encoders` has the modalities {', '.join(map(repr, encoders))}, `{name}` "
                f"{', '.join(map(repr, value))}: give each of them both."
            )
    parts, shapes = {}, {}
    for key, encoder in encoders.items():
        network_checks.check_kind(f"encoders[{key!r}]", encoder)
        network_checks.check_kind(f"decoders[{key!r}]", decoders[key])
        parts[key], shapes[key] = _values(key, encoder, likelihoods.get(likelihood[key]))
    joint = likelihoods.Modalities(parts, shapes)
    posterior = posteriors.get("product_of_experts" if posterior is None else posterior)
    missing = fills.get("zero" if missing is None else missing)
    if not missing.mask:  # It says which modalities are present.
        missing = type(missing).from_config({**missing.get_config(), "mask": True})
    combines = posterior.of_modalities
    reads = [[number] for number in range(len(encoders))]
    reads += [_read(key, network, encoders) for key, network in joint_ones.items()]
    if combines and joint_ones:
        if posterior.reads not in (None, reads):
            raise ValueError(f"The encoders read {reads}, and the posterior has {posterior.reads}.")
        posterior.reads = reads
    encoder = _encoder({**encoders, **joint_ones}, reads, joint, combines)
    if hasattr(posterior, "arranged"):
        posterior.arranged(joint.modalities)
    if hasattr(posterior, "seen_by") and posterior.latent_dim is None:
        posterior.latent_dim = latent_dim
    decoder = _decoder(decoders, joint, latent_dim, getattr(posterior, "seen_by", None))
    return encoder, decoder, posterior, joint, missing


def check_alone(encoder, decoder, num_classes, conditions, latent_shape) -> None:
    """Refuses what does not go with `encoders` and `decoders`.

    Raises:
        ValueError: for any argument that is not `None`.
    """
    if encoder is not None or decoder is not None:
        raise ValueError(
            "Give `encoders` and `decoders` for several modalities, or `encoder` and `decoder` for "
            "one."
        )
    if num_classes is not None or conditions is not None:
        raise ValueError(
            "A model of several modalities takes no labels beside them: make the label a modality, "
            "encoders={..., 'label': …}."
        )
    if len(latent_shape) > 1:
        raise ValueError(
            "A model of several modalities has a z that is a vector: give `latent_dim`, and let a "
            "decoder begin with a Reshape."
        )


def warn_of_names(modalities, parameters) -> None:
    """Warns of a modality that exports will refuse, before anybody trains for hours.

    Args:
        modalities: the names of the modalities.
        parameters: the names of the posterior's parameters, which `encode` returns.
    """
    taken = EXPORTED.union(name.replace("/", "_") for name in parameters)
    for key in modalities:
        if key in taken:
            callers.warn(
                f"A model with a modality {key!r} cannot be exported, since an input or output of "
                "signatures has this name: give the modality another name if it is to be exported."
            )


def _values(key: str, encoder, likelihood) -> tuple:
    """Returns the likelihood of a modality, and the shape of one example's values."""
    inputs = getattr(encoder, "inputs", None) if getattr(encoder, "built", False) else None
    if not inputs or len(inputs) != 1 or None in inputs[0].shape[1:]:
        raise ValueError(
            f"`encoders[{key!r}]` says by its one keras.Input which shape the values of {key!r} "
            "have: begin it with keras.Input(shape), every size known."
        )
    shape = tuple(inputs[0].shape[1:])
    if not (isinstance(likelihood, OfClasses) and shape == (likelihood.num_classes,)):
        return likelihood, shape
    # The encoder takes one-hot vectors, and a value is a class number.
    config = {**likelihood.get_config(), "scale_input": False}
    return type(likelihood).from_config(config), ()


def _read(key: tuple, network, encoders: Mapping) -> list[int]:
    """Returns the numbers of the modalities that an encoder of several reads, in their order."""
    network_checks.check_kind(f"encoders[{key!r}]", network)
    for name in key:
        if name not in encoders:
            raise names.unknown_name("modality", str(name), encoders)
    inputs = getattr(network, "inputs", None) or []
    shapes = [tuple(one.shape[1:]) for one in inputs]
    wanted = [tuple(encoders[name].inputs[0].shape[1:]) for name in key]
    if shapes != wanted:
        raise ValueError(
            f"`encoders[{key!r}]` takes inputs of the shapes {shapes}; those of the modalities' "
            f"own encoders are {wanted}, in this order."
        )
    return [list(encoders).index(name) for name in key]


def _encoder(encoders: Mapping, reads: list, joint, for_experts: bool) -> keras.Model:
    """Returns one network from a record and its mask to the features of all encoders."""
    columns = joint.columns
    seen = keras.Input((2 * columns,), name="record")
    inputs, present, start = [], [], 0
    for key, (encoder, size) in zip(
        joint.modalities, zip(encoders.values(), joint.sizes.values(), strict=False), strict=True
    ):
        end = start + size
        values, mask = seen[:, start:end], seen[:, columns + start : columns + end]
        there = ops.max(mask, axis=-1, keepdims=True)
        shape = tuple(encoder.inputs[0].shape[1:])
        if joint.shapes[key] == () and shape != ():
            values = ops.one_hot(ops.cast(values[:, 0], "int32"), shape[-1]) * there
        else:
            values = ops.reshape(values, (-1, *shape))
        inputs.append(values)
        present.append(there)
        start = end
    features = [
        network([inputs[number] for number in each] if len(each) > 1 else inputs[each[0]])
        for network, each in zip(encoders.values(), reads, strict=True)
    ]
    present = ops.concatenate(present, axis=-1)
    if for_experts:
        return keras.Model(seen, {"experts": features, "present": present}, name="encoders")
    flat = [keras.layers.Flatten()(one) for one in keras.tree.flatten(features)]
    return keras.Model(seen, ops.concatenate([*flat, present], axis=-1), name="encoders")


def _decoder(decoders: Mapping, joint, latent_dim: int, seen_by=None) -> keras.Model:
    """Returns one network from z to the outputs of all decoders, flattened and joined.

    `seen_by(z, modality)` returns the latents that a decoder sees. Defaults to `None`: all.
    """
    z = keras.Input((latent_dim,), name="z")
    outputs = []
    for key, part in joint.likelihoods.items():
        decoder = decoders[key]
        seen = z if seen_by is None else seen_by(z, key)
        declared = getattr(decoder, "inputs", None) or [seen]
        if len(declared) != 1 or declared[0].shape[1:] != seen.shape[1:]:
            own = "" if seen_by is None else " and this posterior"
            raise ValueError(
                f"`decoders[{key!r}]` takes inputs of shape {tuple(declared[0].shape)}; with "
                f"latent_dim={latent_dim}{own} it is one of {tuple(seen.shape)}."
            )
        found = decoder(seen)
        expected = part.output_shape(joint.shapes[key] or (1,))
        if tuple(found.shape[1:]) != tuple(expected):
            raise ValueError(
                f"`decoders[{key!r}]` returns shape {tuple(found.shape)}; {type(part).__name__} "
                f"needs {(None, *expected)} for values of shape {(None, *joint.shapes[key])}."
            )
        network_checks.check_ending(decoder, part, seen)
        outputs.append(ops.reshape(found, (-1, math.prod(expected))))
    return keras.Model(z, ops.concatenate(outputs, axis=-1), name="decoders")


class OfModalities:
    """The methods of `kvae.VAE` for models of several modalities."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """The names of the modalities; of a model of one kind of data an empty tuple."""
        return getattr(self.likelihood, "modalities", ())

    def by_modality(self, values):
        """Returns records `[..., columns]` as a dict by modality; other values as they are."""
        return self.likelihood.split(values) if self.modalities else values

    def translate(
        self, x=None, *, to, output: str | None = None, seed=None, batch_size="auto", **modalities
    ):
        """Translates some modalities of examples into others: x_m to z, and z to x_to.

        z is the posterior's mean given the modalities that are there, or with a seed a draw.
        `impute` weighs many draws, which takes longer and is an estimate of E[x_to|x_m] itself.

        Args:
            x: mapping from the names of modalities to arrays, or data of any kind that `encode`
                takes. Defaults to `None`: the modalities stand by name, `image=x`.
            to: str or list of str. The modalities to return.
            output: str or `None`. `"mean"` returns E[x_to|z], `"mode"` its most probable value,
                `"sample"` a draw from p(x_to|z). Defaults to `None`: the one value that stands for
                p(x_to|z), which is the mean of numbers and the most probable of classes.
            seed: int, `SeedGenerator` or int32 tensor `[2]`. Defaults to `None`: z is the mean.
            batch_size: int or str. As in `encode`.
            **modalities: arrays by name.

        Returns:
            Tensor `[n, *shape]`, for a list a dict of such by name.

        Raises:
            ValueError: for a model of one modality, an unknown one, an `output` that there is not,
                `"sample"` without a seed, and what `encode` refuses.

        Example:

        ```python
        label = vae.translate(image=images, to="label")
        images = vae.translate(label=[0, 1, 2], to="image", seed=1)
        ```
        """
        require_built(self)
        wanted = [to] if isinstance(to, str) else list(to)
        for key in wanted:
            if key not in self.modalities:
                raise names.unknown_name("modality", key, self.modalities)
        if output is not None and output not in _OUTPUTS:
            raise names.unknown_name("output", output, _OUTPUTS)
        if output == "sample" and seed is None:
            raise ValueError("output='sample' draws, which takes a seed: translate(…, seed=1).")
        if x is not None and modalities:
            raise ValueError("Give the modalities by name or as one dict, not in both ways.")
        seed = None if seed is None else random.as_seed(seed)
        params, _ = self.encode_data(modalities if x is None else x, None, batch_size)
        z = self.code(params, None, None if seed is None else random.split(seed)[0])
        values = self.decoded_to(output or "point", z, None, batch_size, seed)
        found = self.by_modality(values)
        return found[to] if isinstance(to, str) else {key: found[key] for key in wanted}
