# OpenWire: frames, texts, properties
OPENWIRE_CODEC_OBJS = ingest/openwire/table.o ingest/openwire/read.o ingest/openwire/write.o ingest/openwire/text.o \
	ingest/openwire/properties.o ingest/openwire/content.o ingest/openwire/preamble.o
# The daemon: each role adds its objects to coffre-ingest_OBJS.
PROGRAMS += coffre-ingest
coffre-ingest_OBJS += ingest/main.o ingest/queues/relay.o ingest/queues/packing.o ingest/queues/deliver.o ingest/queues/deliver_queue.o ingest/queues/deliver_front.o ingest/queues/mailbox.o ingest/roster_role.o
coffre-ingest_OBJS += ingest/front/front.o ingest/front/front_links.o ingest/front/front_connection.o ingest/front/front_stream.o ingest/front/front_tickets.o ingest/front/front_routes.o \
	ingest/front/session.o ingest/front/session_send.o ingest/front/session_subscribe.o ingest/front/stomp.o ingest/front/stomp_names.o ingest/front/stomp_write.o
# coffre-deposit
PROGRAMS += coffre-deposit
DEPOSIT_PURE_OBJS = ingest/deposit/scan.o ingest/deposit/split.o ingest/deposit/adapt.o ingest/deposit/digest.o \
	ingest/deposit/histogram.o ingest/deposit/made.o
coffre-deposit_OBJS = ingest/deposit/main.o ingest/deposit/options.o ingest/deposit/link.o ingest/deposit/source.o \
	ingest/deposit/items.o ingest/deposit/journal.o ingest/deposit/report.o \
	ingest/deposit/run.o ingest/deposit/run_send.o ingest/deposit/run_answer.o \
	ingest/deposit/load.o ingest/deposit/load_lane.o ingest/deposit/load_follow.o ingest/deposit/load_report.o \
	$(DEPOSIT_PURE_OBJS) ingest/front/stomp.o ingest/front/stomp_names.o ingest/front/stomp_write.o
# ledger and inspect
coffre-ingest_OBJS += ingest/ledger/ledger.o ingest/ledger/ledger_intake.o ingest/ledger/ledger_part.o ingest/ledger/ledger_store.o ingest/ledger/ledger_write.o ingest/ledger/ledger_answer.o \
	ingest/ledger/batch.o ingest/ledger/digest.o ingest/ledger/envelope.o ingest/ledger/envelope_key.o ingest/ledger/inspect.o ingest/ledger/event.o ingest/ledger/event_xml.o
