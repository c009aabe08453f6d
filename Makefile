# SPDX-License-Identifier: GPL-2.0-or-later
# Two commands matter: `make demo` and `make check`. Each first does all set-up
# that is still to be done: Debian packages, a Python environment in .venv.

VENV := .venv
BIN := $(VENV)/bin
JOBS ?=
HPTRESIZE := $(BIN)/hptresize $(if $(JOBS),-j$(JOBS))
PYTEST_ARGS ?=
BENCH_ARGS ?=

.PHONY: help setup demo bench check lint test clean

help:
	@echo 'make demo   set up, build all, boot a guest and resize its hash page table live'
	@echo 'make check  set up, build all, run the linters and all tests'
	@echo 'make bench  set up, build all, measure our QEMU against mainline (BENCH_ARGS="--quick")'
	@echo 'make lint   set up, run ruff, mypy and import-linter'
	@echo 'make test   set up, build all, run the tests (PYTEST_ARGS="-k name")'
	@echo 'make setup  set up only: Debian packages and .venv'
	@echo 'make clean  remove what was built; downloads and trees stay (hptresize clean --all)'

setup:
	@tools/setup $(VENV)

demo: setup
	@$(HPTRESIZE) demo

bench: setup
	@$(HPTRESIZE) bench $(BENCH_ARGS)

check: lint test

lint: setup
	$(BIN)/ruff check pytools tests
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

# What the guests of the tests need is built first, with its progress shown.
test: setup
	@$(HPTRESIZE) build --for-tests
	$(BIN)/pytest $(PYTEST_ARGS)

clean: setup
	@$(HPTRESIZE) clean
