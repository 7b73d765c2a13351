# SPDX-License-Identifier: GPL-2.0-or-later
# HAProxy and wolfSSL, from Debian's source packages or from local ones (HAPROXY_SRC=, WOLFSSL_SRC=).
#
# What a build depends on is the *content* of patches and scripts, kept as a digest in build/inputs: a fresh checkout or a
# touched file rebuilds nothing, a changed patch unpacks and builds HAProxy anew.

HAPROXY_VERSION := 3.0
WOLFSSL_VERSION := 5.7

# Our own files of HAProxy, as they are compiled
HAPROXY_OURS := $(wildcard haproxy-patches/src/*.c haproxy-patches/include/haproxy/*.h)
HAPROXY_TREE := $(BUILD)/src/haproxy/.unpacked
WOLFSSL_TREE := $(BUILD)/src/wolfssl/.unpacked

.PHONY: haproxy
haproxy: $(BIN)/haproxy ## build the patched HAProxy only; FLAVOUR=recorder: one that logs every seal

.PHONY: always
always:

comma := ,

# $(call digest,files,words): rewrites the target only if the digest of files and words is another one
define digest
	@mkdir -p $(@D) 2>/dev/null && [ -w $(@D) ] || { \
		printf 'Cannot write to %s: run make as its owner (sudo?), or choose another folder with BUILD=\n' $(BUILD) >&2; exit 1; }
	@now=$@.$$$$; { printf '%s\n' '$(2)'; cat $(1); } | sha256sum >$$now; \
	if cmp -s $@ $$now; then rm $$now; else mv $$now $@; fi
endef

$(BUILD)/inputs/wolfssl-source: always
	$(call digest,tools/unpack-source $(wildcard wolfssl-patches/series wolfssl-patches/*.patch $(WOLFSSL_SRC)),$(WOLFSSL_SRC) $(WOLFSSL_VERSION))
$(BUILD)/inputs/wolfssl-build: always
	$(call digest,tools/build-wolfssl)
$(BUILD)/inputs/haproxy-source: always
	$(call digest,tools/unpack-source $(wildcard haproxy-patches/series haproxy-patches/*/*.patch $(HAPROXY_SRC)),$(HAPROXY_SRC) $(HAPROXY_VERSION))
$(BUILD)/inputs/haproxy-build: always
	$(call digest,tools/build-haproxy $(HAPROXY_OURS))

# $(call once,package): runs what follows and touches the target, unless another make has just done it
once = $(Q)tools/once $(BUILD)/inputs/$(1).lock $@ $^ --

# $(call unpack,package,version,local source)
define unpack
	$(call say,UNPACK,$(1))
	$(call once,$(1)) tools/with-progress $(1) $(BUILD)/log/$(1)-source.log \
		'Without network, give local sources: make HAPROXY_SRC=haproxy.tar.gz WOLFSSL_SRC=wolfssl.tar.gz' \
		tools/unpack-source $(1) $(2) $(BUILD) $(3)
endef

$(WOLFSSL_TREE): $(BUILD)/inputs/wolfssl-source | build-packages
	$(call unpack,wolfssl,$(WOLFSSL_VERSION),$(WOLFSSL_SRC))
$(LIBWOLFSSL): $(WOLFSSL_TREE) $(BUILD)/inputs/wolfssl-build
	$(call say,BUILD,wolfssl)
	$(call once,wolfssl) tools/build-wolfssl $(BUILD)

$(HAPROXY_TREE): $(BUILD)/inputs/haproxy-source | build-packages
	$(call unpack,haproxy,$(HAPROXY_VERSION),$(HAPROXY_SRC))
$(BUILD)/bin/haproxy: $(HAPROXY_TREE) $(BUILD)/inputs/haproxy-build $(LIBWOLFSSL)
	$(call say,BUILD,haproxy)
	$(call once,haproxy) tools/build-haproxy release $(BUILD)
$(BUILD)/openssl/bin/haproxy: $(HAPROXY_TREE) $(BUILD)/inputs/haproxy-build
	$(call say,BUILD,'haproxy with OpenSSL')
	$(call once,haproxy) tools/build-haproxy openssl $(BUILD)

# The seal recorder stands between sealers and wolfCrypt (ld --wrap) and logs every key and nonce used.
RECORDER_OBJECT := $(OUT)/tests/lab/seal_recorder.o
$(RECORDER_OBJECT): CPPFLAGS += -Ilib/wire
RECORDER_WRAPS  := $(patsubst %,-Wl$(comma)--wrap=%,$(shell sed 's/\#.*//' tests/lab/seal_recorder.symbols 2>/dev/null))

# The proof recorder logs the keys with which HAProxy's leases are proven; only HAProxy draws them.
PROOF_RECORDER := $(OUT)/tests/lab/proof_recorder.o

ifeq ($(FLAVOUR),recorder)
$(BIN)/haproxy: $(BUILD)/bin/haproxy $(RECORDER_OBJECT) $(PROOF_RECORDER) tests/lab/seal_recorder.symbols
	$(call say,LD,$@)
	$(call once,haproxy) tools/build-haproxy recorder $(BUILD) $(abspath $(RECORDER_OBJECT) $(PROOF_RECORDER)) $(RECORDER_WRAPS) \
		-Wl$(comma)--wrap=disc_wolf_random
endif
ifneq ($(filter recorder asan,$(FLAVOUR)),)
$(BIN)/disc-backend: $(RECORDER_OBJECT)
$(BIN)/disc-backend: LDFLAGS += $(RECORDER_WRAPS)
endif
