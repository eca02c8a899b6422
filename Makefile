# Everything is done through here; `make` alone lists it. What a target needs and
# does not find, it installs (Debian packages, pinned Go tools) or names.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-print-directory

GO      ?= go
VERSION ?= $(shell git describe --tags --match 'v*' --dirty 2>/dev/null || cat VERSION)

# The JSON engine of encoding/json/v2, under the old functions. Everything also
# passes without it: make test GOEXPERIMENT=
export GOEXPERIMENT ?= jsonv2
# Programs, linters and generators are compiled in one way, and thus once: each further way
# is two to three minutes of a CI run. Only the race detector wants C, and a way of its own.
export CGO_ENABLED ?= 0
export GOFLAGS     ?= -trimpath

PKG         ?= ./...
RUN         ?= .
ARGS        ?=
FUZZTIME    ?= 30s
CRASH_KILLS ?= 2000
CLUSTER_PEERS ?= 2000
SEEDS       ?= 50
LEDGER_SLOTS ?= 1000000
AUTOMATION_KILLS ?= 500
SOAK        ?= 1h

# Linters come from the tools module at exact versions and are built once.
tool := $(GO) tool -modfile=tools/go.mod

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-18s %s\n", $$1, $$2 }'
	@printf '\n  %s\n' 'PKG=./internal/store/... and RUN=TestName narrow test and bench; FUZZTIME=, CRASH_KILLS=, AUTOMATION_KILLS=, SOAK=, LEDGER_SLOTS=, SEEDS=, CLUSTER_PEERS= and ARGS= are for fuzz, crash, crash-automations, soak-automations, ledger, seats, cluster and dev.'

.PHONY: dev
dev: build ## build and run a core with a satellite and sample checks (ARGS="--apply FILE")
	exec bin/perigee dev $(ARGS)

.PHONY: build
build: need-go web ## bin/perigee and bin/perigee-satellite, static, with the web interface
	$(GO) build -ldflags '-s -w -X main.version=$(VERSION)' -o bin/ ./cmd/perigee ./cmd/perigee-satellite

# The web interface is built where there is Node; without it the programs have a page
# that says so.
web_node    := $(shell node -e 'const [a, b] = process.versions.node.split("."); console.log(+a > 20 || +a == 20 && +b >= 19 ? "yes" : "")' 2>/dev/null)
web_sources := $(shell find web/src internal/script/perigee.d.ts web/public web/index.html web/package.json web/tsconfig.json web/vite.config.ts -type f ! -name schema.ts)

.PHONY: web
web: ## web/dist, and web/packed, which the core has in it
ifeq ($(web_node),yes)
web: web/packed/index.html
else
	@echo 'There is no Node 20.19 or newer: perigee is built without its web interface, and says so at /.' >&2
endif

web/node_modules/.package-lock.json: web/package-lock.json
	cd web && npm ci --no-audit --no-fund
	@touch $@

# The types of the API, from its OpenAPI document.
web/src/api/schema.ts: internal/httpapi/testdata/openapi.json web/node_modules/.package-lock.json
	cd web && npm run -s generate

web/packed/index.html: web/src/api/schema.ts $(web_sources)
	cd web && npm run -s build

.PHONY: test
test: need-go need-cc need-postgres need-servers need-ferretdb need-bun need-chromium ## every test, on both databases, with the race detector, and in a browser
	@# Linking takes half the time without what debuggers read; lint has vetted all. How SQLite, which is
	@# translated from C, uses pointers is checked each time that it does: a tenth of all, and not our business.
	CGO_ENABLED=1 GOFLAGS= $(GO) test -race -gcflags='modernc.org/...=-d=checkptr=0' -vet=off -ldflags=-w -timeout 25m -run '$(RUN)' $(PKG)
ifeq ($(PKG) $(RUN),./... .)
	@$(MAKE) webtest
endif

.PHONY: webtest
webtest: need-node need-chromium build ## the tests of the web interface: functions, and pages in a browser against real programs
	cd web && npm run -s test && npm run -s e2e

.PHONY: screenshots
screenshots: need-node need-chromium build ## the pictures in docs/screenshots, taken by the tests
	cd web && PERIGEE_SCREENSHOTS=1 npm run -s e2e

.PHONY: race
race: test ## the same as test

.PHONY: lint
lint: need-go ## format, vet, staticcheck, unchecked errors; biome and types of the web interface
	@unformatted=$$($(tool) gofumpt -l .); \
	if [[ -n $$unformatted ]]; then printf 'not formatted (make fmt does it):\n%s\n' "$$unformatted" >&2; exit 1; fi
	$(GO) vet ./...
	$(tool) staticcheck ./...
	$(tool) errcheck -ignoretests -exclude .errcheck ./...
ifeq ($(web_node),yes)
	@$(MAKE) web/src/api/schema.ts
	cd web && npm run -s lint
endif

.PHONY: fmt
fmt: need-go ## format the Go files, and those of the web interface
	$(tool) gofumpt -w .
ifeq ($(web_node),yes)
	@$(MAKE) web/node_modules/.package-lock.json
	cd web && npm run -s fmt
endif

.PHONY: fuzz
fuzz: need-go ## every fuzz target for FUZZTIME each
	@grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed 's/:func / /' | while read -r file target; do \
		echo "$$target"; $(GO) test "$$(dirname "$$file")" -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME); \
	done

.PHONY: bench
bench: need-go need-postgres ## the load programs of bench/, beside the goals
	$(GO) run ./bench $(ARGS)

.PHONY: bench-year
bench-year: need-go ## a year of one system on SQLite, with ten million results behind it
	PERIGEE_BENCH_RUNS=10000000 $(GO) test ./internal/health -run '^$$' -bench Year -benchtime 20x -timeout 60m

.PHONY: micro
micro: need-go ## Go benchmarks of single functions
	$(GO) test -run '^$$' -bench '$(RUN)' -benchmem $(PKG)

.PHONY: crash
crash: need-go need-postgres ## kill core and satellite CRASH_KILLS times, then recount
	$(GO) test ./e2e -run Crash -count=1 -v -timeout 24h -args -kills=$(CRASH_KILLS)

.PHONY: crash-automations
crash-automations: need-go need-postgres ## kill cores at the boundaries of runs' journals AUTOMATION_KILLS times, and within a dwell of five minutes
	$(GO) test ./e2e -run 'AutomationCrash|AutomationDwell' -count=1 -v -timeout 24h -args -automation-kills=$(AUTOMATION_KILLS) -dwell=5m

.PHONY: soak-automations
soak-automations: need-go need-postgres ## a hundred events a second through automations for SOAK, then recount and judge memory and lag
	$(GO) test ./e2e -run AutomationSoak -count=1 -v -timeout 24h -args -soak=$(SOAK) -soak-rate=100

.PHONY: ledger
ledger: need-go need-postgres ## let LEDGER_SLOTS slots fall due among kills, then recount from outside
	$(GO) test ./e2e -run Ledger -count=1 -v -timeout 24h -args -slots=$(LEDGER_SLOTS)

.PHONY: seats
seats: need-go ## seats of assignments move and fail, in SEEDS stories, and no slot is run twice
	$(GO) test ./internal/satellite -run Seat -count=1 -v -timeout 24h -args -seeds=$(SEEDS)

.PHONY: cluster
cluster: need-go need-postgres ## three cores lose one another, with CLUSTER_PEERS satellites
	$(GO) test ./e2e -run Cluster -count=1 -v -timeout 24h -args -whole -peers=$(CLUSTER_PEERS)

.PHONY: generate
generate: need-go ## what is made from source: schemas of check configs, where docs/facts.md says that facts are shown
	$(GO) generate ./...

.PHONY: verify
verify: need-go ## generated files and go.mod are up to date; what reads and writes the wire passes without GOEXPERIMENT
	@before=$$(git status --porcelain; git diff); $(MAKE) generate; after=$$(git status --porcelain; git diff); \
	if [[ $$before != "$$after" ]]; then git status --short; echo 'generated files were out of date; now they are not, commit them' >&2; exit 1; fi
	$(GO) mod tidy -diff
	cd tools && $(GO) mod tidy -diff
	GOEXPERIMENT= $(GO) test ./check/... ./protocol/...

.PHONY: plain
plain: need-go ## everything is built, and vetted, without GOEXPERIMENT
	GOEXPERIMENT= $(GO) vet ./...

.PHONY: clean
clean: ## remove what was built
	rm -rf bin web/dist web/packed/*

.PHONY: need-go need-cc need-postgres need-servers need-ferretdb need-node need-bun need-chromium
need-go need-cc need-postgres need-servers need-ferretdb need-node need-bun need-chromium: need-%:
	@.ci/need $*
