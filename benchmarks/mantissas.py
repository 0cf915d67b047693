"""Measures what fewer bits of the mantissa change in the log-likelihood and the files of models.

    python -m benchmarks.mantissas dense_vae.mnist_long hvae.mnist

For each model it prints the size of its file of weights as Keras writes it, packed without loss,
and packed with fewer bits (`zoo.packing`), and what `kvae.evaluation.compare` says of log p(x) of
the first validation examples against the shipped weights, with the same noise. The test data are
not read.
"""

import argparse
import os
import pathlib
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import kvae
import zoo
from zoo import packing, training
from zoo.building import RECIPES
from zoo.cards import trained_name


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mantissas", description=__doc__)
    parser.add_argument("names", nargs="+", type=trained_name, metavar="NAME")
    bits = range(1, packing.MANTISSA)
    parser.add_argument("--bits", type=int, nargs="*", choices=bits, default=[12, 10, 8, 7])
    parser.add_argument("--examples", type=int, default=200, help="validation examples (200)")
    parser.add_argument("--samples", type=int, default=100, help="importance samples (100)")
    arguments = parser.parse_args()
    for name in arguments.names:
        recipe, shipped = RECIPES[name], zoo.load(name)
        data = training.data_of(recipe, "validation")[: arguments.examples]
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "plain.weights.h5")
            training.copy_of(recipe, shipped).save_weights(path)
            print(f"{name}: {path.stat().st_size:,} bytes as Keras writes it", flush=True)
            for bits in (packing.MANTISSA, *arguments.bits):
                model = training.copy_of(recipe, shipped)
                packing.rounded(model, bits)
                packing.save(model, path)
                start = time.perf_counter()
                model.load_weights(path)
                seconds = time.perf_counter() - start
                line = f"  {bits} bits: {path.stat().st_size:,} bytes, loaded in {seconds:.3f} s"
                if bits < packing.MANTISSA:
                    found = kvae.evaluation.compare(
                        model,
                        shipped,
                        data,
                        num_samples=arguments.samples,
                        seed=recipe.seed,
                        names=(f"{bits} bits", "shipped"),
                    )
                    line += f"\n    {found}"
                print(line, flush=True)


if __name__ == "__main__":
    main()
