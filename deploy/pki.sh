#!/bin/sh
# Development PKI: four authorities and everyone's certificates, in one folder. Never for production: keys lie beside certificates.
#
# See `usage` below for its commands.
#
# operator-ca   sensors, technical administrators, and the two servers strangers see (ingest, exporter)
# regulator-ca  readers, functional administrators, encryption, sealing, time-stamping
# internal-ca   what the vault's own parts show each other (RabbitMQ, the daemons towards it)
# foreign-ca    nobody trusts it; "foreign" has sensor-1's very subject, signed by it
#
# crl/          one CRL for each of the first two: the vault reads this folder (revocation.crls)
# ca/CA/        the `openssl ca` database of each authority; index.txt is what `openssl ocsp -index` answers from,
#               as ocsp-responder (operator-ca) or ocsp-responder-regulator
#
# Keys that old Java clients meet are RSA-3072; the others are P-256, which is three times cheaper in a handshake.
# "stranger" comes from the sensors' authority: a valid certificate no role is bound to, on either port.
set -eu
umask 077

usage() {
    cat >&2 <<'END'
usage: pki.sh DIR                        create what is missing, renew CRLs of which less than half is left; nothing else changes
       pki.sh DIR sign seal|tsa CSR OUT  sign the request of the HSM's sealing or time-stamping key (regulator's authority)
       pki.sh DIR revoke NAME [REASON]   revoke NAME.pem and write its authority's CRL; REASON as openssl ca has them
       pki.sh DIR crl [CA [DAYS [OUT]]]  a fresh CRL in crl/CA.crl or OUT; without CA those of both authorities
       pki.sh DIR issue [-days N] [-from AGO] [-md DIGEST] NAME CA KEY SUBJECT [EXTENSION...]
                                         one more certificate: NAME.pem, NAME.key, NAME.p12
DAYS, N and AGO are days, or seconds as in 30s; a CRL's may be negative: it has ended. CA: any NAME that may sign.
KEY: rsa (3072), ec (P-256), rsa:BITS, ec:CURVE, of:NAME (that one's key). EXTENSION: as in x509v3_config(5); none: a client's.
END
    exit 2
}
[ $# -ge 1 ] || usage
dir=$1
shift
mkdir -p "$dir"
cd "$dir"

# One at a time; what root makes belongs to the folder's owner, as the rest does.
mkdir -p ca crl
chmod 755 crl
exec 8>ca/lock
flock 8
[ "$(id -u)" -ne 0 ] || trap 'chown -R --reference=. .' EXIT

ca_days=7300
leaf_days=3650
crl_days=365
password=coffre
organisation="Operateur 4512"
regulator="Regulateur de developpement"

# Runs a command that talks; its words are shown when it fails.
quietly() {
    "$@" 2>ca/log || {
        cat ca/log >&2
        return 1
    }
}

# Days, or seconds with an s: as seconds.
seconds() {
    case $1 in
    *s) echo "${1%s}" ;;
    *) echo $(($1 * 86400)) ;;
    esac
}
utc() { date -u -d "@$1" +%Y%m%d%H%M%SZ; }

# A request for the extensions $2 (one per line, openssl x509v3_config), written to $1.ext.
extensions() {
    printf '%s\n' "$2" >"$1.ext"
}

new_key() { # NAME KEY
    case $2 in
    rsa) new_key "$1" rsa:3072 ;;
    ec) new_key "$1" ec:P-256 ;;
    rsa:*) quietly openssl genpkey -algorithm RSA -pkeyopt "rsa_keygen_bits:${2#*:}" -out "$1.key" ;;
    ec:*) quietly openssl genpkey -algorithm EC -pkeyopt "ec_paramgen_curve:${2#*:}" -out "$1.key" ;;
    of:*) cp "${2#*:}.key" "$1.key" ;;
    *) usage ;;
    esac
}

authority() { # NAME SUBJECT
    [ -s "$1.pem" ] && return
    new_key "$1" rsa
    extensions "$1" 'basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash'
    openssl req -new -key "$1.key" -subj "$2" -utf8 -out "$1.csr"
    openssl x509 -req -in "$1.csr" -signkey "$1.key" -sha256 -days $ca_days -set_serial "0x$(openssl rand -hex 15)" \
        -extfile "$1.ext" -out "$1.new" 2>/dev/null
    rm -f "$1.ext" "$1.csr"
    chmod 644 "$1.new"
    mv "$1.new" "$1.pem"
}

# The database of an authority, made when it is first needed: it begins with what the authority had signed by then.
database() { # CA
    [ ! -s "ca/$1/ca.cnf" ] || return 0
    [ -s "$1.key" ] || { echo "pki.sh: $1 is no authority here" >&2; exit 1; }
    mkdir -p "ca/$1/issued"
    : >"ca/$1/index.txt"
    echo "unique_subject = no" >"ca/$1/index.txt.attr"
    echo 01 >"ca/$1/crlnumber"
    cat >"ca/$1/ca.cnf.new" <<END
[ca]
default_ca = this
[this]
database = ca/$1/index.txt
crlnumber = ca/$1/crlnumber
new_certs_dir = ca/$1/issued
certificate = $1.pem
private_key = $1.key
rand_serial = yes
policy = any
default_md = sha256
crl_extensions = crl
[any]
commonName = optional
[crl]
authorityKeyIdentifier = keyid
END
    for known in *.pem; do
        [ "$known" != "$1.pem" ] && [ -s "${known%.pem}.key" ] && [ "$(issuer_of "$known")" = "$(subject_of "$1.pem")" ] || continue
        quietly openssl ca -config "ca/$1/ca.cnf.new" -valid "$known"
    done
    mv "ca/$1/ca.cnf.new" "ca/$1/ca.cnf"
}
issuer_of() { openssl x509 -in "$1" -noout -issuer -nameopt RFC2253 | cut -d= -f2-; }
subject_of() { openssl x509 -in "$1" -noout -subject -nameopt RFC2253 | cut -d= -f2-; }

# Overridden by issue.
digest=sha256
begins=0
lasts=$(seconds $leaf_days)

sign() { # CSR CA OUT EXTENSIONS: certificate and chain
    database "$2"
    case $4 in
    *basicConstraints*) ;;
    *) set -- "$1" "$2" "$3" "basicConstraints=critical,CA:FALSE
$4" ;;
    esac
    extensions "$3" "subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
$4"
    now=$(date +%s)
    quietly openssl ca -batch -notext -utf8 -preserveDN -config "ca/$2/ca.cnf" -in "$1" -md "$digest" -extfile "$3.ext" \
        -startdate "$(utc $((now - begins)))" -enddate "$(utc $((now - begins + lasts)))" -out "$3.new"
    cat "$2.pem" >>"$3.new"
    rm -f "$3.ext"
    chmod 644 "$3.new"
    mv "$3.new" "$3"
}

# A CRL takes its place whole: readers see the one before or this one.
crl() { # CA DAYS OUT
    database "$1"
    now=$(date +%s)
    next=$((now + $(seconds "$2")))
    [ $next -gt $now ] || now=$((next - 86400))
    quietly openssl ca -config "ca/$1/ca.cnf" -gencrl -crl_lastupdate "$(utc $now)" -crl_nextupdate "$(utc $next)" -out "ca/$1/crl.new"
    chmod 644 "ca/$1/crl.new"
    mv -f "ca/$1/crl.new" "$3"
}

half_left() { # CRL
    [ -s "$1" ] || return 1
    ends=$(date -d "$(openssl crl -in "$1" -noout -nextupdate | cut -d= -f2)" +%s)
    [ $((ends - $(date +%s))) -gt $(($(seconds $crl_days) / 2)) ]
}

revoke() { # NAME REASON
    [ -s "$1.pem" ] || { echo "pki.sh: there is no $1.pem" >&2; exit 1; }
    issuer=$(issuer_of "$1.pem")
    for by in ca/*/ca.cnf; do
        by=$(basename "${by%/ca.cnf}")
        [ "$issuer" = "$(subject_of "$by.pem")" ] || continue
        serial=$(openssl x509 -in "$1.pem" -noout -serial | cut -d= -f2)
        grep -q "^R.*	$serial	" "ca/$by/index.txt" ||
            quietly openssl ca -config "ca/$by/ca.cnf" -revoke "$1.pem" -crl_reason "$2"
        crl "$by" $crl_days "crl/$by.crl"
        return
    done
    echo "pki.sh: the authority of $1.pem is not here" >&2
    exit 1
}

leaf() { # NAME CA KEY SUBJECT EXTENSIONS
    [ -s "$1.p12" ] && return
    new_key "$1" "$3"
    openssl req -new -key "$1.key" -subj "$4" -utf8 -out "$1.csr"
    sign "$1.csr" "$2" "$1.pem" "$5"
    rm -f "$1.csr"
    # Triple DES and SHA-1 protect little, but every Java since 6 reads them, and so does OpenSSL 3 without its legacy provider.
    openssl pkcs12 -export -in "$1.pem" -inkey "$1.key" -name "$1" -passout "pass:$password" \
        -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1 -out "$1.p12.new"
    mv "$1.p12.new" "$1.p12"
}

client='keyUsage=critical,digitalSignature
extendedKeyUsage=clientAuth'
server() { # DNS name in a container network
    printf 'keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,DNS:%s,IP:127.0.0.1,IP:::1\n' "$1"
}
# URLs a validator would ask; in development nobody answers there.
evidence='crlDistributionPoints=URI:http://pki.coffre.invalid/regulator-ca.crl
authorityInfoAccess=caIssuers;URI:http://pki.coffre.invalid/regulator-ca.cer'

issue() { # [OPTIONS] NAME CA KEY SUBJECT [EXTENSION...]
    while [ $# -gt 1 ]; do
        case $1 in
        -days) lasts=$(seconds "$2") ;;
        -from) begins=$(seconds "$2") ;;
        -md) digest=$2 ;;
        *) break ;;
        esac
        shift 2
    done
    [ $# -ge 4 ] || usage
    [ ! -e "$1.pem" ] || { echo "pki.sh: there is a $1.pem already" >&2; exit 1; }
    name=$1 by=$2 key=$3 subject=$4
    shift 4
    [ $# -gt 0 ] || set -- "$client"
    leaf "$name" "$by" "$key" "$subject" "$(printf '%s\n' "$@")"
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
"") ;;
sign)
    [ $# -eq 3 ] || usage
    case $1 in
    seal) sign "$2" regulator-ca "$3" "keyUsage=critical,digitalSignature,nonRepudiation
$evidence" ;;
    tsa) sign "$2" regulator-ca "$3" "keyUsage=critical,digitalSignature
extendedKeyUsage=critical,timeStamping
$evidence" ;;
    *) usage ;;
    esac
    exit
    ;;
revoke)
    [ $# -ge 1 ] || usage
    revoke "$1" "${2:-unspecified}"
    exit
    ;;
crl)
    for by in ${1:-operator-ca regulator-ca}; do
        crl "$by" "${2:-$crl_days}" "${3:-crl/$by.crl}"
    done
    exit
    ;;
issue)
    issue "$@"
    exit
    ;;
*) usage ;;
esac

authority operator-ca "/C=FR/O=$organisation/OU=Autorite de certification/CN=Operateur 4512 CA (developpement)"
authority regulator-ca "/C=FR/O=$regulator/OU=Autorite de certification/CN=Regulateur CA (developpement)"
authority internal-ca "/C=FR/O=$organisation/OU=Autorite interne du coffre/CN=Coffre 4512-1 CA (developpement)"
authority foreign-ca "/C=FR/O=Ailleurs/OU=Autorite de certification/CN=Une autre CA"

leaf sensor-1 operator-ca rsa "/C=FR/O=$organisation/OU=Capteurs/CN=sensor-1" "$client"
leaf sensor-2 operator-ca rsa "/C=FR/O=$organisation/OU=Capteurs/CN=sensor-2" "$client"
leaf stranger operator-ca rsa "/C=FR/O=$organisation/OU=Capteurs/CN=stranger" "$client"
leaf foreign foreign-ca rsa "/C=FR/O=$organisation/OU=Capteurs/CN=sensor-1" "$client"
leaf tech-admin-1 operator-ca ec "/C=FR/O=$organisation/OU=Exploitation/CN=tech-admin-1" "$client"
leaf reader-1 regulator-ca ec "/C=FR/O=$regulator/OU=Lecteurs/CN=reader-1" "$client"
leaf func-admin-1 regulator-ca ec "/C=FR/O=$regulator/OU=Administrateurs fonctionnels/CN=func-admin-1" "$client"

encryption='keyUsage=critical,keyEncipherment'
leaf regulator-encryption regulator-ca rsa "/C=FR/O=$regulator/OU=Chiffrement/CN=regulator-encryption" "$encryption"
leaf regulator-encryption-next regulator-ca rsa "/C=FR/O=$regulator/OU=Chiffrement/CN=regulator-encryption-next" "$encryption"

responder='keyUsage=critical,digitalSignature
extendedKeyUsage=critical,OCSPSigning
noCheck=ignored'
leaf ocsp-responder operator-ca ec "/C=FR/O=$organisation/OU=Revocation/CN=ocsp-responder" "$responder"
leaf ocsp-responder-regulator regulator-ca ec "/C=FR/O=$regulator/OU=Revocation/CN=ocsp-responder" "$responder"

leaf ingest operator-ca rsa "/C=FR/O=$organisation/OU=Coffre 1/CN=ingest" "$(server ingest | sed 's/digitalSignature$/digitalSignature,keyEncipherment/')"
leaf exporter operator-ca ec "/C=FR/O=$organisation/OU=Coffre 1/CN=exporter" "$(server exporter)"

leaf rabbitmq internal-ca ec "/C=FR/O=$organisation/OU=Coffre 1/CN=rabbitmq" "$(server rabbitmq)"
leaf postgresql internal-ca ec "/C=FR/O=$organisation/OU=Coffre 1/CN=postgresql" "$(server postgresql)"
for daemon in coffre-ingest coffre-sealer coffre-exporter; do
    leaf $daemon internal-ca ec "/C=FR/O=$organisation/OU=Coffre 1/CN=$daemon" "$client"
done

for by in operator-ca regulator-ca; do
    half_left crl/$by.crl || crl $by $crl_days crl/$by.crl
done

# What a client must trust: the authority of the two servers it meets.
if [ ! -s trust.pem ]; then
    cp operator-ca.pem trust.pem.new
    chmod 644 trust.pem.new
    mv trust.pem.new trust.pem
fi
if [ ! -s trust.p12 ]; then
    # Java takes a certificate as trusted only with an attribute of its own, which OpenSSL 3.0 cannot write.
    if command -v keytool >/dev/null; then
        rm -f trust.p12.new
        keytool -importcert -noprompt -alias coffre -file trust.pem -keystore trust.p12.new -storetype PKCS12 -storepass "$password" \
            -J-Dkeystore.pkcs12.certProtectionAlgorithm=PBEWithSHA1AndDESede -J-Dkeystore.pkcs12.macAlgorithm=HmacPBESHA1 2>/dev/null
        mv trust.p12.new trust.p12
    else
        echo "pki.sh: no keytool here, so no trust.p12 (Java clients need it)" >&2
    fi
fi
