# The single entrance. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# One thread for torch and OpenMP: two threads beside a busy core are far slower than one.
export OMP_NUM_THREADS ?= 1

# The peers of the benchmarks live in an environment of their own, on top of the main one.
BENCH_VENV ?= .venv-bench
BENCH := $(BENCH_VENV)/bin/python
BENCH_RUN = PYTHONPATH=python $(BENCH) -m pytest -q -p no:cacheprovider benches --benchmark-enable \
  --benchmark-columns=rounds --timeout 900 $(BENCH_OPTIONS)

RUST_SOURCES := $(shell find rust -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

.PHONY: setup
setup: $(VENV)/.native ## Make the virtual environment, install what is needed, build the extension

$(VENV)/.deps: pyproject.toml constraints.txt requirements-dev.txt scripts/check_setup.py
	@$(PYTHON) scripts/check_setup.py
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements-dev.txt
	touch $@

$(VENV)/.native: $(VENV)/.deps $(RUST_SOURCES)
	@test "$$(cat $(VENV)/.installed 2>/dev/null)" = "$(CURDIR)" || { \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable . \
	  && echo "$(CURDIR)" > $(VENV)/.installed; }
	source $(BIN)/activate && maturin develop --release --skip-install --quiet
	@# Tests and workers start many interpreters; where PYTHONDONTWRITEBYTECODE is set, each would compile anew.
	$(BIN)/python -m compileall -q python/carla_online
	touch $@

.PHONY: demo
demo: setup ## Fine-tune online for a few minutes, evaluate before and after, write runs/demo/report.html
	$(BIN)/carla-online train demo --extend
	@echo "open runs/demo/report.html"

.PHONY: test
test: setup ## Pass the tests, Rust and Python
	PROPTEST_RNG_SEED=1 cargo test --quiet
	$(BIN)/python -m pytest -q -n logical --maxprocesses 8 --dist worksteal

.PHONY: lint
lint: setup ## Check format, lints, types, stubs and spelling of both languages
	cargo fmt --check
	cargo clippy --quiet --all-targets -- -D warnings
	cargo clippy --quiet -p carla-online-python -- -D warnings
	$(BIN)/ruff format --check python tests benches scripts
	$(BIN)/ruff check python tests benches scripts
	$(BIN)/mypy
	MYPYPATH=python $(BIN)/python -m mypy.stubtest carla_online._native --ignore-missing-stub
	$(BIN)/codespell README.md CHANGELOG.md CONTRIBUTING.md docs python rust tests configs

.PHONY: format
format: setup ## Format both languages
	cargo fmt
	$(BIN)/ruff format python tests benches scripts
	$(BIN)/ruff check --fix --quiet python tests benches scripts

.PHONY: loom
loom: ## Check the replay's protocol under every interleaving that the model explores
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=$${CARGO_TARGET_DIR:-target}/loom \
	  cargo test --quiet --release -p carla-online-replay --lib loom_tests

$(BENCH_VENV)/.peers: $(VENV)/.deps requirements-bench.txt constraints-bench.txt
	@test -x $(BENCH) || $(PYTHON) -m venv $(BENCH_VENV)
	@where='import sysconfig; print(sysconfig.get_path("purelib"))'; \
	  $(BIN)/python -c "$$where" > "$$($(BENCH) -c "$$where")/main-environment.pth"
	$(BENCH) -m pip install --quiet --disable-pip-version-check -c constraints.txt -c constraints-bench.txt \
	  -r requirements-bench.txt
	$(BENCH) -m pip install --quiet --disable-pip-version-check --no-deps -c constraints-bench.txt tianshou
	touch $@

benches/_limits.abi3.so: $(wildcard benches/limits/src/*.rs) benches/limits/Cargo.toml Cargo.toml Cargo.lock
	cargo build --quiet --release -p carla-online-limits --features extension-module
	cp "$${CARGO_TARGET_DIR:-target}/release/lib_limits.so" $@

.PHONY: bench-setup
bench-setup: setup $(BENCH_VENV)/.peers benches/_limits.abi3.so
	cargo build --quiet --release -p carla-online-server --example reference

.PHONY: bench
bench: bench-setup ## Speed beside peers and limits: bench.json and a table; exit code 75 on a loaded machine
	$(BENCH_RUN) --bench-out bench.json

.PHONY: bench-full
bench-full: bench-setup ## The same without bound: longer rounds, more of them
	$(BENCH_RUN) --bench-out bench.json --bench-rounds 31 --bench-visit-ms 250

.PHONY: bench-check
bench-check: bench-setup ## Fail if a ratio to NumPy or to the limit fell by more than 20 % since the committed reference
	$(BENCH_RUN) --bench-out bench-check.json --bench-against numpy,limit
	$(BENCH) benches/check.py bench-check.json

.PHONY: prove
prove: setup loom ## The long proofs: loom, power cuts, kill storms, 10^8 checked rows, fuzzing
	CARLA_ONLINE_REPLAY_POWER_CUTS=20000 PROPTEST_CASES=10000 cargo test --quiet --release -p carla-online-replay
	CARLA_ONLINE_REPLAY_KILLS=200 CARLA_ONLINE_REPLAY_STALL_S=60 CARLA_ONLINE_REPLAY_CHECKED_ROWS=100000000 \
	  CARLA_ONLINE_HYPOTHESIS=slow $(BIN)/python -m pytest -q --timeout 7200 tests/replay
	CARLA_ONLINE_KILLS=20 $(BIN)/python -m pytest -q --timeout 1800 tests/online/test_resume.py
	PROPTEST_CASES=100000 cargo test --quiet --release -p carla-online-server
	CARLA_ONLINE_SOAK_S=3600 $(BIN)/python tests/accept/server.py soak

# A file called carla.py would shadow the client for every suite beside it.
.PHONY: accept
accept: setup ## Run an acceptance suite: make accept SUITE=main
	$(BIN)/python tests/accept/$(SUITE:carla=carla_loop).py

.PHONY: docs
docs: ## Build the documentation into docs/_build
	@test -x .venv-docs/bin/sphinx-build || { \
	  $(PYTHON) -m venv .venv-docs && .venv-docs/bin/pip install --quiet sphinx myst-parser furo; }
	.venv-docs/bin/sphinx-build -q -W docs docs/_build

.PHONY: wheel
wheel: setup ## Build a wheel into dist/
	source $(BIN)/activate && maturin build --release --out dist

.PHONY: wheel-test
wheel-test: wheel ## Install the wheel into a clean environment and run the README's example there
	$(BIN)/python scripts/test_wheel.py

.PHONY: clean
clean: ## Remove what was built; keeps runs/
	rm -rf target dist $(VENV) $(BENCH_VENV) python/carla_online/_native*.so benches/_limits.abi3.so
