.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

GO        ?= go
TIMEOUT   ?= 15m
FUZZTIME  ?= 10s
BENCH     ?= .
TESTFLAGS ?=

LINT := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
BUF  := $(GO) run github.com/bufbuild/buf/cmd/buf@v1.75.0
# "work" means all packages of all modules in go.work. "./..." would silently leave out the simulator.
MODULES = $(shell $(GO) list -f '{{.Dir}}' -m)

.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build all programs into bin/
	$(GO) build -trimpath -o bin/ work

.PHONY: test
test: postgres ## Run all tests, of both modules, and real Salesforce clients against the simulator
	$(GO) test -timeout $(TIMEOUT) $(TESTFLAGS) work
	@$(MAKE) --no-print-directory clients

.PHONY: race
race: postgres ## Run all tests with the race detector (needs a C compiler)
	$(GO) test -race -timeout 20m $(TESTFLAGS) work

.PHONY: conformance
conformance: postgres ## Run only the suites that every implementation of a contract has to pass, and real Salesforce clients
	$(GO) test -count=1 -timeout $(TIMEOUT) -run Conformance $(TESTFLAGS) work | grep -v 'no test' || exit "$${PIPESTATUS[0]}"
	cd simulator/conformance && GOWORK=off $(GO) test -v -count=1 -tags large -timeout 30m $(TESTFLAGS) ./...

.PHONY: clients
clients: ## Run go-salesforce and jsforce against the simulator (jsforce needs Node.js)
	cd simulator/conformance && GOWORK=off $(GO) test -v -count=1 -timeout $(TIMEOUT) $(TESTFLAGS) ./...

.PHONY: fuzz
fuzz: ## Run each fuzz test of both modules for FUZZTIME (10s)
	@while IFS=: read -r file name; do \
		echo "== $$name in $$(dirname "$$file")"; \
		$(GO) test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) "./$$(dirname "$$file")"; \
	done < <(grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' internal services cmd simulator | sed 's/func //' | sort)

.PHONY: bench
bench: postgres ## Measure runs against the floor of bare API calls, and their parts, into docs/benchmarks.md; PEOPLE=10000,100000
	$(GO) test -tags bench -count=1 -timeout 90m -v -run '^TestBench$$' ./test/bench $(if $(PEOPLE),-args -people $(PEOPLE))
	@$(MAKE) --no-print-directory bench-parts

.PHONY: bench-parts
bench-parts: ## Measure mapping, planning, cached tokens and sealing alone, into docs/benchmarks.md (some minutes)
	$(GO) test -tags bench -count=1 -timeout 20m -v -run '^TestParts$$' ./test/bench

.PHONY: microbench
microbench: postgres ## Run the benchmarks of the packages; BENCH=regexp chooses among them
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -timeout 60m $(TESTFLAGS) work | grep -v 'no test files' || exit "$${PIPESTATUS[0]}"

.PHONY: demo
demo: ## Sync sample people into a simulated Salesforce, in one process
	$(GO) run ./cmd/catalogsync demo

.PHONY: lint
lint: ## Check the conventions, and that no contract was broken
	$(LINT) run $(addsuffix /...,$(MODULES))
	$(BUF) lint
	@if git rev-parse -q --verify main:proto >/dev/null 2>&1; then \
		echo '$(BUF) breaking'; \
		$(BUF) breaking --against "$$(git rev-parse --git-common-dir)#branch=main"; \
	else \
		echo 'no branch main to compare the contracts with'; \
	fi

.PHONY: format
format: ## Format all code
	$(LINT) fmt $(MODULES)
	$(BUF) format -w

.PHONY: generate
generate: ## Generate code and documents from proto/
	$(BUF) generate

.PHONY: verify
verify: ## Check that generated code and go.mod are current, and that each module builds by itself
	@tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; $(BUF) generate -o "$$tmp"; \
	for out in $$(sed -n 's/^ *out: //p' buf.gen.yaml | sort -u); do \
		diff -r "$$out" "$$tmp/$$out" || { echo "$$out is not what proto/ says: run make generate"; exit 1; }; \
	done
	@for dir in $(MODULES); do \
		echo "module $$dir"; \
		cd "$$dir"; \
		GOWORK=off $(GO) mod tidy -diff || { echo 'go.mod is not tidy: run make tidy'; exit 1; }; \
		GOWORK=off $(GO) build ./...; \
	done

.PHONY: tidy
tidy: ## Tidy go.mod of all modules
	@for dir in $(MODULES); do (cd "$$dir" && GOWORK=off $(GO) mod tidy); done

.PHONY: postgres
postgres: # the tests of the directory start PostgreSQL servers of their own
	@.ci/ensure-postgres
