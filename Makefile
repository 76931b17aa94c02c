# conntrack: `make help` lists the targets.
#
# PREFIX, DESTDIR, NAME   where `install` puts the program, and under what name
# KERNELS, VM_RUN         what `test-kernels` boots, and with what
# MINUTES, SEED           how long `soak` compares, and which one to repeat
# RESIZES                 how many resizes `soak` makes in a row

SHELL := bash
CARGO ?= cargo
PREFIX ?= /usr/local
KERNELS ?= 6.1 6.12 running newest
VM_RUN ?= ../shared/tools/vm-run
MINUTES ?= 30
RESIZES ?= 50
LOCKED := $(if $(CI),--locked)

# Cargo stays the user's; what it runs is root's.
ROOT_RUNNER := $(if $(filter 0,$(shell id -u)),,--config "target.'cfg(all())'.runner='$(CURDIR)/scripts/as-root.sh'")

export PREFIX DESTDIR NAME KERNELS VM_RUN

.DEFAULT_GOAL := help
.PHONY: help build demo test test-kernels soak bench fmt lint doc clean install uninstall

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## install what is missing, build the release program
	@scripts/setup.sh build
	$(CARGO) build $(LOCKED) --release -p conntrack-cli

demo: build ## the same, then show live flows between namespaces it makes (root)
	$(CARGO) run $(LOCKED) --quiet --release $(ROOT_RUNNER) -p conntrack-cli --bin conntrack -- demo

test: ## install what is missing, then every check and test (root for some)
	@scripts/setup.sh test
	@scripts/test.sh

test-kernels: ## the kernel part of the tests on KERNELS="6.1 6.12 running newest"
	@scripts/setup.sh kernels
	@scripts/kernels.sh

soak: ## MINUTES=30 of real traffic compared with nf_conntrack, then kills and resizes (root)
	@scripts/setup.sh test
	CONNTRACK_SOAK_SECONDS=$$(($(MINUTES) * 60)) CONNTRACK_KILLS=200 $(if $(SEED),CONNTRACK_SEED=$(SEED)) \
		$(CARGO) test $(LOCKED) $(ROOT_RUNNER) -p conntrack-xdp --test soak --test kills -- --ignored --test-threads=1 --nocapture
	CONNTRACK_PROBES=10000000 $(CARGO) test $(LOCKED) $(ROOT_RUNNER) -p conntrack-bpf --test bans_many -- --ignored --test-threads=1 --nocapture
	CONNTRACK_RESIZES=$(RESIZES) CONNTRACK_RESIZE_KILLS=all $(CARGO) test $(LOCKED) $(ROOT_RUNNER) -p conntrack-xdp \
		--test resize --test resize_killed -- --ignored --test-threads=1 --nocapture

bench: ## the benchmarks behind the README's figures (root)
	@scripts/setup.sh test
	$(CARGO) bench $(LOCKED) $(ROOT_RUNNER) -p conntrack-bench

fmt: ## format Rust, and C where clang-format is installed
	$(CARGO) fmt --all
	@if command -v clang-format >/dev/null; then \
		git ls-files '*.c' '*.h' | xargs -r clang-format -i; \
	else echo "clang-format is not installed: C left as it is"; fi

lint: ## formatting, clippy, and the linters that are installed
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(LOCKED) --workspace --all-targets -- -D warnings
	@for tool in clang-format shellcheck cargo-deny; do \
		command -v $$tool >/dev/null || { echo "$$tool is not installed: left out"; continue; }; \
		case $$tool in \
		clang-format) git ls-files '*.c' '*.h' | xargs -r clang-format --dry-run -Werror ;; \
		shellcheck) shellcheck -x scripts/*.sh .ci/run ;; \
		cargo-deny) $(CARGO) deny --all-features check ;; \
		esac || exit; \
	done

doc: ## the library's documentation, in target/doc
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(LOCKED) --workspace --no-deps

clean: ## delete what was built
	$(CARGO) clean

install: ## put the built program below PREFIX (/usr/local)
	@scripts/install.sh install

uninstall: ## take it away again
	@scripts/install.sh uninstall
