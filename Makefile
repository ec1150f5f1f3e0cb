# Everything a developer types. `make demo` and `make test` do their own set-up on a Debian machine with a Rust toolchain.
.PHONY: demo test setup lint kill planted bench fuzz

demo: ## a new tag becomes a commit, a sync becomes messages; nothing to configure
	@tests/setup build
	cargo run --quiet -- demo

test: ## every test, on real parts: control plane, registry, Git over https and ssh, SMTP
	@tests/setup
	cargo test

setup: ## what the tests need, once
	@tests/setup

lint: ## format, lints, documentation
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

N ?= 200
SEED ?=
kill: ## the kill tests, N kills of each half: `make kill N=1000`
	@tests/setup
	LYNCEUS_KILLS=$(N) LYNCEUS_SEED=$(SEED) cargo test --test it -- kill --nocapture

ONLY ?=
planted: ## known defects are planted, and the tests must turn red: `make planted ONLY="send-then-record"`
	@tests/setup
	tests/planted/run $(ONLY)

SIZES ?=
bench: ## the figures, on real parts: `make bench ONLY="wave memory" SIZES=10000`
	@tests/setup
	cargo bench --bench figures -- $(ONLY) $(SIZES)

TARGET ?=
TIME ?= 60
fuzz: ## one fuzz target for TIME seconds: `make fuzz TARGET=tpl_exec TIME=600`; the same functions run in `make test`
	@test -f tests/fuzz/fuzz_targets/$(TARGET).rs || \
		{ echo "TARGET is one of: $(sort $(basename $(notdir $(wildcard tests/fuzz/fuzz_targets/*.rs))))"; exit 64; }
	@cargo fuzz --version >/dev/null 2>&1 || \
		{ echo "needed: cargo install --locked cargo-fuzz, and rustup toolchain install nightly"; exit 69; }
	cargo +nightly fuzz run --fuzz-dir tests/fuzz $(TARGET) -- -max_total_time=$(TIME)
