# A SoftHSM token in the instance's folder, standing in for a network HSM. Sourced by instance.sh.

softhsm_token=coffre-$OPERATOR-$VAULT

softhsm_module() {
    local path
    for path in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so; do
        [ -e "$path" ] && { echo "$path"; return; }
    done
    fail "SoftHSM is not installed: deploy/install-packages.sh"
}

softhsm_up() {
    local dir=$home/softhsm
    as_user mkdir -p "$dir/tokens"
    as_user chmod 700 "$dir" "$dir/tokens"
    write_file "$dir/softhsm2.conf" 600 <<END
directories.tokendir = $dir/tokens
objectstore.backend = file
log.level = ERROR
END
    secret_word hsm-pin
    secret_word hsm-so-pin
    softhsm_present && return
    # softhsm2-util takes PINs as words of the command line, which every process of the machine may read, or from
    # a terminal: so it gets a terminal.
    as_user sh -c 'for pin in so so user user; do
            [ $pin = so ] && cat "$1/hsm-so-pin" || cat "$1/hsm-pin"
        done | script -qec "softhsm2-util --init-token --free --label $2" /dev/null >/dev/null' sh "$home/secrets" "$softhsm_token"
    softhsm_present || fail "SoftHSM did not create the token $softhsm_token"
}

softhsm_present() {
    as_user softhsm2-util --show-slots 2>/dev/null | grep -q "^ *Label: *$softhsm_token *$"
}
