# What a person types; `.ci/run` calls the same targets.

PYTHON ?= python3
PYTHON2 ?= python2.7
# Whose interpreters the tests run on besides that of VENV: one for each version that is there.
PYTHONS ?= $(shell $(VENV_PYTHON) .ci/pythons.py)
# Of the Autobahn test suite.
CASES ?= "*"
VENV ?= .venv
PORT ?= 8000
PROBE_PORT ?= $(shell expr $(PORT) + 1)

EXAMPLE := examples/django-polls
# Patient with a network that fails once, and with others that are installing something.
APT := apt-get -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300
# Absolute, because some recipes change the folder.
VENV_DIR := $(abspath $(VENV))
VENV_PYTHON := $(VENV_DIR)/bin/python
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
HURRICANE := $(TARGET)/release/hurricane
# What `make profile` has learned. Builds for release use it where it is.
PROFILE := $(TARGET)/hurricane.profdata
USE_PROFILE = if [ -e $(PROFILE) ]; then export RUSTFLAGS="$$RUSTFLAGS -Cprofile-use=$(PROFILE)"; fi

.DEFAULT_GOAL := help
.PHONY: help setup build profile wheel wheel-test demo demo-asgi test autobahn bench lint features api api-update package docs clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "Variables: VENV=$(VENV) PYTHON=$(PYTHON) PORT=$(PORT) PROBE_PORT=$(PROBE_PORT) CARGO_TARGET_DIR"

setup: $(VENV_DIR)/.stamp broker browser database ## Make the Python environment and install what the tests need

# The tests of hurricane-amqp start a RabbitMQ for themselves, so the one that Debian's package starts is stopped again.
.PHONY: broker
broker:
	@if [ -n "$$AMQP_URL" ] || command -v rabbitmq-server >/dev/null || [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		echo "installing rabbitmq-server"; export DEBIAN_FRONTEND=noninteractive; \
		install="$(APT) install -y -qq --no-install-recommends rabbitmq-server"; \
		$$install >/dev/null 2>&1 || { $(APT) update -qq && $$install >/dev/null; } || exit 1; \
		service rabbitmq-server stop >/dev/null 2>&1; epmd -kill >/dev/null 2>&1; true; \
	else echo "rabbitmq-server is missing, and the tests of hurricane-amqp need it: install it" \
		"(Debian, Ubuntu: apt install rabbitmq-server), or name a broker with AMQP_URL" >&2; fi

# Two replicas that share a PostgreSQL are tested where there is one; the tests start it for themselves.
.PHONY: database
database:
	@if command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		echo "installing postgresql"; export DEBIAN_FRONTEND=noninteractive; \
		install="$(APT) install -y -qq --no-install-recommends postgresql"; \
		$$install >/dev/null 2>&1 || { $(APT) update -qq && $$install >/dev/null; } || \
			echo "postgresql could not be installed: replicas that share one are not tested" >&2; \
		service postgresql stop >/dev/null 2>&1; true; \
	else echo "postgresql is missing, so replicas that share one are not tested" \
		"(Debian, Ubuntu: apt install postgresql)" >&2; fi

.PHONY: browser
browser:
	@if { command -v chromium && command -v chromedriver; } >/dev/null; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		echo "installing chromium and chromium-driver"; export DEBIAN_FRONTEND=noninteractive; \
		install="$(APT) install -y -qq --no-install-recommends chromium chromium-driver"; \
		$$install >/dev/null 2>&1 || { $(APT) update -qq && $$install >/dev/null; } || \
			echo "chromium could not be installed: the example's pages are not tested in a browser" >&2; \
	else echo "chromium or chromedriver is missing, so the example's pages are not tested in a browser" \
		"(Debian: apt install chromium chromium-driver)" >&2; fi

# The stamp is as old as the last installation: pip runs again when a list of requirements is newer.
$(VENV_DIR)/.stamp: requirements-dev.txt $(EXAMPLE)/requirements.txt
	@command -v $(PYTHON) >/dev/null || { \
		echo "$(PYTHON) is missing: install Python 3.10 or newer, or name one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments: install python3-venv (Debian, Ubuntu: apt install python3-venv)" >&2; \
		exit 1; }
	$(PYTHON) -m venv $(VENV_DIR)
	$(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

build: ## Build the hurricane binary
	$(USE_PROFILE); cargo build --release -p hurricane-cli

profile: setup ## Learn for the compiler what the server does most; then `make build wheel`. Some minutes
	$(VENV_PYTHON) tests/load/train.py $(PROFILE)

wheel: $(VENV_DIR)/.stamp ## Build the wheel, with the binary and the Python package, into target/wheels
	$(USE_PROFILE); $(VENV_PYTHON) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir target/wheels .

wheel-test: wheel ## Serve the example from the wheel, on a file system that cannot be written
	$(VENV_PYTHON) tests/wheel.py target/wheels/hurricane_server-*.whl

demo: build $(VENV_DIR)/.stamp ## Serve the Django example on PORT, its probes on PROBE_PORT
	@set -e; cd $(EXAMPLE); \
	if [ -e "$${POLLS_DB:-db.sqlite3}" ]; then new=; else new=1; fi; \
	$(VENV_PYTHON) manage.py migrate --verbosity 0; \
	if [ -n "$$new" ]; then $(VENV_PYTHON) manage.py loaddata demo; fi; \
	echo; \
	echo "  polls    http://127.0.0.1:$(PORT)/"; \
	echo "  admin    http://127.0.0.1:$(PORT)/admin/ (demo/demo)"; \
	for path in alive ready startup metrics; do \
		printf '  %-8s http://127.0.0.1:$(PROBE_PORT)/%s\n' $$path $$path; \
	done; \
	echo; \
	exec $(HURRICANE) serve $(DEMO_OPTIONS) --python $(VENV_PYTHON) --port $(PORT) --probe-port $(PROBE_PORT)

demo-asgi: DEMO_OPTIONS := --interface asgi
demo-asgi: demo ## The same as ASGI, with live pages and a chat

test: setup ## Run the tests: Rust, the Python package, the example
	@$(MAKE) --no-print-directory --keep-going test-rust test-python test-example

.PHONY: test-rust test-python test-example
test-rust: export HURRICANE_TEST_PYTHON := $(VENV_PYTHON)
test-rust: export HURRICANE_TEST_PYTHONS = $(PYTHONS)
test-rust:
	cargo test --workspace --all-features --no-fail-fast

test-python:
	@for python in $(VENV_PYTHON) $(PYTHONS); do \
		echo "PYTHONPATH=python $$python -m unittest discover -s python/tests"; \
		PYTHONPATH=python $$python -m unittest discover -s python/tests || failed=1; \
	done; [ -z "$$failed" ]

test-example:
	cd $(EXAMPLE) && $(VENV_PYTHON) manage.py test

autobahn: $(VENV_DIR)/.stamp ## Run the Autobahn test suite on WebSockets; needs PYTHON2, a Python 2.7, and some minutes
	cargo build -p hurricane-cli
	$(VENV_PYTHON) tests/autobahn.py --python2 $(PYTHON2) --packages $(TARGET)/autobahn \
		--hurricane $(TARGET)/debug/hurricane --cases $(CASES)

bench: ## Measure the library: layers, scrapes, checks, probes; takes some minutes
	cargo bench -p hurricane-core --bench layer --bench render --bench checks --bench probe

lint: setup ## Check the formatting, run clippy and ruff
	cargo fmt --check
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	@if [ -x $(VENV_DIR)/bin/ruff ]; then \
		echo "ruff check .ci python examples tests"; $(VENV_DIR)/bin/ruff check .ci python examples tests; \
	else echo "ruff is not in $(VENV_DIR): Python is not checked"; fi
	@if command -v cargo-deny >/dev/null; then cargo deny --all-features check; \
	else echo "cargo-deny is not installed: advisories are not checked"; fi

features: ## Check each feature of each crate alone, and each crate without any
	$(PYTHON) .ci/features.py

api: ## Compare the library's public API with hurricane-core/public-api.txt
	cargo run --quiet -p hurricane-workspace --bin public-api

api-update: ## List the library's public API anew
	cargo run --quiet -p hurricane-workspace --bin public-api -- --update

package: ## Make the packages as they would be published, without building them again
	cargo publish --workspace --dry-run --no-verify --allow-dirty

docs: ## Build the documentation; warnings are errors
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --all-features

# Removes `.venv` alone, never what VENV names: that may be shared, or a slip of the fingers.
clean: ## Remove what was built, .venv and the demo's database
	cargo clean
	rm -rf .venv
	rm -f $(EXAMPLE)/db.sqlite3 $(EXAMPLE)/db.sqlite3-shm $(EXAMPLE)/db.sqlite3-wal
