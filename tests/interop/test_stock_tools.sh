#!/bin/bash
# Other people's programs verify a synthetic chain made with the production code, and refuse it once it is damaged.
# BUILD names the folder of the programs. stock-verify.sh does the same to a real extraction.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
chain=${BUILD:?the folder of the programs}/coffre-test-chain
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

verdict() { # STATUS TEXT COMMAND...: 0 expects success, 1 a refusal
    local wanted=$1 text=$2 said status
    shift 2
    said=$("$@" 2>&1)
    status=$?
    if [ "$status" -eq "$wanted" ]; then
        echo "ok - $text"
    else
        echo "not ok - $text: exit status $status, not $wanted"
        printf '%s\n' "$said" | tail -n 20 | sed 's/^/    /'
        failed=1
    fi
}

stock() { "$here/stock-verify.sh" "$1" "$work/pki/ca.pem" "$work/pki/regulator.key"; }
copy() { rm -rf "$work/bent"; cp -r "$work/vault" "$work/bent"; }
# reseal WITH: the last lot sealed again by another key, its text changed before by sed.
reseal() {
    rm -rf "$work/parts" && mkdir "$work/parts"
    "$chain" parts "$work/bent/lots/lot-000007.asice" "$work/parts" && sed -i "$2" "$work/parts/lot.xml" &&
        { [ -z "$1" ] || "$chain" seal "$work/parts" "$work/pki" "$1" tsa 1767269220000; } &&
        "$chain" container "$work/parts" "$work/bent/lots/lot-000007.asice"
}

"$chain" make "$work" || { echo "not ok - making a chain"; exit 1; }
verdict 0 "stock tools accept an untouched chain" stock "$work/vault"
"$chain" zip "$work/vault" "$work/segment.zip"
verdict 0 "unzip accepts a segment" unzip -tq "$work/segment.zip"
verdict 0 "stock tools accept what unzip takes out of it" sh -c "unzip -q '$work/segment.zip' -d '$work/unzipped' && \
    '$here/stock-verify.sh' '$work/unzipped' '$work/pki/ca.pem'"
copy; printf x >>"$work/bent/events/000002/000000000007.p7m"
verdict 1 "sha256sum refuses an altered event" stock "$work/bent"
copy; rm "$work/bent/events/000002/000000000007.p7m"
verdict 1 "sha256sum refuses a missing event" stock "$work/bent"
copy; rm "$work/bent/lots/lot-000003.asice"
verdict 1 "cmp notices a missing lot" stock "$work/bent"
copy; reseal "" 's/<NbEvt>5/<NbEvt>6/'
verdict 1 "xmlsec1 refuses an edited header" stock "$work/bent"
copy; reseal foreign-seal ''
verdict 1 "xmlsec1 refuses a seal of another authority" stock "$work/bent"
copy; reseal reader ''
verdict 1 "the JDK check refuses a certificate of another usage" stock "$work/bent"
copy; reseal seal 's/<DernierEvt>30/<DernierEvt>31/'
verdict 1 "awk refuses numbers that are not consecutive" stock "$work/bent"
exit $failed
