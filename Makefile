# Everything a newcomer or a contributor starts. `make` alone lists it.
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests setup-kafka demo up kafka test faults long again check check-style check-types check-layers check-events check-lock bench lock clean

help:
	@echo 'make demo     set up, then run a small laboratory: three sites, about 40 slides, at most three minutes'
	@echo '               (KAFKA=1: the same through a gateway and a real Apache Kafka)'
	@echo 'make up       set up, then run Coverslip for your own slides and orders'
	@echo 'make kafka    one Apache Kafka node on this machine, for development (PORT=9092, FRESH=1: empty)'
	@echo 'make setup    only set up: .venv from requirements.lock (PYTHON=... chooses); then $(BIN)/coverslip works'
	@echo 'make test     set up, with what the tests need, and run them'
	@echo 'make faults   the slow tests: real processes that are killed, cut and filled, and the conformance run'
	@echo 'make long     the slowest: 20,000 events, eight processes and 2,000 reads, a conformance run that has to go red'
	@echo 'make again    the tests that failed the last time'
	@echo 'make check    style, types, the layers of imports, the events, the lock'
	@echo 'make bench    measure what orchestration, events from Kafka and HL7 cost on this machine'
	@echo 'make lock     write requirements.lock again from pyproject.toml (UPGRADE=1: with the newest versions)'
	@echo 'make clean    remove caches, .venv and .kafka; var/, where slides and the database are, stays'

setup:
	@infra/setup/setup

setup-tests: setup
	@infra/setup/system-packages test
	@infra/setup/node-peers

setup-kafka: setup
	@infra/setup/system-packages kafka

demo: $(if $(KAFKA),setup-kafka,setup)
	@$(BIN)/coverslip demo$(if $(KAFKA), --kafka)

up: setup
	@$(BIN)/coverslip up

kafka: setup-kafka
	@$(BIN)/python -m infra.kafka.broker $(if $(PORT),--port $(PORT)) $(if $(FRESH),--fresh)

# In two processes, a file of tests in one of them: most tests wait for something. In the order of folders: files of few
# and long tests would come last otherwise, one process waiting for the other.
test: setup-tests
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not faults and not long and not benchmark'

# As above, from the files that have any; the longest come first (tests/faults/conftest.py).
faults: setup-tests
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m faults $$(grep -rl 'mark\.faults' tests --include='test_*.py')

long: setup-tests
	@$(BIN)/pytest -m long

# What failed the last time, and nothing else.
again: setup-tests
	@$(BIN)/pytest --last-failed --last-failed-no-failures none

check: check-style check-types check-layers check-events check-lock

check-style: setup
	@echo 'Style: ruff'
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet

check-types: setup
	@echo 'Types: mypy'
	@$(BIN)/mypy

check-layers: setup
	@echo 'Layers of imports: import-linter'
	@$(BIN)/lint-imports --no-logo

check-events: setup
	@echo 'Events: infra/kafka/asyncapi.json is what the models say'
	@$(BIN)/python -m infra.kafka.asyncapi --check

check-lock: setup
	@echo 'Lock: all that is asked for, by hash, and no host'
	@$(BIN)/python -m infra.setup.check_lock

bench: setup-tests
	@$(BIN)/python -m tests.benchmarks.orchestration
	@$(BIN)/python -m tests.benchmarks.events
	@$(BIN)/python -m tests.benchmarks.hl7

lock: setup
	@infra/setup/lock $(if $(UPGRADE),--upgrade)

clean:
	@rm -rf .venv .kafka .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@find . -name __pycache__ -type d -not -path './var/*' -prune -exec rm -rf {} +
