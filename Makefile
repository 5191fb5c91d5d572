# make study | make test | make lab     (needs Python 3.11 to 3.13 and make, nothing else)
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

DATASET ?= demo
DATA_DIR ?=
PROFILE ?= quick
LADDER ?= report
STAGES ?=
SEEDS ?= 1
OUT ?=
ARGS ?=
# Number of processes that run tests, one file at a time each.
WORKERS ?= 2

OPTIONS = --dataset "$(DATASET)" --profile "$(PROFILE)" --ladder "$(LADDER)" --seeds "$(SEEDS)" \
	$(if $(DATA_DIR),--data-dir "$(DATA_DIR)") $(if $(STAGES),--stages "$(STAGES)") $(if $(OUT),--out "$(OUT)") $(ARGS)

.PHONY: help setup study test test-long lint fuzz audit lab clean

help:
	@echo "make setup      install into .venv (PYTHON=python3.12 names another Python)"
	@echo "make study      set up, then run the study (DATASET= DATA_DIR= PROFILE= LADDER= STAGES= SEEDS= OUT= ARGS=)"
	@echo "make test       set up, then run the tests, in minutes"
	@echo "make test-long  run the tests that take longer"
	@echo "make lint       run ruff, mypy, import-linter and nbstripout on all files"
	@echo "make fuzz       fuzz the readers of outside files, guided by coverage (Linux)"
	@echo "make audit      look for known vulnerabilities in the installed packages"
	@echo "make lab        open JupyterLab on the notebooks"
	@echo "make clean      remove .venv; runs/ stays"

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "Python 3.11 to 3.13 is needed (TensorFlow has no packages for others); give it with PYTHON=python3.12"; exit 2; }
	@if [ -n "$$(ls -A "$(VENV)" 2>/dev/null)" ] && [ ! -e "$(VENV)/.lfwstudy" ] && [ ! -e "$@" ]; then \
		echo "$(VENV) already exists and make did not set it up: move it away, or choose another with VENV=FOLDER"; exit 2; fi
	$(PYTHON) -m venv $(if $(wildcard $@),,--clear) "$(VENV)"
	@touch "$(VENV)/.lfwstudy"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@
	@echo "installed in $(VENV); to use lfwstudy, jupyter and papermill in this shell: source $(BIN)/activate"

study: setup
	$(BIN)/lfwstudy run $(OPTIONS)
	@echo "to use lfwstudy in this shell: source $(BIN)/activate"

test: setup
	$(BIN)/python -m pytest -m "not long" --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-long: setup
	$(BIN)/python -m pytest -m long $(ARGS)

lint: setup
	PATH="$(abspath $(BIN)):$$PATH" pre-commit run --all-files

fuzz: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[fuzz]"
	$(BIN)/python -m pytest tests/test_fuzz.py -m long -k coverage_guided $(ARGS)

audit: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[audit]"
	$(BIN)/python tests/audit.py $(ARGS)

lab: setup
	$(BIN)/jupyter lab notebooks

clean:
	@if [ -e "$(VENV)/.lfwstudy" ] || [ -e "$(VENV)/.ready" ]; then rm -rf "$(VENV)"; fi
