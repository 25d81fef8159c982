# Everything a newcomer needs; `make help` lists it. Each target makes what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TEST_STAMP := $(VENV)/.test-installed

.DEFAULT_GOAL := help
.PHONY: help run test lint format imports check keys reference peers layeredge quantize benchmarks clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo 'Python lacks venv; on Debian: apt-get install python3-venv'; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e .
	@touch $@

$(TEST_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet -e '.[test]'
	@touch $@

run: $(STAMP) ## Install, and run the main job on the embedded models (results/quickstart)
	$(BIN)/layeredge run examples/quickstart.yaml --out results/quickstart

test: $(TEST_STAMP) ## Install, and run all tests
	$(BIN)/python -m pytest

lint: $(TEST_STAMP) ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

imports: $(TEST_STAMP) ## Import directions between the packages
	$(BIN)/lint-imports

check: lint imports test ## All that a change must pass

format: $(TEST_STAMP) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

keys: $(TEST_STAMP) ## Write docs/reference.md and docs/schema from the specifications
	$(BIN)/layeredge schema reference > docs/reference.md
	for file in sweep target results; do $(BIN)/layeredge schema $$file > docs/schema/$$file.json; done

reference: $(STAMP) ## The sweep of the catalog models, kept under results/reference
	$(BIN)/python -m pip install --quiet -e '.[text]'
	$(BIN)/layeredge models fetch --all
	$(BIN)/layeredge run examples/catalog.yaml --out results/reference --fresh

peers: $(STAMP) ## All eight models beside ONNX Runtime and OpenVINO, kept under results/peers
	$(BIN)/python -m pip install --quiet -e '.[text,openvino]'
	$(BIN)/layeredge models fetch --all
	$(BIN)/layeredge run examples/peers.yaml --out results/peers --fresh

layeredge: $(STAMP) ## Edges dropped by four scores and two controls, kept under results/reference/layeredge
	$(BIN)/python -m pip install --quiet -e '.[torch]'
	$(BIN)/layeredge run examples/layeredge.yaml --out results/reference/layeredge --fresh

quantize: $(STAMP) ## Layers in 8-bit integers, kept under results/reference/quantize
	$(BIN)/layeredge run examples/quantize.yaml --out results/reference/quantize --fresh

benchmarks: $(TEST_STAMP) ## How well the verdicts and the harness itself measure
	$(BIN)/python benchmarks/verdict_rates.py
	$(BIN)/python benchmarks/harness_honesty.py
	$(BIN)/python benchmarks/mutation_check.py

clean: ## Remove the environment and the quickstart's results
	rm -rf $(VENV) results/quickstart
