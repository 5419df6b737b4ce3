# What a contributor types. `make test` is what CI runs; it installs what it needs.

.PHONY: test lint rust sim bugs cluster fuzz http-api webhooks sdk sdk-pack browser packages promises needs dev fmt bench

# Everything: format, lints, Rust, the HTTP API from outside, TypeScript, two real browser windows, the
# packages, and that each clause and each guarantee has a test which is among those that ran.
test: needs lint rust sim http-api webhooks sdk browser packages promises

dev:
	cargo run --release -- dev

fmt:
	cargo fmt --all

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	scripts/check-house
	scripts/check-features
	scripts/check-clauses
	scripts/check-guarantees

rust:
	cargo test --workspace

# Ten thousand seeds of the simulation of the hub, half of them with several nodes, and some of the simulation of
# a cluster's machines. `make sim SEED=74` replays one of a hub alone and prints what happens, `OF=nodes` one with
# several nodes, `OF=cluster` one of the machines.
OF = hub
REPLAY_hub = -p herenow-hub --test sim whatever_happens_everybody
REPLAY_nodes = -p herenow-hub --test sim whatever_happens_to_nodes
REPLAY_cluster = -p herenow-cluster --test sim whatever
sim:
ifdef SEED
	SIM_SEED=$(SEED) cargo test --release $(REPLAY_$(OF)) -- --nocapture
else
	SIM_SEEDS=5000 cargo test --release -p herenow-hub --test sim
	SIM_SEEDS=4000 cargo test --release -p herenow-cluster --test sim
endif

# Deliberate bugs in the code, and how many seeds of the simulation each takes.
bugs:
	scripts/find-bugs

# The tests of several nodes RUNS times, with faults that last longer than those that `rust` has, and with any
# nats-server: `make cluster NATS_SERVER=/path/to/nats-server RUNS=10`.
RUNS = 1
NATS_SERVER = nats-server
cluster:
	for run in $$(seq $(RUNS)); do \
		LONG=1 NATS_SERVER="$(NATS_SERVER)" cargo test -p herenow-server --test cluster || exit 1; \
	done

# Each fuzz target for a minute, or for FUZZ_SECONDS. What it has kept is replayed by `rust`.
fuzz:
	fuzz/run

# The HTTP API against its own OpenAPI document, and a client that is generated from it.
http-api:
	cargo build -p herenow-server
	HERENOW_BIN="$(CURDIR)/target/debug/herenow" e2e/http-api/run

# Webhooks, verified by the published libraries of their specification, for Node and for Python.
webhooks:
	cargo build -p herenow-server
	cd e2e && npm ci --no-audit --no-fund && HERENOW_BIN="$(CURDIR)/target/debug/herenow" npm run webhooks

# The SDK's own tests against the real thing, and the types of the demo and the console.
sdk:
	cargo build -p herenow-server
	rm -f target/sdk-tests.json
	cd sdk && npm ci --no-audit --no-fund && HERENOW_BIN="$(CURDIR)/target/debug/herenow" npm test -- \
		--reporter=default --reporter=json --outputFile.json=../target/sdk-tests.json
	sdk/node_modules/.bin/tsc -p demo
	sdk/node_modules/.bin/tsc -p console

# The package of the SDK, to be installed by `npm install FILE`. Prints the file.
sdk-pack:
	@mkdir -p target
	@cd sdk && echo "target/$$(npm pack --silent --pack-destination ../target)"

# Asks the test runners which tests there are; `lint` asks the sources only.
promises: rust sdk
	scripts/check-clauses --ran
	scripts/check-guarantees --ran

# The demo, the console and the apps of docs/your-app.md in Chromium, and two windows in Firefox too, against the real binary.
browser:
	cargo build -p herenow-server
	cd e2e/apps && npm ci --no-audit --no-fund
	cd e2e && npm ci --no-audit --no-fund && HERENOW_BIN="$(CURDIR)/target/debug/herenow" npm test

# The Debian package, the systemd unit, the image, and nginx and Caddy with the configurations that ship.
# docs/operating.md says what is run and what is only linted. Takes half a minute.
packages:
	cargo build -p herenow-server
	deploy/tests/run

# Node for the SDK's tests, Chromium and Firefox for those of the pages, Python for those of the HTTP API and the packages. The
# server itself needs none of them.
needs:
	scripts/install-needs

# What the server costs, beside rivals, on this machine: a table, bench-results/short.json, and how
# far the core and the hub are from the instructions kept for them. docs/performance.md says more.
bench:
	crates/bench/install-needs
	cargo build --release -p herenow-server -p herenow-bench
	mkdir -p bench-results
	cargo run --release -q -p herenow-bench -- run --json bench-results/short.json
	crates/core/benches/count-instructions
	crates/hub/benches/count-instructions
