SEALER_RULES_OBJS = sealer/clock.o sealer/memory.o sealer/messages.o sealer/succession.o sealer/token.o \
	sealer/due.o sealer/credentials.o

PROGRAMS += coffre-sealer
coffre-sealer_OBJS = sealer/main.o sealer/confine.o sealer/pin_guard.o sealer/work.o sealer/seal.o sealer/stamp.o sealer/announce.o sealer/signer.o sealer/signer_change.o \
	sealer/sibling.o sealer/health.o sealer/sealing.o sealer/sealing_gather.o sealer/sealing_agree.o sealer/sealing_choose.o sealer/store.o sealer/store_rows.o $(SEALER_RULES_OBJS)

PROGRAMS += coffre-ceremony
coffre-ceremony_OBJS = sealer/ceremony/main.o sealer/ceremony/keys.o sealer/ceremony/install.o sealer/ceremony/genesis.o \
	sealer/ceremony/schema.o sealer/ceremony/store.o sealer/ceremony/bindings.o sealer/ceremony/changes.o sealer/ceremony/overrides.o \
	sealer/ceremony/person.o sealer/ceremony/remember.o sealer/ceremony/database.o \
	sealer/memory.o sealer/credentials.o
$(BUILD)/sealer/ceremony/schema.o: deploy/postgresql/schema.sql
