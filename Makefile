# Everything a person does with this project from the command line. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# onedl: the maintained releases. openmmlab: the original ones, for `make env`, `make test` and `make test-quick`.
STACK ?= onedl
VENV := $(if $(filter openmmlab,$(STACK)),.venv-openmmlab,.venv)
# The first supported Python found, unless one is named: make env PYTHON=python3.12
NEWEST := $(if $(filter openmmlab,$(STACK)),11,12)
SUPPORTED := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, $(NEWEST)))
PYTHON ?= $(firstword $(foreach p,python3 python3.11 python3.12 python3.10,\
	$(shell $(p) -c '$(SUPPORTED)' >/dev/null 2>&1 && echo $(p))) python3)
unexport PYTHON  # tools/*.sh read one of their own
RUN := $(VENV)/bin/python
# One test process a core, at most four (each holds the stack in memory), with one thread each: threads of
# several processes on the same cores slow each other down.
PYTEST := OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n auto --maxprocesses 4 --dist worksteal

.PHONY: help env env-suite demo benchmark records test test-quick torture lint format lock docs clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 20

env:  ## set-up: .venv with the pinned stack, mmcv's operators compiled and proven
	@$(PYTHON) tools/setup_env.py --stack $(STACK)

env-suite:  ## set-up: .venv-suite with Snakemake, which runs the suites; needs Python 3.11 or newer
	@$(PYTHON) tools/setup_env.py --suite

demo: env  ## the whole chain on the embedded benchmark: about 25 minutes on 2 cores
	$(RUN) tools/demo.py

benchmark: env env-suite  ## four ways to start, three tasks, three folds: three quarters of an hour on 2 quiet cores
	$(RUN) tools/benchmark.py cutoutscenes-small

test: env  ## the whole test suite; STACK=openmmlab: the quick one on the original OpenMMLab releases
ifneq ($(STACK),openmmlab)
	@$(PYTHON) tools/setup_env.py --suite || echo 'tests of whole suites are skipped'
endif
	$(PYTEST) $(if $(filter openmmlab,$(STACK)),,-m "")

test-quick: env  ## the tests that take less than 5 seconds each
	$(PYTEST)

torture: env  ## kill, starve and feed rubbish; the table in docs/reliability.md: about 6 minutes
	$(RUN) tools/torture.py --document docs/reliability.md

lint: env  ## ruff (lint and format) and mypy
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: env  ## let ruff fix and format the code
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

lock:  ## write the hashes of all files of the packages in requirements/ to requirements/hashed/; needs uv
	cd requirements && for file in *.txt openmmlab/*.txt suite/*.txt; do \
		oldest=$$([ "$${file%%/*}" = suite ] && echo 3.11 || echo 3.10); \
		uv pip compile --quiet --universal --python-version "$$oldest" --no-deps --generate-hashes \
			--no-header --no-annotate "$$file" -o "hashed/$$file"; \
	done

records: env  ## after `make benchmark`: its records into docs/records, the study's tables into README, the page of all in leaderboard/
	$(RUN) tools/leaderboard.py gather work_dirs/suites/cutoutscenes-small --out docs/records/cutoutscenes-small
	$(RUN) tools/leaderboard.py build docs/records/study --out leaderboard --readme README.md
	$(RUN) tools/leaderboard.py build docs/records --out leaderboard

docs: env  ## write docs/evidence.md; take the pictures of the leaderboard's page; check the commands, links and paths in README.md and docs/
	$(RUN) tools/evidence.py docs/records
	@if [ -d docs/records ] && command -v chromium >/dev/null; then \
		$(RUN) tools/leaderboard.py screenshots docs/records --out docs/images; \
	else echo 'no chromium or no records: the pictures of the page stay as they are'; fi
	$(PYTEST) -m "" tests/test_docs.py

clean:  ## remove caches; keeps .venv, data, weights and work_dirs
	find . -path './.venv*' -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
