# Two commands set everything up, from a bare clone with Python (>= 3.10), pip and make:
#   make demo    run the main job on a drawn world, offline
#   make test    lint, types and all tests
# Both use one virtual environment, made once. Options:
#   PYTHON=python3.12                  another interpreter
#   PIP_FLAGS='--extra-index-url URL'  for example the PyTorch project's index of CPU builds

PYTHON ?= python3
VENV ?= .venv
PIP_FLAGS ?=
PY := $(VENV)/bin/python
RUNNABLE := $(VENV)/.runnable
INSTALLED := $(VENV)/.installed
MILVUS_VENV ?= $(VENV)-milvus
MILVUS_INSTALLED := $(MILVUS_VENV)/.installed
OPEN_CLIP_VENV ?= $(VENV)-open-clip
OPEN_CLIP_INSTALLED := $(OPEN_CLIP_VENV)/.installed
OLDEST := llama-index,langchain,encoders,cohere,bedrock,sentence-transformers,embedding,faiss,cli,retries,priors,report,qa,test-base
ANSWERS := tests/integrations/answering tests/integrations/app tests/integrations/test_notebooks.py tests/integrations/langchain/qa

.PHONY: demo test test-milvus test-open-clip test-unit test-oldest lint format notebooks bench clean help

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -6

$(RUNNABLE): pyproject.toml constraints.txt
	@echo "== Installing commonscale with all its extras into $(VENV) (once; a few minutes)"
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[all]'
	@touch $@

$(INSTALLED): $(RUNNABLE)
	@echo "== Installing what the tests need into $(VENV): tools, and every vector store (once; some minutes)"
	$(PY) -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[all,dev]'
	@touch $@

$(MILVUS_INSTALLED): pyproject.toml constraints.txt
	@echo "== Installing LangChain's Milvus store, which wants another pymilvus than LlamaIndex's, into $(MILVUS_VENV) (once)"
	$(PYTHON) -m venv $(MILVUS_VENV)
	$(MILVUS_VENV)/bin/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[test-langchain-milvus]'
	@touch $@

$(OPEN_CLIP_INSTALLED): pyproject.toml constraints.txt
	@echo "== Installing OpenCLIP, which wants torchvision, into $(OPEN_CLIP_VENV) (once)"
	$(PYTHON) -m venv $(OPEN_CLIP_VENV)
	$(OPEN_CLIP_VENV)/bin/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[test-open-clip]'
	@touch $@

demo: $(RUNNABLE)
	@echo "== Running the demo: a drawn world, calibrated from unlabeled questions"
	$(VENV)/bin/commonscale demo

lint: $(INSTALLED)
	@echo "== Lint and format (ruff)"
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	@echo "== Types (mypy, strict)"
	$(PY) -m mypy

test: lint
	@echo "== Tests (pytest)"
	$(PY) -m pytest
	@$(MAKE) --no-print-directory test-milvus
	@$(MAKE) --no-print-directory test-open-clip

test-milvus: $(MILVUS_INSTALLED)
	@echo "== Tests of LangChain's Milvus store (pytest)"
	$(MILVUS_VENV)/bin/python -m pytest tests/integrations/stores/test_milvus_langchain.py \
		tests/integrations/stores/test_ingest_shards.py tests/integrations/stores/test_behaviour.py \
		tests/integrations/stores/test_scan.py tests/integrations/stores/test_live.py \
		-k "langchain-milvus or test_milvus_langchain"

test-open-clip: $(OPEN_CLIP_INSTALLED)
	@echo "== Tests of OpenCLIP (pytest)"
	$(OPEN_CLIP_VENV)/bin/python -m pytest tests/integrations/encoders/test_open_clip.py tests/weights/test_harness_open_clip.py

test-unit: $(INSTALLED)
	$(PY) -m pytest tests/unit

test-oldest:
	@echo "== Tests with the oldest versions that pyproject.toml admits, in $(VENV)-oldest (but of the extras chat and app)"
	$(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python -m pip install --quiet $(PIP_FLAGS) -c constraints-oldest.txt -e '.[$(OLDEST)]'
	$(VENV)-oldest/bin/python -m pytest $(foreach folder,$(ANSWERS),--ignore=$(folder))

format: $(INSTALLED)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

notebooks: $(INSTALLED)
	@echo "== Executing the notebooks and writing their outputs back"
	$(PY) notebooks/execute.py

bench: $(INSTALLED)
	$(PY) benchmarks/retrieval.py
	$(PY) benchmarks/calibration.py

clean:
	rm -rf $(VENV) $(VENV)-oldest $(MILVUS_VENV) $(OPEN_CLIP_VENV)
