# make demo      train a small network on photographs, score it, draw a comparison (main job)
# make test      the quick tests, compiled by what compiles fast, which halves their time;
#                trainings run as processes are compiled as users get them
# make test-all  these and the slow tests, all compiled as users get them
# make lint      ruff and mypy
# make docs      the pages of docs/ and of the docstrings, into site/
# ACCELERATOR=cpu|cuda12|tpu overrides what is found.

PYTHON ?= python3
ACCELERATOR ?= $(shell nvidia-smi >/dev/null 2>&1 && echo cuda12 || echo cpu)
REQUIREMENTS = $(if $(filter cpu,$(ACCELERATOR)),requirements.txt,requirements-$(ACCELERATOR).txt)
BIN = .venv/bin
RUNTIME = .venv/installed-$(ACCELERATOR)
DEVELOPMENT = .venv/installed-$(ACCELERATOR)-dev
DOCUMENTATION = .venv/installed-docs
DEMO = runs/demo
# No optimisations, and one thread, of NumPy and PyTorch too: the tests run side by side.
FAST_COMPILER = --xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1 \
	--xla_cpu_multi_thread_eigen=false $(OLD_EMITTERS)
# Faster still, but jaxlib 0.11 ends at a flag that it does not know.
OLD_EMITTERS = $(shell flag=--xla_cpu_use_fusion_emitters=false; XLA_FLAGS=$$flag \
	$(BIN)/python -c "import jax; jax.devices()" >/dev/null 2>&1 && echo $$flag)
ONE_THREAD = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
# A file's tests go to one worker: they share trainings and compiled programs.
BY_FILE = --dist loadfile

.PHONY: demo test test-all lint docs venv clean

demo: $(RUNTIME)
	$(BIN)/python -m sr_jax.main --config=configs/demo.py --workdir=$(DEMO)
	$(BIN)/python -m sr_jax.main --config=configs/demo.py --workdir=$(DEMO) --mode=evaluate
	@echo
	@echo "Scores: $(DEMO)/scores.json   Picture: $(DEMO)/comparison.png"
	@echo "Next, in this folder:"
	@echo "    . .venv/bin/activate"
	@echo "    sr-jax upscale PHOTO.jpg --model $(DEMO)     # writes PHOTO_x2.png beside it"
	@echo "    sr-jax train                                 # the recipes"

test: $(DEVELOPMENT)
	$(ONE_THREAD) XLA_FLAGS="$$XLA_FLAGS $(FAST_COMPILER)" \
		$(BIN)/python -m pytest -q -n auto $(BY_FILE) -m "not slow"

test-all: $(DEVELOPMENT)
	$(BIN)/python -m pytest -q -n auto

lint: $(DEVELOPMENT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(DOCUMENTATION)
	$(BIN)/mkdocs build --strict

venv: $(DEVELOPMENT)

$(RUNTIME): requirements.txt $(REQUIREMENTS) pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "pip installs JAX, TensorFlow and others into .venv: about 3 GB, some minutes"
	$(BIN)/python -m pip install -qq --editable . --requirement $(REQUIREMENTS)
	touch $@

$(DEVELOPMENT): $(RUNTIME) requirements-dev.txt
	$(BIN)/python -m pip install -qq --requirement requirements-dev.txt
	touch $@

$(DOCUMENTATION): requirements-docs.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -qq --requirement requirements-docs.txt
	touch $@

clean:
	rm -rf .venv runs site
