# packs
UNIT_TESTS += test_pack
test_pack_OBJS = tests/unit/test_pack.o
test_pack_LIBS = -lcmocka
