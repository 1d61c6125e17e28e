COMMON_OBJS = \
	common/values/err.o common/values/buf.o common/values/wire.o common/values/log.o \
	common/system/settings.o common/system/channel.o common/system/role.o common/system/parent.o \
	common/system/daemon.o
# PKCS#11
COMMON_OBJS += common/system/hsm.o common/system/hsm_generate.o
# packs
COMMON_OBJS += common/formats/pack.o common/formats/pack_records.o
