# `make help` lists the targets. What they do stands in make.py, which runs without make as well; here a Python is
# found that can read it. Everything runs in .venv, which the first target that needs it sets up.

PYTHON ?=

# Any Python from 3.7 on reads make.py, which looks for the one that the book needs.
CANDIDATES = $(PYTHON) $(wildcard .venv/bin/python .venv/Scripts/python.exe) \
  python3 python python3.13 python3.12 python3.11
NO_PYTHON = Python 3.11 or newer is needed and was not found: install it from https://www.python.org/downloads/, \
  or say where it is with 'make PYTHON=/path/to/python3 book'.
TARGETS := help book test test-colab test-live notebooks lab bench grade offline clean \
  .venv/.ready .venv-colab/.ready

.DEFAULT_GOAL := help
.PHONY: $(TARGETS)

$(TARGETS):
	@for python in $(CANDIDATES); do \
	  if $$python -c "import sys; sys.exit(sys.version_info < (3, 7))" 2>/dev/null; then exec $$python make.py $@; fi; \
	done; echo "$(NO_PYTHON)"; exit 1
