COMMON_OBJS = \
	common/values/err.o common/values/buf.o common/values/wire.o common/values/log.o \
	common/system/settings.o common/system/channel.o common/system/role.o common/system/parent.o \
	common/system/daemon.o
