# make demo   set up and evaluate the embedded classifier on the embedded photographs
# make test   set up and run style checks, type checks and tests
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready

.PHONY: demo test lint types check setup weights reference clean

demo: $(READY)
	$(BIN)/noctule show astronaut --overview --out demo/corruptions.png
	$(BIN)/noctule evaluate photo-patches photo-patches --benchmark imagenet-noc --out demo/run
	@echo "The run is in demo/run, the corruptions are shown in demo/corruptions.png."

test: lint types check

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

check: $(READY)
	$(BIN)/python -m pytest

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "noctule needs Python 3.11 or newer; set PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

# The shipped classifiers, and the reference errors of the weaker one.
weights: $(READY)
	$(BIN)/python -m noctule.training.photo_patches

reference: $(READY)
	$(BIN)/python -m noctule.training.reference

clean:
	rm -rf $(VENV) demo
