# One line per thing a contributor does. Everything big is built outside the checkout, once.

KUBEWRIGHT_CACHE ?= $(HOME)/.cache/kubewright
export KUBEWRIGHT_CACHE
export CARGO_TARGET_DIR ?= $(KUBEWRIGHT_CACHE)/target
# Checkouts share that folder; see the script.
export RUSTC_WORKSPACE_WRAPPER ?= $(CURDIR)/xtask/rustc.sh
CARGO ?= cargo
XTASK = $(CARGO) run --quiet --package xtask --
KUBEWRIGHT = $(CARGO_TARGET_DIR)/debug/kubewright

.DEFAULT_GOAL := help
.PHONY: help demo demo-down test check licences fmt build docs conformance bench-fanout bench-bootstrap bench-size bench-verify bench-etcd bench-drain bench-upgrade

help: ## What can be done here
	@echo 'make TARGET, where TARGET is one of'
	@sed -nE 's/^([a-z-]+):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 18

demo: packages ## Build a real cluster of 3 control planes and 2 workers on this machine
	@$(XTASK) demo

demo-down: ## Take the demo away again, everything of it
	@$(XTASK) demo-down

test: packages ## Every test; those on the lab too, where this machine can host it
	@tests/run

conformance: ## Kubernetes' own conformance tests on a cluster that kubewright built; not part of `make test`
	@tests/lab/install-packages.sh bind9-dnsutils iperf netcat-openbsd
	@$(XTASK) conformance

check: licences ## Format, lints, scripts; licences and advisories where cargo-deny is installed
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	find playbooks tests -name '*.sh' -print0 | xargs -0 shellcheck --shell=sh --severity=warning

licences: ## Licences, sources and advisories of the dependencies (deny.toml)
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --locked check; \
	else echo 'Licences and advisories are not checked: cargo-deny is missing (cargo install --locked cargo-deny).'; fi

docs: ## The pages of docs/ as a book, in target/book
	@if command -v mdbook >/dev/null; then mdbook build docs --dest-dir "$(CURDIR)/target/book"; \
	else echo 'mdbook is missing: cargo install --locked mdbook. The pages can be read as they are: docs/SUMMARY.md'; fi

fmt: ## Format the sources
	$(CARGO) fmt --all

build: ## The binary as users get it, stripped
	$(CARGO) build --release --locked

bench-fanout: ## Facts and plans of 200 hosts at once: time, memory, round trips -> target/bench/fanout.json
	@$(CARGO) run --quiet --release --locked --package kubewright-bench -- fanout

bench-bootstrap: packages build ## A cluster by kubewright and by the real kubeadm on one lab -> target/bench/bootstrap.json
	@$(XTASK) bench bootstrap

bench-verify: ## Verifying a snapshot of 1 GB against a plain SHA-256 of it: time, memory -> target/bench/verify.json
	@$(CARGO) run --quiet --release --locked --package kubewright-bench -- verify

bench-etcd: ## A proved snapshot of 1 GB against etcdctl's save of it: time, memory -> target/bench/etcd.json
	@$(CARGO) run --quiet --release --locked --package kubewright-bench -- etcd

bench-drain: ## Emptying nodes against the real kubectl drain, on a real control plane -> target/bench/drain.json
	@$(CARGO) run --quiet --release --locked --package kubewright-bench -- drain $(BENCH_DRAIN)

bench-upgrade: packages build ## From one minor to the next by kubewright and by the real kubeadm, a client asking -> target/bench/upgrade.json
	@$(XTASK) bench upgrade

bench-size: build ## Size of the released binary and how fast it starts -> target/bench/size.json
	@$(XTASK) bench size

include tests/lab/lab.mk
