#!/bin/sh
# On a machine of its own with systemd: what an operator does before the units can be started. A user for each daemon, keys that only it reads, its configuration; Debian's RabbitMQ
# and PostgreSQL under their own units; the token and the ceremony. Development certificates.
set -eu
umask 022

share=/usr/local/share/coffre
etc=/etc/coffre
pki=/root/pki
daemons="ingest sealer exporter"
vault=1

sh $share/pki.sh $pki

# ---- users, certificates, keys ------------------------------------------------------------------------

mkdir -p $etc/certificates $etc/crl
mkdir -m 711 $etc/keys
cp $pki/*.pem $etc/certificates/
cp $pki/crl/*.crl $etc/crl/
key() { # USER NAME FILE: a private key in a folder of its own
    install -d -o "$1" -g "$1" -m 700 "$etc/keys/$1-$2"
    install -o "$1" -g "$1" -m 400 "$3" "$etc/keys/$1-$2/key"
}
for daemon in $daemons; do
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "coffre-$daemon"
    key "coffre-$daemon" client "$pki/coffre-$daemon.key"
done
key coffre-ingest front $pki/ingest.key
key coffre-exporter front $pki/exporter.key
umask 077
for name in pack dedup pin so; do
    head -c 24 /dev/urandom | base64 | tr '+/' '-_' | head -c 32 >$pki/$name
done
key coffre-ingest pack $pki/pack
key coffre-ingest dedup $pki/dedup
key coffre-sealer pin $pki/pin
umask 022

# ---- configurations: each daemon's own part ---------------------------------------------------------------

configuration() { # DAEMON: the part of this daemon comes on standard input
    {
        cat <<END
vault:
  operator: "4512"
  number: $vault
state_dir: /var/lib/coffre-$1
rabbitmq:
  host: localhost
  port: 5671
  ca: $etc/certificates/internal-ca.pem
postgresql:
  conninfo: host=/run/postgresql
operator:
  ca: $etc/certificates/operator-ca.pem
regulator:
  ca: $etc/certificates/regulator-ca.pem
  recipients: [$etc/certificates/regulator-encryption.pem]
revocation:
  crls: [$etc/crl]
lot:
  age: 2s
$1:
  rabbitmq_certificate: $etc/certificates/coffre-$1.pem
  rabbitmq_key: $etc/keys/coffre-$1-client/key
END
        cat
    } >"$etc/coffre-$1.yml"
}
configuration ingest <<END
  listen: ["127.0.0.1:6163"]
  certificate: $etc/certificates/ingest.pem
  key: $etc/keys/coffre-ingest-front/key
  pack_keys: [$etc/keys/coffre-ingest-pack/key]
  dedup_key: $etc/keys/coffre-ingest-dedup/key
END
configuration sealer <<END
  module: /usr/lib/softhsm/libsofthsm2.so
  token: coffre
  pin: $etc/keys/coffre-sealer-pin/key
  seal_certificate: /var/lib/coffre-sealer/seal.pem
  tsa_certificate: /var/lib/coffre-sealer/tsa.pem
  memory: /var/lib/coffre-sealer/seal/memory
  clock:
    source: local-trusted
END
# A privileged port, which the unit's capability is for.
configuration exporter <<END
  listen: ["127.0.0.1:443"]
  certificate: $etc/certificates/exporter.pem
  key: $etc/keys/coffre-exporter-front/key
END

# ---- PostgreSQL and RabbitMQ, as the distribution starts them ----------------------------------------------

version=$(ls /usr/lib/postgresql | sort -V | tail -n 1)
pg_createcluster "$version" main -- --auth=reject >/dev/null
echo 'local all all peer map=coffre' >"/etc/postgresql/$version/main/pg_hba.conf"
cat >"/etc/postgresql/$version/main/pg_ident.conf" <<END
coffre postgres        postgres
coffre coffre-sealer   postgres
coffre coffre-ingest   coffre_ledger
coffre coffre-ingest   coffre_roster
coffre coffre-sealer   coffre_sealer
coffre coffre-exporter coffre_exporter
coffre coffre-exporter coffre_admin
END
systemctl start postgresql

install -d -o rabbitmq -g rabbitmq -m 700 /etc/rabbitmq/tls
for name in internal-ca.pem rabbitmq.pem rabbitmq.key; do
    install -o rabbitmq -g rabbitmq -m 400 $pki/$name /etc/rabbitmq/tls/
done
sed "s|@N@|$vault|g" $share/rabbitmq/definitions.json >/etc/rabbitmq/definitions.json
sed -e "s|@PKI@|/etc/rabbitmq/tls|g" -e "s|@DEFINITIONS@|/etc/rabbitmq/definitions.json|" -e "s|@LISTEN@|127.0.0.1:5671|" \
    $share/rabbitmq/rabbitmq.conf >/etc/rabbitmq/rabbitmq.conf
cp $share/rabbitmq/advanced.config /etc/rabbitmq/
echo '[rabbitmq_auth_mechanism_ssl].' >/etc/rabbitmq/enabled_plugins
echo 'NODENAME=coffre@localhost' >/etc/rabbitmq/rabbitmq-env.conf
systemctl start rabbitmq-server

# ---- the token, where the unit is told of it, and the ceremony ---------------------------------------------

install -d -o coffre-sealer -g coffre-sealer -m 700 /var/lib/coffre-sealer /var/lib/coffre-sealer/seal /var/lib/coffre-sealer-token
printf 'directories.tokendir = /var/lib/coffre-sealer-token\nobjectstore.backend = file\nlog.level = ERROR\n' >$etc/softhsm2.conf
mkdir -p /etc/systemd/system/coffre-sealer.service.d
printf '[Service]\nEnvironment=SOFTHSM2_CONF=%s/softhsm2.conf\nReadWritePaths=/var/lib/coffre-sealer-token\n' $etc >/etc/systemd/system/coffre-sealer.service.d/softhsm.conf
systemctl daemon-reload

as_sealer() { runuser -u coffre-sealer -- env SOFTHSM2_CONF=$etc/softhsm2.conf "$@"; }
for pin in so so pin pin; do cat $pki/$pin; echo; done |
    as_sealer script -qec "softhsm2-util --init-token --free --label coffre" /dev/null >/dev/null
ceremony() { as_sealer coffre-ceremony "$@" --config $etc/coffre-sealer.yml --yes; }
database="host=/run/postgresql user=postgres"
install -d -o coffre-sealer -m 700 /var/lib/coffre-sealer/ceremony
ceremony keys --csr-dir /var/lib/coffre-sealer/ceremony --subject "/C=FR/O=Operateur 4512/OU=Coffre $vault"
for name in seal tsa; do
    sh $share/pki.sh $pki sign $name /var/lib/coffre-sealer/ceremony/$name.csr /var/lib/coffre-sealer/ceremony/$name.pem
    chown coffre-sealer /var/lib/coffre-sealer/ceremony/$name.pem
done
ceremony install --seal /var/lib/coffre-sealer/ceremony/seal.pem --tsa /var/lib/coffre-sealer/ceremony/tsa.pem
ceremony genesis --create-database --database "$database"
for role in depositor:sensor-1 reader:reader-1; do
    ceremony bind --profile "${role%%:*}" --certificate "$etc/certificates/${role#*:}.pem" --database "$database"
done
echo "prepared"
