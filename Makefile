# Two commands: `make demo` shows it, `make test` checks it. Both set up what they need in .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PORT ?= 8000
export DOWSE_DATA ?= data

BIN := .venv/bin

.PHONY: help environment demo test tests lint reference docs client lock clean

help:                    ## what there is
	@grep -hE '^[a-z]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 12

environment: .venv/installed  ## .venv with what the three programs need

demo: .venv/installed    ## environment, sample corpus, model, index, and the service on http://127.0.0.1:8000 (PORT=)
	@scripts/demo $(BIN)/python $(PORT)

test: .venv/installed-dev  ## environment, Chromium, the suites of others, linters, type checks and all tests
	@scripts/chromium
	@scripts/suites
	@$(MAKE) --no-print-directory --jobs 2 lint tests

# On both cores, the tests of a file in one process: they share services, databases and browsers.
tests: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: .venv/installed-dev  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

reference: .venv/installed-dev  ## write docs/reference/ from the code
	$(BIN)/python -m service.openapi
	$(BIN)/python -m scripts.reference

docs: reference          ## write the documentation as a site into .site/; a dead link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

client: .venv/installed-dev  ## write the API's description and the Python client made from it
	$(BIN)/python -m service.openapi
	cd client && ../$(BIN)/python -m generator

lock: .venv/installed-dev  ## pin the newest versions that pyproject.toml allows
	scripts/lock --upgrade

clean:                   ## remove the environment; data stays
	rm -rf .venv

# A stamp is younger than its lock file: the environment is what the lock file says.
.venv/installed: requirements.lock
	@scripts/environment $(PYTHON) requirements.lock
	@touch $@

.venv/installed-dev: requirements-dev.lock
	@scripts/environment $(PYTHON) requirements-dev.lock
	@touch $@ .venv/installed
