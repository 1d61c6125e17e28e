# Tests. The release programs run in the instance under test; unit tests and fuzz targets carry sanitizers.
ASAN_BUILD = build/asan

# What the vaults need is built first; what is tried without one while they run (tests/run.sh).
.PHONY: test test-programs fuzz-programs
test: packages  ## the whole proof: unit, fuzz, manuals, stock tools, damage, integration, crash; instances of its own, other ports
	$(Q)$(MAKE) --no-print-directory $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc)) build test-programs
	$(Q)COFFRE_BUILD='$(abspath $(BUILD))' COFFRE_ASAN='$(abspath $(ASAN_BUILD))' PROGRAMS='$(PROGRAMS)' \
		UNIT_PROGRAMS='$(UNIT_TESTS:%=$(ASAN_BUILD)/%)' FUZZ_PROGRAMS='$(FUZZERS:%=$(FUZZ_BUILD)/%)' tests/run.sh

test-programs: $(TEST_PROGRAMS:%=$(BUILD)/%)
fuzz-programs: $(FUZZERS:%=$(BUILD)/fuzz/%)  # FUZZ_BUILD is not yet known where this is read

# Measurements: a vault, RabbitMQ's own STOMP plugin and ActiveMQ side by side, under BENCH_DIR. BENCH_SECONDS, BENCH_ROUNDS, BENCH_PARTS: see the script.
.PHONY: bench
bench: packages  ## deposits, latency, processor time, memory and handshakes against RabbitMQ's own STOMP and ActiveMQ's JMS; events a second through to sealed
	$(Q)$(MAKE) --no-print-directory build $(BUILD)/coffre-test-handshakes && BUILD='$(abspath $(BUILD))' python3 tests/bench/bench.py
