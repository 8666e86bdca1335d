# Every target sets itself up: `make demo` works on a fresh clone.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
BENCH := .venv-bench
PEERS := .venv-peers
SEGMENT := bench/peers/segment

.PHONY: help
help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-11s %s\n", $$1, $$2}'

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

.PHONY: bench
bench: $(BENCH)/.installed $(PEERS)/.installed segment ## how fast, beside peers and limits: bench/out/report.html; ARGS="--only load,drain --scale 0.1"
	$(BENCH)/bin/python -m bench $(ARGS)

.PHONY: bench-check
bench-check: $(STAMP) ## fail when something has become more than 20 % slower than the stored baseline; ARGS=--store
	$(BIN)/python -m bench.check $(ARGS)

$(BENCH)/.installed: bench/requirements.lock pyproject.toml
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r bench/requirements.lock
	$(BENCH)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(PEERS)/.installed: bench/peers/requirements.lock
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r bench/peers/requirements.lock
	@touch $@

.PHONY: segment
segment:
	@if ! command -v npm > /dev/null; then echo "npm is not here: Segment's onBatch is left out"; \
	elif [ $(SEGMENT)/node_modules -nt $(SEGMENT)/package-lock.json ]; then :; \
	elif (cd $(SEGMENT) && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error && touch node_modules); then :; \
	else echo "npm could not install Segment's packages: onBatch is left out"; fi

.PHONY: lock
lock: ## resolve the dependencies anew (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -c requirements.lock pyproject.toml bench/requirements.in -o bench/requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header bench/peers/requirements.in -o bench/peers/requirements.lock
