# Everything happens in .venv; nothing is installed outside it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# The service's own default device is NPU; trying it out should work on every machine.
export OPENVINO_RERANKER_DEVICE ?= CPU

.PHONY: run test test-export test-rag check install clean

run: $(STAMP)  ## get a model ready and serve it on http://127.0.0.1:18818, until Ctrl-C
	@$(BIN)/openvino-reranker pull
	@exec $(BIN)/openvino-reranker serve

test: $(STAMP)  ## run all tests
	$(BIN)/python -m pytest

test-export: $(STAMP)  ## export a model with optimum-intel, in an environment of its own (1.6 GB), and load it
	$(BIN)/python -m pytest -m export tests/npu/test_export.py

test-rag: $(STAMP)  ## use the service from Chroma, LangChain, LlamaIndex and Haystack, in environments of their own (1 GB)
	$(BIN)/python -m pytest -m rag tests/rag

check: $(STAMP)  ## ruff, mypy, pyright, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p openvino_reranker
	$(BIN)/pyright
	$(BIN)/lint-imports

install: $(STAMP)  ## make .venv with everything in it

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "openvino-reranker needs Python 3.11 or newer; this is " + sys.version.split()[0] + " (choose another with: make PYTHON=python3.12 ...)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:  ## remove .venv and what tools left behind
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build *.egg-info
