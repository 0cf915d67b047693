#!/bin/sh
# Makes the environment of the competitors, PyTorch (for CPUs), pythae, multivae, ctgan and Flask:
#   sh benchmarks/install.sh PYTHON FOLDER
# What cannot be had is said and left out: the benchmarks run without it.
set -u
python=$1 folder=$2
"$python" -m venv --clear "$folder" || exit 1
install() {
	"$folder/bin/python" -m pip --disable-pip-version-check --no-input install --quiet \
		--progress-bar off "$@"
}
cpu=https://download.pytorch.org/whl/cpu
install "torch==2.13.0+cpu" numpy 2>/dev/null ||
	install --index-url "$cpu" "torch==2.13.0" numpy 2>/dev/null ||
	install "torch==2.13.0" numpy ||
	echo "PyTorch could not be installed: the benchmarks leave it and pythae out." >&2
install "pythae==0.1.2" || echo "pythae could not be installed: the benchmarks leave it out." >&2
# multivae imports torchvision, whose build has to be that of PyTorch.
install --index-url "$cpu" "torchvision==0.28.0" || install "torchvision==0.28.0"
install "multivae==1.0.3" || echo "multivae could not be installed: benchmarks.modalities needs it." >&2
install "ctgan==0.12.1" || echo "ctgan could not be installed: benchmarks.tables needs it." >&2
install "flask==3.1.3" || echo "Flask could not be installed: the benchmarks leave it out." >&2
