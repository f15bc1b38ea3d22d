VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS := .venv-docs

# dm_control needs labmaze, which has no wheel for 3.13 and is built with Bazel.
SUITABLE := import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))
# A name that is found may be a launcher for a version that is not installed, so each is run.
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do \
	$$p -c '$(SUITABLE)' 2>/dev/null && echo $$p && break; done)

.PHONY: help demo test torture lint docs venv libero metaworld pusht gl

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' Makefile

demo: venv gl  ## train a small agent, evaluate it, and say where everything is
	$(BIN)/python -m experiments.demo

test: venv gl  ## run the tests
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations 10

torture: venv libero gl  ## kill, fill, damage and repeat commands for two hours, and count what is lost
	$(BIN)/python -m experiments.benchmarks.kills --count 100
	$(BIN)/python -m experiments.benchmarks.full_disk
	$(BIN)/python -m experiments.benchmarks.evaluations --count 30
	$(BIN)/python -m pytest -m slow -s tests/fuzz

lint: venv  ## check style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

docs: $(DOCS)/.installed  ## build the documentation's site into site/, strictly
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build
	@echo 'open site/index.html; with its search: python3 -m http.server --directory site'

venv: $(STAMP)  ## make or update .venv from requirements.txt

libero: venv  ## add the tasks of LIBERO to .venv (490 MB to download, 0.9 GB on disk)
	@echo "LIBERO with its meshes and textures: 490 MB to download (a minute at 10 MB/s), 0.9 GB on disk"
	@# hf-libero, which this installed once, holds files of the same names.
	@$(BIN)/python -m pip uninstall --quiet --quiet --yes hf-libero
	$(BIN)/python -m pip install --quiet --no-deps -r requirements-libero.txt

metaworld: venv  ## add the tasks of MetaWorld to .venv (120 MB to download)
	$(BIN)/python -m pip install --quiet --no-deps -r requirements-metaworld.txt

pusht: venv  ## add Push-T to .venv (20 MB to download)
	$(BIN)/python -m pip install --quiet --no-deps -r requirements-pusht.txt

gl: venv
	@experiments/install_gl.sh $(BIN)/python

$(STAMP): requirements.txt setup.cfg
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(SUITABLE)' || { \
		echo 'Python 3.11 or 3.12 is needed; name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3'; \
		exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
		echo 'No virtual environment could be made; on Debian and Ubuntu first type'; \
		echo '  sudo apt-get update && sudo apt-get install -y python3-venv'; \
		exit 1; }
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(DOCS)/.installed: requirements-docs.txt
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or 3.12 is needed; name one: make docs PYTHON=/path/to/python3'; exit 1; }
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --no-deps -r requirements-docs.txt
	@touch $@
