# make train: environment, the main job on built-in synthetic data, pictures.
# make test: everything that must hold, a process a core. make test-fast: without what is slow, 2 minutes.
PYTHON ?= python3
VENV := .venv
PYTEST := $(VENV)/bin/python -m pytest -q -n auto --dist worksteal

train: $(VENV)/ready
	$(VENV)/bin/python -m adf train --out runs/first --resume
	@echo "Segmentations and what they are unsure of: runs/first/overview.png"

test: $(VENV)/ready
	$(PYTEST)

test-fast: $(VENV)/ready  # without the lessons and what else is marked slow; with lint
	$(VENV)/bin/ruff check .
	$(PYTEST) -m "not slow"

# With the oldest packages that pyproject.toml claims, without the lessons: their Jupyter is anyone's.
# Packages as old have no wheels for Pythons newer than 3.12.
test-oldest:
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check \
		-c tests/oldest.txt -e '.[test]'
	.venv-oldest/bin/ruff check .
	.venv-oldest/bin/python -m pytest -q -n auto -m "not slow" --ignore tests/course

notebooks: $(VENV)/ready  # every lesson and solution from the top, outputs stored
	$(VENV)/bin/python notebooks/execute.py

book: $(VENV)/ready  # the course as a website
	$(VENV)/bin/python notebooks/website.py

equations: $(VENV)/ready  # notebooks/EQUATIONS.md: from every equation to its code, its test and its error
	$(VENV)/bin/python notebooks/equations.py

lint: $(VENV)/ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

$(VENV)/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "adf needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.PHONY: train test test-fast test-oldest notebooks book equations lint
