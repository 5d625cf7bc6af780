# Everything below works on a fresh machine with Python >= 3.11, a JDK >= 21, and Maven or a way to elastic.co.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# Real photographs and small networks for measurements, where they lie beside the checkout.
SHARED := $(abspath ../shared)
ifneq ($(wildcard $(SHARED)/weights),)
export SIMQUERY_WEIGHTS_DIR ?= $(SHARED)/weights
endif

.PHONY: help demo test lint format docs clean

help:
	@echo "make demo    set up, index an evidence folder, watch it, query it, draw the results"
	@echo "make test    set up, run all tests against a real Elasticsearch of their own"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make format  let ruff format the code"
	@echo "make docs    write docs/cli.md anew"
	@echo "make clean   remove the environment and caches of this checkout"

$(READY): pyproject.toml
	@echo "== environment in $(VENV) (TensorFlow makes this take a minute or two)"
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

demo: $(READY)
	$(BIN)/python demo/run.py

test: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PYTHONPATH=src $(BIN)/lint-imports
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY)
	$(BIN)/python -m simquery.cli.reference > docs/cli.md

clean:
	rm -rf $(VENV) .cache build demo-result .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
