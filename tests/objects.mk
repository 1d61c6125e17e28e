# a folder of the test's own, and a daemon of roles that the test is itself
FOLDER_OBJS = tests/unit/folder.o
TRIAL_OBJS = tests/unit/trial.o $(FOLDER_OBJS)
# packs
UNIT_TESTS += test_pack
test_pack_OBJS = tests/unit/test_pack.o
test_pack_LIBS = -lcmocka
# STOMP
UNIT_TESTS += test_stomp
test_stomp_OBJS = tests/unit/test_stomp.o $(STOMP_OBJS)
test_stomp_LIBS = -lcmocka
UNIT_TESTS += test_stomp_session
test_stomp_session_OBJS = tests/unit/test_stomp_session.o tests/unit/session_owner.o $(SESSION_OBJS) $(STOMP_OBJS)
test_stomp_session_LIBS = -lcmocka
FUZZERS += fuzz_stomp
fuzz_stomp_OBJS = tests/fuzz/fuzz_stomp.o $(STOMP_OBJS)
FUZZERS += fuzz_stomp_session
fuzz_stomp_session_OBJS = tests/fuzz/fuzz_stomp_session.o $(SESSION_OBJS) $(STOMP_OBJS)
# the relay's packs
UNIT_TESTS += test_packing
test_packing_OBJS = tests/unit/test_packing.o ingest/queues/packing.o
test_packing_LIBS = -lcmocka
UNIT_TESTS += test_gather
test_gather_OBJS = tests/unit/test_gather.o ingest/queues/gather.o
test_gather_LIBS = -lcmocka
# ledger
UNIT_TESTS += test_event
EVENT_OBJS = ingest/ledger/event.o ingest/ledger/event_xml.o ingest/ledger/event_schema.o ingest/ledger/schema.o ingest/ledger/digest.o
test_event_OBJS = tests/unit/test_event.o $(EVENT_OBJS)
test_event_LIBS = -lcmocka
# schemas of events
UNIT_TESTS += test_schema
SCHEMA_OBJS = tests/unit/schema_events.o ingest/ledger/schema_set.o ingest/ledger/schema_read.o
test_schema_OBJS = tests/unit/test_schema.o $(SCHEMA_OBJS) $(EVENT_OBJS)
test_schema_LIBS = -lcmocka
UNIT_TESTS += test_allowance
test_allowance_OBJS = tests/unit/test_allowance.o ingest/ledger/allowance.o
test_allowance_LIBS = -lcmocka
# the ledger itself, but for its clock
UNIT_TESTS += test_silence
test_silence_OBJS = tests/unit/test_silence.o $(filter-out ingest/ledger/ledger.o,$(filter ingest/ledger/%,$(coffre-ingest_OBJS)))
test_silence_LIBS = -lcmocka
# values
UNIT_TESTS += test_err test_buf test_wire test_log test_settings test_map
$(foreach t,err buf wire log settings map,$(eval test_$(t)_OBJS = tests/unit/test_$(t).o)$(eval test_$(t)_LIBS = -lcmocka))
UNIT_TESTS += test_envelope
ENVELOPE_OBJS = ingest/ledger/envelope.o ingest/ledger/envelope_key.o
test_envelope_OBJS = tests/unit/test_envelope.o $(FOLDER_OBJS) $(ENVELOPE_OBJS)
test_envelope_LIBS = -lcmocka
# a depositor's queue
UNIT_TESTS += test_mailbox
test_mailbox_OBJS = tests/unit/test_mailbox.o ingest/queues/mailbox.o
test_mailbox_LIBS = -lcmocka
UNIT_TESTS += test_claims
test_claims_OBJS = tests/unit/test_claims.o ingest/queues/claims.o
test_claims_LIBS = -lcmocka
# lots, containers, seals
UNIT_TESTS += test_merkle test_sums test_lot test_container test_xades
test_merkle_OBJS = tests/unit/test_merkle.o
test_merkle_LIBS = -lcmocka
test_sums_OBJS = tests/unit/test_sums.o
test_sums_LIBS = -lcmocka
test_lot_OBJS = tests/unit/test_lot.o
test_lot_LIBS = -lcmocka
test_container_OBJS = tests/unit/test_container.o
test_container_LIBS = -lcmocka
CHAIN_OBJS = tests/chain/pki.o tests/chain/chain.o tests/chain/pack.o
test_xades_OBJS = tests/unit/test_xades.o $(CHAIN_OBJS)
test_xades_LIBS = -lcmocka
TEST_PROGRAMS += coffre-test-chain
coffre-test-chain_OBJS = tests/chain/chain_main.o $(CHAIN_OBJS)
# TLS and keys elsewhere
ENDS_OBJS = tests/unit/ends.o tests/unit/certificates.o $(FOLDER_OBJS)
UNIT_TESTS += test_tls test_tls_keys
test_tls_OBJS = tests/unit/test_tls.o $(ENDS_OBJS)
test_tls_LIBS = -lcmocka
test_tls_keys_OBJS = tests/unit/test_tls_keys.o tests/unit/keeper.o $(ENDS_OBJS)
test_tls_keys_LIBS = -lcmocka -lpthread
UNIT_TESTS += test_tls_trust
test_tls_trust_OBJS = tests/unit/test_tls_trust.o tests/unit/keeper.o tests/unit/certificates.o
test_tls_trust_LIBS = -lcmocka -lpthread
# coffre-deposit
UNIT_TESTS += test_deposit
test_deposit_OBJS = tests/unit/test_deposit.o $(DEPOSIT_PURE_OBJS)
test_deposit_LIBS = -lcmocka
UNIT_TESTS += test_batch
test_batch_OBJS = tests/unit/test_batch.o ingest/ledger/batch.o $(EVENT_OBJS)
test_batch_LIBS = -lcmocka
# channels, role bindings, secrets
UNIT_TESTS += test_channel test_roster test_secret
$(foreach t,channel roster secret,$(eval test_$(t)_OBJS = tests/unit/test_$(t).o)$(eval test_$(t)_LIBS = -lcmocka))
# sealer
VAULT_OBJS = tests/unit/vault.o tests/chain/pki.o $(FOLDER_OBJS)
UNIT_TESTS += test_clock test_memory test_hsm
test_clock_OBJS = tests/unit/test_clock.o sealer/clock.o
test_memory_OBJS = tests/unit/test_memory.o $(FOLDER_OBJS) sealer/memory.o
test_hsm_OBJS = tests/unit/test_hsm.o $(VAULT_OBJS) sealer/token.o sealer/memory.o
test_clock_LIBS = -lcmocka
test_memory_LIBS = -lcmocka
test_hsm_LIBS = -lcmocka
UNIT_TESTS += test_credentials
test_credentials_OBJS = tests/unit/test_credentials.o $(VAULT_OBJS) sealer/pin_guard.o sealer/confine.o sealer/sealing_choose.o $(SEALER_RULES_OBJS)
test_credentials_LIBS = -lcmocka
# the shape of daemons, PostgreSQL's notation
UNIT_TESTS += test_keys_role
test_keys_role_OBJS = tests/unit/test_keys_role.o $(TRIAL_OBJS)
test_keys_role_LIBS = -lcmocka
UNIT_TESTS += test_role test_role_reload
$(foreach t,role role_reload,$(eval test_$(t)_OBJS = tests/unit/test_$(t).o tests/unit/role_daemon.o $(TRIAL_OBJS))$(eval test_$(t)_LIBS = -lcmocka))
UNIT_TESTS += test_database_values
test_database_values_OBJS = tests/unit/test_database_values.o
test_database_values_LIBS = -lcmocka
UNIT_TESTS += test_seal test_stamp
ONE_ROLE_OBJS = tests/unit/one_role.o $(VAULT_OBJS) sealer/seal.o sealer/stamp.o sealer/signer.o sealer/signer_change.o sealer/pin_guard.o sealer/confine.o sealer/sibling.o sealer/health.o \
	$(SEALER_RULES_OBJS)
test_seal_OBJS = tests/unit/test_seal.o $(ONE_ROLE_OBJS)
test_seal_LIBS = -lcmocka
test_stamp_OBJS = tests/unit/test_stamp.o $(ONE_ROLE_OBJS)
test_stamp_LIBS = -lcmocka
# the exporter
UNIT_TESTS += test_http test_api test_segment test_extract
test_extract_OBJS = tests/unit/test_extract.o exporter/extract/options.o exporter/extract/check.o exporter/segment.o exporter/segment_piece.o \
	exporter/http.o
test_extract_LIBS = -lcmocka
HTTP_OBJS = exporter/http.o exporter/http_cond.o exporter/http_reply.o
test_http_OBJS = tests/unit/test_http.o $(HTTP_OBJS)
test_http_LIBS = -lcmocka
test_api_OBJS = tests/unit/test_api.o exporter/api.o exporter/api_content.o exporter/ask.o $(HTTP_OBJS)
test_api_LIBS = -lcmocka
UNIT_TESTS += test_metrics
test_metrics_OBJS = tests/unit/test_metrics.o exporter/metrics.o exporter/daemons.o exporter/states_text.o exporter/states_files.o
test_metrics_LIBS = -lcmocka
FUZZERS += fuzz_metrics
fuzz_metrics_OBJS = tests/fuzz/fuzz_metrics.o exporter/metrics.o exporter/daemons.o
test_segment_OBJS = tests/unit/test_segment.o exporter/segment.o exporter/segment_piece.o
test_segment_LIBS = -lcmocka
FUZZERS += fuzz_http
fuzz_http_OBJS = tests/fuzz/fuzz_http.o exporter/api.o exporter/api_content.o $(HTTP_OBJS)
# formats, as coffre-verify reads them
FUZZERS += fuzz_container fuzz_zip fuzz_lot fuzz_sums
$(foreach t,container zip lot sums,$(eval fuzz_$(t)_OBJS = tests/fuzz/fuzz_$(t).o))
FUZZERS += fuzz_pack fuzz_event
fuzz_pack_OBJS = tests/fuzz/fuzz_pack.o
fuzz_event_OBJS = tests/fuzz/fuzz_event.o $(EVENT_OBJS)
FUZZERS += fuzz_schema
fuzz_schema_OBJS = tests/fuzz/fuzz_schema.o $(EVENT_OBJS)
# CRC-32
UNIT_TESTS += test_crc
test_crc_OBJS = tests/unit/test_crc.o
test_crc_LIBS = -lcmocka
FUZZERS += fuzz_split
fuzz_split_OBJS = tests/fuzz/fuzz_split.o $(DEPOSIT_PURE_OBJS)
FUZZERS += fuzz_seal
fuzz_seal_OBJS = tests/fuzz/fuzz_seal.o $(SEALER_RULES_OBJS)
# OpenWire: frames; texts, properties, contents and the preamble
UNIT_TESTS += test_openwire test_openwire_parts
test_openwire_OBJS = tests/unit/test_openwire.o tests/openwire/equal.o tests/openwire/sample.o $(OPENWIRE_CODEC_OBJS)
test_openwire_LIBS = -lcmocka
test_openwire_parts_OBJS = tests/unit/test_openwire_parts.o $(OPENWIRE_CODEC_OBJS)
test_openwire_parts_LIBS = -lcmocka
TEST_PROGRAMS += coffre-test-openwire
coffre-test-openwire_OBJS = tests/openwire/main.o tests/openwire/capture.o tests/openwire/tight.o tests/openwire/equal.o \
	tests/openwire/show.o tests/openwire/corpus.o tests/openwire/sample.o $(OPENWIRE_CODEC_OBJS) $(STOMP_OBJS)
FUZZERS += fuzz_openwire
fuzz_openwire_OBJS = tests/fuzz/fuzz_openwire.o tests/openwire/equal.o $(OPENWIRE_CODEC_OBJS)
# the OpenWire session
UNIT_TESTS += test_openwire_session
test_openwire_session_OBJS = tests/unit/test_openwire_session.o $(patsubst %,tests/unit/test_openwire_session_%.o,open frames produce transactions consume acks temporary) \
	tests/unit/openwire_peer.o tests/unit/session_owner.o tests/openwire/build.o $(SESSION_OBJS) $(STOMP_OBJS) $(OPENWIRE_OBJS)
test_openwire_session_LIBS = -lcmocka
FUZZERS += fuzz_openwire_session
fuzz_openwire_session_OBJS = tests/fuzz/fuzz_openwire_session.o tests/openwire/build.o $(SESSION_OBJS) $(STOMP_OBJS) $(OPENWIRE_OBJS)
# health
UNIT_TESTS += test_health
test_health_OBJS = tests/unit/test_health.o
test_health_LIBS = -lcmocka
# journal: spool and records; the role with its writers
UNIT_TESTS += test_spool test_journal test_quota test_refusals
$(foreach t,spool journal quota refusals,$(eval test_$(t)_OBJS = tests/unit/test_$(t).o)$(eval test_$(t)_LIBS = -lcmocka))
test_journal_OBJS += $(TRIAL_OBJS)
test_spool_OBJS += $(FOLDER_OBJS)
FUZZERS += fuzz_spool
fuzz_spool_OBJS = tests/fuzz/fuzz_spool.o
# identity: messages
UNIT_TESTS += test_identity_messages
test_identity_messages_OBJS = tests/unit/test_identity_messages.o
test_identity_messages_LIBS = -lcmocka
FUZZERS += fuzz_identity_messages
fuzz_identity_messages_OBJS = tests/fuzz/fuzz_identity_messages.o
# the load of make bench, part handshakes
TEST_PROGRAMS += coffre-test-handshakes
coffre-test-handshakes_OBJS = tests/bench/handshakes.o
# what a role that was taken over could do
TEST_PROGRAMS += coffre-test-inject
coffre-test-inject_OBJS = tests/sandbox/inject.o
TEST_PROGRAMS += coffre-test-filters
coffre-test-filters_OBJS = tests/sandbox/filters.o
# certificates: allow-lists, CRLs, OCSP, what expires
UNIT_TESTS += test_allow test_expiry test_pkix
$(foreach t,allow expiry pkix,$(eval test_$(t)_OBJS = tests/unit/test_$(t).o)$(eval test_$(t)_LIBS = -lcmocka))
REVOCATION_TEST_OBJS = tests/unit/revocation.o tests/unit/certificates.o $(FOLDER_OBJS)
UNIT_TESTS += test_crl test_crl_files test_crl_kinds test_crl_scope
$(foreach t,crl crl_files crl_kinds crl_scope,$(eval test_$(t)_OBJS = tests/unit/test_$(t).o tests/unit/lists.o $(REVOCATION_TEST_OBJS))$(eval test_$(t)_LIBS = -lcmocka))
UNIT_TESTS += test_crl_many
test_crl_many_OBJS = tests/unit/test_crl_many.o tests/unit/lists.o $(REVOCATION_TEST_OBJS)
test_crl_many_LIBS = -lcmocka -Wl,--wrap=crl_list_same_stream,--wrap=crl_list_older
UNIT_TESTS += test_ocsp
test_ocsp_OBJS = tests/unit/test_ocsp.o $(REVOCATION_TEST_OBJS)
test_ocsp_LIBS = -lcmocka
FUZZERS += fuzz_crl fuzz_ocsp
fuzz_crl_OBJS = tests/fuzz/fuzz_crl.o tests/fuzz/issuer.o
fuzz_ocsp_OBJS = tests/fuzz/fuzz_ocsp.o tests/fuzz/issuer.o
# identity: chains
UNIT_TESTS += test_validate
test_validate_OBJS = tests/unit/test_validate.o $(REVOCATION_TEST_OBJS)
test_validate_LIBS = -lcmocka
# what the roster role keeps
UNIT_TESTS += test_roster_file
test_roster_file_OBJS = tests/unit/test_roster_file.o $(FOLDER_OBJS) ingest/roster_file.o
test_roster_file_LIBS = -lcmocka
# identity: policies
UNIT_TESTS += test_policy
test_policy_OBJS = tests/unit/test_policy.o $(REVOCATION_TEST_OBJS)
test_policy_LIBS = -lcmocka -lcurl
FUZZERS += fuzz_roster
fuzz_roster_OBJS = tests/fuzz/fuzz_roster.o
# identity: chains of strangers
FUZZERS += fuzz_chain
fuzz_chain_OBJS = tests/fuzz/fuzz_chain.o
# identity: who has presented what, what OCSP has answered
UNIT_TESTS += test_redirect test_known test_identity_links
$(foreach t,redirect known identity_links,$(eval test_$(t)_OBJS = tests/unit/test_$(t).o)$(eval test_$(t)_LIBS = -lcmocka -lcurl))
test_identity_links_OBJS += $(TRIAL_OBJS) tests/unit/revocation.o tests/unit/certificates.o
FUZZERS += fuzz_known
fuzz_known_OBJS = tests/fuzz/fuzz_known.o
UNIT_TESTS += test_identity_people test_identity_ocsp
$(foreach t,identity_people identity_ocsp,$(eval test_$(t)_OBJS = tests/unit/test_$(t).o $(REVOCATION_TEST_OBJS))$(eval test_$(t)_LIBS = -lcmocka -lcurl))
