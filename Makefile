# Each target explains itself: `make` lists them.

VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PREFIX     ?= /usr/local
FUZZTIME   ?= 10s
PACKAGES   ?= ./...
# Flags of internal/hostlab, such as -all.
TESTFLAGS  ?=
# Flags of the bench program.
BENCHFLAGS ?=

TANDEM      := bin/tandem
RUNTIME     := bin/tandem-oci
GOFUMPT     := go run mvdan.cc/gofumpt@v0.12.0
STATICCHECK := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
HELLO       := echo "Hello from a guest: Linux $$(uname -r) on $$(nproc) CPU, $$(cut -d. -f1 /proc/uptime) s after its start"

.DEFAULT_GOAL := help
.PHONY: help build install demo test test-host test-lab bench lint fuzz generate deps kernels clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The go command knows best what is out of date.
build: ## build bin/tandem, which is also the guests' init, and bin/tandem-oci: two static programs
	@CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o $(dir $(TANDEM)) ./cmd/tandem ./cmd/tandem-oci

install: build ## install tandem and tandem-oci into PREFIX/bin (/usr/local)
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin $(TANDEM) $(RUNTIME)

demo: build ## boot a guest kernel, show it, power off
	@.ci/install busybox
	@$(TANDEM) vm run --help >/dev/null
	@$(TANDEM) probe --quiet || .ci/install qemu
	@$(TANDEM) kernel pull
	$(TANDEM) vm run -- sh -c '$(HELLO)'

test: deps build kernels lint ## run the whole suite: on this host, and in the lab what cannot run here
	go run ./internal/hostlab $(TESTFLAGS) $(PACKAGES)

test-host: build ## run the suite on this host alone
	go run ./internal/hostlab -on host $(TESTFLAGS) $(PACKAGES)

test-lab: build kernels ## run the suite in the lab alone; PACKAGES=./kvm/... for some of it
	go run ./internal/hostlab -on lab $(TESTFLAGS) $(PACKAGES)

# Peers that are missing and cannot be installed are named in the report.
bench: build kernels ## measure tandem beside its peers: time to start, memory, cost of an exit, network, disk, vhost-user, containers
	@-.ci/install qemu ip fio dpdk-testpmd crun runc podman
	CGO_ENABLED=0 go run ./internal/bench $(BENCHFLAGS)

lint: ## check format, go vet, staticcheck, and the tree's own rules
	@unformatted=$$($(GOFUMPT) -l .) && if [ -n "$$unformatted" ]; then \
		echo "gofumpt -w mends:"; echo "$$unformatted"; exit 1; fi
	@go vet ./...
	@$(STATICCHECK) ./...
	@go test ./internal/lint

fuzz: ## fuzz each parser and device for FUZZTIME (10s)
	@.ci/fuzz $(FUZZTIME)

generate: ## make generated code anew, from .proto files
	@.ci/install protoc
	GOBIN=$(CURDIR)/build/tools go install google.golang.org/protobuf/cmd/protoc-gen-go \
		github.com/containerd/ttrpc/cmd/protoc-gen-go-ttrpc
	PATH=$(CURDIR)/build/tools:$$PATH go generate ./...

deps: ## install what the tests need of the distribution, where it is missing
	@.ci/install

kernels: build ## fetch the kernels of guests and of the lab, once
	@$(TANDEM) kernel pull
	@$(TANDEM) kernel pull --lab

clean: ## remove what was built; kernels stay in the user's cache
	rm -rf bin build
