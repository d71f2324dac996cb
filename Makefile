# Everything runs in .venv, which `make setup` makes; Python 3.11+, make and git are all it needs.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PYTEST := $(BIN)/python -m pytest -n 2 --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-text check format test test-all test-cluster bench dist clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Install everything that demo, tests and benchmarks need into .venv; does nothing twice.

$(STAMP): pyproject.toml constraints.txt overrides.txt
	test -x $(BIN)/uv || ($(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet --constraint constraints.txt uv)
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --compile-bytecode --constraint constraints.txt --overrides overrides.txt --editable '.[demo,test,bench,cluster]'
	$(BIN)/python -m autoft.data.packaged
	touch $(STAMP)

demo: setup ## Search on real textile pictures with real weights: under 5 minutes on 2 cores.
	$(BIN)/autoft demo

demo-text: setup ## The same on movie-review snippets.
	$(BIN)/autoft demo --text

check: setup ## Lint, formatting, types, floors.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## Put the code into the house's form.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

test: setup ## The fast tests.
	$(PYTEST) -m "not slow and not ray and not browser and not cluster"

test-all: setup ## All tests but those of test-cluster.
	$(PYTEST) -m "not cluster"

test-cluster: setup ## Searches on hosts that are killed and added, in namespaces: as root, with Debian's iproute2.
	$(BIN)/python -m pytest -m cluster tests/cluster

bench: setup ## The benchmarks; results go to benchmarks/results/.
	$(BIN)/python -m benchmarks.overhead --out benchmarks/results/overhead.json
	$(BIN)/python -m benchmarks.space --out benchmarks/results/space.json

dist: setup ## Build the wheel and the source distribution into dist/.
	$(BIN)/uv build --out-dir dist

clean: ## Remove .venv, caches and build results.
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
