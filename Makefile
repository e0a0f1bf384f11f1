# `make demo` runs the main job, `make test` everything that must pass; both set themselves up.
PYTHON ?= python3
BIN := .venv/bin
# Tests (but for fetching packages) and the demo's stand-ins never leave the machine; LangGraph reads its
# checkpoints back as plain types and messages alone.
CLEAN_ENV := env -u OPENAI_API_KEY -u OPENAI_BASE_URL -u OPENAI_API_BASE -u LANGSMITH_TRACING -u LANGCHAIN_TRACING_V2 \
	LANGGRAPH_STRICT_MSGPACK=true

# As written: make would otherwise read the "$5" of "$500" as a variable of its own.
override Q := $(value Q)
override DOCS := $(value DOCS)
export Q DOCS SMALL LARGE

OWN_TESTS := 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["tool"]["mutmut"]["pytest_add_cli_args_test_selection"])'

.PHONY: demo test lint coverage mutation campaign bench quality clean

demo: .venv/ready
	@$(BIN)/langroute demo

# Three at a time: many tests wait for servers and clocks rather than for one of two cores.
test: .venv/ready lint
	$(CLEAN_ENV) $(BIN)/python -m pytest -q -m "not campaign" -n 3 --dist worksteal

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Every branch where a reply or money could be lost is taken by the tests of its own module. mutmut's settings
# name the modules and these tests.
coverage: .venv/ready
	$(CLEAN_ENV) $(BIN)/python -m pytest -q --cov=langroute $$($(BIN)/python -c $(OWN_TESTS))

# Those tests again, over every small change of those modules: nine in ten must be noticed. Bounded at half an
# hour; `make mutation MODULE=failures` takes the modules that have that in their path, and several are possible.
mutation: .venv/ready
	rm -rf mutants
	$(CLEAN_ENV) timeout 30m $(BIN)/python tests/mutation.py $(MODULE)

# Long, bounded runs: every figure is printed with its seed.
campaign: .venv/ready
	$(CLEAN_ENV) $(BIN)/python -m pytest -q -s -m campaign

bench: .venv/ready
	$(CLEAN_ENV) $(BIN)/python tests/benchmarks/overhead.py
	$(CLEAN_ENV) $(BIN)/python tests/benchmarks/ledger.py

# Learned scores on recorded outcomes of real models, which LANGROUTE_BENCH_DATA must name; writes its RESULTS.md.
quality: .venv/ready
	$(CLEAN_ENV) OMP_NUM_THREADS=1 PYTHONPATH=tests/benchmarks $(BIN)/python -m quality

.venv/ready: pyproject.toml
	@echo "Setting up .venv, which takes about a minute the first time."
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "langroute needs Python 3.11 or newer")'
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

clean:
	rm -rf .venv mutants
