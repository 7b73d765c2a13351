# SPDX-License-Identifier: GPL-2.0-or-later
# DiSC for HAProxy. `make help` lists the targets; V=1 shows the commands; variables may be given on the command line.

PREFIX  ?= /usr/local
DESTDIR ?=
CC      ?= cc
BUILD   ?= build
# What is compiled for: release | recorder (every seal is logged, for the nonce tests) | asan
FLAVOUR ?= release

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Werror
CPPFLAGS += -D_GNU_SOURCE -Ilib -I$(OUT)/generated -I$(WOLFSSL)/include
CFLAGS   ?= -O2 -g
CFLAGS_FLAVOUR_release  :=
CFLAGS_FLAVOUR_recorder :=
CFLAGS_FLAVOUR_asan     := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined

OUT     := $(if $(filter release,$(FLAVOUR)),$(BUILD),$(BUILD)/$(FLAVOUR))
WOLFSSL := $(BUILD)/wolfssl
BIN     := $(OUT)/bin

ALL_CFLAGS = -std=c11 -pthread -fstack-protector-strong -fPIE $(WARNINGS) $(CFLAGS) $(CFLAGS_FLAVOUR_$(FLAVOUR))
LDLIBS     = $(WOLFSSL)/lib/libwolfssl.a -lev -lconfuse -lprotobuf-c -lmicrohttpd -lm

Q := $(if $(V),,@)
say = @printf '  %-8s %s\n' $(1) $(2)

LIB_SOURCES     := $(wildcard lib/*.c)
SPOA_SOURCES    := $(wildcard spoa/*.c)
BACKEND_SOURCES := $(wildcard backend-agent/*.c)
LIB_OBJECTS     := $(LIB_SOURCES:%.c=$(OUT)/%.o) $(OUT)/generated/control.pb-c.o
SPOA_OBJECTS    := $(SPOA_SOURCES:%.c=$(OUT)/%.o)
BACKEND_OBJECTS := $(BACKEND_SOURCES:%.c=$(OUT)/%.o)

.PHONY: all programs
all: programs

programs: $(BIN)/disc-spoa $(BIN)/disc-backend

$(BIN)/disc-spoa: $(SPOA_OBJECTS) $(OUT)/libdisc.a
$(BIN)/disc-backend: $(BACKEND_OBJECTS) $(OUT)/libdisc.a
$(BIN)/disc-backend: LDLIBS += -lhttp_parser
$(BIN)/disc-spoa $(BIN)/disc-backend:
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -pie $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(OUT)/libdisc.a: $(LIB_OBJECTS)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(OUT)/%.o: %.c | $(OUT)/generated/control.pb-c.h
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Generated code is not ours to warn about.
$(OUT)/generated/%.o: $(OUT)/generated/%.c
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -w -c -o $@ $<

# Kept: else make removes the header as an intermediate file and generates it again at every run.
.SECONDARY: $(OUT)/generated/control.pb-c.c $(OUT)/generated/control.pb-c.h
$(OUT)/generated/%.pb-c.c $(OUT)/generated/%.pb-c.h: lib/%.proto
	$(call say,PROTOC,$<)
	@mkdir -p $(@D)
	$(Q)protoc-c --proto_path=lib --c_out=$(OUT)/generated $<

# --- unit tests: tests/unit/<part>/<name>_test.c, one cmocka program each, linked with the part's objects but its main --
UNIT_SOURCES := $(wildcard tests/unit/*/*_test.c)
UNIT_TESTS   := $(UNIT_SOURCES:%.c=$(OUT)/%)

$(OUT)/tests/unit/lib/%_test: $(OUT)/tests/unit/lib/%_test.o $(OUT)/libdisc.a
	$(link-unit-test)
$(OUT)/tests/unit/spoa/%_test: $(OUT)/tests/unit/spoa/%_test.o $(filter-out %/main.o,$(SPOA_OBJECTS)) $(OUT)/libdisc.a
	$(link-unit-test)
$(OUT)/tests/unit/backend-agent/%_test: $(OUT)/tests/unit/backend-agent/%_test.o $(filter-out %/main.o,$(BACKEND_OBJECTS)) $(OUT)/libdisc.a
	$(link-unit-test)
define link-unit-test
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -pie $(LDFLAGS) -o $@ $^ $(LDLIBS) -lhttp_parser -lcmocka
endef
$(UNIT_TESTS:%=%.o): CPPFLAGS += -Ispoa -Ibackend-agent

.PHONY: unit-tests
unit-tests: $(UNIT_TESTS)

.PHONY: clean
clean:
	rm -rf $(BUILD)

-include $(shell test -d $(OUT) && find $(OUT) -name '*.d' 2>/dev/null)
