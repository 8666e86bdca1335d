# Every target sets itself up: `make demo` works on a fresh clone.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help
help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

.PHONY: install
install: $(STAMP) ## .venv with everything, from the lock

$(STAMP): requirements-dev.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "audience-relay needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: demo
demo: $(STAMP) ## events to all three vendors on this machine, and a table that compares
	$(BIN)/audience-relay demo

.PHONY: up
up: $(STAMP) relay.toml ## everything on this machine, until Ctrl-C
	$(BIN)/audience-relay up

.PHONY: sandbox
sandbox: $(STAMP) ## the vendors' stand-ins alone
	$(BIN)/audience-relay sandbox

relay.toml:
	cp relay.example.toml $@

.PHONY: check
check: $(STAMP) ## format, lint, types, imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: test
test: $(STAMP) ## every test, with a real Redis and real workers
	$(BIN)/pytest -n 3 --dist worksteal

.PHONY: chaos
chaos: $(STAMP) ## kill workers and Redis while vendors fail, then compare; ARGS="--seed 7 --events 200000"
	$(BIN)/python -m tests.chaos $(ARGS)

.PHONY: lock
lock: ## resolve the dependencies anew (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock
