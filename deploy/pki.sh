#!/bin/sh
# Development PKI: four authorities and everyone's certificates, in one folder. Never for production: keys lie beside certificates.
#
#   pki.sh DIR                     create what is missing (a second run changes nothing)
#   pki.sh DIR sign seal CSR OUT   sign the request of the HSM's sealing key (regulator's authority)
#   pki.sh DIR sign tsa CSR OUT    the same for the time-stamping key
#
# operator-ca   sensors, technical administrators, and the two servers strangers see (ingest, exporter)
# regulator-ca  readers, functional administrators, encryption, sealing, time-stamping
# internal-ca   what the vault's own parts show each other (RabbitMQ, the daemons towards it)
# foreign-ca    nobody trusts it; "foreign" has sensor-1's very subject, signed by it
#
# Keys that old Java clients meet are RSA-3072; the others are P-256, which is three times cheaper in a handshake.
# "stranger" comes from the sensors' authority: a valid certificate no role is bound to, on either port.
set -eu
umask 077

[ $# -ge 1 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
dir=$1
shift
mkdir -p "$dir"
cd "$dir"

ca_days=7300
leaf_days=3650
password=coffre
organisation="Operateur 4512"
regulator="Regulateur de developpement"

# A request for the extensions $2 (one per line, openssl x509v3_config), written to $1.ext.
extensions() {
    printf '%s\n' "$2" >"$1.ext"
}

new_key() { # NAME rsa|ec
    case $2 in
    rsa) openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out "$1.key" 2>/dev/null ||
        openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out "$1.key" 2>/dev/null ;;
    ec) openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" ;;
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

sign() { # CSR CA OUT EXTENSIONS: certificate and chain
    extensions "$3" "basicConstraints=critical,CA:FALSE
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
$4"
    openssl x509 -req -in "$1" -CA "$2.pem" -CAkey "$2.key" -sha256 -days $leaf_days -set_serial "0x$(openssl rand -hex 15)" \
        -extfile "$3.ext" -out "$3.new" 2>/dev/null
    cat "$2.pem" >>"$3.new"
    rm -f "$3.ext"
    chmod 644 "$3.new"
    mv "$3.new" "$3"
}

leaf() { # NAME CA rsa|ec SUBJECT EXTENSIONS
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

if [ $# -gt 0 ]; then
    [ $# -eq 4 ] && [ "$1" = sign ] || { echo "pki.sh: sign seal|tsa CSR OUT" >&2; exit 2; }
    case $2 in
    seal) sign "$3" regulator-ca "$4" "keyUsage=critical,digitalSignature,nonRepudiation
$evidence" ;;
    tsa) sign "$3" regulator-ca "$4" "keyUsage=critical,digitalSignature
extendedKeyUsage=critical,timeStamping
$evidence" ;;
    *) echo "pki.sh: sign seal or tsa, not $2" >&2; exit 2 ;;
    esac
    exit 0
fi

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

leaf ingest operator-ca rsa "/C=FR/O=$organisation/OU=Coffre 1/CN=ingest" "$(server ingest | sed 's/digitalSignature$/digitalSignature,keyEncipherment/')"
leaf exporter operator-ca ec "/C=FR/O=$organisation/OU=Coffre 1/CN=exporter" "$(server exporter)"

leaf rabbitmq internal-ca ec "/C=FR/O=$organisation/OU=Coffre 1/CN=rabbitmq" "$(server rabbitmq)"
leaf postgresql internal-ca ec "/C=FR/O=$organisation/OU=Coffre 1/CN=postgresql" "$(server postgresql)"
for daemon in coffre-ingest coffre-sealer coffre-exporter; do
    leaf $daemon internal-ca ec "/C=FR/O=$organisation/OU=Coffre 1/CN=$daemon" "$client"
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
