"""The cases that are measured: the same architectures, data and batch sizes for everyone."""

import dataclasses

__all__ = [
    "AIS",
    "ALL_REDUCE",
    "BATCHING",
    "CASES",
    "CHANNELS_LAST",
    "CLIENTS",
    "EAGER",
    "FEW",
    "FIRST_SAMPLE",
    "FLASK",
    "GRADIENTS",
    "HOOK",
    "INFERENCE",
    "IN_MEMORY",
    "NETWORKS",
    "ONE_WORKER",
    "PLACES",
    "PLAIN",
    "RUNTIME",
    "SAMPLES",
    "SIGNATURES",
    "SOURCES",
    "STEADY",
    "STEP_BY_STEP",
    "TF_SERVING",
    "TWO_WORKERS",
    "VARIANTS",
    "Case",
    "Inference",
    "Place",
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
GRADIENTS = "kvae decoder and its gradient alone"  # As many of them, and nothing else.
STEADY = "kvae steady"  # The same steps in a training that goes on.
IN_MEMORY = "kvae"
# The same images in other forms.
SOURCES = (
    "kvae tf.data",
    "kvae generator",
    "kvae PyDataset",
    "kvae folder",
    "kvae folder, streamed",
)
HOOK = "kvae, a batch hook"  # With a callback that is called at every step.
FIRST_SAMPLE = "zoo.load('dense_vae.mnist').sample(1)"
CHANNELS_LAST = "torch channels_last"
_ALL = ("kvae", "keras.io", "pythae", "torch", "torch.compile")
CASES = (
    Case("dense", "dense", (400, 400), 20, 25600, batches=(128, 512), quick=(128,),
         competitors=_ALL),
    Case("conv", "conv", (), 20, 5120, batches=(128, 512), quick=(128,),
         competitors=(*_ALL, CHANNELS_LAST)),
    Case("gated", "gated", (300, 300), 40, 19200, batches=(128, 512), quick=()),
    Case("iwae_k5", "dense", (200, 200), 50, 12800, samples=5, batches=(128,)),
    Case("iwae_k50", "dense", (200, 200), 50, 2560, samples=50, batches=(128,)),
    Case("vamp_k500", "gated", (300, 300), 40, 5120, components=500, batches=(128,)),
    # What a newcomer runs first: ten epochs on 1,000 images, in a process of its own.
    Case("short_dense", "dense", (400, 400), 20, 10_000, batches=(100,), quick=(100,),
         competitors=("kvae", STEADY)),
    Case("short_conv", "conv", (), 20, 10_000, batches=(100,), quick=(100,),
         competitors=("kvae", STEADY)),
    Case("sources_dense", "dense", (400, 400), 20, 6400, competitors=(IN_MEMORY, *SOURCES, HOOK)),
    Case("sources_conv", "conv", (), 20, 2560, competitors=(IN_MEMORY, *SOURCES, HOOK)),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Inference:
    """Something done with a model of the dense case: `count` units of `unit` at a time.

    `theirs`, where it is not 0, is the count of other libraries, where a turn as long as this
    library's would take them too long. `flops` are the floating-point operations of a unit, or 0
    where they are next to nothing.
    """

    name: str
    what: str
    unit: str
    count: int
    competitors: tuple[str, ...]
    theirs: int = 0
    flops: float = 0.0


SAMPLES = 5000  # Importance samples of an image.
# Settings of annealed importance sampling: few temperatures, whose cost is that of many.
AIS = {"num_chains": 16, "num_steps": 4, "num_leapfrog": 10}
_, _ENCODER, _DECODER = _products(CASES[0])
# Forward and backward, of a pilot run and of the run that counts; no weight has a gradient.
_ANNEALED = 4 * 2 * AIS["num_chains"] * (AIS["num_steps"] - 1) * AIS["num_leapfrog"]
_ALL_USES = ("kvae", EAGER, "pythae", "torch")
INFERENCE = (
    Inference(
        "nll", "NLL by importance sampling, 5,000 samples", "images", 200,
        ("kvae", PLAIN, NETWORKS, "pythae", "pythae batch 1000"),
        theirs=20, flops=2 * SAMPLES * _DECODER,
    ),
    Inference(
        "ais", "NLL by annealed importance sampling", "images", 100, ("kvae", GRADIENTS),
        flops=_ANNEALED * _DECODER,
    ),
    Inference(
        "encode", "encoding 10,000 images", "images", 10_000, _ALL_USES, flops=2 * _ENCODER
    ),
    Inference(
        "decode", "decoding 10,000 latents", "images", 10_000, ("kvae", "torch"),
        flops=2 * _DECODER,
    ),
    Inference(
        "sample", "sampling 10,000 images", "images", 10_000, _ALL_USES, flops=2 * _DECODER
    ),
    Inference(
        "reconstruct", "reconstructing 10,000 images", "images", 10_000, ("kvae", "torch"),
        flops=2 * (_ENCODER + _DECODER),
    ),
    Inference(
        "row", "one image", "calls", 200,
        ("encode", "decode", "sample", "reconstruct", "log_prob", "predict"),
    ),
    Inference(
        "tflite", "TFLite float32 decoder, batch 1, one thread", "calls", 2000,
        ("kvae", "bare products"),
    ),
    Inference(
        "tflite int8", "TFLite int8 decoder, batch 1, one thread", "calls", 40_000,
        ("kvae", "bare products"),
    ),
)  # fmt: skip

# Servers of the dense case, and how many clients ask for what at once.
BATCHING = "kvae without batching"
RUNTIME = "C++ runtime, no server"
TF_SERVING = "TensorFlow Serving"
FLASK = "Flask + predict"
SIGNATURES = ("generate", "encode", "score")
CLIENTS = (1, 8, 32)


@dataclasses.dataclass(frozen=True)
class Place:
    """The cores, workers and devices of this machine on which a training runs.

    Attributes:
        name: str.
        cores: int. Those that a process may use.
        workers: int. Processes under `MultiWorkerMirroredStrategy`, each with a core; 0 is none.
        devices: int. Logical devices under `MirroredStrategy`; 0 is no strategy.
        step_by_step: bool. Whether each step is a call, as under a strategy.
    """

    name: str
    cores: int = 1
    workers: int = 0
    devices: int = 0
    step_by_step: bool = False

    @property
    def parts(self) -> int:
        """The number of parts of a step, each of as many images as a step on one core has."""
        return max(self.cores, self.workers)


STEP_BY_STEP = "one core, step by step"
ONE_WORKER, TWO_WORKERS = "one worker", "two workers"
ALL_REDUCE = "all-reduce"
PLACES = (
    Place("one core"),
    Place(STEP_BY_STEP, step_by_step=True),
    Place(ONE_WORKER, workers=1),
    Place("two cores", cores=2),
    Place("two cores, step by step", cores=2, step_by_step=True),
    Place(TWO_WORKERS, workers=2),
    Place("two devices of a process", cores=2, devices=2),
    Place("four workers", workers=4),
)

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
    # What was tried and is no default, see benchmarks/trials.py.
    "as it is, halves": {"trials": ("halves",)},
    "as it is, halves of one thread": {"trials": ("halves", "one thread")},
    "as it is, pinned threads": {"trials": ("pinned",)},
    "as it is, shared exponentials": {"trials": ("shared exponential",)},
}
# Convolutions in a loop that XLA compiles are so slow that a turn of theirs has fewer images.
FEW = {("conv", "blocks under XLA"): 256}
