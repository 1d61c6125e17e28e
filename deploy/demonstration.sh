# An event's whole life, shown with its numbers: what `make run` does once everything is up. Sourced by instance.sh.

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
shown() { sed 's/^/    /'; }

sql() { as_user psql -h "$home/postgresql/socket" -U postgres -d "coffre_${OPERATOR}_$VAULT" -Atc "$1"; }

# Programs run as whoever typed the command: he holds a sensor's and a regulator's certificates here.
as_sensor() {
    "$home/bin/coffre-deposit" --port "$PORT_STOMP" --certificate "$home/pki/sensor-1.pem" --key "$home/pki/sensor-1.key" \
        --ca "$home/pki/trust.pem" "$@"
}

demonstrate() {
    local work=$1 before after lot last first count event key
    before=$(sql 'SELECT next_serial - 1 FROM head')

    step "1. A sensor deposits $(find "$here/samples" -name '*.xml' | wc -l) files of sample events (STOMP, mutual TLS, port $PORT_STOMP), and waits until their lot is sealed"
    as_sensor --client-id-prefix "demonstration-$(date +%s)" --follow archived "$here/samples" 2>&1 | shown
    after=$(sql 'SELECT next_serial - 1 FROM head')
    count=$((after - before))
    first=$((before + 1))
    say "    $count events were numbered $first to $after"

    lot=$(sql "SELECT lot FROM event WHERE serial = $first")
    last=$(sql "SELECT lot FROM event WHERE serial = $after")
    step "2. Sealed and time-stamped: lot $lot$([ "$lot" = "$last" ] || echo " to $last")"
    sql "SELECT format('    lot %s: serials %s to %s, closed by %s, time-stamp %s, container of %s bytes',
            lot, first_serial, last_serial, reason, to_char(sealed_at, 'YYYY-MM-DD HH24:MI:SS.MS'), container_size)
         FROM lot WHERE lot BETWEEN $lot AND $last ORDER BY lot"

    step "3. The regulator extracts (HTTPS, mutual TLS, port $PORT_HTTPS) serials $first to $after, with the lot before"
    "$home/bin/coffre-extract" --port "$PORT_HTTPS" --certificate "$home/pki/reader-1.pem" --key "$home/pki/reader-1.key" \
        --ca "$home/pki/trust.pem" --output "$work" serials "$first-$after" 2>&1 | shown
    ls -l "$work" | awk '/\.zip$/ { print "    " $NF ": " $5 " bytes" }'

    step "4. Verified offline, knowing only the regulator's authority; decrypted with the regulator's key"
    "$home/bin/coffre-verify" --ca "$home/pki/regulator-ca.pem" --key "$home/pki/regulator-encryption.key" \
        --certificate "$home/pki/regulator-encryption.pem" "$work"/*.zip 2>&1 | shown

    step "5. One event comes back as it was deposited, with its number: openssl alone"
    event=events/$(printf '%06d/%012d' "$lot" "$first").p7m
    for file in "$work"/*.zip; do
        unzip -qo "$file" -d "$work/files"
    done
    for key in "$work/files/keys/$(printf '%06d' "$lot")"-*.p7m; do
        openssl cms -decrypt -inform DER -in "$key" -inkey "$home/pki/regulator-encryption.key" -recip "$home/pki/regulator-encryption.pem" \
            -out "$work/lot.key"
        openssl cms -decrypt -inform DER -in "$work/files/$event" -secretkey "$(xxd -p -c 64 "$work/lot.key")" \
            -secretkeyid "$(basename "$key" .p7m | tr -d '\n' | xxd -p)" -out "$work/event.xml" 2>/dev/null && break
    done
    sed "s/<!--SAFE_ID-->/$first/" "$here/samples/01-ouverture.xml" >"$work/expected.xml"
    # The samples are deposited in the order of their names, so the first number is the first file's.
    trimmed "$work/event.xml" >"$work/event.trimmed"
    trimmed "$work/expected.xml" >"$work/expected.trimmed"
    cmp "$work/event.trimmed" "$work/expected.trimmed" || fail "the event that came back is not the one that was deposited"
    shown <"$work/event.xml"
    say
    say "    identical to deploy/samples/01-ouverture.xml, byte for byte, with serial $first in the place the sensor left for it"
}

# White space around an event is not part of it.
trimmed() { printf '%s' "$(cat "$1")"; }

run_demonstration() {
    local work
    trap 'leave 130' INT
    trap 'leave 143' TERM HUP
    everything_up
    say "Coffre is ready: operator $OPERATOR, vault $VAULT."
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    demonstrate "$work" || leave 1
    say
    where
    say "Ctrl-C stops it."
    flock -u 9
    # Nothing to do but to be there; a signal ends the wait.
    while :; do
        sleep 3600 &
        wait $! || true
    done
}

# Ends what this command started, and nothing else.
leave() {
    local i
    trap '' INT TERM HUP
    say
    say "stopping"
    for ((i = ${#started[@]} - 1; i >= 0; i--)); do
        stop_one "${started[i]}"
    done
    kill $(jobs -p) 2>/dev/null || true
    exit "$1"
}
