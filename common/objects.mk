COMMON_OBJS = \
	common/values/err.o common/values/buf.o common/values/wire.o common/values/quota.o common/values/log.o \
	common/system/settings.o common/system/settings_table.o common/system/settings_rules.o common/system/settings_print.o common/system/settings_change.o common/system/channel.o common/system/role.o common/system/parent.o common/system/parent_links.o common/system/parent_relink.o common/system/parent_unfit.o common/system/parent_reload.o common/system/parent_status.o \
	common/system/daemon.o
# PKCS#11
COMMON_OBJS += common/system/hsm.o common/system/hsm_generate.o
# packs
COMMON_OBJS += common/formats/pack.o common/formats/pack_records.o
# lots, containers, seals
COMMON_OBJS += \
	common/formats/digest.o common/formats/hex.o common/formats/date.o common/formats/names.o common/formats/merkle.o \
	common/formats/sums.o common/formats/text_reader.o common/formats/lot.o common/formats/genesis.o \
	common/formats/zip_write.o common/formats/zip_read.o common/formats/container.o
# files that survive a power cut; TLS, keys elsewhere, secrets, broker, store, role bindings
COMMON_OBJS += \
	common/system/secret.o common/system/durable.o common/system/tls.o common/system/tls_stream.o common/system/tls_peer.o common/system/tls_trust.o \
	common/system/remote_key.o common/system/keys_role.o common/system/broker.o common/system/broker_calls.o \
	common/system/broker_events.o common/system/database.o common/system/database_values.o \
	common/system/roster.o common/system/roster_text.o common/system/roster_load.o
COMMON_OBJS += \
	common/formats/trust.o common/formats/timestamp.o common/formats/xades_write.o common/formats/xades_read.o \
	common/formats/xades_verify.o common/formats/xades_xmlsec.o
# CRC-32 of ZIP entries
COMMON_OBJS += common/values/crc.o
# pointers by number
COMMON_OBJS += common/values/map.o common/values/number.o
# health items; application events for the journals
COMMON_OBJS += common/values/health.o common/journal/record.o common/journal/journal.o common/journal/spool.o common/journal/spool_recover.o common/journal/spool_lines.o common/journal/tally.o \
	common/journal/journal_role.o common/journal/journal_broker.o common/journal/journal_begin.o common/journal/journal_lost.o common/journal/refusals.o common/journal/omitted.o
# what roles may still do
COMMON_OBJS += common/system/sandbox.o common/system/sandbox_filter.o common/system/sandbox_landlock.o common/system/sandbox_needs.o common/system/sandbox_roles.o
# who may hold which profile: messages, policies, validation, the role; HTTP for it
COMMON_OBJS += common/identity/identity_messages.o common/identity/policy.o common/identity/validate.o common/identity/identity_shown.o \
	common/identity/identity_role.o common/identity/identity_people.o common/identity/identity_room.o common/identity/identity_verdicts.o common/identity/identity_standing.o common/identity/identity_lists.o common/identity/identity_lists_taken.o common/identity/identity_lists_files.o common/identity/identity_lists_urls.o \
	common/identity/identity_ocsp.o common/identity/identity_ocsp_ask.o common/identity/identity_ocsp_known.o common/identity/known.o common/identity/identity_ask.o common/identity/identity_overrides.o common/identity/identity_watch.o \
	common/identity/identity_staple.o common/identity/fetch_role.o common/identity/fetch_job.o common/identity/redirect.o
# certificates: revocation, expiry
COMMON_OBJS += \
	common/identity/pkix.o common/identity/crl_parts.o common/identity/crl_scope.o common/identity/crl_list.o common/identity/crl_stream.o common/identity/crl.o \
	common/identity/ocsp.o common/identity/ocsp_signer.o common/identity/allow.o common/identity/expiry.o common/identity/overrides.o
