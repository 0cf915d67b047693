"""Scores of how unlike the normal ones a row is, in nats: the higher, the more unusual."""

from kvae.utils import names

__all__ = ["SCORES", "check_score", "default_score", "scored"]

# What each score is, for the documentation and the help of the command line.
SCORES = {
    "log_prob": "−log p(x), by importance sampling",
    "elbo": "−ELBO, a bound of the former that fewer samples give",
    "reconstruction": "−log p(x|z) of the codes z of x: what the model cannot rebuild",
    "kl": "KL(q(z|x) ‖ p(z)): codes far from where the prior expects them",
    "typicality": "|log p(x) − its mean over normal rows|: too probable is unusual as well",
}


def default_score(model) -> str:
    """Returns the score that suits a model: an autoencoder has nothing but its reconstruction."""
    return "log_prob" if model.posterior.has_density else "reconstruction"


def check_score(model, score: str) -> str:
    """Returns a score that the model has.

    Raises:
        ValueError: for an unknown score, and one that an autoencoder has no density for.
    """
    if score not in SCORES:
        raise names.unknown_name("score", score, SCORES)
    if score != "reconstruction" and not model.posterior.has_density:
        raise ValueError(
            f"{model.name} is an autoencoder ({type(model.posterior).__name__} posterior), which "
            f"defines no {score}: give score='reconstruction'."
        )
    return score


def scored(terms: dict, score: str, typical):
    """Returns a score of rows from what `row_terms` gives of them.

    Args:
        terms: dict of tensors `[batch]`.
        score: str. A name in `SCORES`.
        typical: float. The mean log p(x) of normal rows, for `"typicality"`.
    """
    if score == "typicality":
        return abs(terms["log_prob"] - typical)
    return -terms[score] if score in ("log_prob", "elbo") else terms[score]
