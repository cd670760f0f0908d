# `make demo` runs the whole DAG on the embedded demo, `make test` passes the tests; both set everything up first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := 1

.PHONY: help install demo study ablation test test-slow soak check format clean

help:
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: .venv/.installed  ## set the environment up in .venv

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
		|| { echo "Clipline needs Python 3.11; name it with make PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: install  ## lay the demo down and run `dvc repro`: URL lists -> shards -> models -> report
	python -m pipelines.demo data/demo
	python -m pipelines.snapshot add data/demo/lists/s20261001 --name s20261001
	python -m pipelines.snapshot add data/demo/lists/s20261101 --name s20261101
	rm -rf data/sets/emoji && mkdir -p data/sets && cp -r data/demo/sets/emoji data/sets/emoji
	dvc add --quiet data/sets/emoji
	dvc repro
	@echo "report: $(CURDIR)/report/index.html"

study: install  ## train and compare four objectives, three seeds each
	python -m cyclip_model.recipe study
	dvc repro

RECIPE ?= lambda
ablation: install  ## train the settings of RECIPE="lambda" or "clusters", rank them by held-out pairs; reads no test set
	python -m cyclip_model.recipe $(RECIPE)
	dvc repro train
	python -m cyclip_model.ranking

# two workers at once, each on one core; tests/conftest.py says in which order they take the files
PYTEST := python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
test test-slow: export OMP_NUM_THREADS := 1

test: install  ## the default tests, a few minutes
	$(PYTEST) -m "not slow and not soak and not gpu and not network"

test-slow: install  ## the tests that take longer; CI runs them too
	$(PYTEST) --durations=15 -m "slow and not soak and not gpu and not network"

soak: install  ## what takes hours: many rounds of kill -9
	python -m pytest -m soak

check: install  ## format, lint, types, import contracts, house rules
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	python -m pytest -q tests/test_house.py

format: install  ## format and fix what can be fixed
	ruff format .
	ruff check --fix .

clean:  ## remove scratch folders; the store of what was fetched stays
	rm -rf .work .mypy_cache .ruff_cache .pytest_cache .hypothesis
