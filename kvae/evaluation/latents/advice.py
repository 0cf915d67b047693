"""What to do about latents that say nothing."""

from typing import Any

from kvae import schedules
from kvae.evaluation.latents.summary import LEAST_KL, LatentSummary

__all__ = ["against_collapse", "asked_for_collapse", "told", "weight_of_kl"]


def told(summary: LatentSummary) -> str:
    """Returns how much the latents say, in half a sentence."""
    information = ""
    if summary.mutual_information is not None:
        found = summary.mutual_information
        information = f", the mutual information of x and z {found:.3g} nats"
    return (
        f"{summary.active_units} of {summary.latent_dim} latent dimensions are active, the KL is "
        f"{summary.rate:.3g} nats{information}"
    )


def weight_of_kl(model: Any) -> float:
    """Returns the weight β of the KL in the loss at the present step; 1 where there is none."""
    return float(schedules.at(getattr(model.objective, "beta", 1.0), model))


def asked_for_collapse(model: Any, summary: LatentSummary, min_kl: float = LEAST_KL) -> str | None:
    """Returns a sentence where the objective asks for latents that say little, else `None`."""
    beta = weight_of_kl(model)
    capacity = getattr(model.objective, "capacity", None)
    if capacity is not None:
        capacity = float(schedules.at(capacity, model))
        if capacity <= max(min_kl, 1.5 * summary.rate):
            return (
                f"The objective asks for that: its capacity is {capacity:.3g} nats at this "
                "step. A larger one lets z say more."
            )
    elif beta > 1:
        return (
            f"With beta = {beta:.4g} the loss pays {beta:.4g} nats for each nat that z says "
            "of x, so this may be what you want: a unit is active only where it saves more than"
            " that. If not, lower beta, or raise it slowly with kvae.schedules.Linear."
        )
    return None


def against_collapse(state: str) -> str:
    """Returns what to try against a state of `LatentSummary.state`."""
    if state == "partly collapsed":
        return (
            "The others say nothing of x. A smaller `latent_dim` would do as well; "
            "what may bring them back is a warm-up of the KL, as in "
            "ELBO(beta=kvae.schedules.Linear(0.0, 1.0, steps)), or free bits, as in "
            "ELBO(free_bits=0.1)."
        )
    return (
        "The decoder makes the same of every z. What to try: a "
        "warm-up of the KL, as in ELBO(beta=kvae.schedules.Linear(0.0, 1.0, steps)) or with "
        "kvae.schedules.Cyclical; free bits, as in ELBO(free_bits=0.1); a decoder that can do "
        "less without z."
    )
