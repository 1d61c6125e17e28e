#!/bin/bash
# Prepares the folder docker-compose.yml takes its secrets and configuration from: prepare.sh DIR. Development certificates; in life the
# operator puts the authorities' own there. Run again, it renews CRLs that are half over (pki/crl) and changes nothing else. The files belong to the image's user, 10001.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd -P)
dir=${1:?usage: prepare.sh DIR}
user=10001
umask 077

mkdir -p "$dir"
cd "$dir"
sh "$here/pki.sh" pki
for name in pack.key dedup.key; do
    [ -s $name ] || head -c 32 /dev/urandom >$name
done
for name in hsm-pin hsm-so-pin; do
    [ -s $name ] || head -c 18 /dev/urandom | base64 | tr '+/' '-_' >$name
done
cp "$here/docker/coffre.yml" coffre.yml
chmod 755 .
chmod 644 coffre.yml
chown -R $user:$user pki pack.key dedup.key hsm-pin hsm-so-pin
