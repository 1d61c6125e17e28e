# An event's whole life, shown with its numbers: what `make run` does once everything is up. Sourced by instance.sh.

step() { if [ -t 1 ]; then printf '\n\033[1m%s\033[0m\n' "$*"; else printf '\n%s\n' "$*"; fi; }
shown() { sed 's/^/    /'; }

sql() { as_user psql -h "$home/postgresql/socket" -U postgres -d "coffre_${OPERATOR}_$VAULT" -Atc "$1"; }

# Programs run as whoever typed the command: he holds a sensor's and a regulator's certificates here.
as_sensor() {
    "$home/bin/coffre-deposit" --port "$PORT_STOMP" --certificate "$home/pki/sensor-1.pem" --key "$home/pki/sensor-1.key" \
        --ca "$home/pki/trust.pem" "$@"
}

demonstrate() {
    local work=$1 sample serial lot first last event key files
    files=("$here"/samples/*.xml)
    sample=${files[0]}

    step "1. A sensor deposits ${#files[@]} files of sample events (STOMP, mutual TLS, port $PORT_STOMP) and waits until they are sealed"
    as_sensor --client-id-prefix "demonstration-$(date +%s)" --follow archived "${files[@]}" 2>&1 | tee "$work/deposited" | shown
    # Others may deposit at the same time: the numbers are those the vault answered.
    serial=$(sed -n 's/^archived *serial \([0-9]*\) .*/\1/p' "$work/deposited" | head -n 1)
    first=$(sed -n 's/^archived *serial [0-9]* lot \([0-9]*\) .*/\1/p' "$work/deposited" | sort -n | head -n 1)
    last=$(sed -n 's/^archived *serial [0-9]* lot \([0-9]*\) .*/\1/p' "$work/deposited" | sort -n | tail -n 1)

    step "2. Numbered, encrypted, stored; then sealed in the HSM, time-stamped and chained"
    sql "SELECT format('    lot %s: serials %s to %s, closed by %s, time-stamp %s, container of %s bytes',
            lot, first_serial, last_serial, reason, to_char(sealed_at, 'YYYY-MM-DD HH24:MI:SS.MS'), container_size)
         FROM lot WHERE lot BETWEEN $first AND $last ORDER BY lot"

    step "3. The regulator extracts (HTTPS, mutual TLS, port $PORT_HTTPS) lots $first to $last, with the lot before if there is one"
    "$home/bin/coffre-extract" --port "$PORT_HTTPS" --certificate "$home/pki/reader-1.pem" --key "$home/pki/reader-1.key" \
        --ca "$home/pki/trust.pem" --output "$work/extraction" lots "$first-$last" 2>&1 | shown
    ls -l "$work/extraction" | awk '/\.zip$/ { print "    " $NF ": " $5 " bytes" }'

    step "4. Verified offline, trusting the regulator's authority only, and decrypted with the regulator's key"
    "$home/bin/coffre-verify" --ca "$home/pki/regulator-ca.pem" --key "$home/pki/regulator-encryption.key" --first "$first" --last "$last" \
        "$work"/extraction/*.zip 2>&1 | shown

    step "5. The same with stock tools: openssl opens the lot's key, then event $serial"
    lot=$(printf %06d "$first")
    event=events/$lot/$(printf %012d "$serial").p7m
    for key in "$work"/extraction/*.zip; do
        unzip -qo "$key" -d "$work/files"
    done
    for key in "$work/files/keys/$lot"-*.p7m; do
        openssl cms -decrypt -inform DER -in "$key" -inkey "$home/pki/regulator-encryption.key" -recip "$home/pki/regulator-encryption.pem" \
            -out "$work/lot.key"
        openssl cms -decrypt -inform DER -in "$work/files/$event" -secretkey "$(xxd -p -c 64 "$work/lot.key")" \
            -secretkeyid "$(basename "$key" .p7m | tr -d '\n' | xxd -p)" -out "$work/event.xml" 2>/dev/null && break
    done
    shown <"$work/event.xml"
    say
    trimmed "$work/event.xml" >"$work/came-back"
    sed "s/<!--SAFE_ID-->/$serial/" "$sample" >"$work/expected.xml"
    trimmed "$work/expected.xml" >"$work/expected"
    cmp "$work/came-back" "$work/expected" || fail "the event that came back is not the one that was deposited"
    say "    identical to $(basename "$sample") byte for byte, with number $serial where the sensor left the place for it"
}

# A sensor of its own for each run: its authority takes its certificate back while it deposits.
demonstrate_revocation() {
    local work=$1 name sensor answered
    name=demonstration-$(date +%s)
    step "6. Another sensor, $name, gets a certificate and a role, and deposits two events a second"
    as_user sh -s "$home/pki" issue -days 1 "$name" operator-ca ec "/C=FR/O=Operateur $OPERATOR/OU=Capteurs/CN=$name" <"$here/pki.sh"
    bind_role depositor "$name"
    "$home/bin/coffre-deposit" --port "$PORT_STOMP" --certificate "$home/pki/$name.pem" --key "$home/pki/$name.key" --ca "$home/pki/trust.pem" \
        --operator "$OPERATOR" --client-id-prefix "$name" --duration 3600 --rate 2 --window 1 --retry 5 >"$work/revoked" 2>&1 9>&- &
    sensor=$!
    answered="SELECT count(*) FROM event JOIN role ON depositor = id WHERE cn = '$name'"
    for _ in $(seq 300); do
        [ "$(sql "$answered")" -lt 4 ] || break
        sleep 0.2
    done
    say "    numbered so far: $(sql "$answered") events"
    say "    its authority revokes it: deploy/pki.sh $RUN_DIR/pki revoke $name keyCompromise"
    as_user sh -s "$home/pki" revoke "$name" keyCompromise <"$here/pki.sh"
    for _ in $(seq 300); do
        [ "$(grep -c 'has been revoked' "$work/revoked")" -lt 2 ] || break
        sleep 0.2
    done
    kill $sensor 2>/dev/null || true
    wait $sensor || true
    [ "$(grep -c 'has been revoked' "$work/revoked")" -ge 2 ] || fail "$name was not cut although its certificate is revoked: $(tail -n 3 "$work/revoked")"
    say "    the sensor is cut, tries again and is refused:"
    grep 'has been revoked' "$work/revoked" | head -n 2 | shown
    say "    what it had been acknowledged stays: $(sql "$answered") events"
    ceremony revoke --profile depositor --certificate "$home/pki/$name.pem" --database "host=$home/postgresql/socket user=postgres"
}

# White space around an event is not part of it.
trimmed() { printf '%s' "$(cat "$1")"; }

run_demonstration() {
    interrupted=130
    trap 'exit $interrupted' INT
    trap 'exit 143' TERM HUP
    trap 'leave $?' EXIT
    everything_up
    say "Coffre is ready: operator $OPERATOR, vault $VAULT."
    work=$(mktemp -d)
    demonstrate "$work"
    demonstrate_revocation "$work"
    say
    where
    say "Ctrl-C stops it."
    flock -u 9
    interrupted=0
    # Nothing to do but to be there; a signal ends the wait.
    while :; do
        sleep 3600 9>&- &
        wait $! || true
    done
}

# Ends what this command started, and nothing else.
leave() {
    local i
    trap '' INT TERM HUP
    [ -z "${work:-}" ] || rm -rf "$work"
    say
    say "stopping what was started"
    for ((i = ${#started[@]} - 1; i >= 0; i--)); do
        stop_one "${started[i]}"
    done
    kill $(jobs -p) 2>/dev/null || true
    exit "$1"
}
