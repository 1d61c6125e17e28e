PROGRAMS += coffre-exporter
coffre-exporter_OBJS = \
	exporter/main.o exporter/http.o exporter/http_cond.o exporter/http_reply.o exporter/api.o exporter/ask.o \
	exporter/segment.o exporter/readme.o exporter/front.o exporter/front_connection.o exporter/front_request.o \
	exporter/query.o exporter/query_answers.o exporter/query_jobs.o exporter/query_content.o exporter/query_store.o
