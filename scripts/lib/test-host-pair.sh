# Two test hosts, each with a TPM chip of its own, and a network between them.
# Sourced after common.sh, initramfs.sh and test-host.sh.
# Needs: qemu-system-x86 busybox-static cpio kmod linux-image-amd64 swtpm swtpm-tools iproute2
#
#   namespace of ours:   host a (10.77.0.1) -- tap -- bridge -- tap -- (10.77.0.2) host b
#
# Where KVM is usable there is no need of hosts within: each side is a network namespace then,
# joined by veth, side a with the machine's own chip if it has one.
# shellcheck shell=bash

PAIR_ADDRESS_A=10.77.0.1
PAIR_ADDRESS_B=10.77.0.2

# test_host_pair [OPTION]... -- COMMAND [ARGUMENT]...
# Runs the command on both hosts at once, each line of output with the host's name in front. The
# command finds PAIR_SIDE (a or b), PAIR_SELF and PAIR_PEER (addresses), PAIR_CHIP (the TCTI of its
# chip) and TEST_HOST_JOB (a folder of its own for results) in its environment. Fails with the
# status of the first side that failed.
#   --time-out SECONDS  for the command, not counting the boot; default 300
#   --memory MIB        of each host; default 1024
#   --job FOLDER        results go to FOLDER/a and FOLDER/b; default: a new one, which is removed
test_host_pair() {
    local time_out=300 memory=1024 job='' own_job=no
    while (($# > 0)); do
        case $1 in
        --time-out) time_out=$2 ;;
        --memory) memory=$2 ;;
        --job) job=$2 ;;
        --)
            shift
            break
            ;;
        *) die "pair of test hosts: unknown option '$1'" ;;
        esac
        shift 2
    done
    (($# > 0)) || die "pair of test hosts: no command after --"
    if [[ -z $job ]]; then
        mkdir -p "$TEST_HOST_DIR"
        job=$(mktemp -d -p "$TEST_HOST_DIR")
        own_job=yes
    fi
    mkdir -p "$job"/{a,b}
    job=$(realpath "$job")
    local status=0 pair_network=vtpm-pair-$$-$RANDOM
    local -a pair_processes=()
    # In a subshell, so that its traps clean up whatever ends it.
    (
        trap pair_clean_up EXIT
        trap 'exit 130' INT TERM
        if kvm_is_usable; then pair_on_this_machine "$@"; else pair_of_hosts "$@"; fi
    ) || status=$?
    [[ $own_job == no ]] || rm -rf "$job"
    return "$status"
}

# Both sides in hosts. Reads test_host_pair's variables.
pair_of_hosts() {
    local side
    ip netns add "$pair_network"
    ip -n "$pair_network" link add bridge type bridge
    ip -n "$pair_network" link set bridge up
    # Made once, before both hosts ask for them.
    test_host_image
    for side in a b; do
        ip -n "$pair_network" tuntap add "tap-$side" mode tap
        ip -n "$pair_network" link set "tap-$side" master bridge up
        pair_start "$side" ip netns exec "$pair_network" \
            "$ROOT/scripts/test-host" run --always --name "host-$side" --time-out "$time_out" \
            --memory "$memory" --job "$job/$side" --address "$(pair_address "$side")/24" \
            --nic "tap,ifname=tap-$side,script=no,downscript=no" -- \
            env "PAIR_CHIP=device:/dev/tpmrm0" "$@"
    done
    pair_wait
}

# Both sides on this machine, a namespace each.
pair_on_this_machine() {
    local side chip
    ip netns add "$pair_network-b"
    ip netns add "$pair_network"
    ip -n "$pair_network" link add veth-a type veth peer name veth-b netns "$pair_network-b"
    for side in a b; do
        local namespace=$pair_network
        [[ $side == a ]] || namespace=$pair_network-b
        ip -n "$namespace" link set lo up
        ip -n "$namespace" address add "$(pair_address "$side")/24" dev "veth-$side"
        ip -n "$namespace" link set "veth-$side" up
        chip=$(pair_chip "$side")
        pair_start "$side" ip netns exec "$namespace" env "PAIR_CHIP=$chip" \
            "TEST_HOST_JOB=$job/$side" timeout --kill-after=5 "$time_out" "$@"
    done
    pair_wait
}

# The TCTI of side $1's chip on this machine: its own for side a, if it has one, else a swtpm.
pair_chip() {
    local chip=$job/$1/chip
    if [[ $1 == a && -c /dev/tpmrm0 ]]; then
        say device:/dev/tpmrm0
        return 0
    fi
    test_host_chip "$chip"
    swtpm socket --tpm2 --tpmstate "dir=$chip" --flags startup-clear,not-need-init \
        --ctrl "type=unixio,path=$chip/socket.ctrl" --server "type=unixio,path=$chip/socket" \
        --daemon --pid "file=$chip/pid" --log "file=$chip/swtpm.log" >/dev/null
    say "swtpm:path=$chip/socket"
}

# Starts the command from $2 on for side $1, in the background.
pair_start() {
    local side=$1 peer=b
    shift
    [[ $side == a ]] || peer=a
    PAIR_SIDE=$side PAIR_SELF=$(pair_address "$side") PAIR_PEER=$(pair_address "$peer") \
        "$@" > >(sed --unbuffered "s/^/host $side | /") 2>&1 </dev/null &
    pair_processes+=($!)
}

pair_address() { if [[ $1 == a ]]; then say "$PAIR_ADDRESS_A"; else say "$PAIR_ADDRESS_B"; fi; }

# Waits for both sides; if one fails, the other has nothing to wait for.
pair_wait() {
    local status=0 ended
    local -A left=()
    for ended in "${pair_processes[@]}"; do left[$ended]=1; done
    while ((${#left[@]} > 0 && status == 0)); do
        wait -n -p ended "${!left[@]}" || status=$?
        unset "left[$ended]"
    done
    return "$status"
}

pair_clean_up() {
    local process side
    for process in "${pair_processes[@]}"; do
        kill -TERM "$process" 2>/dev/null || true
    done
    wait
    for side in a b; do
        [[ ! -s $job/$side/chip/pid ]] || kill -TERM "$(<"$job/$side/chip/pid")" || true
    done
    for side in "$pair_network" "$pair_network-b"; do
        [[ ! -e /run/netns/$side ]] || ip netns delete "$side"
    done
}
