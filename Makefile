# Everything that people and CI run. `make` lists it.
SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CODE := p2p tracker tests bench docs/examples

.PHONY: help setup fmt check test guards e2e bench bench-short bench-dht sim sim-docs docs demo constraints clean

help: ## List the targets.
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | awk -F '\t' '{printf "%-12s %s\n", $$1, $$2}'

setup: $(STAMP) ## Make .venv and install Remora and its tools, hash-checked.

$(STAMP): pyproject.toml constraints.txt
	@python=; for candidate in python3.13 python3.12 python3.11 python3; do \
	  if $$candidate -c 'import sys, ensurepip, ssl, sqlite3, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	    >/dev/null 2>&1; then python=$$candidate; break; fi; done; \
	if [ -z "$$python" ]; then \
	  echo 'setup: no Python 3.11, 3.12 or 3.13 with venv found. On Debian: apt-get install python3 python3-venv' >&2; \
	  exit 1; fi; \
	if [ -x $(BIN)/python ] && $(BIN)/python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  >/dev/null 2>&1 && $(BIN)/python -m pip --version >/dev/null 2>&1; \
	then echo "setup: keeping $(VENV)"; else echo "setup: $$python makes $(VENV)"; $$python -m venv --clear $(VENV); fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

fmt: setup ## Format the code and mend what ruff can.
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

check: setup ## Formatting, lint, types, layers, and a test file for each module.
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/unit/test_structure.py

test: setup ## Unit and shell tests; needs nothing but Python.
	$(BIN)/pytest -q tests/unit tests/shell

guards: setup ## Take every guard of tests/guards.toml out, one by one: the tests must miss it.
	$(BIN)/python -m tests.support.guards

e2e: setup ## Real clients against real daemons; installs them (Debian, root).
	sh tests/e2e/install.sh
	$(BIN)/pytest -q -o faulthandler_timeout=0 tests/e2e

bench: setup ## The whole benchmark, as a table and JSON.
	$(BIN)/python -m bench

bench-short: setup ## The same with smaller blobs.
	$(BIN)/python -m bench --short

bench-dht: setup ## The DHT with 200 real nodes, and under ten million datagrams.
	$(BIN)/python -m bench.dht

sim: setup ## Swarms simulated up to 10,000 nodes: a table, and plots in build/sim.
	$(BIN)/python -m p2p.sim

sim-docs: setup ## The same, and its plots into docs/simulation.
	$(BIN)/python -m p2p.sim --docs docs/simulation

docs: setup ## Links of the documentation resolve, and the protocol is described whole.
	$(BIN)/pytest -q tests/unit/test_docs.py

demo: setup ## An origin, a tracker and four nodes on this host; cleans up after itself.
	$(BIN)/remora demo

constraints: setup ## Pin the newest versions that pyproject.toml allows into constraints.txt.
	$(BIN)/pip-compile pyproject.toml --output-file $(VENV)/constraints.txt --upgrade --quiet --no-header \
	  --generate-hashes --all-extras --allow-unsafe --strip-extras \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links
	{ echo '# Every package of Remora and its development tools, pinned with its hashes, for Python 3.11 to 3.13.'; \
	  echo '# Made by `make constraints`; installed by `make setup`.'; cat $(VENV)/constraints.txt; } > constraints.txt

clean: ## Remove what make made.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage dist
