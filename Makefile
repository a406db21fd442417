# Every target prepares what it needs by itself: Debian packages (as root) and .venv, see .ci/setup.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BIN := .venv/bin
READY := .venv/.ready
TESTS := .venv/.ready-for-tests
COMPILED := build/compiled/.ready
PYTEST := $(BIN)/pytest --durations=5 -rs
SIMULATE := PYTHONPATH=build/compiled $(BIN)/python -P -m hamgr.simulation
SEEDS ?= 1000
FRESH ?= 225
COUNTED ?= 75
HOURS ?= 0
JOBS ?= 2
SCENARIOS ?=
RUNS ?= 0
BENCH ?=
DATAGRAMS ?= 100000
FUZZ ?=
FAULTS ?= 100
SEED ?= 1

.PHONY: help demo test test-all check sim soak fuzz lab-test fence-soak watchdog-test bench clean

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): pyproject.toml .ci/setup
	@.ci/setup

$(TESTS): $(READY)
	@.ci/setup --tests
	@touch $@

$(COMPILED): $(READY) tests/compiled.py $(wildcard hamgr/*.py hamgr/core/*.py hamgr/leader/*.py hamgr/simulation/*.py)
	@$(BIN)/python -m tests.compiled

demo: $(READY) ## a cluster on this machine: crash, switchover, ZooKeeper down (build/demo.json)
	@mkdir -p build
	@$(BIN)/hamgr lab demo --json build/demo.json

test: $(TESTS) $(COMPILED) ## the tests that fit continuous integration
	@$(PYTEST) -n 3 --dist loadfile -m "not lab and not slow"
	@$(SIMULATE) --fresh --seeds $(FRESH) --jobs $(JOBS)
	@$(BIN)/python -m hamgr.simulation --fresh --first $(FRESH) --seeds $(COUNTED) --jobs $(JOBS) --reach
	@$(PYTEST) -m "lab and not slow"

test-all: $(TESTS) check sim ## everything: checks, simulated clusters, all tests
	@.ci/setup --slow-tests
	@$(PYTEST)

check: $(READY) ## ruff, mypy, import contracts, the limits of the house
	@$(BIN)/ruff check hamgr tests
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(PYTEST) -q tests/test_tidy.py

sim: $(COMPILED) ## SEEDS=1000 simulated clusters with random faults
	@$(SIMULATE) --seeds $(SEEDS) --jobs $(JOBS)

soak: $(COMPILED) ## HOURS=0 simulated clusters without end, going on where the last soak ended (build/soak.json)
	@$(SIMULATE) soak --jobs $(JOBS) --hours $(HOURS) --seconds 16

fuzz: $(READY) ## DATAGRAMS=100000 hostile ones, guided by coverage: FUZZ="--target engine --keep"
	@$(BIN)/python -m tests.fuzz --datagrams $(DATAGRAMS) $(FUZZ)

lab-test: $(READY) ## real agents and ZooKeeper in network namespaces (root)
	@$(PYTEST) -m "lab and not slow"

fence-soak: $(TESTS) ## FAULTS=100 SEED=1 random faults of nodes and of what cuts them off (root): ten minutes
	@$(BIN)/python -m tests.lab.fence_soak --faults $(FAULTS) --seed $(SEED)

watchdog-test: $(READY) ## virtual machines that their watchdog resets: some minutes
	@.ci/setup --slow-tests
	@$(PYTEST) -s -m vm tests/vm

bench: $(TESTS) ## hamgr beside keepalived: SCENARIOS=node_crash,isolate RUNS=5 for a part (root)
	@$(BIN)/python -m tests.bench --scenarios "$(SCENARIOS)" --runs $(RUNS) $(BENCH)

clean: ## remove what was built, .venv included
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
