# Everything a person does here. Needs Python 3.11 to 3.14 and make; nothing else, and no root.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
OUT    ?=

# The newest version that works first; PYTHON=... chooses another one.
ifeq ($(origin PYTHON),file)
PYTHON := $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null \
	&& echo "$$name" && break; done)
endif

.DEFAULT_GOAL := help
.PHONY: help run test test-browser bench faults fuzz seed corpus model walk photographs lint openapi requirements samples clean python

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/base.stamp ## Start everything on this machine and ingest the samples (ARGS="--port 9000")
	@$(BIN)/python manage.py up $(ARGS)

# Each process starts servers of its own, and waits for them half of the time: three keep two cores busy. A file's
# tests stay together, for what they share; tests/conftest.py says which files come first.
PARALLEL := -n 3 --dist loadfile --no-loadscope-reorder

test: $(VENV)/dev.stamp ## Run the tests: all on PostgreSQL, then those for both databases on SQLite (ARGS="-x")
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)
	$(BIN)/python -m pytest $(PARALLEL) --database=sqlite -m both_databases $(ARGS)

test-browser: $(VENV)/dev.stamp ## Look at every page in Chromium, as each role; needs Debian's package chromium (ARGS="-x")
	$(BIN)/python -m pytest tests/browser $(ARGS)

bench: $(VENV)/bench.stamp ## Measure against raw Dramatiq and other peers (OUT=f.json ONLY=noop,fairness ROUNDS=3 QUICK=1)
	@$(BIN)/python -m tests.bench $(if $(OUT),--out $(OUT)) $(if $(ONLY),--only $(ONLY)) \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(QUICK),--quick) $(ARGS)

faults: $(VENV)/dev.stamp ## Break everything around the queue, count the damage (SEED=1 JOBS=10000 STOCK=1 OUT=f.json ONLY=…)
	@$(BIN)/python -m tests.faults $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS)) $(if $(STOCK),--stock) \
		$(if $(OUT),--out $(OUT)) $(if $(ONLY),--only $(ONLY)) $(ARGS)

fuzz: $(VENV)/dev.stamp ## Ask the running API whatever its OpenAPI document allows, and more (CASES=5000 SEED=1)
	@FUZZ_CASES=$(or $(CASES),5000) $(if $(SEED),FUZZ_SEED=$(SEED)) $(BIN)/python -m pytest tests/fuzz -s

model: $(VENV)/dev.stamp ## Check the ledger against its model: 2,000 examples on each database (MODEL_EXAMPLES=n)
	MODEL_EXAMPLES=$(or $(MODEL_EXAMPLES),2000) $(BIN)/python -m pytest tests/queueadmin/test_model.py --timeout=7200
	MODEL_EXAMPLES=$(or $(MODEL_EXAMPLES),2000) $(BIN)/python -m pytest tests/queueadmin/test_model.py --timeout=7200 --database=sqlite

seed: $(VENV)/dev.stamp ## Make a ledger with a past, and look at it (ROWS=1000000 SERVE=1) or time every page of it (MEASURE=1)
	@$(BIN)/python -m tests.seed $(if $(ROWS),--rows $(ROWS)) $(if $(SERVE),--serve) $(if $(MEASURE),--measure) $(ARGS)

walk: $(VENV)/dev.stamp ## Walk through docs/operations.md: kill a host, see the alert, upgrade, restore (5 min)
	@$(BIN)/python -m tests.walk

photographs: $(VENV)/dev.stamp ## Take the pictures of docs/ again, in Chromium (5 min; ARGS="--only storm --out folder")
	@$(BIN)/python -m tests.photographs $(ARGS)

corpus: $(VENV)/base.stamp ## Extract a folder of documents (CORPUS=folder OUT=results.jsonl), resumable
	@test -n "$(CORPUS)" || { echo "Say which folder: make corpus CORPUS=../documents [OUT=results.jsonl]" >&2; exit 1; }
	@$(BIN)/python manage.py corpus "$(CORPUS)" $(if $(OUT),--out "$(OUT)") $(ARGS)

lint: $(VENV)/dev.stamp ## Check style, types and imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

openapi: $(VENV)/dev.stamp ## Write docs/openapi.yml, which a test compares with what the code says
	@$(BIN)/python manage.py spectacular --validate --fail-on-warn --file docs/openapi.yml

requirements: $(VENV)/pip.stamp ## Compile requirements/*.in to pinned, hashed .txt files
	@$(BIN)/python -m pip install --quiet uv
	@for name in base tracing dev bench; do \
		$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
			--no-emit-index-url --custom-compile-command "make requirements" \
			requirements/$$name.in --output-file requirements/$$name.txt || exit 1; done

samples: $(VENV)/dev.stamp ## Make the sample documents again
	@$(BIN)/python samples/make_samples.py

clean: ## Remove the virtual environment and caches; var/ (your data) stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp holds the hash of the requirements that were installed: a new time stamp alone (git) installs nothing.
$(VENV)/%.stamp: requirements/%.txt | python
	@test -x $(BIN)/python || { echo "Making $(VENV) with $$($(PYTHON) --version)"; $(PYTHON) -m venv $(VENV); }
	@hash="$$(cksum < $<)"; if [ "$$(cat $@ 2>/dev/null)" != "$$hash" ]; then \
		echo "Installing $< into $(VENV); the first time this takes 1 to 2 minutes and about 1 GB"; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $< || exit 1; \
		echo "$$hash" > $@; fi
	@touch $@

$(VENV)/pip.stamp: | python
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@touch $@

python:
	@test -n "$(PYTHON)" || { echo "This needs Python 3.11 to 3.14, and none is on PATH. Install one, or say which: make run PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'pass' 2>/dev/null || { echo "$(PYTHON) cannot be run. Say which Python to use: make run PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v <= (3, 14) and "This needs Python 3.11 to 3.14; $(PYTHON) is %d.%d. Say which one to use: make run PYTHON=python3.12" % v)'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv module. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
