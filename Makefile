# One line per thing a contributor does. Everything big is built outside the checkout, once.

KUBEWRIGHT_CACHE ?= $(HOME)/.cache/kubewright
export KUBEWRIGHT_CACHE
export CARGO_TARGET_DIR ?= $(KUBEWRIGHT_CACHE)/target
CARGO ?= cargo
XTASK = $(CARGO) run --quiet --package xtask --
KUBEWRIGHT = $(CARGO_TARGET_DIR)/debug/kubewright

.DEFAULT_GOAL := help
.PHONY: help demo demo-down test check fmt build bench docs

help: ## What can be done here
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 22

demo: packages ## Build a real cluster of 3 control planes and 2 workers on this machine
	@$(XTASK) demo

demo-down: ## Take the demo away again, everything of it
	@$(XTASK) demo-down

test: packages ## Every test; those on the lab too, where this machine can host it
	@tests/run

check: ## Format, lints, scripts, licences: seconds when warm
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	find playbooks tests -name '*.sh' -print0 | xargs -0 shellcheck --shell=sh --severity=warning

fmt: ## Format the sources
	$(CARGO) fmt --all

build: ## The binary as users get it, stripped
	$(CARGO) build --release --locked

include tests/lab/lab.mk
