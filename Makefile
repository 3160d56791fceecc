# Every target makes the environment that it needs; a second run finds it made.

# The first Python that is new enough; `make PYTHON=/path/to/python3.11 demo` names another.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
ENV := .venv
DEV := .venv-dev
DIR := scaling-demo
WORKERS := 2
PYTEST_FLAGS :=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test lint types floors inventory bench wheel ci format clean

help:
	@echo 'make demo       install into $(ENV) and walk a sample sweep to a budget table, in $(DIR)/'
	@echo 'make test       run the tests, in $(DEV)'
	@echo 'make lint       ruff: rules and format        make format     let ruff mend them'
	@echo 'make types      mypy, strict                  make floors     no room imports one above it'
	@echo 'make inventory  write the list of laws, readers, ... into ARCHITECTURE.md'
	@echo 'make bench      speed against what one would do instead'
	@echo 'make wheel      build the package into dist/'
	@echo 'make ci         all the checks, in an environment of their own'
	@echo 'make clean      remove environments, caches and builds'

demo: $(ENV)/.installed
	@echo 'To paste the commands below yourself: source $(ENV)/bin/activate'
	$(ENV)/bin/scaling demo $(DIR)

test: $(DEV)/.installed
	$(DEV)/bin/python -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_FLAGS)

lint: $(DEV)/.installed
	$(DEV)/bin/python -m ruff check .
	$(DEV)/bin/python -m ruff format --check .

format: $(DEV)/.installed
	$(DEV)/bin/python -m ruff check --fix .
	$(DEV)/bin/python -m ruff format .

types: $(DEV)/.installed
	$(DEV)/bin/python -m mypy

floors: $(DEV)/.installed
	$(DEV)/bin/lint-imports

inventory: $(DEV)/.installed
	$(DEV)/bin/python -m scaling.core.registry --write ARCHITECTURE.md

bench: $(DEV)/.installed
	$(DEV)/bin/python -m benchmarks

wheel: $(DEV)/.installed
	$(DEV)/bin/python -m pip wheel --no-deps -w dist .

ci:
	.ci/run

clean:
	rm -rf $(ENV) $(DEV) .venv-ci build dist *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find scaling tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

# A stamp holds the folder that it was written in. It goes when the tree has moved or the
# environment's Python is gone, so that the rules below make the environment good again.
$(foreach env,$(ENV) $(DEV),$(shell test ! -e $(env)/.installed || { \
  grep -qxF "$(CURDIR)" $(env)/.installed && $(env)/bin/python -c '' 2>/dev/null; } || \
  rm -f $(env)/.installed))

# $(call install,WHAT): make the target's environment, or mend it where it was made here and runs.
define install
@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
  echo "make: needs Python 3.11 or newer, found '$(PYTHON)'. Install one, or name it:" \
  "make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
@grep -qsF "$(CURDIR)/$(@D)" $(@D)/bin/activate && \
  $(@D)/bin/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
  echo "Making the environment $(@D) with $(PYTHON)"; "$(PYTHON)" -m venv --clear $(@D); }
@echo '*' > $(@D)/.gitignore
$(@D)/bin/python -m pip install -c constraints.txt -e '$(1)'
@echo "$(CURDIR)" > $@
endef

$(ENV)/.installed: pyproject.toml constraints.txt
	$(call install,.)

$(DEV)/.installed: pyproject.toml constraints.txt
	$(call install,.[dev])
