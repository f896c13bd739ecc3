# Needs Python 3.11, git and make; each goal sets up .venv by itself, with the tested versions.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup quickstart test test-times check docs docs-links clean

help:
	@echo "make quickstart   the main job on the embedded data: runs/quickstart/report.html"
	@echo "make test         the tests"
	@echo "make test-times   the tests, and which files of them cost most processor time"
	@echo "make check        format, lint, types, import layers and tests: the gate for a commit"
	@echo "make docs         the documentation as a site: build/docs/index.html"
	@echo "make docs-links   the same, and whether links to other sites still lead somewhere"
	@echo "make setup        only the virtual environment in .venv, for developing"

quickstart: $(VENV)/.installed
	$(BIN)/edgekd run quickstart

PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: setup
	$(PYTEST)

test-times: setup
	$(PYTEST) -p tools.processor_times

check: setup
	tools/check

# Strict: a warning, such as a link that leads nowhere, is an error.
SPHINX := $(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs

docs: $(VENV)/.installed-for-docs
	$(SPHINX) build/docs
	@echo "documentation: build/docs/index.html"

docs-links: docs
	$(SPHINX) --builder linkcheck build/docs-links

setup: $(VENV)/.installed-for-tests

$(BIN)/python:
	@echo "making the virtual environment $(VENV)"
	$(PYTHON) -m venv $(VENV)

PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt

$(VENV)/.installed: $(BIN)/python setup.cfg pyproject.toml constraints.txt
	@echo "installing edgekd and what it needs, TensorFlow among it, into $(VENV): some minutes, in silence"
	$(PIP) --editable .
	@touch $@
	@echo "installed: $(BIN)/edgekd"

$(VENV)/.installed-for-tests: $(VENV)/.installed
	@echo "installing what the tests need, too"
	$(PIP) --editable ".[test]"
	@touch $@
	@echo "installed: the tests can run"

$(VENV)/.installed-for-docs: $(VENV)/.installed
	@echo "installing what the documentation needs, too"
	$(PIP) --editable ".[docs]"
	@touch $@
	@echo "installed: the documentation can be built"

clean:
	rm -rf $(VENV) build dist *.egg-info
