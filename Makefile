# Everything lives in .venv inside the checkout; Python >= 3.11 is all that must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

export PREFECT_SERVER_ANALYTICS_ENABLED = false
export DO_NOT_TRACK = 1
# Thread pools inside numpy and numba fight with our own processes for two cores.
export OMP_NUM_THREADS ?= 2

.PHONY: help setup demo test test-system lint format bench bench-live bench-store bench-pools bench-dask soak lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

setup: $(STAMP) ## virtual environment with locked dependencies

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("nightflow needs Python 3.11 or newer, not " + sys.version) if sys.version_info < (3, 11) else 0'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: $(STAMP) ## simulate a night, watch it land, plot the transit (KEEP=1 leaves the server running)
	$(BIN)/nightflow demo $(if $(KEEP),--keep)

test: $(STAMP) ## everything that needs no system package and no network
	$(BIN)/python -m pytest -m "not system and not soak" -n 2 --dist loadscope --no-loadscope-reorder

test-system: $(STAMP) ## what needs astrometry.net, SCAMP, source-extractor or Chromium
	$(BIN)/python -m pytest -m "system and not soak"

lint: $(STAMP) ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## let ruff format and sort imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## timings beside the peers; JSON under benchmarks/results
	$(BIN)/python -m benchmarks

bench-live: $(STAMP) ## seconds from closed file to rows, server and watcher running (CASE=, OPTIONS=); 75 min, 20 GB, Postgres installed
	$(BIN)/python -m benchmarks.live $(CASE) $(OPTIONS)

bench-store: $(STAMP) ## the store with 2 and with 20 million measurements; half an hour, 15 GB of disk
	$(BIN)/python -m benchmarks.store_growth

bench-pools: $(STAMP) ## a night reduced by one and by two workers of a pool; needs two cores to itself
	$(BIN)/python -m benchmarks.pools

bench-dask: $(STAMP) ## what a Dask cluster takes of a backfill beside the reduction
	$(BIN)/python -m benchmarks.dask_overhead

soak: $(STAMP) ## long runs: kills, loads, hard frames and hopeless ones; some keep JSON under benchmarks/results
	$(BIN)/python -m pytest -m soak -n 0

lock: ## resolve pyproject.toml anew and write requirements.lock
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet ".[astrometry,dask,test,lint,bench]" setuptools wheel
	{ echo "# Every package of the environment, pinned. Made by \`make lock\`; installed by \`make setup\`."; \
	  .venv-lock/bin/python -m pip freeze --all --exclude nightflow --exclude pip; } > requirements.lock
	rm -rf .venv-lock

clean: ## remove the environment and the caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis demo-night
