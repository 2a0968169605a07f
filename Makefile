# ActiveDataFlow. `make demo` shows it, `make test` proves it, `make help` lists the rest.
SHELL := /bin/bash
CACHE := $(CURDIR)/.cache
BIN   := $(CACHE)/bin
export PATH := $(BIN):$(PATH)

BUF          := v1.75.0
PROTOC_GO    := v1.36.12
PROTOC_GRPC  := v1.6.2
STATICCHECK  := v0.8.2

.PHONY: help generate generate-check tools
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
