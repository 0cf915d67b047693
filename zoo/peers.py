"""What other libraries list in their tables of models and samplers, and how kvae says it."""

from typing import NamedTuple

__all__ = ["PEERS", "SOURCES", "Row"]


class Row(NamedTuple):
    """A row of another library's table.

    Attributes:
        name: str. As the library names it.
        parts: dict of str. The parts of `kvae.VAE` that make it, by name, each as in
            `kvae.VAE(prior="vamp:500")`; `sampler` is one of `kvae.samplers`, `architecture` one
            of the zoo, and `flow` a part of a flow. What is not written is as it likes. A row of
            which a name is in no register counts as one that kvae does not have, so that it turns
            into one that it has as soon as such a part registers.
        note: str. What else there is to say, e.g. an argument that no name can say, or of a row
            that kvae does not have, why.
        measured: str. The method of `benchmarks.peers` whose figures are those of the row. What is
            empty is the one of its own name.
    """

    name: str
    parts: dict[str, str]
    note: str = ""
    measured: str = ""


# Where the rows were read, and what version of the library it was.
SOURCES = {
    "pythae": "[pythae](https://github.com/clementchadebec/benchmark_VAE) 0.1.2, its tables of "
    "models and samplers",
    "PyTorch-VAE": "[PyTorch-VAE](https://github.com/AntixK/PyTorch-VAE), commit a6896b9, its "
    "table of results",
    "MultiVae": "[MultiVae](https://github.com/AgatheSenellart/MultiVae), May 2026, its table of "
    "models",
    "vector-quantize-pytorch": "[vector-quantize-pytorch]("
    "https://github.com/lucidrains/vector-quantize-pytorch), commit 01b5d83, the "
    "quantizers of its README",
}
_RBF = "with `WAE(kernel='rbf')`"
_CAPACITY = "with `ELBO(beta=10.0, capacity=kvae.schedules.Linear(0.0, 25.0, steps=100_000))`"
_JOINT = (
    "with `kvae.posteriors.Product([…])` and `kvae.priors.Product([…])` of Gaussian and "
    "Gumbel-softmax parts"
)
_PRIVATE = "with `kvae.posteriors.SharedAndPrivate({…})`"
_PRIVATE_MIXTURE = (
    "with `kvae.posteriors.SharedAndPrivate({…}, 'mixture_of_experts', absent='learned')`"
)
_MIWAE = "miwae:num_groups=3,num_samples=5"
_CLUSTERS = (
    "with a `kvae.priors.Product` whose shared part is `gaussian_mixture`; its `responsibilities` "
    "say which cluster"
)
_MHVAE = (
    "with `kvae.posteriors.HierarchicalExperts(…)` and `kvae.priors.Hierarchical(…)` of its groups"
)
_NEXUS = "with `kvae.posteriors.Nexus({…})` and `kvae.priors.Hierarchical(star=True)`"
_SWAE = "swae:num_projections=200"
_VQ = "vector_quantized:num_embeddings=512,embedding_dim=64"
_SCALARS = "vector_quantized:num_embeddings=8,embedding_dim=8,groups=8,ema=False"
_GAUSSIAN = {"posterior": "diagonal_gaussian", "prior": "standard_normal"}
PEERS: dict[str, tuple[Row, ...]] = {
    "pythae": (
        Row("AE", {"posterior": "delta"}),
        Row("VAE", {**_GAUSSIAN, "objective": "elbo"}),
        Row("BetaVAE", {"objective": "elbo:beta=4.0"}),
        Row("VAE_LinNF", {"posterior": "planar"}),
        Row("VAE_IAF", {"posterior": "iaf"}),
        Row("DisentangledBetaVAE", {"objective": "elbo"}, _CAPACITY),
        Row("FactorVAE", {"objective": "factor_vae"}),
        Row("BetaTCVAE", {"objective": "beta_tcvae"}),
        Row("IWAE", {"objective": "iwae"}),
        Row("MIWAE", {"objective": "miwae"}),
        Row("PIWAE", {"objective": "piwae"}),
        Row("CIWAE", {"objective": "ciwae"}),
        Row("MSSSIM_VAE", {"objective": "ms_ssim"}),
        Row("WAE", {"posterior": "delta", "objective": "wae"}),
        Row("INFOVAE_MMD", {"objective": "info_vae"}),
        Row("VAMP", {"prior": "vamp"}),
        Row("SVAE", {"posterior": "von_mises_fisher", "prior": "uniform_sphere"}),
        Row("PoincareVAE", {"posterior": "wrapped_normal", "prior": "wrapped_normal"}),
        Row("Adversarial_AE", {"objective": "aae"}),
        Row("VAEGAN", {"objective": "vaegan"}),
        Row("VQVAE", {"posterior": "vector_quantized", "prior": "uniform_codes"}),
        Row("HVAE", {"objective": "hamiltonian"}),
        Row("RAE_L2", {"posterior": "delta", "objective": "rae"}),
        Row("RAE_GP", {"posterior": "delta", "objective": "rae:gradient_penalty"}),
        Row("RHVAE", {"objective": "riemannian_hamiltonian"}),
        Row("NormalSampler", {"sampler": "prior"}, measured="VAE"),
        Row("GaussianMixtureSampler", {"sampler": "gaussian_mixture"}),
        Row("TwoStageVAESampler", {"sampler": "two_stage"}),
        Row("HypersphereUniformSampler", {"sampler": "uniform_sphere"}, measured="SVAE"),
        Row(
            "PoincareDiskSampler",
            {"prior": "wrapped_normal", "sampler": "prior"},
            measured="PoincareVAE",
        ),
        Row("VAMPSampler", {"prior": "vamp", "sampler": "prior"}, measured="VAMP"),
        Row("RHVAESampler", {"sampler": "manifold"}, measured="RHVAE"),
        Row("MAFSampler", {"sampler": "flow", "flow": "maf"}),
        Row("IAFSampler", {"sampler": "flow:iaf", "flow": "iaf"}),
        Row("PixelCNNSampler", {"sampler": "pixel_cnn"}, measured="VQVAE"),
    ),
    "PyTorch-VAE": (
        Row("VAE", {**_GAUSSIAN, "objective": "elbo"}),
        Row("Conditional VAE", _GAUSSIAN, "with `num_classes=10`"),
        Row("WAE-MMD (RBF kernel)", {"posterior": "delta", "objective": "wae"}, _RBF),
        Row("WAE-MMD (IMQ kernel)", {"posterior": "delta", "objective": "wae"}, measured="WAE"),
        Row("Beta-VAE", {"objective": "elbo:beta=4.0"}, measured="BetaVAE"),
        Row(
            "Disentangled Beta-VAE",
            {"objective": "elbo"},
            _CAPACITY,
            measured="DisentangledBetaVAE",
        ),
        Row("Beta-TC-VAE", {"objective": "beta_tcvae"}, measured="BetaTCVAE"),
        Row("IWAE (K = 5)", {"objective": "iwae:num_samples=5"}, measured="IWAE"),
        Row(
            "MIWAE (K = 5, M = 3)",
            {"objective": "miwae:num_groups=3,num_samples=5"},
            measured="MIWAE",
        ),
        Row("DFCVAE", {"objective": "perceptual"}),
        Row("MSSIM VAE", {"objective": "ms_ssim"}, measured="MSSSIM_VAE"),
        Row("Categorical VAE", {"posterior": "gumbel_softmax", "prior": "uniform_categorical"}),
        Row("Joint VAE", {"objective": "joint_vae"}, _JOINT),
        Row("Info VAE", {"objective": "info_vae"}, measured="INFOVAE_MMD"),
        Row("LogCosh VAE", {"likelihood": "log_cosh"}),
        Row("SWAE (200 Projections)", {"posterior": "delta", "objective": _SWAE}),
        Row(
            "VQ-VAE (K = 512, D = 64)",
            {"posterior": _VQ, "prior": "uniform_codes"},
            measured="VQVAE",
        ),
        Row("DIP VAE", {"objective": "dip_vae"}),
    ),
    "MultiVae": (
        Row("CVAE", _GAUSSIAN, "with `num_classes=` or `conditions=`"),
        Row("JMVAE", {"posterior": "joint_experts", "objective": "jmvae"}),
        Row("TELBO", {"posterior": "joint_experts", "objective": "telbo"}),
        Row("MVAE", {"posterior": "product_of_experts", "objective": "subset_elbo"}),
        Row("MMVAE", {"posterior": "mixture_of_experts"}),
        Row("MoPoE", {"posterior": "mixture_of_products"}),
        Row("MVTCAE", {"objective": "mvtcae"}),
        Row("DMVAE", {"objective": "dmvae"}, _PRIVATE),
        Row("JNF", {"posterior": "flow_experts", "objective": "jnf"}),
        Row("MMVAE+", {"objective": "mmvae_plus"}, _PRIVATE_MIXTURE),
        Row("Nexus", {"objective": "nexus"}, _NEXUS),
        Row("CMVAE", {"objective": "mmvae_plus"}, _CLUSTERS),
        Row("MHVAE", {"objective": "mhvae"}, _MHVAE),
        Row("CRMVAE", {"objective": "crmvae"}),
    ),
    "vector-quantize-pytorch": (
        Row("VectorQuantize", {"posterior": "vector_quantized"}),
        Row("VectorQuantize(rotation_trick)", {"posterior": "vector_quantized:gradient=rotation"}),
        Row("ResidualVQ", {"posterior": "vector_quantized:residual=4"}),
        Row("GroupedResidualVQ", {"posterior": "vector_quantized:residual=4,groups=2"}),
        Row(
            "RandomProjectionQuantizer",
            {"posterior": "random_projection"},
            "no: it labels sequences for another network to guess, and has neither a gradient nor "
            "a decoder, so that it is no part of a VAE",
        ),
        Row("SimVQ", {"posterior": "sim_vq"}),
        Row("ResidualSimVQ", {"posterior": "sim_vq:residual=4"}),
        Row("FSQ", {"posterior": "finite_scalar"}),
        Row("ResidualFSQ", {"posterior": "finite_scalar:residual=4"}),
        Row("LFQ", {"posterior": "lookup_free"}),
        Row("ResidualLFQ", {"posterior": "lookup_free:residual=4"}),
        Row(
            "LatentQuantize",
            {"posterior": _SCALARS},
            "a codebook of scalars for each number",
        ),
    ),
}
