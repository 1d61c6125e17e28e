#!/bin/bash
# The whole proof, in one go: see `make test`. Each stage prints "ok - ..." and "not ok - ..." lines; they are counted, and the last
# line of all is "N passed, N failed". A stage that fails without saying of what counts as one failure.
#
# What a stage is: unit tests (cmocka, sanitizers), fuzz targets (a short run each), manual pages, command lines; then, with an instance
# of its own on its own ports, every executable file test_* in tests/integration, tests/interop, tests/verify and tests/crash.
set -uo pipefail
cd "$(dirname "$0")/.."

export RUN_DIR=${RUN_DIR:-$PWD/run-test}
export PORT_STOMP=${PORT_STOMP:-16163} PORT_HTTPS=${PORT_HTTPS:-18443} PORT_AMQPS=${PORT_AMQPS:-15671} PORT_EPMD=${PORT_EPMD:-14370} \
    PORT_DIST=${PORT_DIST:-15672} LOT_AGE=${LOT_AGE:-2s}
export COFFRE_BUILD=${COFFRE_BUILD:?the release build, given by make} COFFRE_ASAN=${COFFRE_ASAN:?the sanitizers\' build, given by make}
export BUILD=$COFFRE_BUILD
fuzz_seconds=${FUZZ_SECONDS:-8}
only=${ONLY:-}

passed=0
failed=0
failures=()
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

# stage NAME COMMAND...: runs it, shows it, counts its lines.
stage() {
    local name=$1 status out=$results/stage good bad
    shift
    case " $only " in "  " | *" ${name%% *} "*) ;; *) return ;; esac
    printf '\n== %s\n' "$name"
    "$@" 2>&1 | tee "$out"
    status=${PIPESTATUS[0]}
    good=$(grep -c '^ok ' "$out")
    bad=$(grep -c '^not ok ' "$out")
    while read -r line; do failures+=("$name: $line"); done < <(grep '^not ok ' "$out")
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
        failures+=("$name: exit status $status")
    elif [ "$status" -eq 0 ] && [ "$good" -eq 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
        failures+=("$name: no test said anything")
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
}

# verdict TEXT COMMAND...: one line for one check; the command's output only when it failed.
verdict() {
    local text=$1 said
    shift
    if said=$("$@" 2>&1); then
        echo "ok - $text"
    else
        echo "not ok - $text"
        printf '%s\n' "$said" | tail -n 40 | sed 's/^/    /'
    fi
}

unit() {
    local test
    for test in "$@"; do
        # cmocka's TAP says nothing when a sanitizer ends the process: the status does.
        CMOCKA_MESSAGE_OUTPUT=TAP UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=detect_leaks=1 timeout 300 "$test" \
            | sed -E "s/^(ok|not ok) [0-9]+ - /\1 - ${test##*/}: /"
        [ "${PIPESTATUS[0]}" -eq 0 ] || echo "not ok - ${test##*/} ended with a failure"
    done
}

fuzz() {
    local target name
    for target in "$@"; do
        name=${target##*/fuzz_}
        mkdir -p "$results/corpus"
        [ -d "tests/fuzz/corpus/$name" ] && cp -r "tests/fuzz/corpus/$name/." "$results/corpus/"
        # What the fuzzer finds new goes to a copy of the corpus, not into the sources.
        verdict "fuzz $name, $fuzz_seconds s" timeout $((fuzz_seconds + 60)) "$target" -max_total_time="$fuzz_seconds" -timeout=10 -rss_limit_mb=2048 \
            -max_len=65536 -artifact_prefix="$COFFRE_ASAN/finding-$name-" "$results/corpus"
        rm -rf "$results/corpus"
    done
}

manuals() {
    local page
    for page in $(find common ingest sealer exporter -name '*.[1578]'); do
        verdict "manual page $page" mandoc -Tlint -W warning "$page"
    done
    verdict "coffre.yml(5) names every key" configuration_manual
    for name in $PROGRAMS; do
        verdict "$name has a manual page" sh -c "ls */$name.[18] */*/$name.[18] 2>/dev/null | grep -q ."
        verdict "$name --help" sh -c "'$COFFRE_BUILD/$name' --help | grep -q usage"
        verdict "$name --version" sh -c "'$COFFRE_BUILD/$name' --version | grep -q '^$name '"
        verdict "$name refuses an unknown option with status 2" sh -c "'$COFFRE_BUILD/$name' --no-such-option >/dev/null 2>&1; [ \$? -eq 2 ]"
    done
}

# Every key the daemons know is in the configuration's manual page, and the page names no other.
configuration_manual() {
    local known written
    known=$("$COFFRE_BUILD/coffre-ingest" --config deploy/docker/coffre.yml --print-config | awk '
        match($0, /^ */) { depth = RLENGTH / 2 }
        { split($1, word, ":"); part[depth] = word[1] }
        NF > 1 { key = part[0]; for (i = 1; i <= depth; i++) key = key "." part[i]; print key }' | sort)
    written=$(sed -n 's/^\.It Cm //p' common/coffre.yml.5 | sort)
    [ -n "$known" ] && diff <(echo "$known") <(echo "$written")
}

bring_up() {
    deploy/instance.sh down >/dev/null 2>&1
    # Every run begins with a vault's birth.
    rm -rf "$(readlink -m "$RUN_DIR")" "$RUN_DIR"
    verdict "an instance of its own is born in $RUN_DIR" deploy/instance.sh up
    verdict "a second up finds everything running" deploy/instance.sh up
}

[ -d ../shared/anj/samples ] || absent="../shared/anj (the regulator's samples)"
[ -d ../shared/reference ] || absent="${absent:+$absent, }../shared/reference"
[ -d ../shared/openwire-captures ] || absent="${absent:+$absent, }../shared/openwire-captures"

# shellcheck disable=SC2086
{
    stage unit unit $UNIT_PROGRAMS
    stage fuzz fuzz $FUZZ_PROGRAMS
    stage manuals manuals
}
up=
for folder in interop verify integration crash; do
    for file in tests/$folder/test_*; do
        [ -x "$file" ] && [ -f "$file" ] || continue
        if [ -z "$up" ]; then
            up=yes
            trap 'deploy/instance.sh down; rm -rf "$results"' EXIT
            stage instance bring_up
        fi
        stage "$folder ${file##*/test_}" "$file"
    done
done
[ -z "$up" ] || { trap 'rm -rf "$results"' EXIT; stage down verdict "everything stops" deploy/instance.sh down; }

echo
[ -z "${absent:-}" ] || echo "absent, so not tested: $absent"
for line in "${failures[@]}"; do
    echo "FAILED $line"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
