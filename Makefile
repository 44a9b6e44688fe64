# make demo   everything from nothing: environment, data, the README's example
# make test   the environment with the developers' tools, then ./check all
# make timed  the tests that compare times, which make test leaves out

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
DATA   := dataset-fashion-mnist
CACHE  := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/chipfit/fashion-mnist
export DEBIAN_FRONTEND := noninteractive
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DELETE_ON_ERROR:
.PHONY: help setup dev data chromium demo test timed docs clean

help:
	@echo 'make setup   environment in $(VENV)            make demo   the example of the README'
	@echo 'make dev     the same with developers'"'"' tools    make test   ./check all'
	@echo 'make data    Fashion-MNIST from Debian        make docs   the manual, in site/'

setup: $(VENV)/.setup
dev: $(VENV)/.dev

$(VENV)/.setup: pyproject.toml constraints.txt | $(PY)
	@echo 'Installing chipfit and what it needs; torch is large.'
	$(PY) -m pip install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(PY)
	@echo 'Installing chipfit, what it needs and the developers'"'"' tools; torch is large.'
	$(PY) -m pip install -q -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.setup

# Debian splits venv off Python: install it as root, else use virtualenv, in a folder of its own (no user-wide change).
$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'chipfit needs Python 3.11 or newer; name one: make PYTHON=python3.12 ...'; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 \
	  || { rm -rf $(VENV); [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq python3-venv \
	       && $(PYTHON) -m venv $(VENV); } \
	  || { rm -rf $(VENV); $(PYTHON) -m pip install -q --upgrade --target .virtualenv virtualenv \
	       && PYTHONPATH=.virtualenv $(PYTHON) -m virtualenv -q $(VENV); } \
	  || { rm -rf $(VENV); echo 'No way to make $(VENV) here; install python3-venv, then try again.'; exit 1; }

# Root installs the Debian package; others unpack it into the folder of the user's cache that chipfit looks into. Package
# lists that are missing are fetched into a temporary folder. Where nothing works, chipfit says that it uses digits.
data:
	@[ -s /usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz ] || [ -s $(CACHE)/t10k-images-idx3-ubyte.gz ] \
	  || [ -n "$(CHIPFIT_FASHION_MNIST)" ] \
	  || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq $(DATA); } \
	  || { tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && mkdir -p "$$tmp/lists/partial" "$$tmp/cache/archives/partial" \
	       && cd "$$tmp" && { apt-get download -qq $(DATA) 2>/dev/null || { \
	            own="-o Dir::State::Lists=$$tmp/lists -o Dir::Cache=$$tmp/cache"; \
	            apt-get $$own update -qq && apt-get $$own download -qq $(DATA); }; } \
	       && dpkg-deb -x $(DATA)_*.deb unpacked && mkdir -p $(CACHE) \
	       && cp unpacked/usr/share/datasets/fashion-mnist/*.gz $(CACHE)/; } \
	  || echo 'Fashion-MNIST could not be fetched; going on without it.'

chromium:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq chromium; } \
	  || echo 'chromium is not here; the tests that look at the report in a browser will be skipped.'

demo: setup data
	$(VENV)/bin/chipfit demo

test: dev data chromium
	./check all

# Tests that compare times taken here: on a machine that does nothing else.
timed: dev
	$(VENV)/bin/python -m pytest -q -n 0 -m timed

docs: dev
	$(VENV)/bin/mkdocs build --strict

clean:
	rm -rf build dist site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.*
