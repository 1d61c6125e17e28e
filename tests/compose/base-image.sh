# debian:bookworm-slim: here, from a registry, or made with debootstrap. Sourced by tests that build images.

# base_image WORK: a folder for what it needs on the way.
base_image() {
    docker image inspect debian:bookworm-slim >/dev/null 2>&1 || docker pull debian:bookworm-slim 2>/dev/null && return
    echo "no debian:bookworm-slim here and no registry to ask: making it with debootstrap"
    command -v debootstrap >/dev/null || { echo "debootstrap is not installed" >&2; return 1; }
    debootstrap --variant=minbase bookworm "$1/root" >"$1/debootstrap.log" || { tail "$1/debootstrap.log" >&2; return 1; }
    tar -C "$1/root" -c . | docker import - debian:bookworm-slim >/dev/null
}
