# Tests. The release programs run in the instance under test; unit tests and fuzz targets carry sanitizers.
ASAN_BUILD = build/asan

.PHONY: test test-programs fuzz-programs
test: packages  ## the whole proof: unit, fuzz, manuals, stock tools, damage, integration, crash; an instance of its own, other ports
	$(Q)$(MAKE) --no-print-directory build test-programs fuzz-programs
	$(Q)$(MAKE) --no-print-directory MODE=asan BUILD=$(ASAN_BUILD) $(UNIT_TESTS:%=$(ASAN_BUILD)/%)
	$(Q)COFFRE_BUILD='$(abspath $(BUILD))' COFFRE_ASAN='$(abspath $(ASAN_BUILD))' PROGRAMS='$(PROGRAMS)' \
		UNIT_PROGRAMS='$(UNIT_TESTS:%=$(ASAN_BUILD)/%)' FUZZ_PROGRAMS='$(FUZZERS:%=$(FUZZ_BUILD)/%)' tests/run.sh

test-programs: $(TEST_PROGRAMS:%=$(BUILD)/%)
fuzz-programs: $(FUZZERS:%=$(FUZZ_BUILD)/%)
