# `make help` lists the targets. Everything runs in .venv, which the first target that needs it sets up.

PYTHON ?=
VENV := .venv
COLAB := .venv-colab
ifeq ($(OS),Windows_NT)
  BIN := $(VENV)/Scripts
  COLAB_BIN := $(COLAB)/Scripts
else
  BIN := $(VENV)/bin
  COLAB_BIN := $(COLAB)/bin
endif
READY := $(VENV)/.ready
COLAB_READY := $(COLAB)/.ready

# Whatever kernels and settings a user has: the notebooks run under this environment's Python.
export JUPYTER_PREFER_ENV_PATH := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport JUPYTER_PATH PYTHONPATH

# PYTHON if it is given; else a Python of the versions that are tested, else any that is new enough.
FIND_PYTHON = for newest in 14 99; do for p in $(or $(PYTHON),python3 python python3.13 python3.12 python3.11); do \
	  $$p -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, $$newest))" 2>/dev/null && { echo $$p; break 2; }; \
	  done; done
NO_PYTHON = Python 3.11 or newer is needed and was not found: install it from https://www.python.org/downloads/, \
  or say where it is with 'make PYTHON=/path/to/python3 book'.

.DEFAULT_GOAL := help
.PHONY: help book test test-colab test-live notebooks lab bench grade clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | \
	  awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

book: $(READY)  ## build the executed HTML book in _build/html
	@$(BIN)/python tools/build_book.py

test: book  ## build the book and run every test
	@$(BIN)/python -m pytest -n 2 --dist worksteal

test-colab: $(COLAB_READY)  ## train every network and run every student notebook under Colab's own versions
	@$(COLAB_BIN)/python tools/train_all.py
	@$(COLAB_BIN)/python tools/run_notebook.py --jobs 2 notebooks/*.ipynb

test-live: $(READY) $(COLAB_READY)  ## operate every widget in live notebooks, by value and by key: JupyterLab, and Colab's versions
	@for how in "" --keyboard; do \
	  $(BIN)/python tools/live_widgets.py $$how && \
	  $(BIN)/python tools/live_widgets.py $$how --python $(COLAB_BIN)/python --classic || exit 1; done

notebooks: $(READY)  ## write notebooks/ anew from book/
	@$(BIN)/python tools/make_notebooks.py

lab: $(READY)  ## open the notebooks in JupyterLab
	@$(BIN)/python -m jupyterlab notebooks

bench: $(READY)  ## measure the networks beside torchvision's, as ratios
	@$(BIN)/python -m benchmarks

grade: $(READY)  ## grade SUBMISSIONS=folder into grades/, JOBS=n at once
	@test -n "$(SUBMISSIONS)" || { echo "Say where the submissions are: make grade SUBMISSIONS=folder (one folder for each student)."; exit 1; }
	@$(BIN)/python tools/grade.py "$(SUBMISSIONS)" --out "$(or $(OUT),grades)" $(if $(JOBS),--jobs $(JOBS))

clean:  ## remove what was built, the environments excepted
	rm -rf _build .pytest_cache .ruff_cache .mypy_cache .hypothesis

$(READY): requirements.txt pyproject.toml
	@python=$$($(FIND_PYTHON)); if [ -z "$$python" ]; then echo "$(NO_PYTHON)"; exit 1; fi; \
	if [ ! -x $(BIN)/python ]; then echo "Setting up $(VENV) with $$($$python --version) ..."; \
	  $$python -m venv $(VENV) || { echo "Python's venv module does not work here; on Debian and Ubuntu: apt-get install python3-venv."; exit 1; }; fi
	@$(BIN)/python -m pip install --quiet --requirement requirements.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(COLAB_READY): constraints-colab.txt pyproject.toml
	@python=$$($(FIND_PYTHON)); if [ -z "$$python" ]; then echo "$(NO_PYTHON)"; exit 1; fi; \
	if [ ! -x $(COLAB_BIN)/python ]; then echo "Setting up $(COLAB) with Colab's versions ..."; $$python -m venv $(COLAB); fi
	@# First what Colab brings, then the package as a notebook installs it: it may add, and upgrade nothing.
	@$(COLAB_BIN)/python -m pip install --quiet --requirement constraints-colab.txt
	@$(COLAB_BIN)/python -m pip install --quiet --constraint constraints-colab.txt --editable .
	@touch $@
