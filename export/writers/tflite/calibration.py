"""Representative inputs, which set the ranges of a file that computes in eight bits."""

import numpy as np

__all__ = ["classifier_inputs", "decoder_inputs", "encoder_inputs"]

_ROWS = 256


def decoder_inputs(model, calibration) -> dict[str, np.ndarray]:
    """Returns inputs that a decoder typically meets: latents, and labels of a conditional model."""
    if calibration is None:
        if model.prior is None:
            raise ValueError(
                f"{model.name!r} has no prior to draw latents from, and precision 'int8' needs "
                "some: give `calibration`, a few hundred images or latents."
            )
        label = np.arange(_ROWS) % (model.num_classes or 1)
        if model.conditions is not None:
            label = model.conditions.examples(_ROWS).numpy()
        given = model.conditioned_on(label if model.conditional else None)
        return _latents_and_label(model, given.prior.sample(_ROWS, 0), label)
    given, label, events = _given(model, calibration)
    if not events:
        model.decode(given, label)  # Checks the labels.
        return _latents_and_label(model, given, label)
    params = model.encode_data(given, label)[0]
    known = model.conditioned_on(label)
    latents = np.asarray(known.posterior.sample(params, seed=0), np.float32)
    if model.prior is None:
        return _latents_and_label(model, latents, label)
    drawn = np.asarray(known.prior.sample(len(latents), 1), np.float32)
    # They take turns, so that the first rows hold both.
    both = np.stack([latents, drawn], axis=1).reshape(-1, model.latent_dim)
    twice = None if label is None else np.repeat(label, 2, axis=0)
    return _latents_and_label(model, both, twice)


def classifier_inputs(model, calibration) -> dict[str, np.ndarray]:
    """Returns inputs that a classifier typically meets: images."""
    return _images(model, calibration)[0]


def encoder_inputs(model, calibration) -> dict[str, np.ndarray]:
    """Returns inputs that an encoder typically meets: images, and labels of a conditional model."""
    inputs, label = _images(model, calibration)
    # Checks the labels.
    model.encode(inputs["image"][:1], None if label is None else label[:1])
    return _with_label(model, inputs, label)


def _images(model, calibration) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Returns the inputs that stand for an event, and the labels."""
    label = None
    events = False
    if calibration is not None:
        given, label, events = _given(model, calibration)
    if not events:
        raise ValueError(
            "Precision 'int8' of an encoder needs images: give `calibration`, a few hundred of "
            f"shape {tuple(model.event_shape)}."
        )
    inputs = {"image": given}
    if model.missing is not None:  # Half of the values of most.
        share = np.random.default_rng(0).random(given.shape) < 0.5
        share[::4] = True
        inputs["mask"] = share.astype(np.float32)
    return inputs, label


def _given(model, calibration) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """Checks calibration data: the rows, their labels, and whether they are images."""
    label = None
    if isinstance(calibration, tuple):
        calibration, label = calibration
    if hasattr(calibration, "examples"):
        calibration, label = calibration.examples, calibration.labels if model.conditional else None
    given = np.asarray(calibration)
    if model.conditions is not None and label is not None:
        label = model.conditions.record(label, len(given)).numpy()
    events = given.shape[1:] == tuple(model.event_shape)
    fits = events or given.shape[1:] in ((model.latent_dim,), model.latent_shape)
    if given.ndim < 2 or not len(given) or not fits:
        raise ValueError(
            f"`calibration` has shape {given.shape}; it is images (n, "
            f"{', '.join(map(str, model.event_shape))}) or latents (n, "
            f"{', '.join(map(str, model.latent_shape))})."
        )
    if not np.isfinite(given).all():
        raise ValueError("`calibration` holds NaN or infinite values. Remove them.")
    if events:
        model.likelihood.check(given, "calibration")
    return given.astype(np.float32), label, events


def _latents_and_label(model, latents, label) -> dict[str, np.ndarray]:
    z = np.asarray(model.on_grid(model.as_vectors(latents)), np.float32)
    return _with_label(model, {"z": z}, label)


def _with_label(model, found: dict, label) -> dict[str, np.ndarray]:
    if model.conditions is not None:
        found["label"] = model.conditions.encode(label).numpy()
    elif model.conditional:
        found["label"] = np.eye(model.num_classes, dtype=np.float32)[label]
    return found
