# Every target works on a fresh machine with Python >= 3.11, a JDK >= 21, and Maven or a connection to elastic.co.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# Small networks for measurements, if there are any beside the checkout.
SHARED := $(abspath ../shared)
ifneq ($(wildcard $(SHARED)/weights),)
export SIMQUERY_WEIGHTS_DIR ?= $(SHARED)/weights
endif

.PHONY: help demo test lint format docs clean

help:
	@echo "make demo    index an evidence folder, watch it, query it, draw the results"
	@echo "make test    run all tests against an Elasticsearch of their own"
	@echo "make lint    check the code with ruff, import-linter and mypy"
	@echo "make format  format the code with ruff"
	@echo "make docs    regenerate docs/cli.md"
	@echo "make clean   delete the environment and the caches of this checkout"

$(READY): pyproject.toml
	@echo "== Creating the environment in $(VENV): TensorFlow takes a minute or two"
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "simquery needs Python 3.11 or newer. Name one: make PYTHON=/path/to/python3")'
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
