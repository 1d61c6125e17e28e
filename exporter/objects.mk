PROGRAMS += coffre-exporter
# fetch: CRLs and OCSP over HTTP
coffre-exporter_LIBS += -lcurl
coffre-exporter_OBJS = \
	exporter/main.o exporter/confine.o exporter/http.o exporter/http_cond.o exporter/http_reply.o exporter/api.o exporter/api_content.o exporter/ask.o \
	exporter/segment.o exporter/segment_piece.o exporter/readme.o exporter/front.o exporter/front_queries.o exporter/front_connection.o exporter/front_request.o \
	exporter/front_answer.o exporter/front_identity.o exporter/front_health.o exporter/query_health.o \
	exporter/query.o exporter/query_answers.o exporter/query_jobs.o exporter/query_content.o exporter/query_store.o \
	exporter/query_operations.o exporter/query_monitor.o exporter/states.o exporter/states_files.o exporter/states_text.o exporter/metrics.o exporter/daemons.o \
	exporter/admin.o exporter/admin_lists.o exporter/admin_changes.o exporter/admin_outbox.o
# the regulator's collection agent
PROGRAMS += coffre-extract
coffre-extract_OBJS = \
	exporter/extract/main.o exporter/extract/options.o exporter/extract/client.o exporter/extract/check.o \
	exporter/extract/download.o exporter/http.o
coffre-extract_LIBS = -lcurl
# offline verification
PROGRAMS += coffre-verify
coffre-verify_OBJS = \
	exporter/verify/main.o exporter/verify/verify.o exporter/verify/verify_lot.o exporter/verify/verify_chain.o \
	exporter/verify/input.o exporter/verify/input_folder.o exporter/verify/report.o exporter/verify/decrypt.o
