# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Prerequisites: Python 3.11 or later with venv, make; for the static checks git. Everything else goes into .venv.

ANSIBLE_CORE = ansible-core>=2.19,<2.20
NOX = nox>=2025.5.1 antsibull-nox>=1.10,<2

BIN = .venv/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet install
# Nothing of the demo goes into the reader's home, and nothing of the reader's configuration into the demo.
ANSIBLE = ANSIBLE_CONFIG='$(CURDIR)/.venv/ansible.cfg' ANSIBLE_HOME='$(CURDIR)/.venv/ansible' \
	ANSIBLE_REMOTE_TEMP='$(CURDIR)/.venv/ansible/tmp' \
	ANSIBLE_COLLECTIONS_PATH='$(CURDIR)/.venv/collections' ANSIBLE_LOCALHOST_WARNING=false ANSIBLE_INVENTORY_UNPARSED_WARNING=false
REPORT = .venv/demo-report.txt

.PHONY: help demo test lint docs bench clean
help:
	@echo "make demo    the main path on this machine: publish, subscribe, approve, cache, verdict, withdraw (no root)"
	@echo "make test    unit and integration tests (as root on Debian it installs nginx, chromium and others if missing)"
	@echo "make test-boot  boot images under QEMU and Xen, emulated, take a site through its life on machines of its own,"
	@echo "             apply the roles to whole systems, and carry the guides out"
	@echo "             (root; 30 minutes at most; Debian's packages are fetched)"
	@echo "make fuzz    feed the verifier with broken messages for SECONDS (60)"
	@echo "make lint    ansible-test sanity, ansible-lint, mypy, ruff, Galaxy's importer, REUSE and others (nox --list)"
	@echo "make newer   sanity and module tests with later versions of ansible-core, where Python 3.12 or 3.13 is there"
	@echo "make build   the collection as Galaxy takes it, in dist"
	@echo "make docs    the documentation site, in .venv/docs"
	@echo "make bench   measure all, or ONLY=\"trust polling catalogue command transfers publishing context_iso\""
	@echo "make clean   remove what these made"

.venv/.runtime: requirements.txt pyproject.toml setup.py Makefile tests/environment
	@tests/environment
	@echo "Installing into .venv: ansible-core, and what requirements.txt names"
	@$(PIP) '$(ANSIBLE_CORE)' --requirement requirements.txt --editable .
	@: >.venv/ansible.cfg
	@touch $@

.venv/.tests: .venv/.runtime tests/requirements.txt
	@$(PIP) --requirement tests/requirements.txt
	@touch $@

.venv/.lint: .venv/.runtime
	@$(PIP) $(foreach package,$(NOX),'$(package)')
	@touch $@

# The collection as a user gets it: packed by its own galaxy.yml, without the tests and the tooling.
.PHONY: collection
collection: .venv/.runtime
	@$(ANSIBLE) $(BIN)/ansible-galaxy collection install --offline --no-deps --force -p .venv/collections . >.venv/galaxy.log 2>&1 \
		|| { cat .venv/galaxy.log >&2; exit 1; }

demo: collection
	@rm -f $(REPORT)
	@$(ANSIBLE) $(BIN)/ansible-playbook hepix.vmimages.demo -e '{"hepix_vmimages_demo_report": "$(CURDIR)/$(REPORT)"}'
	@cat $(REPORT)

# Many tests wait for a process or a disk: one worker more than there are cores. What a file's tests share is made once.
# The files that take long are those of the integration: as the command names them they begin, or else one worker has such
# a file left when the others have nothing to do.
WORKERS = --numprocesses $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# What is applied to whole systems, and what follows the guides, takes minutes: it is for test-boot.
WHOLE = $(wildcard tests/integration/test_role_*.py) tests/integration/vmcontext/test_role.py \
	tests/integration/test_guides.py tests/integration/test_instances.py

test: .venv/.tests collection
	@tests/prepare
	@$(ANSIBLE) $(BIN)/python -m pytest $(WORKERS) --durations=10 $(WHOLE:%=--ignore=%) tests/integration tests/unit

# An emulated machine keeps one core busy; images are built once, and kept in the user's cache.
BOOT_WORKERS = --numprocesses logical --maxprocesses 2 --dist loadfile
.PHONY: test-boot
test-boot: .venv/.tests collection
	@tests/prepare
	@tests/boot/prepare
	@$(ANSIBLE) $(BIN)/python -m pytest $(BOOT_WORKERS) -o tmp_path_retention_policy=none --durations=10 tests/boot tests/host $(WHOLE)

# Where there is no wheel of atheris for this Python, Hypothesis takes its place.
.venv/.fuzz: .venv/.tests
	@$(PIP) --only-binary :all: 'atheris>=3' 2>.venv/fuzz-install.log || echo "No atheris for this Python (.venv/fuzz-install.log)"
	@touch $@

SECONDS = 60
FUZZ = .venv/fuzz
.PHONY: fuzz
fuzz: .venv/.fuzz collection
	@mkdir -p $(FUZZ)
	@PYTHONPATH='$(CURDIR)/.venv/collections' $(BIN)/python tests/fuzz/fuzz.py $(SECONDS) $(FUZZ) >$(FUZZ)/log 2>&1 \
		|| { tail -n 100 $(FUZZ)/log >&2; exit 1; }
	@grep -E '^(Fuzzing|Done|[0-9]+ messages|stat::)' $(FUZZ)/log

.PHONY: build
build: .venv/.runtime
	@$(ANSIBLE) $(BIN)/ansible-galaxy collection build --force --output-path dist .

lint: .venv/.lint
	@$(BIN)/nox

.PHONY: newer
newer: .venv/.lint
	@$(BIN)/nox --session newer

docs: .venv/.lint
	@$(BIN)/nox --session docs

ONLY =
bench: .venv/.tests collection
	@PYTHONPATH='$(CURDIR)/.venv/collections' $(BIN)/python -m benchmarks $(ONLY)

clean:
	@cache="$${HEPIX_VMIMAGES_BOOT_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/hepix-vmimages-boot}"; \
		rm -rf "$$cache"/el5_like[-.]* "$$cache"/modern[-.]* "$$cache"/dom0[-.]* "$$cache"/hosts
	rm -rf .venv .nox .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
