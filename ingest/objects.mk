# OpenWire: frames, texts, properties
OPENWIRE_CODEC_OBJS = ingest/openwire/table.o ingest/openwire/read.o ingest/openwire/write.o ingest/openwire/text.o \
	ingest/openwire/properties.o ingest/openwire/content.o ingest/openwire/preamble.o
# What fronts, tests and coffre-deposit share: codecs and sessions, all pure.
STOMP_OBJS = ingest/stomp/stomp.o ingest/stomp/stomp_names.o ingest/stomp/stomp_write.o
OPENWIRE_SESSION_OBJS = ingest/openwire/openwire_session.o ingest/openwire/openwire_answer.o ingest/openwire/openwire_connection.o \
	ingest/openwire/openwire_produce.o ingest/openwire/openwire_consume.o ingest/openwire/openwire_dispatch.o ingest/openwire/openwire_acknowledge.o ingest/openwire/openwire_transact.o \
	ingest/openwire/openwire_temporary.o ingest/openwire/openwire_register.o
OPENWIRE_OBJS = $(OPENWIRE_CODEC_OBJS) $(OPENWIRE_SESSION_OBJS)
SESSION_OBJS = ingest/session/session.o ingest/session/deposits.o ingest/session/deliveries.o ingest/session/label.o \
	ingest/stomp/stomp_session.o ingest/stomp/stomp_session_send.o ingest/stomp/stomp_session_subscribe.o
# The daemon: each role adds its objects to coffre-ingest_OBJS.
PROGRAMS += coffre-ingest
# fetch: CRLs and OCSP over HTTP
coffre-ingest_LIBS += -lcurl
coffre-ingest_OBJS += ingest/main.o ingest/confine.o ingest/queues/relay.o ingest/queues/packing.o ingest/queues/gather.o ingest/queues/deliver.o ingest/queues/deliver_queue.o ingest/queues/deliver_leave.o ingest/queues/deliver_ask.o ingest/queues/claims.o ingest/queues/deliver_front.o ingest/queues/mailbox.o ingest/roster_role.o ingest/roster_file.o
coffre-ingest_OBJS += ingest/front/front.o ingest/front/front_links.o ingest/front/front_connection.o ingest/front/front_identity.o ingest/front/front_admission.o ingest/front/front_stream.o ingest/front/front_tickets.o ingest/front/front_routes.o \
	$(SESSION_OBJS) $(STOMP_OBJS) $(OPENWIRE_OBJS)
# coffre-deposit
PROGRAMS += coffre-deposit
DEPOSIT_PURE_OBJS = ingest/deposit/scan.o ingest/deposit/split.o ingest/deposit/adapt.o ingest/deposit/digest.o \
	ingest/deposit/histogram.o ingest/deposit/made.o
coffre-deposit_OBJS = ingest/deposit/main.o ingest/deposit/options.o ingest/deposit/link.o ingest/deposit/source.o \
	ingest/deposit/items.o ingest/deposit/journal.o ingest/deposit/report.o \
	ingest/deposit/run.o ingest/deposit/run_send.o ingest/deposit/run_answer.o \
	ingest/deposit/load.o ingest/deposit/load_lane.o ingest/deposit/load_follow.o ingest/deposit/load_report.o \
	$(DEPOSIT_PURE_OBJS) $(STOMP_OBJS)
# ledger and inspect
coffre-ingest_OBJS += ingest/ledger/ledger.o ingest/ledger/ledger_intake.o ingest/ledger/ledger_part.o ingest/ledger/ledger_store.o ingest/ledger/ledger_write.o ingest/ledger/ledger_journal.o ingest/ledger/ledger_answer.o ingest/ledger/ledger_roster.o ingest/ledger/ledger_queues.o ingest/ledger/ledger_silence.o ingest/ledger/ledger_reply.o \
	ingest/ledger/batch.o ingest/ledger/digest.o ingest/ledger/envelope.o ingest/ledger/envelope_key.o ingest/ledger/inspect.o ingest/ledger/allowance.o ingest/ledger/event.o ingest/ledger/event_xml.o ingest/ledger/event_schema.o ingest/ledger/schema.o ingest/ledger/schema_set.o ingest/ledger/schema_read.o ingest/ledger/schemas.o
