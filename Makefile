# make test    the tests             make slow    the slow ones (ARGS=tests/kvae: a part of them)
# make demo    the whole way through, into demo/index.html
# make web-test  the page for browsers in headless Chromium, where that is installed
# make lite-test  TFLite and ONNX files of every zoo model, and their gate of quality (minutes)
# make gpu-test  every decoder of the zoo on LiteRT's GPU accelerator (GPU=system: this machine's own
#                Vulkan driver; else one in software out of Debian's package of Chromium, 27 MB)
# make serving-test  round trips through TensorFlow Serving, where it or Docker is installed
# make keras-test  callbacks, training, saving and layers on the oldest Keras that pyproject.toml
#              allows (KERAS=3.13.2 is another one, KERAS=newest the newest)
# make bench   this library's speed beside pythae's and PyTorch's, into docs/BENCHMARKS.md
# make verify-zoo  the SavedModel of every zoo model, in the C++ runtime and in OpenVINO (minutes)
# make stress  files damaged at random, numbers at the extremes, trainings killed, processes and
#              threads at once, memory over CALLS=1000 calls of each public method (hours), and a
#              soak of the development server (SOAK=600 seconds)
# make docs    the documentation as a site, build/site, with tools of its own in .venv-docs
# make guides  runs the guides and writes their notebooks, docs/guides/*.ipynb (minutes)
# make first-day  runs the commands of docs/FIRST_DAY.md, from photos to a served model, and writes
#              what they print into it (minutes)
# make models  the page of all models, docs/MODELS.md, from their cards and weights
# make reproduction  the page of published figures, docs/REPRODUCTION.md, from the cards
# make methods  the page of all parts and of other libraries' tables, docs/METHODS.md, from the registers
# make reproduce CARD=dense_vae.mnist  trains a model of the zoo again from scratch, into
#              runs/reproduced, and compares it with its card (ARGS=--quick: a trial in a minute)
# make check-cards  recomputes each card's figure on 1,000 test images from the shipped weights
#              (an hour; ARGS="dense_vae.mnist --examples 200" is a part of it; goes on when stopped)
# make mutations  seeds forty faults, one at a time; the tests are to catch each
#              (ARGS="3 schedule" chooses some)
# make stubs   what editors see of packages whose names follow from a register
# make .venv   just the environment  make lint    style, layers, types     make clean
# make audit   known vulnerabilities of what is pinned, and the bill of materials (SBOM)
#
# make PYTHON=/path/to/python3.12 chooses the interpreter that .venv is made with;
# make test ARGS="-k export" passes arguments on (to pytest, or to the demo).

.DEFAULT_GOAL := test
.PHONY: .venv test slow keras-test web-test lite-test gpu-test serving-test verify-zoo stress demo bench \
	models reproduction methods reproduce check-cards docs guides first-day audit mutations stubs lint clean

PYTHON ?=
ARGS ?=

# 3.11 first: the zoo's numbers were measured with it.
candidates = $(or $(PYTHON),python3.11 python3.12 python3.13 python3.10 python3 python)
suitable = import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
define find_python
python=; \
for candidate in $(candidates); do \
	if $$candidate -c '$(suitable)' >/dev/null 2>&1; then python=$$candidate; break; fi; \
done; \
if [ -z "$$python" ]; then \
	echo "kvae needs Python 3.10, 3.11, 3.12 or 3.13 with venv (Debian: python3-venv), and" \
		"none of these is one: $(candidates). Name one: make PYTHON=/path/to/python3.12" >&2; \
	exit 1; \
fi
endef
pip = .venv/bin/python -m pip --disable-pip-version-check --no-input install --quiet \
	--progress-bar off

# Modules of another environment must not shadow the ones in .venv. Without kept bytecode each process of
# the tests would compile all modules anew.
unexport PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE

# Each stamp is written last: an interrupted or failed install leaves none and is done again.
.venv: .venv/.installed

.venv/.requirements: requirements.txt
	@$(find_python); \
	echo "Making .venv with $$($$python --version): about 0.8 GB to download, some minutes"; \
	$$python -m venv --clear .venv
	@$(pip) --requirement requirements.txt
	@touch $@

.venv/.installed: .venv/.requirements pyproject.toml
	@$(pip) --no-deps --no-build-isolation --editable .
	@touch $@

# `python -m`, so that a copied or moved checkout runs its own code.
# A process more than there are cores (tests/conftest.py), four at most, for the memory. They are forks of one that
# has imported TensorFlow. Files stay together, for their fixtures, and in their order: those with few tests, which may
# be long ones, do not come last.
test: .venv
	.venv/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile \
		--no-loadscope-reorder $(ARGS)

slow: .venv
	.venv/bin/python -m pytest -m slow $(ARGS)

web-test: .venv
	.venv/bin/python -m pytest -m slow tests/export/test_web_browser.py \
		tests/export/test_web_browser_conditions.py $(ARGS)

lite-test: .venv
	.venv/bin/python -m pytest -m slow tests/export/test_profile.py tests/export/test_onnx.py \
		tests/export/test_tflite_parts.py $(ARGS)

GPU ?= software
vulkan = $(CURDIR)/build/vulkan/usr/lib/chromium

gpu-test: .venv $(if $(filter system,$(GPU)),,build/vulkan/.unpacked)
	KVAE_GPU=$(GPU) $(if $(filter system,$(GPU)),,LD_LIBRARY_PATH=$(vulkan) \
		VK_ICD_FILENAMES=$(vulkan)/vk_swiftshader_icd.json) \
		.venv/bin/python -m pytest -m slow tests/export/test_gpu.py $(ARGS)

# Nothing is installed: only the driver and the loader out of the package are used.
build/vulkan/.unpacked:
	mkdir -p build/vulkan
	cd build/vulkan && apt-get download chromium-common && \
		dpkg -x chromium-common_*.deb . && rm chromium-common_*.deb
	@touch $@

serving-test: .venv
	.venv/bin/python -m pytest -m slow tests/export/test_serving.py $(ARGS)

# -s: what each model came to, in the C++ runtime and in OpenVINO, which requirements.txt pins.
verify-zoo: .venv
	.venv/bin/python -m pytest -m slow -s tests/export/test_zoo.py $(ARGS)

# Another Keras goes before that of .venv, which stays as it is.
KERAS ?= 3.12.0
keras_tests = callbacks/test_keras_callbacks callbacks/test_resuming layers test_parts models/test_blocks \
	models/test_training_modes models/test_saving models/test_loading models/test_trainable

keras-test: .venv build/keras-$(KERAS)/.installed
	PYTHONPATH=build/keras-$(KERAS) .venv/bin/python -m pytest \
		$(wildcard $(keras_tests:%=tests/kvae/%) $(keras_tests:%=tests/kvae/%.py)) $(ARGS)

build/keras-$(KERAS)/.installed: .venv/.requirements
	@$(pip) --no-deps --target build/keras-$(KERAS) --upgrade \
		keras$(if $(filter newest,$(KERAS)),,==$(KERAS))
	@touch $@

SOAK ?= 600
CALLS ?= 1000

stress: .venv
	KVAE_FUZZ=100 .venv/bin/python -m pytest -m "slow or not slow" tests/test_damaged_files.py \
		tests/kvae/models/test_extremes.py $(ARGS)
	.venv/bin/python -m pytest -m slow tests/kvae/models/test_reproducible.py \
		tests/kvae/test_distributed.py tests/stress/test_concurrency.py $(ARGS)
	KVAE_CALLS=$(CALLS) .venv/bin/python -m pytest -m slow tests/stress/test_memory.py $(ARGS)
	.venv/bin/python tests/export/soak.py --seconds $(SOAK)

demo: .venv
	.venv/bin/python -m kvae demo $(ARGS)

# PyTorch and pythae live in an environment of their own.
bench: .venv .venv-bench/.installed
	.venv/bin/python -m benchmarks run --markdown docs/BENCHMARKS.md $(ARGS)

.venv-bench/.installed: benchmarks/install.sh .venv/.requirements
	sh benchmarks/install.sh .venv/bin/python .venv-bench
	@touch $@

models: .venv
	.venv/bin/python -m zoo.models_page $(ARGS)

reproduction: .venv
	.venv/bin/python -m zoo.reproduction_page $(ARGS)

methods: .venv
	.venv/bin/python -m zoo.methods_page $(ARGS)

CARD ?= dense_vae.digits

reproduce: .venv
	.venv/bin/python -m zoo.reproducing $(CARD) $(ARGS)

check-cards: .venv
	.venv/bin/python -m zoo.checking $(ARGS)

# Warnings are errors (mkdocs.yml): dead links, names that do not exist, pages outside the navigation.
docs: .venv-docs/.installed
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet $(ARGS)
	@echo "The documentation: build/site/index.html"

.venv-docs/.installed: docs/requirements.txt
	@$(find_python); $$python -m venv --clear .venv-docs
	@$(pip:.venv/%=.venv-docs/%) --require-hashes --requirement docs/requirements.txt
	@touch $@

guides: .venv
	.venv/bin/python docs/tools/notebooks.py $(ARGS)

first-day: .venv
	.venv/bin/python docs/tools/first_day.py $(ARGS)

mutations: .venv
	.venv/bin/python tests/mutations.py $(ARGS)

# The stubs of packages whose names follow from a register.
stubs: .venv
	.venv/bin/python tests/typing/stubs.py

lint: .venv
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/lint-imports --no-cache
	.venv/bin/python -m pyright

# pip-audit asks PyPI; --strict, so that a package that could not be looked up is a failure.
audit: .venv
	@test -x build/audit/bin/pip-audit || .venv/bin/python -m venv --clear build/audit
	@build/audit/bin/python -m pip --disable-pip-version-check install --quiet \
		pip-audit==2.10.1 cyclonedx-bom==7.5.0
	build/audit/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
		--output-file build/sbom.cdx.json .venv/bin/python
	build/audit/bin/pip-audit --strict --require-hashes --disable-pip \
		--requirement requirements.txt $(ARGS)

# Leaves .venv, and what was trained and exported (runs/, serving/).
clean:
	rm -rf build dist demo *.egg-info .pytest_cache .ruff_cache
	find benchmarks kvae zoo export tests -name __pycache__ -type d -prune -exec rm -rf {} +
