# SPDX-License-Identifier: GPL-2.0-or-later
# Unit tests, end-to-end tests, fuzzing. tests/run prints the results and sums them up.

# tests/unit/<part>/<name>_test.c is one cmocka program each, linked with the part's objects but its main.
UNIT_SOURCES := $(wildcard tests/unit/*/*_test.c)
# Tests may look at everything.
ALL_LAYERS   := $(call layers,$(USES_spoa) spoa $(USES_backend-agent) backend-agent $(OUT)/generated)
UNIT_TESTS   := $(UNIT_SOURCES:%.c=$(OUT)/%)

# What several tests of lib/ share; the record layer's are checked by OpenSSL and GnuTLS.
$(addprefix $(OUT)/tests/unit/lib/,channel_test channel_tls_test certificate_watch_test): $(OUT)/tests/unit/lib/channel_fixture.o
$(addprefix $(OUT)/tests/unit/backend-agent/,node_test granted_node_test fetch_exchange_test fetch_proof_test origin_node_test http_source_test node_config_test): \
	$(OUT)/tests/unit/lib/channel_fixture.o
$(addprefix $(OUT)/tests/unit/backend-agent/,node_test granted_node_test fetch_proof_test): $(OUT)/tests/unit/backend-agent/node_lab.o
$(addprefix $(OUT)/tests/unit/backend-agent/,clone_test clone_body_test node_process_test vip_check_test client_route_test): $(OUT)/tests/unit/netns.o
$(addprefix $(OUT)/tests/unit/backend-agent/,clone_test clone_body_test node_process_test): $(addprefix $(OUT)/tests/unit/,lib/channel_fixture.o \
	backend-agent/direct_net.o backend-agent/direct_lab.o backend-agent/direct_lab_peers.o)
$(addprefix $(OUT)/tests/unit/spoa/,machine_test machine_model_test): $(OUT)/tests/unit/spoa/machine_world.o
$(addprefix $(OUT)/tests/unit/spoa/,dispatch_test handoff_server_test node_link_test): $(OUT)/tests/unit/lib/channel_fixture.o
$(addprefix $(OUT)/tests/unit/lib/,record_test aead_test): $(OUT)/tests/unit/lib/tls_peer.o
$(addprefix $(OUT)/tests/unit/lib/,tcp_freeze_test tcp_mute_test): $(OUT)/tests/unit/lib/handoff_network.o
$(OUT)/tests/unit/lib/config_test $(OUT)/tests/unit/lib/log_test: $(OUT)/tests/unit/lib/stderr_capture.o
# Compares its choices with a real HAProxy's.
$(OUT)/tests/unit/spoa/hash_ring_haproxy_test: | $(BUILD)/bin/haproxy
$(OUT)/tests/unit/spoa/hash_ring_haproxy_test.o: CPPFLAGS += -DHAPROXY='"$(abspath $(BUILD))/bin/haproxy"'
# Tests with networks of their own.
STEERING_TESTS := $(patsubst %.c,$(OUT)/%,$(wildcard tests/unit/spoa/steering_*test.c))
$(addprefix $(OUT)/tests/unit/,lib/tcp_freeze_test lib/capabilities_test lib/connection_tracking_test backend-agent/egress_guard_test) $(STEERING_TESTS): \
	$(OUT)/tests/unit/netns.o
$(OUT)/tests/unit/backend-agent/egress_guard_test $(STEERING_TESTS): $(OUT)/tests/unit/raw_packet.o
$(STEERING_TESTS): $(OUT)/tests/unit/spoa/steering_lab.o
$(addprefix $(OUT)/tests/unit/lib/,record_test aead_test): LDLIBS += -lssl -lcrypto -lgnutls
$(OUT)/tests/unit/lib/%_test: $(OUT)/tests/unit/lib/%_test.o $(OUT)/libdisc.a $(LIBWOLFSSL)
	$(call link,-lcmocka)
$(OUT)/tests/unit/spoa/%_test: $(OUT)/tests/unit/spoa/%_test.o $(OUT)/libspoa.a $(OUT)/libdisc.a $(LIBWOLFSSL)
	$(call link,-lcmocka -lhttp_parser -lcares)
$(OUT)/tests/unit/backend-agent/%_test: $(OUT)/tests/unit/backend-agent/%_test.o $(OUT)/libnode.a $(OUT)/libdisc.a $(LIBWOLFSSL)
	$(call link,-lcmocka -lhttp_parser -lcurl)
$(patsubst %.c,$(OUT)/%.o,$(wildcard tests/unit/*.c tests/unit/*/*.c)): CPPFLAGS += $(ALL_LAYERS) -Itests/unit
.SECONDARY: $(UNIT_TESTS:%=%.o)

# The lease code of the patched HAProxy depends on nothing of HAProxy, so that it can be tested alone: between wolfSSL and
# OpenSSL, every seal being recorded. It is compiled with HAProxy's idea of warnings.
LEASE_OBJECTS  := $(addprefix $(OUT)/haproxy-patches/src/,disc_lease.o disc_slots.o disc_grant.o disc_wolfssl.o)
LEASE_FIXTURE  := $(addprefix $(OUT)/tests/unit/haproxy/,wolfssl_server.o openssl_client.o)
LEASE_RECORDED := $(addprefix $(OUT)/tests/unit/haproxy/,leased_line.o seal_log.o) $(RECORDER_OBJECT)
LEASE_TESTS    := $(addprefix $(OUT)/tests/unit/haproxy/,disc_lease_test disc_lease_connection_test disc_lease_blocked_test disc_lease_model_test disc_slots_test)

$(LEASE_OBJECTS): $(OUT)/haproxy-patches/src/%.o: haproxy-patches/src/%.c | $(HAPROXY_TREE) $(LIBWOLFSSL)
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -std=gnu11 -Wno-conversion -Wno-shadow -MMD -MP -c -o $@ $<
$(LEASE_TESTS): $(LEASE_RECORDED)
$(LEASE_TESTS): LDFLAGS += $(RECORDER_WRAPS) -Wl,--wrap=disc_wolf_key_update
$(OUT)/tests/unit/haproxy/%_test: $(OUT)/tests/unit/haproxy/%_test.o $(LEASE_FIXTURE) $(LEASE_OBJECTS) $(OUT)/libdisc.a $(LIBWOLFSSL)
	$(call link,-lcmocka -lssl -lcrypto)
$(OUT)/tests/unit/haproxy/%.o $(OUT)/haproxy-patches/src/%.o: \
	CPPFLAGS += -Ihaproxy-patches/include -I$(BUILD)/src/haproxy/include -isystem $(BUILD)/src/wolfssl
$(patsubst %.c,$(OUT)/%.o,$(wildcard tests/unit/haproxy/*.c)): | $(HAPROXY_TREE)

$(OUT)/libspoa.a: $(filter-out %/main.o,$(SPOA_OBJECTS))
$(OUT)/libnode.a: $(filter-out %/main.o,$(NODE_OBJECTS))

.PHONY: unit-tests
unit-tests: $(UNIT_TESTS) ## build the unit tests of this FLAVOUR without running them

.PHONY: test-packages
test-packages:
	$(Q)tools/install-packages build run test

# With all processors, whatever this make was told. Variables of the command line reach it by the environment.
RECURSE = $(Q)MAKEFLAGS= $(MAKE) --no-print-directory -j$(or $(DISC_JOBS),$(shell nproc))

.PHONY: test-unit-programs
test-unit-programs: test-packages
	$(RECURSE) FLAVOUR=release unit-tests
	$(RECURSE) FLAVOUR=asan unit-tests

.PHONY: test-e2e-programs
test-e2e-programs: test-packages
	$(RECURSE) FLAVOUR=release all
	$(RECURSE) FLAVOUR=recorder all
	$(RECURSE) FLAVOUR=asan programs
	$(RECURSE) $(BUILD)/openssl/bin/haproxy

.PHONY: test-programs
test-programs: test-unit-programs test-e2e-programs docker-packages

# $(call run-tests,parts)
run-tests = $(Q)BUILD='$(BUILD)' T='$(T)' tests/run $(1)

.PHONY: test-unit
test-unit: test-unit-programs ## build and run the unit tests, as released and with sanitizers
	$(call run-tests,unit)

.PHONY: test-e2e
test-e2e: test-e2e-programs ## run the end-to-end tests; T=pattern chooses by name
	$(call run-tests,e2e)

.PHONY: test-regress
test-regress: test-packages ## run HAProxy's own regression tests with our HAProxy, compared with OpenSSL
	$(RECURSE) FLAVOUR=release $(BUILD)/bin/haproxy $(BUILD)/openssl/bin/haproxy
	$(call run-tests,regress)

# Without an engine the test says that it is skipped; so no package is needed here.
.PHONY: docker-packages
docker-packages:
	$(Q)[ "$$(id -u)" -ne 0 ] || tools/install-packages docker || true

.PHONY: test-docker
test-docker: docker-packages ## build the images of docker/ and run the compose cluster with an engine of its own (needs root, else skipped)
	$(call run-tests,docker)

.PHONY: lint
lint: test-packages ## check layout, words and include layers of the sources, and the series for HAProxy (tests/lint)
	$(RECURSE) $(HAPROXY_TREE)
	$(call run-tests,lint)

# $(call tidy-flags,file): how it is compiled. HAProxy's part is compiled where it is, with the options that it looks at.
HAPROXY_FLAGS := -std=gnu11 -DUSE_OPENSSL -DUSE_OPENSSL_WOLFSSL -DUSE_QUIC -DUSE_THREAD -DUSE_LINUX_SPLICE -DUSE_EPOLL -DUSE_PROMEX \
	-Ihaproxy-patches/include -isystem $(BUILD)/src/haproxy/include -isystem $(BUILD)/src/wolfssl \
	-isystem $(WOLFSSL)/include -isystem $(WOLFSSL)/include/wolfssl
tidy-flags = $(if $(filter haproxy-patches/%,$(1)),-D_GNU_SOURCE $(HAPROXY_FLAGS),-std=c11 $(CPPFLAGS) $(strip \
	$(if $(filter tests/% bench/%,$(1)),$(ALL_LAYERS) -Itests/unit,$(call layers,$(patsubst %/,%,$(dir $(1))) $(USES_$(patsubst %/,%,$(dir $(1))))))))
define tidy
	$(Q)clang-tidy --quiet $(1) -- $(call tidy-flags,$(1))

endef

.PHONY: tidy
tidy: test-packages ## clang-tidy over FILES="a.c b.c", HAProxy's part included
	$(RECURSE) programs $(HAPROXY_TREE)
	$(foreach file,$(FILES),$(call tidy,$(file)))

.PHONY: test
test: ## install what is missing, build and run all tests; last line: N passed, N failed
	$(call run-tests,build lint unit e2e regress docker)

.PHONY: test-long
test-long: ## the same with all cases whole and every end-to-end file in both flavours; lists the cases that are short in make test
	$(Q)printf 'Whole in make test-long, short in make test:\n'
	$(Q)grep -rhE '^[[:space:]]*# long: ' tests | sed -E 's/^[[:space:]]*# long: /  /'
	$(Q)[ "$$(id -u)" -ne 0 ] || tools/install-packages long
	$(Q)DISC_LONG=1 BUILD='$(BUILD)' tests/run build lint unit e2e regress docker packages

# tests/fuzz/<name>_fuzz.c, with its corpus in tests/fuzz/corpus/<name>.
FUZZ_SOURCES := $(wildcard tests/fuzz/*_fuzz.c)
FUZZ_TARGETS := $(FUZZ_SOURCES:tests/fuzz/%.c=$(OUT)/bin/%)
TIME ?= 60

$(OUT)/bin/%_fuzz: $(OUT)/tests/fuzz/%_fuzz.o $(OUT)/libspoa.a $(OUT)/libnode.a $(OUT)/libdisc.a $(LIBWOLFSSL)
	$(call link,-lhttp_parser -lcurl -lcares -fsanitize=fuzzer)
$(FUZZ_SOURCES:%.c=$(OUT)/%.o): CPPFLAGS += $(ALL_LAYERS) -Itests/unit

.PHONY: fuzz-targets
fuzz-targets: $(FUZZ_TARGETS)

.PHONY: fuzz
fuzz: test-packages ## fuzz every parser; TIME=seconds for each (60)
	$(RECURSE) FLAVOUR=fuzz CC=clang fuzz-targets
	$(Q)BUILD='$(BUILD)' TIME='$(TIME)' tests/fuzz/run
