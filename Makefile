# make demo   set up, evaluate the embedded classifier on the embedded photographs, write its report,
#             run a small study
# make test   set up, run style checks, type checks and tests, and name the ten slowest tests
# make test-all   the same, then the tests that take long: kills, programs that measure, studies
# make docs   build the documentation as a site, site/docs
# make test-faults   inject kills, memory limits and other faults: about 10 minutes
PYTHON ?= python3
VENV ?= .venv
# The versions of the dependencies; CONSTRAINTS=/dev/null takes the newest.
CONSTRAINTS ?= constraints.txt
BIN = $(VENV)/bin
TESTS = $(BIN)/python -m pytest --numprocesses auto --dist worksteal --durations 10
READY = $(VENV)/.ready

.PHONY: docs demo test test-all test-faults lint types check browser setup site weights reference agreement study clean

demo: $(READY)
	$(BIN)/noctule show astronaut --overview --out demo/corruptions.png
	$(BIN)/noctule evaluate photo-patches photo-patches --benchmark imagenet-noc --out demo/run
	$(BIN)/noctule report demo/run --out demo/report.html
	$(BIN)/noctule study run photo-patches-demo --out demo/study
	@echo
	@echo "Open demo/report.html in a browser: the report of the run in demo/run."
	@echo "demo/corruptions.png shows the corruptions, demo/study/results/report.html the overlap"
	@echo "of four of them."

test: lint types check

test-all: test
	$(TESTS) -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

check: $(READY) browser
	$(BIN)/noctule compile
	$(TESTS) -m 'not slow'

test-faults: $(READY)
	$(BIN)/python -m pytest tests/faults

setup: $(READY)

# The tests of pages need Chromium or Chrome, installed on the machine or by this target. If none
# can be installed, these tests are skipped with a message.
BROWSERS = chromium chromium-browser google-chrome google-chrome-stable
browser: $(READY)
	@for name in $(BROWSERS); do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq \
		&& DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium \
			>/dev/null; then exit 0; fi; \
	$(BIN)/playwright install chromium \
		|| echo "No browser could be installed: the tests of pages will be skipped." >&2

$(READY): pyproject.toml $(CONSTRAINTS) peers.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "noctule needs Python 3.11 or newer; set PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[dev,peers]'
	$(BIN)/python -m pip install --quiet --no-deps --requirement peers.txt
	$(BIN)/python -m pip install --quiet --no-deps --upgrade \
		--target $(VENV)/imagecorruptions-imaug imagecorruptions-imaug==1.1.5
	@touch $(READY)

# The documentation as a site, in site/docs: about two minutes. It opens offline, from the disk.
docs: $(READY)
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs site/docs
	@echo "Open site/docs/index.html in a browser."

# The shipped classifiers, and the reference errors of the weaker one.
weights: $(READY)
	$(BIN)/python -m noctule.studies.training.photo_patches

reference: $(READY)
	$(BIN)/python -m noctule.studies.training.reference

# docs/agreement.md, the agreement with other packages, and its images.
agreement: $(READY)
	PYTHONPATH=tests:tests/helpers $(BIN)/python scripts/agreement.py

# The worked study of docs/overlap.md: about 40 minutes on 2 idle cores.
study: $(READY)
	$(BIN)/noctule study run photo-patches --out runs/study-photo-patches
	cp runs/study-photo-patches/results/heatmap.png docs/overlap.png
	cp runs/study-photo-patches/results/overlap.csv docs/overlap.csv
	cp runs/study-photo-patches/results/overlap-pairs.csv docs/overlap-pairs.csv
	cp runs/study-photo-patches/results/accuracies.csv docs/overlap-accuracies.csv

# Reports, a comparison and a leaderboard of four classifiers on photo-patches, and the page of a
# study: about 6 minutes on 2 idle cores.
SITE_MODELS = $(SITE_RUNS)/study/models/standard-seed0 $(SITE_RUNS)/study/models/gaussian-seed0
SITE_RUNS = runs/site
SITE_ALL = $(addprefix $(SITE_RUNS)/,photo-patches photo-patches-reference \
	standard-seed0 gaussian-seed0)
site: $(READY)
	$(BIN)/noctule study run photo-patches-demo --out $(SITE_RUNS)/study
	for model in photo-patches photo-patches-reference; do \
		$(BIN)/noctule evaluate $$model photo-patches --out $(SITE_RUNS)/$$model || exit; done
	for model in $(SITE_MODELS); do \
		$(BIN)/noctule evaluate $$model/weights.safetensors photo-patches \
			--out $(SITE_RUNS)/$$(basename $$model) || exit; done
	$(BIN)/noctule report $(SITE_RUNS)/study --out site/study.html
	$(BIN)/noctule report $(SITE_RUNS)/photo-patches --out site/photo-patches.html
	$(BIN)/noctule report $(SITE_ALL) --out site/all.html --figures site/figures
	rm -rf $(SITE_RUNS)/submissions
	for run in $(SITE_ALL); do \
		name=$$(basename $$run); case $$name in \
			photo-patches-reference) network=$$name;; *) network=photo-patches;; esac; \
		$(BIN)/noctule leaderboard prepare $$run $(SITE_RUNS)/submissions/$$name --title $$name \
			--architecture $$network --training-data photo-patches/train \
			--track photo-patches-open || exit; done
	$(BIN)/noctule leaderboard check $(SITE_RUNS)/submissions/*
	$(BIN)/noctule leaderboard build $(SITE_RUNS)/submissions/* --out site/leaderboard
	@echo "Pages: site/all.html, site/photo-patches.html, site/study.html,"
	@echo "site/leaderboard/index.html."

clean:
	rm -rf $(VENV) demo site
