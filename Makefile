# `make` alone lists the targets. Pass extra pip options as PIP_OPTIONS="...", another Python as PYTHON=python3.12.
PYTHON ?= python3
PIP_OPTIONS ?=
CH ?=
BIN := .venv/bin
READY := .venv/ready

.PHONY: help book pdf test stress lab chapters export figures bench clean
help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## (.*)/make \1|\2/' | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

# The environment: made once, and again when the versions change. An interrupted set-up leaves no `ready` and is taken up again.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_OPTIONS) -c constraints.txt -e '.[dev]'
	@touch $(READY)

book: $(READY)  ## build the site from the stored outputs into _build/html
	$(BIN)/jupyter-book build . --all -W -n --keep-going
	@echo "Open $(CURDIR)/_build/html/index.html"

pdf: book  ## print the whole book into _build/gptbook.pdf; needs Chromium
	$(BIN)/python tools/pdf.py _build/html _build/gptbook.pdf

test: $(READY)  ## run every check: package, notebooks (strict nbval), site, JupyterLab
	$(BIN)/python -m pytest --nbval --nbval-sanitize-with tools/nbval_sanitize.cfg tests chapters

stress: $(READY)  ## kill training runs fifty times at random and fifty times while they save, and prepare 2 GB of text; an hour
	$(BIN)/python -m pytest --runslow -m slow -s tests/test_13_*.py

lab: $(READY)  ## open the chapters in JupyterLab; saving a notebook updates its text twin
	$(BIN)/jupyter lab chapters/01_text_and_tokens.ipynb

chapters: $(READY)  ## run all chapters in place, or CH=07, then pair and export them
	$(BIN)/python tools/chapters.py run $(CH)

export: $(READY)  ## write the modules of gptbook/ from the notebooks
	$(BIN)/python tools/chapters.py export

figures: $(READY)  ## draw every figure again
	for script in figures/[0-9]*.py; do $(BIN)/python "$$script" || exit 1; done

bench: $(READY)  ## measure speed and memory against peers
	for script in benchmarks/*.py; do $(BIN)/python "$$script" || exit 1; done

clean:  ## remove what was built; the environment stays
	rm -rf _build chapters/runs .pytest_cache .mypy_cache .hypothesis
