# SPDX-License-Identifier: Apache-2.0
# Waymark: `make help` lists what there is to do. Products go to build/<flavour>/, never into git.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all
comma := ,

# --- flavours ----------------------------------------------------------------------------------
# release: hardened. asan: ASan+UBSan, the one tests use. tsan, cov: by hand.
FLAVOUR ?= release
ifeq ($(FLAVOUR),fuzz)
override CC := clang
endif
B := build/$(FLAVOUR)
PREFIX ?= /usr/local
VERSION := $(shell cat VERSION)

# Debian packages, by what needs them. `make deps` installs what is missing and nothing else.
DEPS_BUILD := gcc make pkg-config clang llvm bpftool libbpf-dev libelf-dev zlib1g-dev libnl-3-dev \
	libnl-route-3-dev libjansson-dev libssl-dev libevent-dev libcurl4-openssl-dev libsqlite3-dev \
	libpcre2-dev libroaring-dev libunbound-dev libyaml-dev protobuf-c-compiler libprotobuf-c-dev libzstd-dev
DEPS_RUN := iproute2 bind9-dnsutils curl python3 procps util-linux bsdextrautils jq
DEPS_IMAGE := umoci ca-certificates
DEPS_TEST := ethtool dbus-daemon libcriterion-dev libnghttp2-dev musl-tools openssl libclang-rt-14-dev python3-dnspython python3-consul python3-grpcio \
	python3-jsonschema nftables nghttp2-server strace netcat-openbsd sqlite3 systemd man-db unbound nsd ldnsutils knot-dnsutils zstd etcd-server \
	etcd-client dnsmasq-base bind9 knot knot-resolver libc-ares-dev haproxy nginx-light $(DEPS_IMAGE) crun python3-yaml
DEPS_LINT := clang-format clang-tidy cppcheck shellcheck codespell universal-ctags
DEPS_BENCH := dnsdist iptables dnsperf
DEPS_DEB := build-essential debhelper lintian debootstrap
DEPS_KERNELS := qemu-system-x86 cpio busybox-static kmod xz-utils

PKGS := libbpf libelf zlib libnl-3.0 libnl-route-3.0 jansson libssl libcrypto libevent_core \
	libevent_extra libcurl sqlite3 libpcre2-8 libprotobuf-c libzstd libunbound yaml-0.1

# --- tools and flags ---------------------------------------------------------------------------
CC := gcc
BPFCC := clang
WARN = $(if $(filter fuzz,$(FLAVOUR)),-w,$(WARN_GCC))
WARN_GCC := -Wall -Wextra -Wshadow -Wvla -Wundef -Wstrict-prototypes -Wmissing-prototypes \
	-Wold-style-definition -Wpointer-arith -Wcast-qual -Wwrite-strings -Wformat=2 \
	-Wimplicit-fallthrough -Wswitch-enum -Wduplicated-cond -Wlogical-op
WERROR := $(if $(CI),-Werror)
INC := -I. -Iinclude -I$(B)/gen -Ibuild/proto
HARDEN := -O2 -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection \
	-fcf-protection -ftrivial-auto-var-init=zero
CFLAGS_release := $(HARDEN)
CFLAGS_asan := -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined \
	-fno-omit-frame-pointer -DWM_DEBUG=1
CFLAGS_tsan := -O1 -fsanitize=thread -fno-omit-frame-pointer -DWM_DEBUG=1
CFLAGS_cov := -O0 --coverage -DWM_DEBUG=1
CFLAGS_fuzz := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -DWM_FUZZ=1
LDFLAGS_release := -pie -Wl,-z,relro,-z,now,-z,noexecstack
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_tsan := -fsanitize=thread
LDFLAGS_cov := --coverage
PKG_CFLAGS = $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS = $(shell pkg-config --libs $(PKGS) 2>/dev/null)
CFLAGS = -std=gnu17 -g -fPIE -D_GNU_SOURCE -DWM_VERSION='"$(VERSION)"' $(WARN) $(WERROR) \
	$(CFLAGS_$(FLAVOUR)) $(INC) $(PKG_CFLAGS)
LDLIBS = $(PKG_LIBS) -lroaring -lm

ARCH := $(shell uname -m | sed 's/x86_64/x86/;s/aarch64/arm64/')
BPF_CFLAGS = -std=gnu17 -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_$(ARCH) -Wall -Wextra \
	-Wno-unused-parameter $(WERROR) -Iinclude -Ivmlinux -Ibpf

# What a target starts with: as many jobs as there are processors, unless `make -j` said how many.
JOBS ?= $(shell nproc)
MANY = --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(JOBS))

# --- sources: one archive a folder, in the order of the layers, lowest first -----------------------
LAYERS := base security net model store registry metadata health resolution dns dataplane lifecycle sync source api
BPF_OBJS := $(patsubst bpf/%.bpf.c,build/bpf/%.bpf.o,$(wildcard bpf/*.bpf.c))
SKELS := $(patsubst bpf/%.bpf.c,build/bpf/%.skel.h,$(wildcard bpf/*.bpf.c))
SRC_base := $(wildcard userspace/base/*.c)
PROTO_C := $(patsubst %.proto,build/proto/%.pb-c.c,$(wildcard userspace/*/*.proto))
define LAYER
SRC_$(1) := $$(wildcard userspace/$(1)/*.c userspace/$(1)/*/*.c)
OBJ_$(1) := $$(patsubst %.c,$$(B)/obj/%.o,$$(SRC_$(1)))
$$(B)/lib$(1).a: $$(OBJ_$(1))
	@rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach l,$(LAYERS),$(eval $(call LAYER,$(l))))
LIBS := $(foreach l,$(LAYERS),$(B)/lib$(l).a)
MAIN_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(wildcard userspace/*.c))
# the agent and `waymarkctl validate` judge a configuration by the same code
CTL_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(wildcard tools/waymarkctl*.c) userspace/config.c \
	userspace/config_consul.c userspace/config_dns.c userspace/config_kubernetes.c userspace/config_sync.c userspace/config_examine.c userspace/consul_service.c)
PROGRAMS := $(if $(MAIN_OBJ),$(B)/waymarkd) $(if $(CTL_OBJ),$(B)/waymarkctl)

.PHONY: all
all: $(PROGRAMS) ## build waymarkd and waymarkctl (FLAVOUR=release|asan|tsan|cov)

$(B)/waymarkd: $(MAIN_OBJ) $(LIBS)
	@echo "  LD      $@"
	@$(CC) $(CFLAGS) $(LDFLAGS_$(FLAVOUR)) -o $@ $(MAIN_OBJ) -Wl,--start-group $(LIBS) -Wl,--end-group $(LDLIBS)

$(B)/waymarkctl: $(CTL_OBJ) $(LIBS)
	@echo "  LD      $@"
	@$(CC) $(CFLAGS) $(LDFLAGS_$(FLAVOUR)) -o $@ $(CTL_OBJ) -Wl,--start-group $(LIBS) -Wl,--end-group $(LDLIBS)

$(B)/obj/%.o: %.c | need-build
	@mkdir -p $(@D)
	@echo "  CC      $<"
	@$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<
# messages between agents; what protoc-c writes is not held to our warnings
.SECONDARY: $(PROTO_C)
build/proto/%.pb-c.c: %.proto | need-build
	@mkdir -p build/proto
	@echo "  PROTO   $<"
	@protoc-c --c_out=build/proto $<
$(B)/obj/proto/%.o: build/proto/%.c
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -w -c -o $@ $<
$(OBJ_sync): $(PROTO_C)
$(B)/libsync.a: $(patsubst build/proto/%.c,$(B)/obj/proto/%.o,$(PROTO_C))
# generated headers must stand before anything in dataplane/ is compiled
$(OBJ_dataplane): INC += -Ibuild/bpf
$(OBJ_dataplane): $(SKELS)

# --- BPF ---------------------------------------------------------------------------------------
build/bpf/%.bpf.o: bpf/%.bpf.c | need-build
	@mkdir -p $(@D)
	@echo "  BPF     $<"
	@$(BPFCC) $(BPF_CFLAGS) -MMD -MP -MT $@ -c -o $@.tmp $<
	@bpftool gen object $@ $@.tmp && rm -f $@.tmp
# kept: tests and bpftool read the objects
.SECONDARY: $(BPF_OBJS)
# ways to choose of an operator's own: examples, and what must be refused
CUSTOM_OBJS := $(patsubst tests/custom/%.bpf.c,build/custom/%.bpf.o,$(wildcard tests/custom/*.bpf.c))
build/custom/%.bpf.o: tests/custom/%.bpf.c bpf/custom.h include/waymark/layout.h | need-build
	@mkdir -p $(@D)
	@echo "  BPF     $<"
	@$(BPFCC) $(BPF_CFLAGS) -c -o $@ $<
build/bpf/%.skel.h: build/bpf/%.bpf.o
	@echo "  SKEL    $@"
	@bpftool gen skeleton $< name $*_bpf > $@

# --- what must be installed ------------------------------------------------------------------------
.PHONY: need-build deps deps-test bench-deps kernels-deps
need-build:
	@for p in $(PKGS); do pkg-config --exists $$p || { \
		echo "missing library: $$p. Run 'make deps' (Debian packages: $(DEPS_BUILD))" >&2; exit 1; }; done
	@for c in clang bpftool protoc-c; do command -v $$c >/dev/null || { \
		echo "missing command: $$c. Run 'make deps'" >&2; exit 1; }; done

deps: ## install the Debian packages that building and running need
	@tools/deps.sh $(DEPS_BUILD) $(DEPS_RUN)
deps-test:
	@tools/deps.sh $(DEPS_BUILD) $(DEPS_RUN) $(DEPS_TEST)
	@tools/unpack.sh systemd-resolved build/systemd-resolved # installed it takes /etc/resolv.conf over
	@tools/unpack.sh network-manager build/network-manager libndp0 # installed it takes devices over
bench-deps: ## install the peers that `make bench` measures beside
	@tools/deps.sh $(DEPS_BUILD) $(DEPS_RUN) $(DEPS_TEST) $(DEPS_BENCH)
kernels-deps:
	@tools/deps.sh $(DEPS_BUILD) $(DEPS_RUN) $(DEPS_TEST) $(DEPS_KERNELS)

# --- running ---------------------------------------------------------------------------------------
.PHONY: demo demo-mesh demo-etcd demo-kubernetes run
demo: deps ## the main job, end to end, on this machine's kernel; cleans up after itself
	@$(MAKE) $(MANY) all
	@tools/demo.sh $(B)
demo-mesh: deps-test ## five agents in network namespaces: found everywhere, killed, cut, healed, restarted
	@$(MAKE) $(MANY) all
	@tools/demo-mesh.sh $(B)
demo-etcd: deps-test ## three agents that share an etcd: found everywhere, etcd killed and back, an agent killed
	@$(MAKE) $(MANY) all
	@tools/demo-etcd.sh $(B)
demo-kubernetes: deps-test ## a Deployment dialled from a pod by name, scaled, rolled, a node drained; no kube-proxy
	@$(MAKE) $(MANY) all
	@tests/kubernetes/build.sh && tools/demo-kubernetes.sh $(B) || [ $$? = 77 ]
run: deps ## start the agent in the foreground to try your own services
	@$(MAKE) $(MANY) all
	@tools/run.sh $(B)

# --- tests -----------------------------------------------------------------------------------------
# tests/unit/test_x.c names the archives it links in a line: /* links: base registry */
UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT_BIN := $(patsubst tests/unit/%.c,$(B)/tests/%,$(UNIT_SRC))
BPF_TEST_SRC := $(wildcard tests/bpf/test_*.c)
BPF_TEST_BIN := $(patsubst tests/bpf/%.c,$(B)/tests/bpf/%,$(BPF_TEST_SRC))
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_BIN := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(FUZZ_SRC))
TOOL_SRC := $(wildcard tests/tools/*.c)
TOOL_BIN := $(patsubst tests/tools/%.c,build/release/tests/%,$(TOOL_SRC)) build/release/tests/refuse_bpf.so \
	build/release/tests/slow_sync.so build/release/tests/step_clock.so
links_of = $(shell sed -n 's,^/\* links: \(.*\) \*/,\1,p' $(1))
# Criterion does not run under ThreadSanitizer
CRITERION := $(if $(filter tsan,$(FLAVOUR)),,-lcriterion)
CRITERION_INC := $(if $(filter tsan,$(FLAVOUR)),-Itests/tsan)
define TEST_RULE
$(2): $(1) $(foreach l,$(call links_of,$(1)),$(B)/lib$(l).a) | $(SKELS)
	@mkdir -p $$(@D)
	@echo "  TEST    $$@"
	@$$(CC) $(CRITERION_INC) $$(CFLAGS) -Ibuild/bpf $(3) -MMD -MP $$(LDFLAGS_$$(FLAVOUR)) -o $$@ $(1) -Wl,--start-group \
		$(foreach l,$(call links_of,$(1)),$(B)/lib$(l).a) -Wl,--end-group $(CRITERION) $$(LDLIBS)
endef
$(foreach s,$(UNIT_SRC),$(eval $(call TEST_RULE,$(s),$(patsubst tests/unit/%.c,$(B)/tests/%,$(s)))))
$(foreach s,$(BPF_TEST_SRC),$(eval $(call TEST_RULE,$(s),$(patsubst tests/bpf/%.c,$(B)/tests/bpf/%,$(s)))))
# Fuzz targets are a flavour of their own, by clang: what they link is compiled once for all of them.
ifeq ($(FLAVOUR),fuzz)
define FUZZ_RULE
build/fuzz/$(notdir $(basename $(1))): $(1) $(foreach l,$(call links_of,$(1)),$(B)/lib$(l).a) | $(SKELS)
	@mkdir -p $$(@D)
	@echo "  FUZZ    $$@"
	@$$(CC) $$(CFLAGS) -Ibuild/bpf -fsanitize=fuzzer -MMD -MP -o $$@ $(1) -Wl,--start-group \
		$(foreach l,$(call links_of,$(1)),$(B)/lib$(l).a) -Wl,--end-group $$(LDLIBS)
endef
$(foreach s,$(FUZZ_SRC),$(eval $(call FUZZ_RULE,$(s))))
else
$(FUZZ_BIN): fuzz-build
endif
.PHONY: fuzz-build
fuzz-build: | $(SKELS) $(PROTO_C)
	@$(if $(FUZZ_BIN),$(MAKE) --no-print-directory FLAVOUR=fuzz $(FUZZ_BIN))
TOOL_LIBS_etcdload := -lnghttp2
build/release/tests/%: tests/tools/%.c
	@mkdir -p $(@D)
	@echo "  TOOL    $@"
	@$(CC) -std=gnu17 -O2 -g -D_GNU_SOURCE $(WARN) -I. -Iinclude -o $@ $< \
		$(TOOL_LIBS_$*) -lm -lpthread

# the agent, with its own allocations failing on demand
WRAPS := malloc calloc realloc strdup strndup vasprintf asprintf
ALLOC_BIN := $(B)/tests/waymarkd-alloc
$(ALLOC_BIN): tests/fault/fail_alloc.c $(MAIN_OBJ) $(LIBS)
	@mkdir -p $(@D)
	@echo "  LD      $@"
	@$(CC) $(CFLAGS) $(LDFLAGS_$(FLAVOUR)) -o $@ $< $(MAIN_OBJ) $(patsubst %,-Wl$(comma)--wrap=%,$(WRAPS)) \
		-Wl,--start-group $(LIBS) -Wl,--end-group $(LDLIBS)
build/release/tests/refuse_bpf.so build/release/tests/slow_sync.so build/release/tests/step_clock.so: build/release/tests/%.so: tests/fault/%.c
	@mkdir -p $(@D)
	@echo "  TOOL    $@"
	@$(CC) -std=gnu17 -O2 -g -D_GNU_SOURCE $(WARN) -fPIC -shared -o $@ $<

# they use the product's own archives; `make bench` those of the release flavour
BENCH_LIBS := $(addprefix $(B)/lib,base.a net.a model.a store.a registry.a metadata.a resolution.a)
BENCH_BIN := $(B)/tests/filter $(B)/tests/fillstore $(B)/tests/specs
$(BENCH_BIN): $(B)/tests/%: tests/bench/%.c $(BENCH_LIBS)
	@mkdir -p $(@D)
	@echo "  TOOL    $@"
	@$(CC) $(CFLAGS) $(LDFLAGS_$(FLAVOUR)) -o $@ $< -Wl,--start-group $(BENCH_LIBS) -Wl,--end-group $(LDLIBS)

# the cores of sync/ under a virtual clock
SIM_LIBS := $(B)/libsync.a $(B)/libmodel.a $(B)/libnet.a $(B)/libbase.a
$(B)/waymark-sim: $(patsubst %.c,$(B)/obj/%.o,$(wildcard tools/sim/*.c)) $(SIM_LIBS)
	@echo "  LD      $@"
	@$(CC) $(CFLAGS) $(LDFLAGS_$(FLAVOUR)) -o $@ $(filter %.o,$^) -Wl,--start-group $(SIM_LIBS) \
		-Wl,--end-group $(LDLIBS)

# what news of the mesh is compressed with; checked in, as all agents must have the same
DICTIONARY_LIBS := $(B)/libsync.a $(B)/libstore.a $(B)/libmodel.a $(B)/libnet.a $(B)/libbase.a
$(B)/waymark-dictionary: $(B)/obj/tools/dictionary/main.o $(DICTIONARY_LIBS)
	@echo "  LD      $@"
	@$(CC) $(CFLAGS) $(LDFLAGS_$(FLAVOUR)) -o $@ $< -Wl,--start-group $(DICTIONARY_LIBS) \
		-Wl,--end-group $(LDLIBS)
.PHONY: dictionary
dictionary: deps ## make the dictionary of the mesh anew: give it another number then
	@$(MAKE) $(MANY) FLAVOUR=release build/release/waymark-dictionary
	@build/release/waymark-dictionary >build/dictionary && \
		mv build/dictionary userspace/sync/replica_dictionary.inc

FUZZ_SECONDS ?= 60
.PHONY: test test-unit test-bpf test-net test-fuzz test-long test-build
test: deps-test ## install what is missing, build, run every test (ASan+UBSan)
	@$(MAKE) $(MANY) FLAVOUR=asan test-build
	@tests/run.sh
test-build: $(PROGRAMS) $(CUSTOM_OBJS) $(B)/waymark-sim $(ALLOC_BIN) $(UNIT_BIN) $(BPF_TEST_BIN) $(if $(FUZZ_BIN),fuzz-build) $(TOOL_BIN) $(BENCH_BIN)
test-unit: ## unit tests only
	@$(MAKE) $(MANY) FLAVOUR=asan test-build && tests/run.sh unit
test-bpf: ## programs under BPF_PROG_TEST_RUN only
	@$(MAKE) $(MANY) FLAVOUR=asan test-build && tests/run.sh bpf
test-net: ## end-to-end tests only
	@$(MAKE) $(MANY) FLAVOUR=asan test-build && tests/run.sh net
test-fuzz: ## fuzz targets, FUZZ_SECONDS each (60)
	@$(MAKE) $(MANY) FLAVOUR=asan test-build && FUZZ_SECONDS=$(FUZZ_SECONDS) tests/run.sh fuzz
test-long: deps-test ## end-to-end tests that take minutes each (tests/long), which `make test` leaves out
	@$(MAKE) $(MANY) FLAVOUR=asan test-build && tests/run.sh long
.PHONY: upgrade-test
upgrade-test: deps-test ## the previous release -> this -> previous, and another layout, under traffic: nothing fails
	@$(MAKE) $(MANY) FLAVOUR=asan all
	@B=build/asan bash tests/long/test_upgrade_both.sh
.PHONY: cover test-tsan
cover: deps-test ## lines of the source that the tests run, by folder
	@$(MAKE) $(MANY) FLAVOUR=cov FUZZ_BIN= test-build
	@tools/cover.sh
TSAN_UNIT := store_scenario write_path write_orders snapshot snapshot_writes grace
TSAN_NET := net/test_catalog net/test_snapshot net/test_drain net/test_abort net/test_checks net/test_mesh_keyring fault/test_store_slow
TSAN_SAYS := halt_on_error=1 exitcode=66 suppressions=$(CURDIR)/tests/tsan/suppressions
test-tsan: deps-test ## what has a second thread (the store, drains, programs of checks), under ThreadSanitizer
	@$(MAKE) $(MANY) FLAVOUR=tsan all $(TSAN_UNIT:%=build/tsan/tests/test_%) \
		build/release/tests/refuse_bpf.so build/release/tests/slow_sync.so
	@for t in $(TSAN_UNIT); do echo "--- $$t"; \
		TSAN_OPTIONS="$(TSAN_SAYS)" setarch -R build/tsan/tests/test_$$t || exit 1; done
	@for t in $(TSAN_NET); do echo "--- $$t"; \
		B=build/tsan TSAN_OPTIONS="$(TSAN_SAYS)" setarch -R bash tests/$$t.sh || exit 1; done
.PHONY: accept
accept: deps-test ## Consul's Go client, Prometheus' discovery, consul-template, the npm package (fetches all)
	@$(MAKE) $(MANY) FLAVOUR=asan all
	@B=build/asan tests/accept/run.sh
.PHONY: accept-kubernetes
accept-kubernetes: deps-test ## a real Kubernetes API server (built once from Go's module proxy): services, DNS, rolling updates, figures
	@$(MAKE) $(MANY) FLAVOUR=asan all
	@$(MAKE) $(MANY) FLAVOUR=release all
	@tests/kubernetes/run.sh || [ $$? = 77 ]
.PHONY: test-kernels
test-kernels: kernels-deps ## the same objects on Debian's 6.1 and 6.12 kernels under QEMU
	@$(MAKE) $(MANY) all test-build FLAVOUR=release
	@tests/kernels/run.sh

.PHONY: bench
bench: bench-deps ## measure beside peers, print ratios, write build/bench.json
	@$(MAKE) $(MANY) FLAVOUR=release all $(TOOL_BIN) \
		build/release/tests/filter build/release/tests/fillstore
	@tests/bench/run.sh

.PHONY: sim
sim: deps ## simulate meshes of up to 10,000 nodes (tests/sim), print their figures beside the goals
	@$(MAKE) $(MANY) FLAVOUR=release build/release/waymark-sim
	@tests/sim/run.sh build/release/waymark-sim
.PHONY: sim-long
sim-long: deps ## 24 simulated hours of 1,000 nodes: more than an hour
	@$(MAKE) $(MANY) FLAVOUR=release build/release/waymark-sim
	@GLIBC_TUNABLES=glibc.malloc.hugetlb=1 tests/sim/run.sh build/release/waymark-sim false-day

# --- quality ---------------------------------------------------------------------------------------
C_FILES = $(shell git ls-files --cached --others --exclude-standard '*.c' '*.h' | grep -v '^vmlinux/')
.PHONY: lint check-deps format lint-deps docs docs-bpftool
lint-deps:
	@tools/deps.sh $(DEPS_BUILD) $(DEPS_RUN) $(DEPS_TEST) $(DEPS_LINT)
lint: lint-deps check-deps ## clang-format, clang-tidy, cppcheck, shellcheck, layers
	@$(MAKE) $(MANY) $(SKELS) $(PROTO_C)
	@tools/lint.sh $(C_FILES)
check-deps: ## an #include only goes down the layers
	@tools/check-deps.sh $(LAYERS)
format: ## let clang-format rewrite the sources
	@clang-format -i $(C_FILES)
docs: all ## regenerate docs/reference from the tables in the code
	@tools/gen-docs.sh $(B)
docs-bpftool: deps-test ## regenerate the samples of docs/bpftool.md from a running agent
	@$(MAKE) $(MANY) FLAVOUR=asan all
	@UPDATE=1 B=build/asan bash tests/net/test_bpftool.sh


.PHONY: compile_commands.json
compile_commands.json: ## for editors and clang-tidy
	@tools/compile-commands.sh > $@

.PHONY: install uninstall deb test-deb image clean help
BINDIR := $(DESTDIR)$(PREFIX)
UNITDIR := $(DESTDIR)/lib/systemd/system
install: all ## install programs, manual pages, completion, unit and an example configuration
	install -D -m 755 $(B)/waymarkd $(BINDIR)/sbin/waymarkd
	install -D -m 755 $(B)/waymarkctl $(BINDIR)/bin/waymarkctl
	install -d -m 755 $(UNITDIR) $(BINDIR)/share/man/man1 $(BINDIR)/share/man/man8 \
		$(BINDIR)/share/bash-completion/completions
	$(B)/waymarkctl --man > $(BINDIR)/share/man/man1/waymarkctl.1
	$(B)/waymarkd --reference man > $(BINDIR)/share/man/man8/waymarkd.8
	$(B)/waymarkctl completion > $(BINDIR)/share/bash-completion/completions/waymarkctl
	sed 's,/usr/local/sbin,$(PREFIX)/sbin,' deploy/waymarkd.service > $(UNITDIR)/waymarkd.service
	install -d -m 755 $(DESTDIR)/etc/waymark $(DESTDIR)/etc/waymark/conf.d
	[ -e $(DESTDIR)/etc/waymark/waymark.json ] || \
		install -m 644 deploy/waymark.json $(DESTDIR)/etc/waymark/waymark.json
deb: deps ## a Debian package of this version, build/deb/waymark_*.deb
	@tools/deps.sh $(DEPS_DEB)
	@tools/deb.sh $(DEPS_BUILD)
test-deb: deb ## install, upgrade, remove and purge that package in a Debian of its own
	@tests/deb/root.sh build/deb/waymark_*.deb
	@$(MAKE) $(MANY) FLAVOUR=asan all
	@tests/deb/test_deb.sh
image: deps ## an OCI image of this version, build/image, of Debian's packages
	@tools/deps.sh $(DEPS_IMAGE)
	@$(MAKE) $(MANY) FLAVOUR=release all
	@tools/image.sh build/release build/image
uninstall: ## remove what install brought; the configuration and the store stay, detach is up to you
	rm -f $(BINDIR)/sbin/waymarkd $(BINDIR)/bin/waymarkctl $(BINDIR)/share/man/man1/waymarkctl.1 \
		$(BINDIR)/share/man/man8/waymarkd.8 $(BINDIR)/share/bash-completion/completions/waymarkctl \
		$(UNITDIR)/waymarkd.service
	@echo "kept: $(DESTDIR)/etc/waymark, $(DESTDIR)/var/lib/waymark"
clean: ## remove build products
	rm -rf build compile_commands.json
help: ## show this
	@awk -F':.*## ' '/^[a-zA-Z_.-]*:.*## /{printf "  %-22s %s\n",$$1,$$2}' $(MAKEFILE_LIST)

-include $(shell find build -name '*.d' -type f 2>/dev/null)
