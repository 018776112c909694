# Python 3.11 or newer is all that the machine needs; everything else goes to .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test long twin bench fuzz crash atheris mutants bugs trust clean

run: .venv/.run
	$(BIN)/zerodebt run 2025-10-11

test: .venv/.test
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -m pytest -n 2

long: .venv/.test
	$(BIN)/python -m pytest -n 2 -m long

# The venue beside the plain model of tests/reference: a million commands, in about six minutes.
twin: .venv/.test
	$(BIN)/python -m tests.reference --commands 1000000 --seed 0

# Fifty runs killed at random points, each taken to its end; prints its seed. `make crash POINTS=500`.
POINTS ?= 50
crash: .venv/.test
	$(BIN)/python -m tests.scenarios.kills $(POINTS)

# addopts is set anew, because --benchmark-skip and --benchmark-only exclude each other.
bench: .venv/.test
	$(BIN)/python -m pytest -o addopts="--import-mode=importlib --strict-markers" --benchmark-only tests/benchmarks

# Until Ctrl-C: seeds of the simulator, what fails is kept in .simulation/. `make fuzz SEEDS=1000: JOBS=2`.
SEEDS ?= 0:
JOBS ?= 1
fuzz: .venv/.test
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) --jobs $(JOBS)

# Coverage-guided fuzzing of the decoders, SECONDS over all targets; the corpora stay in .fuzz/.
SECONDS ?= 600
atheris: .venv/.fuzz
	$(BIN)/python -m tests.fuzz $(TARGET) --seconds $(SECONDS)

# One module of tests/mutants/modules.toml; a run that was broken off goes on. Without MODULE: the figures on record.
mutants: .venv/.test
	$(BIN)/python -m tests.mutants.run $(MODULE)

# The bugs of tests/mutants/bugs.toml one by one, and the test that catches each.
bugs: .venv/.test
	$(BIN)/python -m tests.mutants.bugs

# Every campaign of docs/trust.md by its standard command, recorded with the commit, and the page written anew.
# Takes many hours, most of them for the mutants, and refuses a tree with changes that no commit holds.
trust: .venv/.fuzz
	$(BIN)/python -m tests.trust record-all

clean:
	rm -rf .venv .mutants .simulation .fuzz .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks build dist
	find exchange agents scenarios tests zerodebt -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	$(PYTHON) -m venv .venv

# A stamp is written after its installation went through, so that one that broke off is tried again.
.venv/.run: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/.test: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	touch $@ .venv/.run

.venv/.fuzz: .venv/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test,fuzz]"
	touch $@
