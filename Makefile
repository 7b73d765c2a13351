# SPDX-License-Identifier: GPL-2.0-or-later
# DiSC for HAProxy. `make help` lists the targets; V=1 shows the commands; variables may be given on the command line.

PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
DESTDIR    ?=
CC         ?= cc
BPF_CC     ?= clang
BPFTOOL    ?= $(or $(shell command -v bpftool),/usr/sbin/bpftool)
BUILD      ?= build
# What our programs are compiled for: release | recorder (every seal is logged, for the nonce tests) | asan | fuzz
FLAVOUR    ?= release
# Local sources instead of Debian's: a tarball, or a .dsc with its tarballs beside it
HAPROXY_SRC ?=
WOLFSSL_SRC ?=

# The recorder flavour has the objects of the released one: only its programs are linked otherwise.
OUT     := $(if $(filter release recorder,$(FLAVOUR)),$(BUILD),$(BUILD)/$(FLAVOUR))
BIN     := $(if $(filter recorder,$(FLAVOUR)),$(BUILD)/recorder,$(OUT))/bin
WOLFSSL := $(BUILD)/wolfssl
LIBWOLFSSL := $(WOLFSSL)/lib/libwolfssl.a

SANITIZERS := -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
CFLAGS_FLAVOUR_release  :=
CFLAGS_FLAVOUR_asan     := -O1 $(SANITIZERS)
CFLAGS_FLAVOUR_fuzz     := -O1 $(SANITIZERS) -fsanitize=fuzzer-no-link -Wno-error

WARNINGS  := -Wall -Wextra -Wshadow -Wconversion -Werror
CPPFLAGS  += -D_GNU_SOURCE -I$(WOLFSSL)/include
CFLAGS    ?= -O2 -g
# Two builds in two folders give the same bytes: no path of the machine is in them.
NO_PATHS  := -ffile-prefix-map=$(abspath $(BUILD))=build -ffile-prefix-map=$(CURDIR)=.
ALL_CFLAGS = $(NO_PATHS) -std=c11 -pthread -fstack-protector-strong -fPIE $(WARNINGS) $(CFLAGS) $(CFLAGS_FLAVOUR_$(FLAVOUR))
LDLIBS     = -lev -lconfuse -lprotobuf-c -lmicrohttpd -lbpf -lcap -lm -Wl,--as-needed $(IPSEC_MB)

# ipsec-mb, where it is: looked for when a program is linked, as lib/wire/aead_ipsec_mb.c does when it is compiled.
HASH       := \#
IPSEC_MB    = $(shell printf '%s\n' '$(HASH)if __has_include(<intel-ipsec-mb.h>) && !defined(DISC_WITHOUT_IPSEC_MB)' \
	-lIPSec_MB '$(HASH)endif' | $(CC) $(CPPFLAGS) -E -P -x c -)

LIB_SOURCES  := $(wildcard lib/*/*.c)
SPOA_SOURCES := $(filter-out %.bpf.c,$(wildcard spoa/*.c spoa/*/*.c spoa/*/*/*.c))
NODE_SOURCES := $(filter-out %.bpf.c,$(wildcard backend-agent/*.c backend-agent/*/*.c))
LIB_OBJECTS  := $(LIB_SOURCES:%.c=$(OUT)/%.o) $(OUT)/generated/control.pb-c.o
SPOA_OBJECTS := $(SPOA_SOURCES:%.c=$(OUT)/%.o)
NODE_OBJECTS := $(NODE_SOURCES:%.c=$(OUT)/%.o)

# Layers: the folders whose headers a folder's sources may include beside their own. The compiler gets no others.
LIB := lib/base lib/wire lib/net
USES_lib/base :=
USES_lib/wire := lib/base $(OUT)/generated
USES_lib/net  := lib/base lib/wire
USES_spoa/spop            := $(LIB) spoa
USES_spoa/policy          := $(LIB) spoa spoa/spop
USES_spoa/dispatch        := $(LIB) spoa spoa/spop spoa/policy
USES_spoa/discovery       := $(LIB) spoa spoa/policy spoa/spop
USES_spoa/direct/steering := $(LIB) $(OUT)/generated
USES_spoa/direct/handoff  := $(LIB) spoa spoa/spop spoa/policy spoa/dispatch spoa/direct/steering
USES_spoa/direct          := $(USES_spoa/direct/handoff) spoa/direct/handoff
USES_spoa                 := $(USES_spoa/direct) spoa/direct spoa/discovery
USES_backend-agent/http    := $(LIB)
USES_backend-agent/content := $(LIB) backend-agent backend-agent/http
USES_backend-agent/seal    := $(LIB) backend-agent/http backend-agent/content
USES_backend-agent/direct  := $(LIB) backend-agent backend-agent/content backend-agent/seal $(OUT)/generated
USES_backend-agent/control := $(LIB) backend-agent $(addprefix backend-agent/,content seal direct)
USES_backend-agent/fetch   := $(LIB) backend-agent $(addprefix backend-agent/,http content seal direct)
USES_backend-agent         := $(LIB) $(addprefix backend-agent/,http content seal direct control fetch)
# $(call layers,folders): the -I of these folders
layers = $(addprefix -I,$(1))

Q   := $(if $(V),,@)
say = @printf '  %-8s %s\n' $(1) $(2)
# $(call link,extra libraries): the target from all its prerequisites
define link
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -pie $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter-out %.o,$^) $(LDLIBS) $(1)
endef

.PHONY: all
all: haproxy programs ## build HAProxy, disc-spoa and disc-backend into build/bin (the default)

.PHONY: programs
programs: $(BIN)/disc-spoa $(BIN)/disc-backend ## build our two programs only; FLAVOUR=asan: with sanitizers

.PHONY: packages
packages: ## install what is missing of Debian's packages to build, run and test (needs root)
	$(Q)tools/install-packages build run test

.PHONY: build-packages
build-packages:
	$(Q)tools/install-packages build

include tools/third-party.mk

# --- our programs ---

$(BIN)/disc-spoa: $(SPOA_OBJECTS) $(OUT)/libdisc.a $(LIBWOLFSSL)
	$(call link,-lhttp_parser -lcares)
$(BIN)/disc-backend: $(NODE_OBJECTS) $(OUT)/libdisc.a $(LIBWOLFSSL)
	$(call link,-lhttp_parser -lcurl)

$(OUT)/lib%.a:
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^
$(OUT)/libdisc.a: $(LIB_OBJECTS)

$(OUT)/%.o: %.c | $(OUT)/generated/control.pb-c.h $(LIBWOLFSSL)
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(call layers,$(<D) $(USES_$(<D))) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Generated code is not ours to warn about.
$(OUT)/generated/%.o: $(OUT)/generated/%.c
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -w -c -o $@ $<

# Kept: else make removes the header as an intermediate file and generates it again at every run.
.SECONDARY: $(OUT)/generated/control.pb-c.c $(OUT)/generated/control.pb-c.h
$(OUT)/generated/%.pb-c.c $(OUT)/generated/%.pb-c.h: lib/wire/%.proto | build-packages
	$(call say,PROTOC,$<)
	@mkdir -p $(@D)
	$(Q)protoc-c --proto_path=lib/wire --c_out=$(OUT)/generated $<

# Programs for the kernel: spoa/direct/steering/steering.bpf.c is loaded by means of generated/steering.skel.h.
BPF_SOURCES   := $(wildcard spoa/*/*/*.bpf.c backend-agent/*/*.bpf.c)
BPF_SKELETONS := $(patsubst %.bpf.c,$(OUT)/generated/%.skel.h,$(notdir $(BPF_SOURCES)))
$(SPOA_OBJECTS) $(NODE_OBJECTS): | $(BPF_SKELETONS)

.SECONDARY: $(BPF_SOURCES:%.c=$(OUT)/%.o)
$(OUT)/%.bpf.o: %.bpf.c | build-packages
	$(call say,BPF,$@)
	@mkdir -p $(@D)
	$(Q)$(BPF_CC) $(NO_PATHS) -g -O2 -target bpf -mcpu=v3 -std=gnu11 -Wall -Wextra -Wshadow -Werror -Ilib/net \
		-isystem /usr/include/$(shell $(CC) -print-multiarch) -MMD -MP -c -o $@ $<
# A system header to the compiler: generated code is not ours to warn about.
$(BPF_SKELETONS): $(OUT)/generated/%.skel.h:
	@mkdir -p $(@D)
	$(Q){ printf '#pragma GCC system_header\n' && $(BPFTOOL) gen skeleton $< name $*_bpf; } >$@.new && mv $@.new $@
$(foreach source,$(BPF_SOURCES),$(eval $(OUT)/generated/$(notdir $(source:%.bpf.c=%.skel.h)): $(source:%.c=$(OUT)/%.o)))

-include $(shell test -d $(OUT) && find $(OUT) -path '$(OUT)/src' -prune -o -name '*.d' -print 2>/dev/null)

include tests/tests.mk

# --- running and installing ---

.PHONY: run
run: all ## serve demo files over HTTPS through the splice path; DIR=folder PORT=number ONESHOT=1 MODE=middle|direct
	$(Q)tools/install-packages run $(filter middle direct,$(MODE))
	$(Q)BUILD='$(BUILD)' DIR='$(DIR)' PORT='$(PORT)' ONESHOT='$(ONESHOT)' MODE='$(MODE)' tools/run

include bench/bench.mk

# An operator's edited configuration is never replaced: the new one is put beside it.
define install-sample
	$(Q)if [ -e $(2) ] && ! cmp -s $(1) $(2); then install -m 644 $(1) $(2).new; else install -D -m 644 $(1) $(2); fi

endef
define install-unit
	$(Q)sed -e 's|@SBINDIR@|$(PREFIX)/sbin|g' -e 's|@CONFDIR@|$(SYSCONFDIR)/disc|g' $(1) >$(DESTDIR)$(PREFIX)/lib/systemd/system/$(notdir $(1))

endef
SAMPLES := haproxy.cfg config/spoe.conf config/disc.lua config/disc-status.lua config/middle-tier.cfg config/disc-spoa.conf config/disc-backend.conf

.PHONY: install
install: all install-files ## install below PREFIX (/usr/local); samples to /etc/disc; DESTDIR= for packagers

.PHONY: install-files
install-files:
	$(call say,INSTALL,'$(DESTDIR)$(PREFIX) $(DESTDIR)$(SYSCONFDIR)/disc')
	$(Q)install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(SYSCONFDIR)/disc
	$(Q)install -m 755 $(BIN)/disc-spoa $(BIN)/disc-backend $(DESTDIR)$(PREFIX)/sbin
	$(Q)install -m 755 $(BIN)/haproxy $(DESTDIR)$(PREFIX)/sbin/haproxy-disc
	$(foreach unit,$(wildcard config/systemd/*.service),$(call install-unit,$(unit)))
	$(Q)install -D -m 644 config/systemd/disc.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/disc.conf
	$(Q)install -D -m 644 config/systemd/disc.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/disc.conf
	$(Q)install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/disc/systemd $(wildcard config/systemd/direct/*.conf)
	$(Q)install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/disc/observability $(wildcard config/observability/*)
	$(foreach sample,$(wildcard $(SAMPLES)),$(call install-sample,$(sample),$(DESTDIR)$(SYSCONFDIR)/disc/$(notdir $(sample))))
	$(Q)for page in $(wildcard doc/man/*.[1-8]); do \
		install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man$${page##*.} $$page; done
	$(Q)install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/disc $(wildcard *.md doc/*.md LICENSE)

.PHONY: deb
deb: all ## make Debian packages haproxy-disc, disc-spoa and disc-backend in build/deb
	$(Q)[ "$$(id -u)" -ne 0 ] || tools/install-packages deb
	$(Q)tools/build-debs $(BUILD)

.PHONY: clean
clean: ## remove everything that was built
	$(Q)rm -rf $(BUILD)

.PHONY: help
help: ## this list
	@printf 'Targets (V=1 shows the commands):\n'
	@sed -nE 's/^([a-z0-9%-]+):.*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | sort | expand -t 16
