# Everything happens in .venv; nothing is installed outside it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One environment, filled in two steps: what the service needs, and what tests and checks need in addition.
FOR_RUNNING := $(VENV)/.installed-for-running
FOR_TESTING := $(VENV)/.installed-for-testing
PIP := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
# In a terminal pip shows each package and how far it is; elsewhere that would fill a log.
QUIET_UNLESS_SEEN := $$(test -t 2 || echo --quiet)

# The service's own default device is NPU; trying it out should work on every machine.
export OPENVINO_RERANKER_DEVICE ?= CPU

MINUTES ?= 10
# Half again as many as there are cores: a test of real processes often waits for one.
TEST_PROCESSES ?= $(shell expr $$(nproc) '*' 3 / 2)

.PHONY: help run test coverage test-clients test-export test-rag test-ray fuzz check install clean soak simulated-npu benchmarks screenshots

help:  ## show these lines
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

run: $(FOR_RUNNING)  ## get a model ready and serve it on http://127.0.0.1:18818 until Ctrl-C
	@$(BIN)/openvino-reranker pull
	@echo "starting the service; 'ready:' with its address follows in a few seconds"
	@exec $(BIN)/openvino-reranker serve

simulated-npu: $(FOR_TESTING)  ## the whole service on a simulated NPU, for work on this code
	@exec $(BIN)/python -m openvino_reranker.tests.simulated_npu

# Files in their order, which puts none of the longest last. A process that crashed ends the run: what it had is lost.
test: $(FOR_TESTING)  ## run the tests, without those of the other test-… targets and the slow ones
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder --max-worker-restart 0

# Left out are simulations that are slow to trace and reach nothing that the other tests do not.
coverage: $(FOR_TESTING)  ## fail where a branch of what the broker decides is not tested
	$(BIN)/python -m coverage run -m pytest -q tests/broker -k 'not many_requests and not same_share and not gets_its_share'
	$(BIN)/python -m coverage report

test-clients: $(FOR_TESTING)  ## try the clients people have, each from its own package, in environments under .cache (600 MB)
	$(BIN)/python -m pytest -m clients tests/clients tests/browser

FUZZ_S ?= 600
fuzz: $(FOR_TESTING)  ## feed the HTTP body parser what Atheris thinks of, for FUZZ_S seconds (600)
	@test -d .cache/atheris || $(BIN)/python -m pip install --quiet --no-deps --target .cache/atheris atheris==3.0.0
	@mkdir -p .cache/fuzz
	@echo '0{"query":"q","documents":["d",{"text":"t","id":1}],"top_k":1}' > .cache/fuzz/seed
	PYTHONPATH=.links:.cache/atheris $(BIN)/python -P -m openvino_reranker.tests.clients.fuzz_bodies -max_total_time=$(FUZZ_S) .cache/fuzz

soak: $(FOR_TESTING)  ## faults and attacks on a running service, MINUTES=10 of them, and a million simulated requests
	$(BIN)/python -m openvino_reranker.tests.soak $(MINUTES)

test-export: $(FOR_TESTING)  ## export a model with optimum-intel in an environment of its own (1.6 GB), and load it
	$(BIN)/python -m pytest -m export tests/npu_worker/model/test_export.py

test-rag: $(FOR_TESTING)  ## use the service from Chroma, LangChain, LlamaIndex and Haystack, in environments of their own (1 GB)
	$(BIN)/python -m pytest -m rag tests/rag

screenshots: $(FOR_TESTING)  ## take README's pictures of the page again, with Debian's chromium
	$(BIN)/python -m openvino_reranker.tests.browser.screenshots

test-ray: $(FOR_TESTING)  ## run bulk on a Ray cluster of two nodes on this machine, in an environment of its own (0.7 GB)
	$(BIN)/python -m pytest -m ray tests/ray

benchmarks: $(FOR_TESTING)  ## measure the service beside its peers, in environments of their own (4 GB, half an hour)
	$(BIN)/python -m openvino_reranker.benchmarks.run

check: $(FOR_TESTING)  ## ruff, mypy, pyright, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p openvino_reranker
	$(BIN)/pyright
	$(BIN)/lint-imports

install: $(FOR_TESTING)  ## make .venv with everything in it, also for tests and checks

$(FOR_RUNNING): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "openvino-reranker needs Python 3.11 or newer; this is " + sys.version.split()[0] + " (choose another with: make PYTHON=python3.12 ...)")'
	@test -d $(VENV) && echo "updating $(VENV)" || echo "installing OpenVINO and what else the service needs into $(VENV): about 150 MB to download and 600 MB on disk, once"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) $(QUIET_UNLESS_SEEN) --editable '.[all,int8]'
	@touch $@

$(FOR_TESTING): $(FOR_RUNNING)
	@echo "installing what tests and checks need into $(VENV): about 100 MB more to download"
	@$(PIP) --quiet --editable '.[dev]'
	@touch $@

clean:  ## remove .venv and what tools left behind
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build *.egg-info
