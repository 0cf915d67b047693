# Written by `make stubs` from what the package registers.

from kvae.objectives.aae import AAE as AAE
from kvae.objectives.adversarial import Adversarial as Adversarial
from kvae.objectives.beta_tcvae import BetaTCVAE as BetaTCVAE
from kvae.objectives.bound import Bound as Bound
from kvae.objectives.dip_vae import DIPVAE as DIPVAE
from kvae.objectives.elbo import ELBO as ELBO
from kvae.objectives.factor_vae import FactorVAE as FactorVAE
from kvae.objectives.importance_weighted import CIWAE as CIWAE
from kvae.objectives.importance_weighted import IWAE as IWAE
from kvae.objectives.importance_weighted import MIWAE as MIWAE
from kvae.objectives.importance_weighted import PIWAE as PIWAE
from kvae.objectives.matching import Matching as Matching
from kvae.objectives.matching import Wasserstein as Wasserstein
from kvae.objectives.objective import REGISTER as REGISTER
from kvae.objectives.objective import Objective as Objective
from kvae.objectives.objective import get as get
from kvae.objectives.objective import names as names
from kvae.objectives.objective import register as register
from kvae.objectives.rae import RAE as RAE
from kvae.objectives.regularized import Regularized as Regularized
from kvae.objectives.semi_supervised import SemiSupervised as SemiSupervised
from kvae.objectives.subset_elbo import SubsetELBO as SubsetELBO
from kvae.objectives.swae import SWAE as SWAE
from kvae.objectives.wae import WAE as WAE
from kvae.objectives.wae import InfoVAE as InfoVAE
from kvae.objectives.wae import KernelMatching as KernelMatching
