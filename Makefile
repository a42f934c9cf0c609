# Every verb is a script; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run up demo down status build test screenshots simulate lint format bench bench-scale bench-growth bench-costs bench-plans chaos compose-test clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22
	@echo
	@echo "  ORDERS=, UNITS= size the noon; KAFKA_HOME= or KAFKA_BOOTSTRAP_SERVERS= choose a real Kafka;"
	@echo "  GATEWAY_PORT=, POSTGRES_PORT=, MESSAGING_PORT=, … move a port."

run: ## build, start everything, run the noon, report, audit, stop
	@scripts/run

up: ## build and start everything with a demonstration (DEMO=no: without), and leave it running
	@DEMO=$${DEMO:-yes} scripts/up

demo: ## the same, and open it in the browser where there is one
	@DEMO=yes scripts/up && scripts/open

down: ## stop what `make up` started
	@scripts/down

status: ## what runs
	@scripts/status

build: ## the executables, in release mode
	@scripts/packages && scripts/build

test: ## every test (FILTER=KafkaTests: those that match)
	@scripts/test

simulate: ## the pipeline against seeded faults, without I/O (SEEDS=10000; SEED=: one, with what happened)
	@scripts/simulate

screenshots: ## the app's main pages as pictures, in .local/screenshots (SCREENSHOTS=folder: there)
	@scripts/screenshots

lint: ## style, without changing anything
	@scripts/lint

format: ## the same, put right
	@git ls-files -z '*.swift' | xargs -0 swift format --in-place

bench: ## decided orders a second, beside pgbench and Redis
	@scripts/bench

bench-scale: ## 1 to 4 instances of reservation, each with a fifth of a core; and one that joins, leaves, dies
	@scripts/bench-scale

bench-growth: ## the cost of an order from 10,000 to 10 million of them, 1 to 100 sales, 1 to 48 partitions
	@scripts/bench-growth

bench-costs: ## what an order and an account cost: processors, WAL, rows, topics (KAFKA_HOME=, COSTS=FILE)
	@scripts/bench-costs

bench-plans: ## rows that each statement read in a noon, beside those it returned or wrote (ORDERS=20000, SALES=1)
	@scripts/bench-plans

chaos: ## everything breaks in turn during a sale, then the audit (SECONDS=300, SEED=, FAULTS=all)
	@scripts/chaos

compose-test: ## build, start, scale, stop and audit the containers of docker-compose.yml
	@scripts/compose-test

clean: ## stop, then remove data, logs and builds
	@scripts/down && rm -rf .local .build
