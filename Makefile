# ActiveDataFlow. `make demo` shows it, `make test` proves it, `make help` lists the rest.
SHELL := /bin/bash
CACHE := $(CURDIR)/.cache
BIN   := $(CACHE)/bin
export PATH := $(BIN):$(PATH)

BUF          := v1.75.0
PROTOC_GO    := v1.36.12
PROTOC_GRPC  := v1.6.2
STATICCHECK  := v0.8.2
DUCKDB       := 1.5.5

.PHONY: help generate tools test build demo flink-demo screenshot bench bench-flink soak
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(BIN)/buf-$(BUF):
	@mkdir -p $(BIN)
	GOBIN=$(BIN) go install github.com/bufbuild/buf/cmd/buf@$(BUF) && touch $@
$(BIN)/protoc-gen-go-$(PROTOC_GO):
	@mkdir -p $(BIN)
	GOBIN=$(BIN) go install google.golang.org/protobuf/cmd/protoc-gen-go@$(PROTOC_GO) && touch $@
$(BIN)/protoc-gen-go-grpc-$(PROTOC_GRPC):
	@mkdir -p $(BIN)
	GOBIN=$(BIN) go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@$(PROTOC_GRPC) && touch $@
$(BIN)/staticcheck-$(STATICCHECK):
	@mkdir -p $(BIN)
	GOBIN=$(BIN) go install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK) && touch $@

generate: $(BIN)/buf-$(BUF) $(BIN)/protoc-gen-go-$(PROTOC_GO) $(BIN)/protoc-gen-go-grpc-$(PROTOC_GRPC) ## make proto/ from its .proto files
	buf generate

tools: $(BIN)/staticcheck-$(STATICCHECK) $(BIN)/buf-$(BUF) $(BIN)/protoc-gen-go-$(PROTOC_GO) $(BIN)/protoc-gen-go-grpc-$(PROTOC_GRPC) $(CACHE)/venv/duckdb-$(DUCKDB)

# DuckDB is the independent oracle of the integration tests.
$(CACHE)/venv/duckdb-$(DUCKDB):
	@mkdir -p $(CACHE)
	python3 -m venv $(CACHE)/venv
	$(CACHE)/venv/bin/pip install -q --disable-pip-version-check duckdb==$(DUCKDB) && touch $@

test: ## run every check and test
	@scripts/test

build: ## build bin/adf
	go build -o bin/adf ./cmd/adf

demo: build ## run the flights flow and show its first results
	@scripts/demo

flink-demo: build ## bring a local Flink cluster up and run the flights flow there; KEEP=1 leaves it running
	@KEEP=$(KEEP) scripts/flink-demo

screenshot: build ## take the picture of the dashboard in docs/img, with Chromium
	@scripts/screenshot

bench: build ## measure against the peers and the limits, as ratios
	@scripts/bench

bench-flink: build ## measure a flow on Flink against Flink's own Java, as ratios
	@scripts/bench-flink

soak: ## the long kill and memory tests
	go test -count=1 -v -timeout 3h -tags 'integration soak' -run Soak ./internal/itest/... ./flinkbridge
