# Functions that every script here shares. Sourced, with `set -euo pipefail` in force.
# shellcheck shell=bash

# Root of the repository.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Where cargo builds, and where these scripts keep tools, logs and downloads.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target}
TOOLS_DIR=$CARGO_TARGET_DIR/tools
# Exit status of a stage or case that could not be run and says why; automake's convention.
# shellcheck disable=SC2034 # used by those who source this
SKIPPED=77

export PATH="$TOOLS_DIR/bin:$HOME/.cargo/bin:$PATH"

say() { printf '%s\n' "$*"; }
warn() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
die() {
    warn "$*"
    exit 1
}

# Ends a stage as skipped; the last line of its output is the reason.
skip() {
    say "skipped: $*"
    exit "$SKIPPED"
}

have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root: as it is for root, with sudo for others.
as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "needs root for: $*"
    fi
}

# Prints a number of seconds as "7.3 s" or "2 min 05 s". $1: milliseconds.
duration() {
    local ms=$1
    if ((ms < 60000)); then
        printf '%d.%d s' $((ms / 1000)) $((ms % 1000 / 100))
    else
        printf '%d min %02d s' $((ms / 60000)) $((ms % 60000 / 1000))
    fi
}

now_ms() { date +%s%3N; }

# The first of the crates named in $@ (folders below the root) that is not there; fails if all are.
missing_crate() {
    local crate
    for crate in "$@"; do
        [[ -f $ROOT/$crate/Cargo.toml ]] || {
            say "$crate"
            return 0
        }
    done
    return 1
}
