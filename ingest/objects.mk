# The daemon: each role adds its objects to coffre-ingest_OBJS.
PROGRAMS += coffre-ingest
coffre-ingest_OBJS += ingest/main.o ingest/relay.o ingest/packing.o ingest/roster_role.o
