# Everything a newcomer needs: `make run` for a server, `make test` for the tests.
# Needs Python 3.11 or newer with venv, and git; the rest goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
READY_BENCH := $(VENV)/.ready-bench
COMPILED := .venv-compiled
READY_COMPILED := $(COMPILED)/.ready
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run cluster test sim seeds lint fmt docs bench bench-quick bench-micro compiled test-compiled hooks clean

help:  ## Show this list
	@echo "kvorum: a drop-in etcd in Python"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

run: $(READY)  ## Start one server on its defaults (ARGS="-addr 127.0.0.1:4001" for others)
	$(BIN)/etcd $(ARGS)

cluster: $(READY)  ## Start three members, the 0.4 way; Ctrl-C stops all three
	@scripts/cluster $(BIN)/etcd

test: $(READY_DEV)  ## Run all tests
	$(BIN)/pytest -n auto $(ARGS)

sim: $(READY_DEV)  ## Run the simulator (ARGS="--seeds 1..100" for some seeds, --help for more)
	$(BIN)/python -m kvorum.sim $(ARGS)

seeds: $(READY_DEV)  ## Run 300 new seeds of the simulator, two at a time
	$(BIN)/python -m kvorum.sim --fresh 300 --jobs 2 --shrink $(ARGS)

lint: $(READY_DEV)  ## Check style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(READY_DEV)  ## Format the code and fix what can be fixed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(READY)  ## Write the pages that are made from the code
	$(BIN)/python -m kvorum.cli.helptext > docs/flags.md

bench: $(READY_DEV)  ## Measure against real etcd, half an hour (needs wrk)
	$(BIN)/python -m benchmarks $(ARGS)

bench-quick: $(READY_DEV)  ## The same in about 3 minutes
	$(BIN)/python -m benchmarks --quick $(ARGS)

bench-micro: $(READY_BENCH)  ## Measure single operations of the cores, half a minute
	$(BIN)/pytest -c benchmarks/micro/pytest.ini benchmarks/micro $(ARGS)

compiled: $(READY_COMPILED)  ## Build a faster server with a C compiler, in .venv-compiled, and its wheel (2 minutes)

test-compiled: $(READY_COMPILED) $(READY_DEV)  ## Hold that server to what the plain one does
	scripts/compare-builds $(BIN)/python $(COMPILED)/bin/python
	KVORUM_PROGRAM="$(CURDIR)/$(COMPILED)/bin/python -m kvorum.cli.etcd" $(BIN)/pytest -n auto tests/process $(ARGS)

hooks: $(READY_DEV)  ## Run the checks before every commit
	git config core.hooksPath .githooks

clean:  ## Remove the environment and all caches
	rm -rf $(VENV) $(COMPILED) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The stamps are older than pyproject.toml when the dependencies may have changed.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, this is %s; name another with make PYTHON=..." % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@# Without bytecode a server takes twice as long to start, and not everybody lets Python write it.
	@$(BIN)/python -m compileall -q src
	@touch $@

$(READY_DEV): pyproject.toml $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(READY_BENCH): pyproject.toml $(READY_DEV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

# From a copy: the compiled modules must not lie beside the sources, where Python would take them first.
$(READY_COMPILED): pyproject.toml $(shell find src -name '*.py')
	rm -rf $(COMPILED) dist/kvorum-*-cp*.whl
	$(PYTHON) -m venv $(COMPILED)
	mkdir $(COMPILED)/build
	cp -r pyproject.toml README.md LICENSE src $(COMPILED)/build
	HATCH_BUILD_HOOK_ENABLE_MYPYC=1 $(COMPILED)/bin/pip wheel --quiet --disable-pip-version-check --no-deps \
		--wheel-dir dist ./$(COMPILED)/build
	$(COMPILED)/bin/pip install --quiet --disable-pip-version-check dist/kvorum-*-cp*.whl
	rm -r $(COMPILED)/build
	@touch $@
