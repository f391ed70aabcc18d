# Every command here is also what CI runs. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROCESSES ?= 2
STAMP := $(VENV)/.lock-$(shell cat requirements.lock pyproject.toml | cksum | tr ' ' '-')

.DEFAULT_GOAL := help
.PHONY: soak fuzz sbom help setup run run-vllm test coverage test-fast check format lock wheel bench bench-cost bench-quick clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv from the pinned, hashed lock

$(STAMP): requirements.lock pyproject.toml
	@test -w . || { echo "make setup: $(CURDIR) is not writable: clone the project where you may write" >&2; exit 2; }
	@echo "setup: creating $(VENV) from requirements.lock (about 90 MB, under a minute)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make setup: $(PYTHON) is older than 3.11; run \`make setup PYTHON=/path/to/python3.11\`" >&2; exit 2; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); \
	  echo "make setup: $(PYTHON) can't make an environment (above); Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.lock-*; touch $@

run: setup ## stand-ins on :9080 and the proxy on :8080, with a policy to try
	@exec $(BIN)/pointsman quickstart $(ARGS)

run-vllm: setup ## real vLLM with a small model behind the proxy; fetches 0.7 GB once
	@exec $(BIN)/pointsman quickstart --engine vllm $(ARGS)

test: setup ## every test, as CI runs them: in two processes, or as many as you like (PROCESSES=0: in this one)
	@$(BIN)/python -m pytest -n $(PROCESSES) $(ARGS)

coverage: setup ## every test, and which branches of ours none of them takes; a third slower
	@$(BIN)/python -m pytest --cov --cov-report=term:skip-covered $(ARGS)

test-fast: setup ## the tests that need no other environment and no other process
	@$(BIN)/python -m pytest -m "not slow and not vllm"

check: setup ## format, lint, types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: setup ## rewrite the files as `check` wants them
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

UV_COMPILE := .cache/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-header pyproject.toml

lock: ## resolve requirements.lock anew from pyproject.toml, and tests/oldest.lock: the oldest releases that it allows
	@$(PYTHON) -m venv .cache/lock && .cache/lock/bin/pip install --quiet "uv>=0.9,<1"
	@$(UV_COMPILE) --group dev -o requirements.lock
	@$(UV_COMPILE) --resolution lowest-direct -o tests/oldest.lock

wheel: setup ## build dist/pointsman-*.whl
	@$(BIN)/python -m build --wheel --no-isolation

bench: setup ## CPU and waits beside nginx, vllm-router, LiteLLM and others, then the hop; 20 minutes
	@$(BIN)/python -m benchmarks.cost --out benchmarks/results $(ARGS)
	@$(BIN)/python -m benchmarks.hop

bench-cost: setup ## the first half of it, with options of its own (ARGS="--help")
	@$(BIN)/python -m benchmarks.cost --out benchmarks/results $(ARGS)

bench-quick: setup ## what matters most of it in under a minute, for a first look; installs nothing
	@$(BIN)/python -m benchmarks.cost --quick $(ARGS)

soak: setup ## half an hour of every fault and good traffic; says whether anything grows (ARGS="--minutes 5")
	@$(BIN)/python -m benchmarks.soak --out benchmarks/results $(ARGS)

fuzz: setup ## hostile input in numbers: parsers and sockets; minutes, so not in CI
	@$(BIN)/python -m tests.security.fuzz $(ARGS)

sbom: setup ## write dist/pointsman.cdx.json from requirements.lock
	@mkdir -p dist && $(BIN)/python -m deploy.sbom > dist/pointsman.cdx.json && echo dist/pointsman.cdx.json

clean: ## remove what the commands above made
	@rm -rf .venv dist build .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis
