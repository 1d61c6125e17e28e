# The daemon: each role adds its objects to coffre-ingest_OBJS.
PROGRAMS += coffre-ingest
coffre-ingest_OBJS += ingest/main.o ingest/relay.o ingest/packing.o ingest/deliver.o ingest/deliver_queue.o ingest/deliver_front.o ingest/mailbox.o ingest/roster_role.o
coffre-ingest_OBJS += ingest/front.o ingest/front_links.o ingest/front_connection.o ingest/front_stream.o ingest/front_tickets.o ingest/front_routes.o \
	ingest/session.o ingest/session_send.o ingest/session_subscribe.o ingest/stomp.o ingest/stomp_names.o ingest/stomp_write.o
# coffre-deposit
PROGRAMS += coffre-deposit
DEPOSIT_PURE_OBJS = ingest/deposit/scan.o ingest/deposit/split.o ingest/deposit/adapt.o ingest/deposit/digest.o \
	ingest/deposit/histogram.o ingest/deposit/made.o
coffre-deposit_OBJS = ingest/deposit/main.o ingest/deposit/options.o ingest/deposit/link.o ingest/deposit/source.o \
	ingest/deposit/items.o ingest/deposit/journal.o ingest/deposit/report.o \
	ingest/deposit/run.o ingest/deposit/run_send.o ingest/deposit/run_answer.o \
	ingest/deposit/load.o ingest/deposit/load_lane.o ingest/deposit/load_follow.o ingest/deposit/load_report.o \
	$(DEPOSIT_PURE_OBJS) ingest/stomp.o ingest/stomp_names.o ingest/stomp_write.o
# ledger and inspect
coffre-ingest_OBJS += ingest/ledger.o ingest/ledger_intake.o ingest/ledger_part.o ingest/ledger_store.o ingest/ledger_write.o ingest/ledger_answer.o \
	ingest/batch.o ingest/digest.o ingest/envelope.o ingest/envelope_key.o ingest/inspect.o ingest/event.o ingest/event_xml.o
