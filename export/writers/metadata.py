"""The metadata of an exported model, which clients read."""

import math

__all__ = ["describe"]


def describe(model, card=None) -> dict:
    """Describes a model: its shapes, its parts, its inputs, where it comes from.

    Args:
        model: `kvae.VAE`. Built.
        card: optional `zoo.Card`, of which the licence, the preprocessing and the origin are told.
    """
    import keras
    import tensorflow as tf

    from kvae.version import __version__

    parts = {
        kind: None if (part := getattr(model, kind)) is None else type(part).__name__
        for kind in ("posterior", "prior", "likelihood")
    }

    def input_range(likelihood) -> list[float | None]:
        low, high, _ = likelihood.support()
        return [float(end) if math.isfinite(end) else None for end in (low, high)]

    found = {
        "library": "kvae",
        "name": model.name if card is None else card.name,
        "latent_dim": model.latent_dim,
        **({"latent_shape": list(model.latent_shape)} if len(model.latent_shape) > 1 else {}),
        **({} if model.scale_factor is None else {"scale_factor": model.scale_factor}),
        "event_shape": list(model.event_shape),
        "num_classes": model.num_classes,
        **parts,
        "input_range": input_range(model.likelihood),
        "whole_numbers": model.likelihood.whole_numbers,
        "versions": {
            "kvae": __version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
    }
    if (calibration := model.calibration) is not None:
        found["detection"] = {
            "score": calibration.score,
            "threshold": calibration.threshold,
            "false_alarm_rate": calibration.false_alarm_rate,
            "normal_rows": len(calibration.scores),
            "num_samples": calibration.num_samples,
            "seed": calibration.seed,
        }
    if model.modalities:
        found["modalities"] = {
            key: {
                "shape": list(model.likelihood.shapes[key]),
                "input_range": input_range(part),
                "whole_numbers": part.whole_numbers,
            }
            for key, part in model.likelihood.likelihoods.items()
        }
    if model.conditions is not None:
        found["conditions"] = model.conditions.facts()
    if model.schema is not None:
        found["schema"] = model.schema.to_dict()
    if card is not None:
        found["preprocessing"] = dict(card.preprocessing)
        found["license"] = card.license
        found["card"] = {
            "architecture": card.architecture,
            "dataset": card.dataset.get("name"),
            "headline": card.headline,
            "paper": card.paper,
            "weights_sha256": None if card.weights is None else card.weights["sha256"],
        }
    return found
