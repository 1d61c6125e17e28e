# Instances of the vault: deploy/instance.sh does the work. Variables go to it by the environment: make up RUN_DIR=... PORT_STOMP=...
INSTANCE_VARIABLES = RUN_DIR PORT_STOMP PORT_HTTPS PORT_AMQPS PORT_EPMD PORT_DIST LOT_AGE FRONTS OPERATOR VAULT RUN_USER
INSTANCE = $(foreach v,$(INSTANCE_VARIABLES),$(if $($(v)),$(v)='$($(v))')) BUILD='$(BUILD)' deploy/instance.sh

.PHONY: packages servers-up up down run
packages:  ## install the Debian packages that are missing (deploy/packages.txt)
	$(Q)deploy/install-packages.sh

servers-up: packages  ## PKI, PostgreSQL, RabbitMQ and SoftHSM under RUN_DIR (default run/), without daemons
	$(Q)$(INSTANCE) servers-up

# The libraries' flags are read when make starts: after the packages are there, in a make of its own.
up: packages  ## build and start everything in the background under RUN_DIR; returns when it is ready
	$(Q)$(MAKE) --no-print-directory build && $(INSTANCE) up

down:  ## stop everything that runs under RUN_DIR
	$(Q)$(INSTANCE) down

run: packages  ## up, show an event's whole life, stay until Ctrl-C
	$(Q)$(MAKE) --no-print-directory build && $(INSTANCE) run

.PHONY: test-compose
test-compose: packages  ## the stack of docker-compose.yml on a Docker engine: deposit, extract, verify, scale, revoke, break out (as root)
	$(Q)$(MAKE) --no-print-directory build $(BUILD)/coffre-test-inject && BUILD='$(BUILD)' tests/compose/test-compose.sh

.PHONY: test-systemd
test-systemd:  ## the units of deploy/systemd under a systemd of their own in a container of a Docker engine (as root)
	$(Q)tests/systemd/test-systemd.sh
