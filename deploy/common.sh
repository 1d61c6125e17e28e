# Shared by instance.sh and the scripts it sources: where an instance lives, as whom it runs, which ports it has,
# and how its processes are started, recognised after a crash or a reboot, and ended. Bash.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
checkout=$(dirname "$here")

RUN_DIR=${RUN_DIR:-$checkout/run}
PORT_STOMP=${PORT_STOMP:-6163}
PORT_HTTPS=${PORT_HTTPS:-8443}
PORT_AMQPS=${PORT_AMQPS:-5671}
PORT_EPMD=${PORT_EPMD:-4370}
PORT_DIST=${PORT_DIST:-25671}
OPERATOR=${OPERATOR:-4512}
VAULT=${VAULT:-1}
LOT_AGE=${LOT_AGE:-5s}
FRONTS=${FRONTS:-1}
SCHEMA_POLICY=${SCHEMA_POLICY:-record}
SCHEMA_UNKNOWN=${SCHEMA_UNKNOWN:-record}
BUILD=${BUILD:-build/release}
case $BUILD in /*) ;; *) BUILD=$checkout/$BUILD ;; esac
case $RUN_DIR in /*) ;; *) RUN_DIR=$PWD/$RUN_DIR ;; esac

say() { printf '%s\n' "$*"; }
fail() { printf 'coffre: %s\n' "$*" >&2; exit 1; }

# ---- as whom -----------------------------------------------------------------------------------

# PostgreSQL refuses to run as root, and the others have no reason to.
if [ "$(id -u)" -eq 0 ]; then
    run_user=${RUN_USER:-postgres}
    id "$run_user" >/dev/null 2>&1 || fail "there is no user $run_user (RUN_USER) to run the servers as"
else
    run_user=$(id -un)
fi
run_group=$(id -gn "$run_user")

# Sets $command_line to what comes before a command of the instance's user.
user_command() {
    command_line=()
    [ "$(id -u)" -ne 0 ] || command_line=(setpriv --reuid="$run_user" --regid="$run_group" --clear-groups --)
    command_line+=(env -i -C "$home" PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME="$home" LANG=C.UTF-8 SOFTHSM2_CONF="$home/softhsm/softhsm2.conf")
}

# Runs a command as the instance's user with a small environment of its own.
as_user() {
    user_command
    "${command_line[@]}" "$@"
}

# ---- where ---------------------------------------------------------------------------------------

# Sets $home, the real folder behind RUN_DIR. When the instance's user cannot reach the checkout (it may be under
# /root), or its path is too long for a Unix socket, the real folder is in /var/tmp and RUN_DIR a link to it.
place_home() {
    local elsewhere owner
    if [ -L "$RUN_DIR" ] || [ -d "$RUN_DIR" ]; then
        home=$(readlink -m "$RUN_DIR")
    else
        home=$(readlink -m "$RUN_DIR")
        elsewhere=/var/tmp/coffre-$(printf '%s %s' "$home" "$run_user" | sha256sum | cut -c1-12)
        if [ ${#home} -gt 70 ] || ! user_may_enter "$(dirname "$home")"; then
            mkdir -p "$(dirname "$RUN_DIR")"
            home=$elsewhere
            ln -s "$home" "$RUN_DIR"
        fi
    fi
    if [ ! -d "$home" ]; then
        mkdir -p "$(dirname "$home")"
        mkdir -m 700 "$home"
        chown "$run_user:$run_group" "$home"
    fi
    owner=$(stat -c %U "$home")
    [ "$owner" = "$run_user" ] || fail "$home belongs to $owner, not to $run_user"
    # Whoever asks for the instance's files may be another than its user: only root has to.
    as_user test -w "$home" || fail "$run_user cannot write to $home"
    as_user mkdir -p "$home/log" "$home/pid" "$home/secrets" "$home/bin" "$home/state"
    as_user chmod 700 "$home/secrets"
}

user_may_enter() {
    local dir=$1 home=/
    while [ ! -d "$dir" ]; do dir=$(dirname "$dir"); done
    as_user test -x "$dir"
}

# Like place_home, for commands that only look at what is there.
find_home() {
    home=$(readlink -m "$RUN_DIR")
    [ -d "$home" ]
}

# Writes standard input to a file of the instance, whole or not at all: write_file PATH MODE.
write_file() {
    as_user sh -c 'umask 077; cat >"$1.new" && chmod "$2" "$1.new" && mv -f "$1.new" "$1"' sh "$1" "$2"
}

# A file of N random bytes, made once.
secret_bytes() {
    [ -s "$home/secrets/$1" ] || head -c "$2" /dev/urandom | write_file "$home/secrets/$1" 600
}
secret_word() {
    [ -s "$home/secrets/$1" ] || head -c 18 /dev/urandom | base64 | tr '+/' '-_' | write_file "$home/secrets/$1" 600
}

# ---- ports ---------------------------------------------------------------------------------------

# Is somebody listening on this TCP port, on loopback or everywhere?
port_busy() {
    local hex
    hex=$(printf '%04X' "$1")
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port=":$hex" '$4 == "0A" && substr($2, length($2) - 4) == port { found = 1 } END { exit !found }'
}

# port_free VARIABLE: fails with a message when another program has it.
port_free() {
    port_busy "${!1}" && fail "port ${!1} ($1) is taken by another program: end that one, or choose another port, for example: make up $1=$((${!1} + 1000))"
    return 0
}

# ---- processes -----------------------------------------------------------------------------------

# What tells a process from a later one with the same number, across reboots too.
identity() {
    [ -r "/proc/$1/stat" ] || return 1
    printf '%s %s %s\n' "$1" "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20)" "$(cat /proc/sys/kernel/random/boot_id)"
}

# Prints the process id of NAME when it is alive.
alive() {
    local file=$home/pid/$1 pid
    [ -s "$file" ] || return 1
    read -r pid _ <"$file"
    [ "$(identity "$pid")" = "$(cat "$file")" ] || return 1
    # A zombie has a place in the table but no life, once its last thread has left: until then the ports are taken (a killed RabbitMQ's for a
    # second, on a busy machine). Nor has who leaves the table at this very moment.
    case $(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -c1) in
    Z) [ "$(ls "/proc/$pid/task" 2>/dev/null | wc -l)" -gt 1 ] || return 1 ;;
    X | '') return 1 ;;
    esac
    echo "$pid"
}

started=() # what this very command started, in order

# start NAME COMMAND...: in the background, in a session of its own, output appended to log/NAME.log.
start() {
    local name=$1 log=$home/log/$1.log pid
    shift
    as_user touch "$log"
    as_user rm -f "$home/pid/$name.starting" # of a start that was interrupted
    # The shell between writes its own number, then becomes the command.
    user_command
    "${command_line[@]}" setsid sh -c 'echo $$ >"$1"; log=$2; shift 2; exec "$@" >>"$log" 2>&1 </dev/null' sh "$home/pid/$name.starting" "$log" "$@" 9>&- &
    disown
    for _ in $(seq 1200); do # at once, but on a machine that is short of everything
        [ -s "$home/pid/$name.starting" ] && break
        sleep 0.05
    done
    pid=$(cat "$home/pid/$name.starting")
    # What ended at once is said by wait_for, with the end of its log.
    { identity "$pid" || echo "$pid ended"; } | write_file "$home/pid/$name" 644
    as_user rm -f "$home/pid/$name.starting"
    started+=("$name")
}

# end_now NAME PID: kills it; it is gone, with its ports, when this returns: whoever starts it again must not take it for alive.
end_now() {
    kill -KILL "$2" 2>/dev/null || true
    while alive "$1" >/dev/null; do sleep 0.02; done
}

# stop NAME SIGNAL SECONDS: asks, waits, then kills.
stop() {
    local pid
    if pid=$(alive "$1"); then
        kill "-$2" "$pid" 2>/dev/null || true
        for _ in $(seq $(($3 * 20))); do
            alive "$1" >/dev/null || break
            sleep 0.05
        done
        if alive "$1" >/dev/null; then
            say "  $1 did not stop within $3 s: killed"
            end_now "$1" "$pid"
        fi
    fi
    rm -f "$home/pid/$1"
}

# wait_for NAME SECONDS CONDITION...: until the condition holds; fails with the log's tail when NAME dies or time is over.
wait_for() {
    local name=$1 seconds=$2
    shift 2
    for _ in $(seq $((seconds * 10))); do
        "$@" && return 0
        alive "$name" >/dev/null || not_ready "$name" "has ended"
        sleep 0.1
    done
    not_ready "$name" "is not ready after $seconds s"
}

not_ready() {
    {
        printf 'coffre: %s %s. The end of %s/log/%s.log:\n' "$1" "$2" "$RUN_DIR" "$1"
        tail -n 15 "$home/log/$1.log" | sed 's/^/    /'
    } >&2
    exit 1
}
