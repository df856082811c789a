# Two commands matter: `make run` and `make test`. See README.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The repository that `make release` releases.
ROOT ?= .
INSTALLED := $(VENV)/.installed
# Only what running needs, not what developing needs.
RUN := .venv-run
RUNS := $(RUN)/.installed
# If it is set, pytest takes three times as long to collect, since it compiles all tests again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test check real bench soak shipping docs reference release clean

# Settings that name a part of a real stack; without any of them the guard runs on the sandbox.
STACK := ^(LIVEKIT_[A-Z_]+|LOTUS_GUARD_(UPSTREAM|LIVEKIT_URL|SYNAPSE_[A-Z_]+|AS_REGISTRATION_FILE))=.

run: $(RUNS) ## Start the guard: on the embedded sandbox unless the environment names a real stack.
	@if env | grep -qE '$(STACK)'; then sandbox=; else sandbox=$${SANDBOX:---sandbox}; fi; \
	exec $(RUN)/bin/twistd --nodaemon --pidfile= lotus-guard $$sandbox

test: check ## Everything, with the real servers, WebRTC clients, deploy/ and the packages.
	@$(MAKE) --no-print-directory real
	@$(MAKE) --no-print-directory shipping

check: $(INSTALLED) ## Lint, types, unit and property tests: about five minutes.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -m "not real" -n auto --maxprocesses=4

real: $(INSTALLED) ## The real-stack tests; installs Synapse, Dendrite, LiveKit, a WebRTC client, Chromium.
	@if command -v go >/dev/null; then \
	  $(BIN)/python tests/real/install.py && \
	  REQUIRE_REAL_TESTS=1 $(BIN)/python -m pytest -m real -s \
	    --ignore=tests/deploy --ignore=tests/packages; \
	else \
	  echo "*****************************************************************"; \
	  echo "* Go is missing: THE REAL-STACK TESTS DID NOT RUN.              *"; \
	  echo "* They build LiveKit and Dendrite with it. Install it first.    *"; \
	  echo "*****************************************************************"; \
	  test -z "$$REQUIRE_REAL_TESTS"; \
	fi

bench: $(INSTALLED) ## Benchmarks into build/: 15 minutes, or two with BENCH=--quick.
	@$(BIN)/python tests/real/install.py --bench; \
	case $$? in 0|3) exec $(BIN)/python -m bench $(BENCH);; *) exit 1;; esac

soak: $(INSTALLED) ## People come and go through three guards while things break: SOAK_SECONDS, SOAK_SEED.
	@$(BIN)/python tests/real/install.py && $(BIN)/python -m tests.soak

# Skips what this machine lacks, and says so; with REQUIRE_REAL_TESTS, as in CI, it fails instead.
shipping: $(INSTALLED) ## The long tests of deploy/ and of the packages; the latter as root on Debian.
	$(BIN)/python tests/real/install.py --packaging
	$(BIN)/python -m pytest -rs -m real tests/deploy tests/packages

# The theme is maintained until May 2027; zensical, its successor, reads the same mkdocs.yml. The
# variable keeps that notice out of each build.
docs: $(INSTALLED) ## Build the site from docs/ into build/site; open its index.html.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo build/site/index.html

reference: $(INSTALLED) ## Write docs/settings.md, metrics.md and messages.md from the code.
	$(BIN)/python -m tools.reference

release: $(INSTALLED) ## Build sdist, wheel, Debian package and checksums into dist/, from a clean, tagged tree.
	@$(BIN)/python -m tools.release --root $(ROOT)

$(INSTALLED): setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test]' --config-settings editable_mode=compat
	@touch $@

$(RUNS): setup.py pyproject.toml
	@echo "Installing what the guard needs into $(RUN) (120 MB, a minute or two) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lotus-guard needs Python 3.11 or newer; say which with PYTHON=python3.12.")'
	@$(PYTHON) -m venv --clear $(RUN)
	@$(RUN)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --editable . --config-settings editable_mode=compat
	@touch $@

clean: ## Remove what the other targets made.
	rm -rf $(VENV) $(RUN) .real build dist *.egg-info
