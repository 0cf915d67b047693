#!/bin/sh
# Training and inference on one GPU, beside PyTorch on the same one:
#   sh benchmarks/gpu.sh                           on the first GPU, at most ten minutes
#   sh benchmarks/gpu.sh --device cpu --quick      whether everything runs, without one
# It prints the device, the versions and a table. The environments are made once, before that
# (some GB to download): .venv-gpu with TensorFlow and .venv-gpu-torch with PyTorch, both with
# CUDA. Without a GPU .venv and .venv-bench serve, which `make .venv` and `make bench` make.
# PYTHON names the interpreter (3.10 to 3.13) that the environments are made with.
set -eu
cd "$(dirname "$0")/.."
device=gpu last=
for word in "$@"; do
	case $last$word in --device=cpu | --devicecpu) device=cpu ;; esac
	last=
	[ "$word" != --device ] || last=--device
done
if [ "$device" = cpu ]; then
	tensorflow=.venv torch=.venv-bench
else
	tensorflow=.venv-gpu torch=.venv-gpu-torch
	python=${PYTHON:-python3}
	install() {
		environment=$1
		shift
		[ ! -e "$environment/.installed" ] || return 0
		echo "Making $environment: some GB to download"
		"$python" -m venv --clear "$environment"
		"$environment/bin/python" -m pip --disable-pip-version-check --no-input install --quiet "$@"
		touch "$environment/.installed"
	}
	install "$tensorflow" --editable . "tensorflow[and-cuda]>=2.21,<2.22"
	install "$torch" "torch==2.13.0" numpy
fi
KVAE_BENCH_PEERS=$PWD/$torch/bin/python
export KVAE_BENCH_PEERS
exec "$tensorflow/bin/python" -m benchmarks gpu "$@"
