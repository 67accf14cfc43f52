# Patchbay: each target is one sentence; `make` lists them.

.DEFAULT_GOAL := help
.PHONY: help run test build bench cluster soak fuzz fmt release

help: ## Lists these targets.
	@sed -n "s/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p" $(MAKEFILE_LIST) | awk -F"|" "{ printf \"%-16s%s\n\", \$$1, \$$2 }"

run: ## Builds what is missing, installs the embedded model and starts the gateway.
	@scripts/run.sh

test: ## Runs everything that CI runs and prints how many tests passed and failed.
	@scripts/test.sh

build: ## Builds the release program and prints where it is.
	@scripts/build.sh

bench: ## Measures the gateway beside a bare server (BENCH="--quick" takes some minutes).
	@python3 benches/run.py $(BENCH)

cluster: ## Starts three gateways on a PostgreSQL and a NATS of their own, and says how to kill one.
	@scripts/cluster.sh

soak: ## Runs the tests of faults in their long forms (hours; PATCHBAY_SOAK=0.01 takes minutes).
	@scripts/soak.sh

fuzz: ## Runs every fuzz target for a minute (FUZZ_SECONDS changes that).
	@scripts/fuzz.sh

fmt: ## Formats all Rust code.
	@cargo fmt --all && cargo fmt --all --manifest-path benches/load/Cargo.toml && cargo fmt --manifest-path fuzz/Cargo.toml

release: ## Builds the optimised program and packs it with licences and checksum.
	@scripts/release.sh
