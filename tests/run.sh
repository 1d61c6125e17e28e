#!/bin/bash
# The whole proof, in one go: see `make test`. Each job prints "ok - ..." and "not ok - ..." lines; they are counted, and the last
# line of all is "N passed, N failed". A job that fails without saying of what counts as one failure.
#
# What a job is: unit tests (cmocka, sanitizers), fuzz targets (a short run each: `make fuzz` takes longer), manual pages, command lines; and every executable
# file test_* in tests/interop, tests/verify, tests/integration and tests/crash. These mostly wait, so they go to LANES vaults (3) side by side, each with servers,
# ports and a folder of its own, the longest first by tests/durations; what needs no vault is built and run meanwhile, out of their way. A job's output is shown when it ends.
#   ONLY="unit fuzz integration roles crash"   some of it: kinds, folders, or files without test_ and .py
#   LANES=1                                    all files in one vault, one after the other
set -uo pipefail
cd "$(dirname "$0")/.."

export RUN_DIR=${RUN_DIR:-$PWD/run-test}
export PORT_STOMP=${PORT_STOMP:-16163} PORT_HTTPS=${PORT_HTTPS:-18443} PORT_AMQPS=${PORT_AMQPS:-15671} PORT_EPMD=${PORT_EPMD:-14370} \
    PORT_DIST=${PORT_DIST:-15672} LOT_AGE=${LOT_AGE:-2s}
export COFFRE_BUILD=${COFFRE_BUILD:?the release build, given by make} COFFRE_ASAN=${COFFRE_ASAN:?the sanitizers\' build, given by make}
export BUILD=$COFFRE_BUILD
fuzz_seconds=${FUZZ_SECONDS:-4}
only=${ONLY:-}
lanes=${LANES:-3}
hang=1200 # seconds for one file, only there to end a broken run

results=$(mktemp -d)
plan=()  # jobs that must have ended when all is over
files=() # of tests that need a vault

# ---- jobs ------------------------------------------------------------------------------------------

# wanted NAME: is this job asked for (ONLY)?
wanted() {
    local word
    [ -n "$only" ] || return 0
    for word in $only; do
        case "$1 " in "$word "* | *" $word "* | *" $word.py "* | *" $word.sh "*) return 0 ;; esac
    done
    return 1
}

# job NAME COMMAND...: runs it, keeps what it said, and shows it whole. Its status.
job() {
    local name=$1 began=$SECONDS status out
    shift
    out=$results/${name// /:}
    "$@" >"$out.said" 2>&1 </dev/null
    status=$?
    printf '%s %s %s\n' "$status" $((SECONDS - began)) "$lane" >"$out.end"
    flock "$results/lock" sh -c 'printf "\n== %s (%s s%s)\n" "$1" "$2" "$3"; cat "$4"' sh "$name" $((SECONDS - began)) "${lane:+, vault $lane}" "$out.said"
    return $status
}

# members SESSION: its processes that have not ended, with their command lines.
members() {
    ps -o pid=,stat=,args= -s "$1" | awk '$2 !~ /^Z/ { $2 = ""; print }'
}

# whole NAME COMMAND...: in a session of its own. What it leaves running is named, which is a failure, and ended: nothing waits for it. Its status.
whole() {
    local name=$1 session=$results/session.$BASHPID status pid rest
    shift
    setsid --wait sh -c 'echo $$ >"$1"; shift; exec "$@"' sh "$session" "$@"
    status=$?
    for _ in $(seq 300); do # what was told to end may take a moment
        [ -n "$(members "$(<"$session")")" ] || break
        sleep 0.1
    done
    while read -r pid rest; do
        echo "not ok - $name leaves nothing running, but process $pid: $rest"
        kill -KILL "$pid" 2>/dev/null
        status=1
    done < <(members "$(<"$session")")
    rm "$session"
    return $status
}

# verdict TEXT COMMAND...: one line for one check; the command's output only when it failed. Its status. By way of a file: a pipe would be waited for as long as any process holds it.
verdict() {
    local text=$1 said=$results/verdict.$BASHPID status
    shift
    "$@" >"$said" 2>&1
    status=$?
    if [ $status -eq 0 ]; then
        echo "ok - $text"
    else
        echo "not ok - $text"
        tail -n 40 "$said" | sed 's/^/    /'
    fi
    rm "$said"
    return $status
}

# ---- what needs no vault ----------------------------------------------------------------------------

# A make of its own: what the one above was told is in the variables already. Targets are named as that one names them.
build() {
    env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make --no-print-directory -j"$(nproc)" "$@"
}

unit() {
    local test name status said=$results/unit.test
    verdict "unit tests compile, with sanitizers" build MODE=asan BUILD="$(dirname "$1")" "$@" || return
    for test in "$@"; do
        # cmocka's TAP says nothing when a sanitizer ends the process: the status does.
        name=${test##*/}
        CMOCKA_MESSAGE_OUTPUT=TAP UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=detect_leaks=1 whole "$name" timeout --foreground -k 30 600 "$test" >"$said"
        status=$?
        sed -E "s/^(ok|not ok) [0-9]+ - /\1 - $name: /" "$said"
        [ "$status" -eq 0 ] || grep -q '^not ok' "$said" || echo "not ok - $name ended with status $status"
    done
}

fuzz() {
    local target name corpus=$results/corpus
    verdict "fuzz targets compile" build BUILD="$(dirname "$(dirname "$1")")" "$@" || return
    for target in "$@"; do
        name=${target##*/fuzz_}
        mkdir -p "$corpus"
        [ -d "tests/fuzz/corpus/$name" ] && cp -r "tests/fuzz/corpus/$name/." "$corpus/"
        # What the fuzzer finds new goes to a copy of the corpus, not into the sources. One seed: a change is judged by what was judged before it; make fuzz explores.
        verdict "fuzz $name, $fuzz_seconds s" whole "fuzz $name" timeout --foreground -k 30 $((fuzz_seconds + hang)) "$target" -seed=1 -max_total_time="$fuzz_seconds" -timeout=60 -rss_limit_mb=2048 \
            -max_len=65536 -artifact_prefix="$COFFRE_ASAN/finding-$name-" "$corpus"
        rm -rf "$corpus"
    done
}

manuals() {
    local page name
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

# Without a vault: kinds and files, behind whatever the vaults want of the processors.
aside() {
    local what
    lane=
    [ "$(nice)" -ge 10 ] || renice -n 10 "$BASHPID" >/dev/null
    for what in "$@"; do
        # shellcheck disable=SC2086
        case $what in
        unit) job unit unit $UNIT_PROGRAMS ;;
        fuzz) job fuzz fuzz $FUZZ_PROGRAMS ;;
        manuals) job manuals manuals ;;
        *) job "$(name_of "$what")" file "$what" ;;
        esac
    done
}

# ---- what needs one -----------------------------------------------------------------------------------

# The vault of lane K: its folder and ports.
vault() {
    local k=$1 name
    [ "$k" -gt 1 ] || return 0
    RUN_DIR=$RUN_DIR-$k
    for name in PORT_STOMP PORT_HTTPS PORT_AMQPS PORT_EPMD PORT_DIST; do
        printf -v "$name" %s $((${!name} + 20 * (k - 1)))
    done
}

# Every run begins with a vault's birth.
bring_up() {
    deploy/instance.sh down >/dev/null 2>&1
    rm -rf "$(readlink -m "$RUN_DIR")" "$RUN_DIR"
    verdict "an instance of its own is born in $RUN_DIR" deploy/instance.sh up && verdict "a second up finds everything running" deploy/instance.sh up
}

name_of() { # tests/integration/test_roles.py: "integration roles.py"
    local folder=${1#tests/}
    echo "${folder%%/*} ${1##*/test_}"
}

# file FILE: an executable file of tests, as a job's command.
file() {
    whole "$(name_of "$1")" timeout --foreground -k 30 $hang "$1"
}

# guest FILE: the same in a lane's vault, which it leaves as whole as it was: what runs beside it or does not run any more is named, which is a failure, and stopped or
# started for those to come.
guest() {
    local status said beside missing
    file "$1"
    status=$?
    said=$(deploy/instance.sh status 2>&1)
    for beside in $(sed -n 's/^\([a-z-]*@[0-9]*\): process .*/\1/p' <<<"$said"); do
        echo "not ok - $(name_of "$1") leaves $beside running"
        status=1
        deploy/instance.sh stop "$beside" 2>&1 | sed 's/^/    /'
    done
    missing=$(sed -n '/@/!s/: not running$//p' <<<"$said" | paste -sd ' ')
    grep -q '^postgresql: ' <<<"$said" || missing=$said
    if [ -n "$missing" ]; then
        echo "not ok - $(name_of "$1") leaves everything running, but not: $missing"
        status=1
        deploy/instance.sh up 2>&1 | sed 's/^/    /'
    fi
    return $status
}

# in_vault K FILE...: one after the other, each a job. Without a vault none of them runs, which counts.
in_vault() {
    local file
    lane=$1
    shift
    vault "$lane"
    job "instance $lane" bring_up || return
    for file in "$@"; do
        job "$(name_of "$file")" guest "$file"
    done
    job "down $lane" verdict "everything stops" deploy/instance.sh down
}

# Which lane each of "$files" goes to, the longest first to the one with least to do: lines "LANE FILE", in the order of the files. The same files come to the same vaults, in the same order.
share_out() {
    local place=0 file
    for file in "${files[@]}"; do
        place=$((place + 1))
        echo "$(awk -v name="$(name_of "$file")" '{ seconds = $1; sub(/^[0-9]+ /, ""); if ($0 == name) found = seconds } END { print found == "" ? 20 : found }' tests/durations) $place $file"
    done | sort -k1,1nr -k2,2n | awk -v lanes="$lanes" '{
            best = 1; for (k = 2; k <= lanes; k++) if (load[k] + 0 < load[best] + 0) best = k
            load[best] += $1; print $2, best, $3 }' | sort -n | cut -d' ' -f2-
}

# ---- all of it ------------------------------------------------------------------------------------------

# Whatever ended it, nothing stays behind.
finish() {
    local k pid session
    trap '' INT TERM
    for pid in $(jobs -p); do kill -TERM -- "-$pid" 2>/dev/null; done
    wait
    for session in "$results"/session.*; do
        [ ! -s "$session" ] || members "$(<"$session")" | while read -r pid _; do kill -KILL "$pid" 2>/dev/null; done
    done
    if [ ${#files[@]} -gt 0 ]; then
        for k in $(seq "$lanes"); do (vault "$k"; deploy/instance.sh down >/dev/null 2>&1); done
    fi
    rm -rf "$results"
}
trap finish EXIT
trap 'exit 130' INT TERM

aside=()
for name in unit fuzz manuals; do
    ! wanted $name || { plan+=("$name"); aside+=("$name"); }
done
for file in tests/sandbox/test_*; do
    ! wanted "$(name_of "$file")" || { plan+=("$(name_of "$file")"); aside+=("$file"); }
done
for folder in interop verify integration crash; do
    for file in tests/$folder/test_*; do
        [ -f "$file" ] && wanted "$(name_of "$file")" || continue
        plan+=("$(name_of "$file")")
        [ ! -x "$file" ] || files+=("$file")
    done
done
[ "$lanes" -le ${#files[@]} ] || lanes=${#files[@]}

set -m # each lane a process group, to be ended with all that it started
[ "$lanes" -eq 0 ] || shared=$(share_out)
for k in $(seq "$lanes"); do
    mapfile -t mine < <(sed -n "s/^$k //p" <<<"$shared")
    plan+=("instance $k" "down $k")
    in_vault "$k" "${mine[@]}" &
done
[ ${#aside[@]} -eq 0 ] || aside "${aside[@]}" &
wait

# ---- the account ------------------------------------------------------------------------------------------

passed=0
failed=0
absentees=0 # jobs that did not run, each a failure
failures=()
slow=()
for name in "${plan[@]}"; do
    out=$results/${name// /:}
    if ! read -r status seconds lane 2>/dev/null <"$out.end"; then
        failed=$((failed + 1))
        absentees=$((absentees + 1))
        failures+=("$name: did not run (its vault was not born, or it may not be executed)")
        continue
    fi
    slow+=("$seconds $name")
    good=$(grep -c '^ok ' "$out.said")
    bad=$(grep -c '^not ok ' "$out.said")
    where=$name${lane:+ (vault $lane)}
    while read -r line; do failures+=("$where: $line"); done < <(grep '^not ok ' "$out.said")
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
        failures+=("$where: exit status $status")
    elif [ "$status" -eq 0 ] && [ "$good" -eq 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
        failures+=("$where: no test said anything")
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
done

[ -d ../shared/anj/samples ] || absent="../shared/anj (the regulator's samples)"
[ -d ../shared/reference ] || absent="${absent:+$absent, }../shared/reference"
[ -d ../shared/openwire-captures ] || absent="${absent:+$absent, }../shared/openwire-captures"

printf '\nin %s s; the slowest, in seconds:\n' $SECONDS
printf '%s\n' "${slow[@]}" | sort -nr | tee "$COFFRE_BUILD/test-durations" | head -n 12 | sed 's/^/    /'
[ -z "${absent:-}" ] || echo "absent, so not tested: $absent"
if [ "$failed" -gt 0 ] && [ "$lanes" -gt 1 ]; then
    # To do the same again: which files share a vault.
    for k in $(seq "$lanes"); do echo "vault $k: $(sed -n "s|^$k tests/||p" <<<"$shared" | tr '\n' ' ')"; done
fi
for line in "${failures[@]}"; do
    echo "FAILED $line"
done
[ "$absentees" -eq 0 ] || echo "$absentees of ${#plan[@]} jobs did not run, which is a failure each"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
