#!/bin/bash
# Verifies an extraction with other people's programs alone: unzip, xmlsec1, openssl, sha256sum, cmp, awk and the JDK.
#
#   stock-verify.sh DIR CA.pem [REGULATOR.key]
#
# DIR is an extracted segment. With the regulator's private key the first and the last event of each lot are decrypted too.
# Every tool must be there: a missing one is a failure. Exit 0 when everything holds; the first thing that does not is named.
set -euo pipefail
export LC_ALL=C

[ $# -eq 2 ] || [ $# -eq 3 ] || { echo "usage: stock-verify.sh DIR CA.pem [REGULATOR.key]" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
dir=$(cd "$1" && pwd)
ca=$(realpath "$2")
key=${3:+$(realpath "$3")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

die() { echo "stock-verify: $*" >&2; exit 1; }
for tool in unzip xmlsec1 openssl sha256sum cmp awk java base64 od; do
    command -v "$tool" >/dev/null || die "$tool is not installed"
done

# Text of the first element of that name, without its tags.
element() { grep -o "<$1>[^<]*</$1>" "$2" | head -n 1 | sed 's/<[^>]*>//g'; }

signature() { # container's folder: XML signature and time-stamp, at the time of closing
    local when
    when=$(element Cloture "$1/lot.xml" | sed 's/T/ /; s/\..*//')
    (cd "$1" && xmlsec1 --verify --id-attr:Id http://uri.etsi.org/01903/v1.3.2#:SignedProperties \
        --verification-gmt-time "$when" --trusted-pem "$ca" META-INF/signatures0.xml) >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; die "xmlsec1 refuses ${1##*/}"; }
    # What is time-stamped stands in the file as it is: exclusive canonical form, tags included.
    grep -o '<ds:SignatureValue .*</ds:SignatureValue>' "$1/META-INF/signatures0.xml" | tr -d '\n' >"$work/value"
    grep -o '<xades:EncapsulatedTimeStamp>[^<]*' "$1/META-INF/signatures0.xml" | sed 's/.*>//' | base64 -d >"$work/token"
    openssl ts -verify -data "$work/value" -in "$work/token" -token_in -CAfile "$ca" \
        -attime "$(date -u -d "$when" +%s)" >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; die "openssl refuses the time-stamp of ${1##*/}"; }
}

chain() { # container's folder: the link to the one before, consecutive numbers
    local first last count n
    first=$(element PremierEvt "$1/lot.xml") last=$(element DernierEvt "$1/lot.xml") count=$(element NbEvt "$1/lot.xml")
    n=$(element IDLot "$1/lot.xml")
    awk -v n="$first" -v last="$last" -v count="$count" -F'[/.]' '/  events\// {
            if ($3 + 0 != n) exit 1; n++; seen++ }
        END { if (n != last + 1 || seen + 0 != count) exit 1 }' "$1/SHA256SUMS" || die "numbers of lot $n are not consecutive"
    if [ -n "${before:-}" ]; then
        cmp -s "$before/META-INF/signatures0.xml" "$1/previous-signatures.xml" || die "lot $n does not follow ${before##*/}"
        [ "$first" -eq "$next" ] || die "lot $n starts at event $first, not $next"
    fi
    before=$1 next=$((last + 1))
}

hex() { od -An -v -tx1 | tr -d ' \n'; }

decrypt() { # container's folder: lot keys, then the first and the last event
    local file id hex name
    : >"$work/keys"
    for file in $(grep -o 'keys/.*' "$1/SHA256SUMS" || true); do
        openssl cms -decrypt -binary -inform DER -in "$dir/$file" -inkey "$key" -out "$work/key" 2>"$work/log" ||
            { cat "$work/log" >&2; die "the regulator's key does not open $file"; }
        name=${file##*/} id=$(printf %s "${name%.p7m}" | hex)
        hex=$(hex <"$work/key")
        [ ${#hex} -eq 64 ] || die "$file does not hold 32 bytes"
        echo "$id $hex" >>"$work/keys"
    done
    for file in $(grep -o 'events/.*' "$1/SHA256SUMS" | sed -n '1p;$p'); do
        opened=
        while read -r id hex; do # an event names one of the lot's keys
            if openssl cms -decrypt -binary -inform DER -in "$dir/$file" -secretkey "$hex" -secretkeyid "$id" -out "$work/event" \
                2>"$work/log"; then opened=yes; break; fi
        done <"$work/keys"
        [ -n "$opened" ] || { cat "$work/log" >&2; die "$file does not open"; }
        grep -q '<' "$work/event" || die "$file does not hold XML"
        events=$((events + 1))
    done
}

lots=0 events=0 files=0 folders=()
for container in "$dir"/lots/lot-*.asice; do
    [ -e "$container" ] || die "no container in $dir/lots"
    folder=$work/$(basename "$container" .asice)
    unzip -q "$container" -d "$folder" || die "unzip refuses $container"
    signature "$folder"
    chain "$folder"
    (cd "$dir" && [ ! -s "$folder/SHA256SUMS" ] || sha256sum --quiet --strict -c "$folder/SHA256SUMS") || die "files of ${folder##*/}"
    files=$((files + $(wc -l <"$folder/SHA256SUMS")))
    [ -z "${key:-}" ] || decrypt "$folder"
    lots=$((lots + 1)) folders+=("$folder")
done
java "$here/VerifyLots.java" "$ca" "${folders[@]}" || die "the JDK refuses a signature"
echo "stock tools: $lots lots hold (xmlsec1, JDK, openssl ts), $files files have their sealed digest, $events events decrypted"
