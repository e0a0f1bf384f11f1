# `make demo` runs the main job, `make test` everything that must pass; both set themselves up.
PYTHON ?= python3
BIN := .venv/bin
# Tests and the demo's stand-ins never leave the machine.
CLEAN_ENV := env -u OPENAI_API_KEY -u OPENAI_BASE_URL -u OPENAI_API_BASE -u LANGSMITH_TRACING -u LANGCHAIN_TRACING_V2

# As written: make would otherwise read the "$5" of "$500" as a variable of its own.
override Q := $(value Q)
override DOCS := $(value DOCS)
export Q DOCS SMALL LARGE

.PHONY: demo test lint campaign bench clean

demo: .venv/ready
	@$(BIN)/langroute demo

test: .venv/ready lint
	$(CLEAN_ENV) $(BIN)/python -m pytest -q -m "not campaign"

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Long, bounded runs: every figure is printed with its seed.
campaign: .venv/ready
	$(CLEAN_ENV) $(BIN)/python -m pytest -q -s -m campaign

bench: .venv/ready
	$(CLEAN_ENV) $(BIN)/python tests/benchmarks/overhead.py

.venv/ready: pyproject.toml
	@echo "Setting up .venv, which takes about a minute the first time."
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "langroute needs Python 3.11 or newer")'
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

clean:
	rm -rf .venv
