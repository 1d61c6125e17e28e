# packs
UNIT_TESTS += test_pack
test_pack_OBJS = tests/unit/test_pack.o
test_pack_LIBS = -lcmocka
# STOMP
STOMP_OBJS = ingest/stomp.o ingest/stomp_names.o ingest/stomp_write.o
UNIT_TESTS += test_stomp
test_stomp_OBJS = tests/unit/test_stomp.o $(STOMP_OBJS)
test_stomp_LIBS = -lcmocka
FUZZERS += fuzz_stomp
fuzz_stomp_OBJS = tests/fuzz/fuzz_stomp.o $(STOMP_OBJS)
# the relay's packs
UNIT_TESTS += test_packing
test_packing_OBJS = tests/unit/test_packing.o ingest/packing.o
test_packing_LIBS = -lcmocka
# ledger
UNIT_TESTS += test_event
EVENT_OBJS = ingest/event.o ingest/event_xml.o ingest/digest.o
test_event_OBJS = tests/unit/test_event.o $(EVENT_OBJS)
test_event_LIBS = -lcmocka
