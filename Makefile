# Loupe. `make` says what there is to do. Needs Python 3.11 or newer, and nothing else.

PYTHON ?= python3
PIP = -m pip install --quiet --disable-pip-version-check
BIN = .venv/bin
HOST ?= 127.0.0.1
PORT ?= 8000
# more for pytest: make test PYTEST="-x -k bulk"
PYTEST ?=
# a file of tests runs whole in one of so many processes
WORKERS ?= 2
IN_WORKERS = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
QUICK = -m "not soak"
# a part of the longer rounds: make soak PART=2/3
PART ?= 1/1
# more for the benchmarks: make bench BENCH="--quick --database postgresql"
BENCH ?=
export HOST PORT

.DEFAULT_GOAL := help
.PHONY: help run test test-sqlite test-postgresql soak soak-sqlite soak-postgresql guards pictures lint format migrations bench bench-large bench-exports bench-viewer clean

help:  ## what there is to do
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 26

run: .venv/installed-service .venv-pipeline/installed  ## serve on http://127.0.0.1:8000 with a demo project; make run PORT=9000
	@exec $(BIN)/python scripts/serve.py

test: test-sqlite test-postgresql  ## the suite on SQLite, and on PostgreSQL what asks most of a database

test-sqlite: .venv/installed-dev .venv-pipeline/installed  ## the suite on SQLite
	TEST_DATABASE=sqlite $(BIN)/python -m pytest $(IN_WORKERS) $(QUICK) $(PYTEST)

test-postgresql: .venv/installed-dev .venv-pipeline/installed  ## what asks most of a database, on PostgreSQL
	TEST_DATABASE=postgresql $(BIN)/python -m pytest $(IN_WORKERS) $(QUICK) $(PYTEST)

soak: soak-sqlite soak-postgresql  ## longer rounds: races, crashes, every page without JavaScript, each hostile text by itself

soak-sqlite: .venv/installed-dev .venv-pipeline/installed  ## the longer rounds on SQLite
	TEST_DATABASE=sqlite SOAK_PART=$(PART) $(BIN)/python -m pytest $(IN_WORKERS) -m soak $(PYTEST)

soak-postgresql: .venv/installed-dev .venv-pipeline/installed  ## the longer rounds on PostgreSQL
	TEST_DATABASE=postgresql SOAK_PART=$(PART) $(BIN)/python -m pytest $(IN_WORKERS) -m soak $(PYTEST)

guards: .venv/installed-dev  ## takes guards of the service away, one at a time: a test must notice each
	$(BIN)/python scripts/without_guards.py

pictures: .venv/installed-dev  ## a picture of every page in every state, into tests/output/screenshots/
	TEST_PICTURES=1 TEST_DATABASE=sqlite $(BIN)/python -m pytest -q tests/browser/test_site.py tests/browser/test_print.py

lint: .venv/installed-dev  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed-dev  ## put the code into its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

migrations: .venv/installed-dev  ## one head; upgrade equals the models; downgrade works; on both databases
	TEST_DATABASE=sqlite $(BIN)/python -m pytest -q tests/test_migrations.py
	TEST_DATABASE=postgresql $(BIN)/python -m pytest -q tests/test_migrations.py

bench: .venv/installed-dev  ## figures on both databases, under ten minutes; a smoke run: make bench BENCH=--quick
	@$(BIN)/python -m benchmarks.run $(BENCH)

bench-large: .venv/installed-dev  ## the same beside ten million annotations, on PostgreSQL; less: make bench-large BENCH="--annotations 1000000 --analyses 100000"
	@$(BIN)/python -m benchmarks.large $(BENCH)

bench-exports: .venv/installed-dev  ## a million annotations in every format and as a bundle; less: make bench-exports BENCH="--count 100000"
	@$(BIN)/python -m benchmarks.formats $(BENCH)

bench-viewer: .venv/installed-dev .venv-pipeline/installed  ## what a person waits for, in Chromium; a smoke run: make bench-viewer BENCH=--quick
	@$(BIN)/python -m benchmarks.viewer $(BENCH)

clean:  ## remove the environments and caches; instance/, the data, stays
	rm -rf .venv .venv-pipeline .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/output
	find app migrations scripts benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Each environment has a stamp, newer than the list it was installed from, so that a second start is quick.

.venv/bin/python: | check-python
	$(PYTHON) -m venv .venv

.venv/installed-service: requirements.txt | .venv/bin/python
	@echo "Installing what the service needs into .venv ..."
	$(BIN)/python $(PIP) -r requirements.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed-service
	@echo "Installing what the tests need into .venv ..."
	$(BIN)/python $(PIP) -r requirements-dev.txt
	@touch $@

.venv-pipeline/bin/python: | check-python
	$(PYTHON) -m venv .venv-pipeline

.venv-pipeline/installed: scripts/requirements-pipeline.txt | .venv-pipeline/bin/python
	@echo "Installing what the example pipeline needs into .venv-pipeline ..."
	.venv-pipeline/bin/python $(PIP) -r scripts/requirements-pipeline.txt
	@touch $@

.PHONY: check-python
check-python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Loupe needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1 || echo 'not installed')."; \
	  echo "Name another one:  make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; } >&2
