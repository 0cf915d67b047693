# Written by `make stubs` from what the package registers.

from kvae.objectives.aae import AAE as AAE
from kvae.objectives.adversarial import Adversarial as Adversarial
from kvae.objectives.adversarial import OfExamples as OfExamples
from kvae.objectives.beta_tcvae import BetaTCVAE as BetaTCVAE
from kvae.objectives.bound import Bound as Bound
from kvae.objectives.crmvae import CRMVAE as CRMVAE
from kvae.objectives.dip_vae import DIPVAE as DIPVAE
from kvae.objectives.dmvae import DMVAE as DMVAE
from kvae.objectives.elbo import ELBO as ELBO
from kvae.objectives.factor_vae import FactorVAE as FactorVAE
from kvae.objectives.hamiltonian import HamiltonianELBO as HamiltonianELBO
from kvae.objectives.importance_weighted import CIWAE as CIWAE
from kvae.objectives.importance_weighted import IWAE as IWAE
from kvae.objectives.importance_weighted import MIWAE as MIWAE
from kvae.objectives.importance_weighted import PIWAE as PIWAE
from kvae.objectives.jmvae import JMVAE as JMVAE
from kvae.objectives.jnf import JNF as JNF
from kvae.objectives.joint_vae import JointVAE as JointVAE
from kvae.objectives.matching import Matching as Matching
from kvae.objectives.matching import Wasserstein as Wasserstein
from kvae.objectives.mhvae import MHVAE as MHVAE
from kvae.objectives.mmvae_plus import MMVAEPlus as MMVAEPlus
from kvae.objectives.ms_ssim import MSSSIM as MSSSIM
from kvae.objectives.mvtcae import MVTCAE as MVTCAE
from kvae.objectives.nexus import Nexus as Nexus
from kvae.objectives.objective import REGISTER as REGISTER
from kvae.objectives.objective import Objective as Objective
from kvae.objectives.objective import get as get
from kvae.objectives.objective import names as names
from kvae.objectives.objective import register as register
from kvae.objectives.patch_adversarial import PatchAdversarial as PatchAdversarial
from kvae.objectives.perceptual import Perceptual as Perceptual
from kvae.objectives.rae import RAE as RAE
from kvae.objectives.regularized import Regularized as Regularized
from kvae.objectives.riemannian_hamiltonian import (
    RiemannianHamiltonianELBO as RiemannianHamiltonianELBO,
)
from kvae.objectives.semi_supervised import SemiSupervised as SemiSupervised
from kvae.objectives.similarity import Similarity as Similarity
from kvae.objectives.subset_elbo import SubsetELBO as SubsetELBO
from kvae.objectives.subsets import OfSubsets as OfSubsets
from kvae.objectives.swae import SWAE as SWAE
from kvae.objectives.telbo import TELBO as TELBO
from kvae.objectives.vaegan import VAEGAN as VAEGAN
from kvae.objectives.wae import WAE as WAE
from kvae.objectives.wae import InfoVAE as InfoVAE
from kvae.objectives.wae import KernelMatching as KernelMatching
