"""Does each dimension of a code stand for one factor of the data?

One file for each score. `score(representation, data, num_train=…, num_test=…, seed=…)` draws images
with known factors and encodes them; where a score needs no groups of its own,
`score_from_codes(codes, factors, …)` takes arrays. `disentanglement` measures all of them. `udr`
compares several models instead, and needs no factors.
"""

from kvae.evaluation.disentanglement.beta_vae_score import beta_vae_score
from kvae.evaluation.disentanglement.dci import dci, dci_from_codes, dci_from_importance
from kvae.evaluation.disentanglement.factor_vae_score import factor_vae_score
from kvae.evaluation.disentanglement.irs import irs, irs_from_codes
from kvae.evaluation.disentanglement.mig import mig, mig_from_codes
from kvae.evaluation.disentanglement.modularity import modularity, modularity_from_codes
from kvae.evaluation.disentanglement.representation import mutual_information
from kvae.evaluation.disentanglement.sap import sap, sap_from_codes
from kvae.evaluation.disentanglement.scores import SCORES, disentanglement, num_images
from kvae.evaluation.disentanglement.udr import udr, udr_from_codes

__all__ = [
    "SCORES",
    "beta_vae_score",
    "dci",
    "dci_from_codes",
    "dci_from_importance",
    "disentanglement",
    "factor_vae_score",
    "irs",
    "irs_from_codes",
    "mig",
    "mig_from_codes",
    "modularity",
    "modularity_from_codes",
    "mutual_information",
    "num_images",
    "sap",
    "sap_from_codes",
    "udr",
    "udr_from_codes",
]
