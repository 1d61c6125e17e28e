#!/bin/bash
# ActiveMQ 5.17 as Debian ships it, to compare with: one queue that nobody reads, mutual TLS with the same kind of certificates as the
# vault's, a journal that is on disk before an answer. Only for tests/bench/bench.py.
#   activemq.sh up|down|purge|pid, or classpath: of the JMS client.   Variables: RUN_DIR (a folder of its own), PORT_OPENWIRE
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../../deploy/common.sh"

queue=bench
programs=/usr/share/activemq
password=coffre # of the development PKI's PKCS#12 files
here_bench=$(dirname "$here")/tests/bench
client_jars=$(printf '/usr/share/java/%s.jar:' activemq-client geronimo-jms_1.1_spec geronimo-j2ee-management-1.1-spec hawtbuf slf4j-api slf4j-nop)

# The configuration upstream delivers (KahaDB, the connector's limits, percentOfJvmHeap), with what its operators set beside it. In its favour:
# - concurrentStoreAndDispatchQueues is off. On, the default, it stores what is sent without a transaction in one thread, each message with a
#   disk sync of its own, so that 64 senders get no more than one (2,000/s here); off, senders share a sync. It only helps when consumers
#   take messages before they are stored, and here nobody consumes.
# - no JMX, no web console, no scheduler: they would only cost it processor time.
# - ssl://, a thread for each connection, as the documentation shows; nio+ssl:// made no difference here up to 64 connections.
# journalDiskSyncStrategy "always" is the default too, written out because all comparisons rest on it. The store's limit is a disk's room.
configure() {
    local dir=$home/activemq
    as_user mkdir -p "$dir/data" "$home/pki"
    [ -s "$home/pki/trust.p12" ] || as_user sh -s "$home/pki" <"$here/pki.sh"
    write_file "$dir/activemq.xml" 600 <<END
<beans xmlns="http://www.springframework.org/schema/beans" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    xsi:schemaLocation="http://www.springframework.org/schema/beans http://www.springframework.org/schema/beans/spring-beans.xsd
    http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="bench" dataDirectory="$dir/data" useJmx="false" schedulerSupport="false">
    <persistenceAdapter><kahaDB directory="$dir/data/kahadb" journalDiskSyncStrategy="always" concurrentStoreAndDispatchQueues="false"/></persistenceAdapter>
    <sslContext>
      <sslContext keyStore="file:$home/pki/ingest.p12" keyStoreType="PKCS12" keyStorePassword="$password"
                  trustStore="file:$home/pki/trust.p12" trustStoreType="PKCS12" trustStorePassword="$password"/>
    </sslContext>
    <systemUsage><systemUsage>
      <memoryUsage><memoryUsage percentOfJvmHeap="70"/></memoryUsage>
      <storeUsage><storeUsage limit="16 gb"/></storeUsage>
      <tempUsage><tempUsage limit="1 gb"/></tempUsage>
    </systemUsage></systemUsage>
    <transportConnectors>
      <transportConnector name="openwire"
          uri="ssl://127.0.0.1:$PORT_OPENWIRE?needClientAuth=true&amp;maximumConnections=1000&amp;wireFormat.maxFrameSize=104857600"/>
    </transportConnectors>
  </broker>
</beans>
END
    write_file "$dir/log4j.properties" 600 <<END
log4j.rootLogger=WARN, console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d %-5p %m%n
END
}

# As upstream's script starts it, with 1 GB of heap. (Debian's asks for a thread of its own for each task: not faster, and dearer.)
up() {
    local dir=$home/activemq
    alive activemq >/dev/null && return
    [ -s "$programs/bin/activemq.jar" ] || fail "$programs/bin/activemq.jar is not there: the package activemq"
    configure
    port_free PORT_OPENWIRE
    start activemq java -Xmx1G -Dlog4j.configuration="file:$dir/log4j.properties" \
        -Djava.io.tmpdir="$dir" -Dactivemq.home=$programs -Dactivemq.base="$dir" -Dactivemq.conf="$dir" -Dactivemq.data="$dir/data" \
        -jar $programs/bin/activemq.jar start "xbean:file:$dir/activemq.xml"
    wait_for activemq 120 port_busy "$PORT_OPENWIRE"
}

# A restart would do it too, but throw away what the virtual machine has compiled.
purge() {
    as_user mkdir -p "$home/activemq/purge"
    javac -cp "$client_jars" -d "$home/activemq/purge" "$here_bench/PurgeQueue.java"
    as_user java -cp "$home/activemq/purge:$client_jars" PurgeQueue "ssl://localhost:$PORT_OPENWIRE" "$home/pki" "$password" "$queue"
}

[ "${1:-}" = classpath ] || place_home
case ${1:-} in
classpath) say "$client_jars" ;;
up) up ;;
down) stop activemq TERM 30 ;;
purge) purge ;;
pid) alive activemq ;;
*)
    sed -n '2,4s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
