# The lab: real Kubernetes hosts on this machine. README.md beside this file tells what they are.

XTASK ?= cargo run --quiet --package xtask --

.PHONY: packages lab-artefacts lab-up lab-down lab-status

packages: ## Install what build and lab need from Debian (nothing, when it is there)
	@tests/lab/install-packages.sh

lab-artefacts: packages ## Obtain the Kubernetes programs and images that the lab serves
	@$(XTASK) artefacts

lab-up: packages ## Raise a lab: five plain hosts with a mirror and a registry beside them
	@$(XTASK) lab up

lab-down: ## Take all labs down; nothing is left of them
	@$(XTASK) lab down --all

lab-status: ## Show the lab's hosts and how to reach them
	@$(XTASK) lab status
