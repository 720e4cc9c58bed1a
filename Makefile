# Two commands do everything: `make demo` and `make test`. Each installs what it needs first.
# The rest are one-liners for people at work on Cornerloop itself.

PYTHON ?= python3.11
ANNOTATOR ?= scripted
DEMO_FLAGS ?=
PIP = -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-camvid test test-fast lint bench bench-label-studio arm64-wheels sbom licences commands scenes clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: .venv/installed .venv-label-studio/installed ## both virtual environments

demo: setup ## the whole loop on this machine; ANNOTATOR=human waits for a person
	.venv/bin/cornerloop demo --annotator $(ANNOTATOR) $(DEMO_FLAGS)

test: setup .venv/browser lint ## everything: style, types, imports, unit, contract, integration, browser
	.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-fast: .venv/installed ## what needs no server and no process: under a minute or two
	.venv/bin/python -m pytest -m "not integration and not browser and not slow"

lint: .venv/installed ## style, types, import contracts
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache

bench: setup ## every bench in full, and docs/benchmarks.md from what they found: hours
	.venv/bin/python -m bench
	.venv/bin/python -m bench.table --take

bench-label-studio: setup ## push and pull beside the bare SDK, on a server of its own
	.venv/bin/python -m bench.label_studio --json

arm64-wheels: .venv/installed ## has every base dependency a wheel for 64-bit ARM?
	.venv/bin/python -m tools.check_arm64_wheels

sbom: .venv/installed ## what an installation consists of: runs/sbom/{base,cloud}.cdx.json
	.venv/bin/python -m tools.licences --sbom runs/sbom

licences: .venv/installed ## write docs/licences.md anew from what is installed
	.venv/bin/python -m tools.licences

commands: .venv/installed ## write docs/commands.md anew from the programs
	.venv/bin/python -m tools.command_table

scenes: .venv/installed ## draw the sheet of scenes of the docs anew
	.venv/bin/python -m tools.scene_sheet

clean: ## everything that was made, downloads of pip excepted
	rm -rf .venv .venv-label-studio runs .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/installed: pyproject.toml tools/constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP) --upgrade pip
	.venv/bin/python $(PIP) --constraint tools/constraints.txt --editable '.[cloud,dev]'
	touch $@

# Label Studio pins too much to share an environment with anything.
.venv-label-studio/installed: tools/label-studio-requirements.txt
	$(PYTHON) -m venv .venv-label-studio
	.venv-label-studio/bin/python $(PIP) --upgrade pip
	.venv-label-studio/bin/python $(PIP) --requirement tools/label-studio-requirements.txt
	touch $@

# Debian's own Chromium; Playwright's browser download is not needed.
.venv/browser: .venv/installed
	command -v chromium >/dev/null || (apt-get update -qq && apt-get install -y -qq chromium >/dev/null)
	touch $@
