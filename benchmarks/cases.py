"""The cases that are measured: the same architectures, data and batch sizes for everyone."""

import dataclasses

__all__ = [
    "CASES",
    "EAGER",
    "FEW",
    "INFERENCE",
    "NETWORKS",
    "PLAIN",
    "VARIANTS",
    "Case",
    "Inference",
]

_PIXELS = 784


@dataclasses.dataclass(frozen=True)
class Case:
    """A training.

    Attributes:
        name: str.
        kind: `"dense"`, `"gated"` or `"conv"`.
        hidden: tuple of int. Widths of the encoder; the decoder mirrors them.
        latent_dim: int.
        count: int. Images of an epoch, the unit that is timed.
        samples: int. Of z for each image; more than one is the importance-weighted bound.
        components: int. Of a VampPrior; 0 is the standard normal prior.
        batches: tuple of int.
        quick: tuple of int. Batch sizes of a quick run.
        competitors: tuple of str.
    """

    name: str
    kind: str
    hidden: tuple[int, ...]
    latent_dim: int
    count: int
    samples: int = 1
    components: int = 0
    batches: tuple[int, ...] = (128,)
    quick: tuple[int, ...] = ()
    competitors: tuple[str, ...] = ("kvae", "pythae", "torch")

    def flops(self, batch: int) -> float:
        """Floating-point operations of a training step for each image.

        Two for each multiplication and addition; forward, and twice that backward, less the
        gradient of the images, which nobody needs.
        """
        first, encoder, decoder = _products(self)
        runs = 1 + self.components / batch  # The VampPrior encodes its pseudo-inputs at each step.
        # The pseudo-inputs are trained, so their gradient is needed.
        total = 6 * (runs * encoder + self.samples * decoder) - 2 * first
        return total


def _products(case: Case) -> tuple[float, float, float]:
    """Multiplications of the first layer, of the encoder and of the decoder, for one image."""
    if case.kind == "conv":  # That of the keras.io example.
        first = 14 * 14 * 9 * 32
        encoder = first + 7 * 7 * 9 * 32 * 64 + 3136 * 16 + 16 * 2 * case.latent_dim
        decoder = case.latent_dim * 3136 + 7 * 7 * 9 * 64 * 64 + 14 * 14 * 9 * 64 * 32
        return first, encoder, decoder + 28 * 28 * 9 * 32
    gates = 2 if case.kind == "gated" else 1
    widths = (_PIXELS, *case.hidden)
    hidden = sum(a * b for a, b in zip(widths, widths[1:], strict=False))
    encoder = gates * hidden + widths[-1] * 2 * case.latent_dim
    widths = (case.latent_dim, *reversed(case.hidden))
    hidden = sum(a * b for a, b in zip(widths, widths[1:], strict=False))
    return gates * _PIXELS * case.hidden[0], encoder, gates * hidden + widths[-1] * _PIXELS


EAGER = "kvae layer by layer"
PLAIN = "kvae plain terms"  # log p(x|z) as in training, summed value by value.
NETWORKS = "kvae decoder alone"  # As many latents decoded, and nothing else: a lower bound.
_ALL = ("kvae", "keras.io", "pythae", "torch", "torch.compile")
CASES = (
    Case("dense", "dense", (400, 400), 20, 25600, batches=(128, 512), quick=(128,),
         competitors=_ALL),
    Case("conv", "conv", (), 20, 5120, batches=(128, 512), quick=(128,), competitors=_ALL),
    Case("gated", "gated", (300, 300), 40, 19200, batches=(128, 512), quick=()),
    Case("iwae_k5", "dense", (200, 200), 50, 12800, samples=5, batches=(128,)),
    Case("iwae_k50", "dense", (200, 200), 50, 2560, samples=50, batches=(128,)),
    Case("vamp_k500", "gated", (300, 300), 40, 5120, components=500, batches=(128,)),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Inference:
    """Something done with a model of the dense case: `count` units of `unit` at a time.

    `theirs`, where it is not 0, is the count of other libraries, where a turn as long as this
    library's would take them too long.
    """

    name: str
    what: str
    unit: str
    count: int
    competitors: tuple[str, ...]
    theirs: int = 0


INFERENCE = (
    Inference(
        "nll", "NLL by importance sampling, 5,000 samples", "images", 200,
        ("kvae", PLAIN, NETWORKS, "pythae", "pythae batch 1000"), theirs=20,
    ),
    Inference(
        "encode", "encoding 10,000 images", "images", 10_000, ("kvae", EAGER, "pythae", "torch")
    ),
    Inference(
        "sample", "sampling 10,000 images", "images", 10_000, ("kvae", EAGER, "pythae", "torch")
    ),
    Inference(
        "tflite", "TFLite float32 decoder, batch 1, one thread", "calls", 2000,
        ("kvae", "bare products"),
    ),
)  # fmt: skip

_WITHOUT_XLA = {"steps_per_execution": 64, "jit_compile": False}
_STOCK = {**_WITHOUT_XLA, "stock": ("adam",)}
# Ways of `kvae.VAE.fit` to run the same training, slowest first: what `compile` is told, and
# `stock`, what is not of this library but stock. The first is the yardstick.
VARIANTS = {
    "kvae": {},
    "step by step, stock Adam": {"steps_per_execution": 1},
    "blocks, stock Adam and cross-entropy": {**_STOCK, "stock": ("adam", "cross-entropy")},
    "blocks, stock Adam": _STOCK,
    "blocks": _WITHOUT_XLA,
    "blocks under XLA": {"steps_per_execution": 64, "jit_compile": True},
    "reproducible": {"reproducible": True},
}
# XLA's convolutions on a CPU are so slow that a turn of theirs has fewer images.
FEW = {("conv", "blocks under XLA"): 256}
