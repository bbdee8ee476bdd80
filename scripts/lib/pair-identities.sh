# How two hosts tell each other names, as an operator would copy them between hosts.
# Sourced on both sides of a pair of test hosts (test-host-pair.sh), after common.sh.
# shellcheck shell=bash

pair_servers=()

# pair_offer PORT TEXT: gives TEXT to the other host when it asks, until pair_end.
pair_offer() {
    while :; do
        busybox nc -l -p "$1" <<<"$2" || sleep 0.2
    done >/dev/null 2>&1 &
    pair_servers+=($!)
}

# pair_fetch PORT: waits for what the other host offers there, and prints it.
pair_fetch() {
    local text='' tries
    for ((tries = 0; tries < 240; tries++)); do
        text=$(busybox nc -w 2 "$PAIR_PEER" "$1" </dev/null 2>/dev/null) || true
        [[ -z $text ]] || break
        sleep 1
    done
    [[ -n $text ]] || die "the other host offers nothing on port $1"
    say "$text"
}

# Ends what pair_offer started.
pair_end() {
    local server
    for server in "${pair_servers[@]}"; do
        kill "$server" 2>/dev/null || true
    done
}

# pair_policy NAME EK: a trust policy that trusts one host, by its endorsement key.
pair_policy() { printf 'version = 1\n\n[[host]]\nname = "%s"\nek = "%s"\n' "$1" "$2"; }
