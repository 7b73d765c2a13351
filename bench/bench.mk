# SPDX-License-Identifier: GPL-2.0-or-later
# Benchmarks: bench/<name> is a program, `make bench-<name>` runs it when all that it needs is built.

$(OUT)/bench/load_client: $(OUT)/bench/load_client.o
	$(call link,-lssl -lcrypto)
$(OUT)/bench/copying_origin: $(OUT)/bench/copying_origin.o
	$(call link)

# The same sources, flags and libraries without our changes.
$(BUILD)/unpatched/bin/haproxy: $(BUILD)/bin/haproxy bench/build-unpatched
	$(call say,BUILD,'haproxy without our changes')
	$(Q)bench/build-unpatched $(BUILD)

.PHONY: bench-splice
bench-splice: test-packages all $(BUILD)/openssl/bin/haproxy $(OUT)/bench/load_client $(OUT)/bench/copying_origin ## LB CPU of a response on the splice path beside its peers; REPEAT= SIZES= TLS=
	$(Q)BUILD='$(BUILD)' REPEAT='$(REPEAT)' SIZES='$(SIZES)' TLS='$(TLS)' bench/splice

$(OUT)/bench/h2_client: tests/lab/h2_client.c
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -o $@ $< -lssl -lcrypto -lnghttp2

.PHONY: bench-h2
bench-h2: test-packages all $(OUT)/bench/load_client $(OUT)/bench/h2_client ## LB CPU of a response to an HTTP/2 client, by grants and relayed, and to one of HTTP/1.1; how fast answers are beside large bodies; REPEAT= SIZES= STREAMS= ROUNDS= SERIES="costs lively"
	$(Q)BUILD='$(BUILD)' REPEAT='$(REPEAT)' SIZES='$(SIZES)' STREAMS='$(STREAMS)' ROUNDS='$(ROUNDS)' SERIES='$(SERIES)' bench/h2

.PHONY: bench-mix
bench-mix: test-packages all $(OUT)/bench/load_client $(BUILD)/unpatched/bin/haproxy ## a site with responses of all sizes, and one with short ones: LB CPU and times with and without DiSC; SEED= REPEAT= TLS= FILES= REQUESTS=
	$(Q)BUILD='$(BUILD)' SEED='$(SEED)' REPEAT='$(REPEAT)' TLS='$(TLS)' FILES='$(FILES)' REQUESTS='$(REQUESTS)' bench/mix

.PHONY: bench-unused
bench-unused: test-packages all $(OUT)/bench/load_client $(BUILD)/unpatched/bin/haproxy ## CPU per request of HAProxy with and without our changes, DiSC unused; REPEAT= SIZES=
	$(Q)BUILD='$(BUILD)' REPEAT='$(REPEAT)' SIZES='$(SIZES)' bench/unused

$(OUT)/bench/lossy_wire: tests/lab/lossy_wire.c
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -o $@ $<

$(OUT)/generated/kernel_meter.skel.h: $(OUT)/bench/kernel_meter.bpf.o
	@mkdir -p $(@D)
	$(Q){ printf '#pragma GCC system_header\n' && $(BPFTOOL) gen skeleton $< name kernel_meter_bpf; } >$@.new && mv $@.new $@
$(OUT)/bench/kernel_meter.o: CPPFLAGS += -I$(OUT)/generated
$(OUT)/bench/kernel_meter.o: $(OUT)/generated/kernel_meter.skel.h
$(OUT)/bench/kernel_meter: $(OUT)/bench/kernel_meter.o
	$(call link)

.PHONY: bench-direct
bench-direct: test-packages all $(OUT)/bench/load_client $(OUT)/bench/lossy_wire $(OUT)/bench/kernel_meter ## the direct path beside splice and relay: LB CPU, its kernel's too, and bytes per response, times under loss; beside another built tree; REPEAT= SIZES= SERIES="costs lossy musts" OTHER=folder SHORT=1
	$(Q)BUILD='$(BUILD)' REPEAT='$(REPEAT)' SIZES='$(SIZES)' SERIES='$(SERIES)' OTHER='$(OTHER)' SHORT='$(SHORT)' bench/direct

$(OUT)/bench/digests.o: CPPFLAGS += $(ALL_LAYERS)
$(OUT)/bench/digests: $(OUT)/bench/digests.o $(OUT)/libnode.a $(OUT)/libdisc.a $(LIBWOLFSSL)
	$(call link,-lhttp_parser -lcurl)

.PHONY: bench-digests
bench-digests: test-packages $(OUT)/bench/digests ## CPU time of files.etag = "digest": of computing, of opening a file; 1 GB in TMPDIR
	$(Q)BUILD='$(BUILD)' bench/digests

.PHONY: bench-memory
bench-memory: test-packages all $(BUILD)/openssl/bin/haproxy ## KB of HAProxy per idle client connection, beside OpenSSL; CONNECTIONS=
	$(Q)BUILD='$(BUILD)' CONNECTIONS='$(CONNECTIONS)' bench/memory

.PHONY: bench-compare
bench-compare: all $(OUT)/bench/load_client $(OUT)/bench/copying_origin ## LB CPU per response beside another built tree, taking turns; OTHER=folder BENCH=splice|direct SIZES= PATHS= REPEAT=
	$(Q)OTHER='$(OTHER)' SIZES='$(SIZES)' PATHS='$(PATHS)' TLS='$(TLS)' REPEAT='$(REPEAT)' bench/compare $(or $(BENCH),splice)

$(OUT)/bench/seal: CPPFLAGS += -Ilib/wire
$(OUT)/bench/seal: $(OUT)/bench/seal.o $(OUT)/libdisc.a $(LIBWOLFSSL)
	$(call link)

.PHONY: bench-seal
bench-seal: build-packages $(OUT)/bench/seal ## GB/s that wolfCrypt and ipsec-mb seal on one core, for each suite and size of a record
	$(Q)$(OUT)/bench/seal

.PHONY: bench-node
bench-node: test-packages all $(OUT)/bench/load_client ## node CPU per GB beside nginx over TLS, two workers beside one, what slow clients hold; REPEAT= SIZES= TLS= SLOW= SEAL=
	$(Q)BUILD='$(BUILD)' REPEAT='$(REPEAT)' SIZES='$(SIZES)' TLS='$(TLS)' SLOW='$(SLOW)' SEAL='$(SEAL)' bench/node
