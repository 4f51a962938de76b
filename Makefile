# `make demo` and `make test` need nothing but python3 (3.11 or newer); everything else is installed into .venv.
# On Linux, PyPI's torch brings CUDA (2 GB). A CPU build is enough here:
#   make test PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
PIP_ARGS ?=
PYTEST_ARGS ?= -n 2
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt

.PHONY: demo test check nightly clean
.DEFAULT_GOAL := demo

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tcrules needs Python 3.11 or newer; set PYTHON=…, e.g. make test PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The package is installed plain, not editable, so that what is tested is what a user gets. `build` is removed because
# setuptools would put files from it into the wheel that are long gone from the source.
demo: $(VENV)/bin/python
	@rm -rf build
	$(INSTALL) ".[torch]"
	$(BIN)/tcrules demo

# Tests run inside `tests`: at the top, the folder `tcrules` would hide the installed package.
test: $(VENV)/bin/python
	@rm -rf build
	$(INSTALL) ".[test]"
	cd tests && $(BIN)/python -m pytest $(PYTEST_ARGS)

# The random programs of the engine ten times over: at least 2,000 for the executors; a run of 100,000 steps; all
# injected faults.
nightly: $(VENV)/bin/python
	@rm -rf build
	$(INSTALL) ".[test]"
	cd tests && TCRULES_PROFILE=nightly $(BIN)/python -m pytest engine mutations probes/test_long_runs.py $(PYTEST_ARGS)

# The static checks. Type and layer checks read the installed package, from a folder that holds no sources.
check: $(VENV)/bin/python
	@rm -rf build
	$(INSTALL) ".[dev]"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell README.md CHANGELOG.md tcrules instrument grammar engine rules tests examples benchmarks
	cd tests && $(BIN)/mypy --config-file $(CURDIR)/pyproject.toml -p tcrules
	cd tests && $(BIN)/lint-imports --config $(CURDIR)/pyproject.toml

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
