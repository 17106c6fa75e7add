# Needs python3 >= 3.11 and make, nothing else: the first target that wants it makes .venv from requirements.lock.
PYTHON ?= python3
# `make soak SOAK_COUNT=5000 SOAK_SEED=7`; what a count means stands in tests/conftest.py.
SOAK_COUNT ?= full
SOAK_SEED ?= 1

BIN := .venv/bin
READY := .venv/.ready

# A machine's own pip settings (an index, a certificate) are welcome; those that would install elsewhere or other versions are not.
export PIP_USER := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PIP_TARGET PIP_PREFIX PIP_ROOT PIP_CONSTRAINT PIP_REQUIRE_HASHES PIP_NO_DEPS PIP_UPGRADE PIP_DRY_RUN PYTHONPATH PYTHONHOME

.DEFAULT_GOAL := help
.PHONY: help demo test soak bench bench-check bench-report docs lint format lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 21

demo: $(READY) ## 1,000 rows into customers.jsonl, offline
	$(BIN)/synth-actors generate examples/customers.schema.json -n 1000 -o customers.jsonl --overwrite

test: $(READY) ## every test, examples and README blocks included, and a seeded twentieth of the soak
	$(BIN)/python -m pytest -n 3 --dist loadfile

soak: $(READY) ## the long runs in full: make soak SOAK_COUNT=100000 SOAK_SEED=1
	$(BIN)/python -m pytest -m soak --soak-count=$(SOAK_COUNT) --soak-seed=$(SOAK_SEED) --hypothesis-seed=$(SOAK_SEED)

bench: $(READY) ## the six suites: throughput, latency, memory, cache, concurrency, streaming (under 5 minutes)
	$(BIN)/python -m benchmarks

bench-check: $(READY) ## the gate: fails when a figure is worse than benchmarks/thresholds.toml allows
	$(BIN)/python -m benchmarks --check benchmarks/thresholds.toml

bench-report: $(READY) ## the six suites into bench-report.html, .json and .md
	$(BIN)/python -m benchmarks --output bench-report.html --output bench-report.json --output bench-report.md

docs: $(READY) ## docs/reference/metrics.md and docs/reference/api/ from the sources
	$(BIN)/python -m docs.generator

lint: $(READY) ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## let ruff write what `make lint` asks for
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(READY) ## write requirements.lock anew; UPGRADE=1 takes the newest versions
	@command -v uv >/dev/null || $(BIN)/python -m pip install --quiet uv
	PATH="$$PATH:$(CURDIR)/$(BIN)" uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) --quiet -o requirements.lock

clean: ## remove .venv and everything else that was made here
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist customers.jsonl customers.jsonl.partial manifest.json bench-report.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "make: PYTHON=$(PYTHON) is $$($(PYTHON) -V 2>/dev/null || echo not there);" \
			"Python 3.11 or newer is needed, for example: make PYTHON=python3.11 ..." >&2; exit 1; }
	@echo "Setting up .venv from requirements.lock (once; a minute or two) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { \
		echo "make: $(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; rm -rf .venv; exit 1; }
	@$(BIN)/python -m pip install -qq --no-compile --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -qq --no-deps --no-build-isolation -e .
	@touch $@
