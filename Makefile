# Two commands matter: `make demo` and `make test`. Both set up what they need, from nothing but Python 3.11, pip, make.
# While you write: `make quick` and `make lint`.

PYTHON ?= python3
BIN := .venv/bin
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check
export OPENBLAS_NUM_THREADS ?= 1

# Processes that run tests. The measured times are those of two quiet cores.
WORKERS ?= 2
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations 15
# How every test went, and of which commit: what `ebbtide evidence` tells of controls.
REPORT = --junitxml runs/tests.xml -o junit_suite_name="ebbtide@$$(git describe --always --dirty --exclude '*' 2>/dev/null || echo unknown)"

.PHONY: demo review help lint quick test check soak bench capacity figures both-data-sets clean setup

demo: .venv/.ready  ## 300 simulated devices, end to end, and a report
	@$(BIN)/ebbtide simulate demo --overwrite
	@echo "(make help: what else there is)"

review: .venv/.ready  ## for a reviewer: a run, its evidence, copies tampered with, a device's own view; ten minutes (docs/review.md)
	@test -f runs/demo/report.html || $(BIN)/ebbtide simulate demo
	@test -f runs/demo/withdrawal.json || $(BIN)/python -m simulations.evidence.withdrawal runs/demo
	@$(BIN)/ebbtide evidence runs/demo --overwrite
	@$(BIN)/python -m simulations.evidence.review runs/demo

help:  ## what each target does
	@grep -hE '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sed -E 's/:.*  ## /\t/' | expand -t 16

lint: .venv/.ready  ## style, types, directions of imports; under a minute
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

quick: .venv/.ready  ## the tests that are not marked slow: no Flower, no other environment; under two minutes
	$(PYTEST) -m "not slow"

test: setup  ## every test, reduced counts; WORKERS=4 spreads them over more processes
	EBBTIDE_REQUIRE_RUNTIMES=1 $(PYTEST) $(REPORT)

check: lint test  ## lint, then every test

soak: setup  ## the full counts that acceptance lines quote
	EBBTIDE_REQUIRE_RUNTIMES=1 EBBTIDE_SOAK=1 $(PYTEST) $(REPORT) --timeout 3600

capacity: .venv/.ready  ## what runs of a thousand to 100,000 devices take; CAPACITY=--million for a million, too
	@$(BIN)/python -m simulations.published.capacity $(CAPACITY)

figures: both-data-sets demo bench capacity  ## make every figure that the docs quote: some hours; ONLINE_RETAIL=folder, the second data set
	$(BIN)/python -m simulations.published --overwrite --online-retail-path $(ONLINE_RETAIL)

both-data-sets:
	$(if $(ONLINE_RETAIL),@true,$(error ONLINE_RETAIL=folder is missing: half of the figures are of online-retail-ii))

bench: .venv/.ready .venv-pfl/.ready .venv-glean/.ready  ## figures of speed, beside pfl and bare loops; BENCH="--only throughput" for a part
	@$(BIN)/python -m simulations.bench --overwrite $(if $(ONLINE_RETAIL),--online-retail-path $(ONLINE_RETAIL)) $(BENCH)

setup: .venv/.ready .venv-export/.ready .venv-tflite/.ready  ## the environments that `make test` needs

# Flower and everything else; never TensorFlow, which Flower would import into every worker.
.venv/.ready: pyproject.toml constraints.txt
	@echo "setting up .venv (Flower, LiteRT; about two minutes)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python $(PIP_INSTALL) -c constraints.txt -e '.[simulations,complete-journey,fast,test,check]'
	@touch $@

# TensorFlow, to build the .tflite file and to compare with Keras.
.venv-export/.ready: pyproject.toml constraints.txt
	@echo "setting up .venv-export (TensorFlow; about a minute)"
	@$(PYTHON) -m venv .venv-export
	@.venv-export/bin/python $(PIP_INSTALL) -c constraints.txt -e '.[export]'
	@touch $@

# The other TFLite runtime, whose last release needs numpy < 2.
.venv-tflite/.ready: pyproject.toml constraints-tflite.txt
	@echo "setting up .venv-tflite (tflite-runtime 2.14)"
	@$(PYTHON) -m venv .venv-tflite
	@.venv-tflite/bin/python $(PIP_INSTALL) -c constraints-tflite.txt -e '.[tflite,test]'
	@touch $@

# Apple's pfl, to compare with: it needs another dp-accounting than Flower's environment holds.
.venv-pfl/.ready: constraints-pfl.txt
	@echo "setting up .venv-pfl (pfl 0.6)"
	@$(PYTHON) -m venv .venv-pfl
	@.venv-pfl/bin/python $(PIP_INSTALL) -c constraints-pfl.txt pfl
	@touch $@

# Mozilla's Glean, whose `record` the vault's is measured beside.
.venv-glean/.ready: constraints-glean.txt
	@echo "setting up .venv-glean (glean-sdk 71)"
	@$(PYTHON) -m venv .venv-glean
	@.venv-glean/bin/python $(PIP_INSTALL) -c constraints-glean.txt glean-sdk
	@touch $@

clean:  ## remove environments, runs and caches
	rm -rf .venv .venv-export .venv-tflite .venv-pfl .venv-glean runs .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
