SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: help up down venv test properties fuzz check format bench

help:
	@echo "make up      start a cluster on this machine"
	@echo "make down    stop it"
	@echo "make test    every test; real containers too, if you are root"
	@echo "make properties   the tests of properties, with examples they never saw"
	@echo "make fuzz    every operation of the API, with requests made from its OpenAPI"
	@echo "make check   format, lint, types, import layers"
	@echo "make bench   figures beside their budgets"

up: venv
	@$(SUDO) $(BIN)/timonel up --yes

down: venv
	@$(SUDO) $(BIN)/timonel down

# The stamp is newer than what decides about the environment. Debian keeps venv in a package of its own.
$(VENV)/.installed: pyproject.toml setup.py $(shell find src -name '*.proto')
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { $(SUDO) apt-get update -qq; $(SUDO) apt-get install -y -qq python3-venv; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# Compiled once here, since the parts may run as another user.
venv: $(VENV)/.installed
	@$(BIN)/python -m compileall -q src

test: venv
	$(BIN)/pytest

properties: venv
	HYPOTHESIS_PROFILE=search $(BIN)/pytest $$(grep -rlE '^from hypothesis' tests --include='test_*.py')

# Some 15 minutes. TIMONEL_FUZZ_SEED makes other requests.
fuzz: venv
	TIMONEL_FUZZ_EXAMPLES=$${TIMONEL_FUZZ_EXAMPLES:-5} $(BIN)/pytest tests/api/openapi/test_fuzzed_operations.py -v

check: venv
	$(BIN)/ruff format --check src tests bench
	$(BIN)/ruff check src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports

format: venv
	$(BIN)/ruff check --fix src tests bench
	$(BIN)/ruff format src tests bench

bench: venv
	$(SUDO) $(BIN)/python -m bench
