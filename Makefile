# Two commands on a fresh machine: `make demo` and `make test`. Each does all its own set-up.

PYTHON ?= python3
VENV := .venv
# Two workers, whatever the machine: a test compiles for several devices, and memory is not endless.
# They take whole files, which share what they make, in the order of tests/conftest.py.
PYTEST := $(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo test fast test-all lint api clean

demo: $(VENV)/.installed
	$(VENV)/bin/primus-jax demo --out demo --overwrite

test: lint fast

fast: $(VENV)/.installed-test
	$(PYTEST) -m "not slow"

test-all: $(VENV)/.installed-test lint
	$(PYTEST)

lint: $(VENV)/.installed-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/codespell
	$(VENV)/bin/mypy

api: $(VENV)/.installed-test
	$(VENV)/bin/python docs/make_api.py

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	  echo "primus-jax is tested with Python 3.11, 3.12 and 3.13;" \
	       "this is $$($(PYTHON) --version 2>&1 | head -n 1)." \
	       "Try: make PYTHON=python3.12"; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "python3 -m venv failed; on Debian and Ubuntu install python3-venv first."; exit 1; }

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing primus-jax and the versions of constraints.txt into $(VENV) (minutes, once)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-test: setup.cfg pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing primus-jax with its test tools into $(VENV) (minutes, once)"
	@$(PIP) --editable ".[test]"
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) demo build dist *.egg-info
