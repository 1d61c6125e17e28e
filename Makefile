# Coffre: build, run, test. `make help` lists what there is.
#
# MODE=release (default) or MODE=asan (AddressSanitizer and UndefinedBehaviorSanitizer).
# BUILD names the folder of what is built; nothing is ever written beside the sources.

MODE ?= release
BUILD ?= build/$(MODE)
CC = gcc
V ?= 0
Q = $(if $(filter 0,$(V)),@)
say = $(if $(filter 0,$(V)),@printf '  %-7s %s\n' $(1) $(2))

PKGS = libssl libcrypto librabbitmq libpq libxml-2.0 xmlsec1-openssl libp11 yaml-0.1 libevent jansson zlib liblz4 libseccomp
# The libraries' headers are not ours to warn about.
PKG_CFLAGS := $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(PKGS) 2>/dev/null))
PKG_LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null)

WARNINGS = -Wall -Wextra -Wconversion -Wshadow -Wvla -Wswitch-enum -Wstrict-prototypes -Wmissing-prototypes \
	-Wformat=2 -Wundef -Wpointer-arith -Wcast-qual -Wwrite-strings -Werror
# What returns and jumps may reach, in the processor's own way.
MACHINE := $(shell $(CC) -dumpmachine)
BRANCHES = $(if $(filter x86_64-%,$(MACHINE)),-fcf-protection)$(if $(filter aarch64-%,$(MACHINE)),-mbranch-protection=standard)
HARDENING = -fstack-protector-strong -fstack-clash-protection $(BRANCHES) -fPIE -ftrivial-auto-var-init=zero
LD_HARDENING = -pie -Wl,-z,relro,-z,now,-z,noexecstack
ifeq ($(MODE),asan)
OPTIMISE = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
LD_MODE = -fsanitize=address,undefined
else
OPTIMISE = -O2 -g -D_FORTIFY_SOURCE=3
LD_MODE =
endif
CFLAGS = -std=c17 -D_GNU_SOURCE -DXMLSEC_NO_XSLT=1 -I. $(PKG_CFLAGS) $(OPTIMISE) $(WARNINGS) $(HARDENING)
LDFLAGS = $(LD_HARDENING) $(LD_MODE)
LIBS = $(PKG_LIBS) -lm

# Each folder names its objects, programs (PROGRAMS, NAME_OBJS), unit tests (UNIT_TESTS, NAME_OBJS)
# and fuzz targets (FUZZERS, NAME_OBJS).
include common/objects.mk ingest/objects.mk sealer/objects.mk exporter/objects.mk tests/objects.mk deploy/targets.mk tests/targets.mk

.DEFAULT_GOAL := build
.PHONY: build clean help unit
build: $(PROGRAMS:%=$(BUILD)/%)  ## compile the daemons and tools

COMMON_LIB = $(BUILD)/libcommon.a
$(COMMON_LIB): $(COMMON_OBJS:%=$(BUILD)/%)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/%.o: %.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

define program_rule
$(BUILD)/$(1): $$($(1)_OBJS:%=$(BUILD)/%) $(COMMON_LIB)
	$$(call say,LD,$$@)
	$$(Q)mkdir -p $$(@D) && $(CC) $(LDFLAGS) -o $$@ $$($(1)_OBJS:%=$(BUILD)/%) $(COMMON_LIB) $(LIBS) $$($(1)_LIBS)
endef
$(foreach p,$(PROGRAMS) $(UNIT_TESTS) $(TEST_PROGRAMS),$(eval $(call program_rule,$(p))))

unit: $(UNIT_TESTS:%=$(BUILD)/%)  ## compile and run the unit tests (MODE=asan for sanitizers)
	$(Q)set -e; for t in $^; do echo "== $$t"; $$t; done

# Fuzz targets are built by clang into a folder of their own, with everything they link (FUZZERS, NAME_OBJS, NAME_LIBS).
FUZZ_SECONDS ?= 60
FUZZ_BUILD = $(BUILD)/fuzz
FUZZ_CFLAGS = -std=c17 -D_GNU_SOURCE -DXMLSEC_NO_XSLT=1 -I. $(PKG_CFLAGS) -O1 -g -fno-omit-frame-pointer -Wall -Wextra -Werror \
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all

$(FUZZ_BUILD)/%.o: %.c
	$(call say,CLANG,$<)
	$(Q)mkdir -p $(@D) && clang $(FUZZ_CFLAGS) -MMD -MP -c -o $@ $<

$(FUZZ_BUILD)/libcommon.a: $(COMMON_OBJS:%=$(FUZZ_BUILD)/%)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

define fuzz_rule
$(FUZZ_BUILD)/$(1): $$($(1)_OBJS:%=$(FUZZ_BUILD)/%) $(FUZZ_BUILD)/libcommon.a
	$$(call say,LD,$$@)
	$$(Q)clang -fsanitize=fuzzer,address,undefined -o $$@ $$($(1)_OBJS:%=$(FUZZ_BUILD)/%) $(FUZZ_BUILD)/libcommon.a $(LIBS) $$($(1)_LIBS)
endef
$(foreach p,$(FUZZERS),$(eval $(call fuzz_rule,$(p))))

# The corpus kept in the tree is never written to: each run works on a copy. A finding stays in the build folder.
.PHONY: fuzz
fuzz: $(FUZZERS:%=$(FUZZ_BUILD)/%)  ## run each fuzz target for FUZZ_SECONDS (60); `make test` gives each 4
	$(Q)set -e; for t in $^; do \
		name=$${t##*/fuzz_}; corpus=$(FUZZ_BUILD)/corpus/$$name; echo "== fuzz_$$name, $(FUZZ_SECONDS) s"; \
		rm -rf $$corpus; mkdir -p $$corpus; ! [ -d tests/fuzz/corpus/$$name ] || cp -r tests/fuzz/corpus/$$name/. $$corpus/; \
		$$t -max_total_time=$(FUZZ_SECONDS) -timeout=10 -max_len=65536 -print_final_stats=0 -verbosity=0 \
			-artifact_prefix=$(FUZZ_BUILD)/finding-$$name- $$corpus >$(FUZZ_BUILD)/$$name.log 2>&1 || \
			{ tail -n 40 $(FUZZ_BUILD)/$$name.log; echo "fuzz_$$name failed: $(FUZZ_BUILD)/finding-$$name-*" >&2; exit 1; }; \
	done

clean:  ## remove what was built (run/ stays: make down, then remove it by hand)
	rm -rf build

help:  ## this list
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | sort | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
