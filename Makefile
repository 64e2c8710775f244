# Thin: each target is one or two commands that you can also type. Needs Python 3.11 to 3.13 and make.
PYTHON ?= python3
MIMIC ?=
BIN := .venv/bin
CACHE := $(or $(WARDSTREAM_CACHE_DIR),$(HOME)/.cache/wardstream)/packages
UV := $(BIN)/uv --quiet --cache-dir "$(CACHE)"
INSTALL := $(UV) pip install --compile-bytecode --python $(BIN)/python
COMPILE := $(UV) pip compile --universal --python-version 3.11 --no-header
OF_PARTS := wardstream/stack/parts/requirements
OF_BENCHMARKS := benchmarks/requirements
PINNED := -r requirements.txt --no-deps -e .
# Two files at a time: most tests wait for servers. Which folders share a worker: tests/conftest.py.
PYTEST := $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help install set-up demo up down reset lint test test-unit proof bench bench-short requirements

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Make the virtual environment (done by the other targets, too)

# The stamp comes last: an interrupted installation goes on where it was.
$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed; name one with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(MAKE) --no-print-directory set-up || { echo "set-up ended early, the reason is above;" \
	  "with a network and 4 GB of room (df -h) type the same again: it goes on" >&2; exit 1; }
	@touch $@

# What the cache has is not asked for again: from an index that sends no caching headers, uv would build pyspark anew for
# every clone (25 s) and keep each build (1.3 GB). The version of each package is pinned, so both ways give the same.
set-up:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements.in)"
	$(INSTALL) --offline $(PINNED) 2>/dev/null || $(INSTALL) $(PINNED)
	$(UV) cache prune

demo: $(STAMP) ## Start all, replay a sample (or MIMIC=DIR), run the DAGs, verify
	$(BIN)/wardstream demo $(if $(MIMIC),--mimic "$(MIMIC)")

up: $(STAMP) ## Start Kafka, registry, PostgreSQL, Airflow and the stream
	$(BIN)/wardstream up

down: $(STAMP) ## Stop all; the data stays
	$(BIN)/wardstream down

reset: $(STAMP) ## Stop all and delete the data (asks first)
	$(BIN)/wardstream reset

lint: $(STAMP) ## ruff, its formatter, mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint ## Lint, then every test but the campaigns
	$(PYTEST) -m "not campaign"

test-unit: $(STAMP) ## The tests that start nothing
	$(BIN)/pytest tests/unit

# One file at a time: beside another stack on 2 cores, Airflow takes minutes for what these tests wait seconds for.
proof: $(STAMP) ## The long form of the proofs
	$(BIN)/pytest -m campaign

# A stack of its own, which is stopped at the end. Let nothing else run meanwhile.
bench: $(STAMP) ## How fast it is, beside peers; hours, report and plots in build/bench
	$(BIN)/python -m benchmarks run --form long

bench-short: $(STAMP) ## The same in about two minutes: few events, some cases
	$(BIN)/python -m benchmarks run --form short

requirements: $(STAMP) ## Pin everything below requirements.in, and what parts of the stack and the benchmark need
	$(COMPILE) requirements.in -o requirements.txt
	@for file in $(wildcard $(OF_PARTS)/*.in) $(OF_BENCHMARKS).in; do \
	  echo "$${file%.in}.txt"; $(COMPILE) --generate-hashes "$$file" -o "$${file%.in}.txt" || exit 1; done
