# The commands that people and scripts use. All of them work from a clean clone, as root or with sudo.
#
#   make demo    three nodes on this machine do real work, in under a minute once it is built
#   make test    builds and runs every test
#
# Builds go to the user's cache directory, so that a fresh clone does not start from nothing (.ci/env.sh).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test build bench verify fix guests clean

SUITE ?= jobs
# With the benchmarks among them, dependencies have the same features for `build` and `bench` and are built once.
RELEASED := -p node -p sandbox -p bootstrap -p tests

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 18

setup: ## installs what building needs and is missing; builds RocksDB once
	@.ci/setup
	@.ci/rocksdb

demo: setup ## builds weft, starts three nodes here, counts words over this repository, shows cost and receipt
	@. .ci/env.sh; cargo build --locked --workspace --bins; tests/demo.sh "$$CARGO_TARGET_DIR/debug"

test: ## builds and runs every test
	@.ci/setup tests
	@.ci/rocksdb
	@. .ci/env.sh; cargo build --locked --workspace --bins; \
	if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --locked --workspace --no-fail-fast; cargo test --locked --workspace --doc; \
	else \
		cargo test --locked --workspace --no-fail-fast; \
	fi

build: setup ## release binaries; the last line is the directory that they are in
	@. .ci/env.sh; cargo build --locked --release --bins $(RELEASED); echo "$$CARGO_TARGET_DIR/release"

bench: setup ## measures one suite: make bench SUITE=jobs [BENCH_JSON=FILE]
	@. .ci/env.sh; cargo build --locked --release --bins $(RELEASED); \
	"$$CARGO_TARGET_DIR/release/bench" "$(SUITE)"

verify: ## the gate: format, lints, pure cores, documentation, supply chain, tests
	@.ci/run

fix: ## formats, and applies what clippy can apply
	@. .ci/env.sh; cargo fmt --all; cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged

guests: ## builds the example guests again (needs clang, lld and wasi-libc)
	@sandbox/guests/build.sh

clean: ## removes what was built, except RocksDB's library
	@. .ci/env.sh; cargo clean
