# Test hosts: machines with a usable /dev/kvm and a TPM of their own, on a machine that has neither.
# Sourced after common.sh and initramfs.sh.
# Needs: qemu-system-x86 busybox-static cpio kmod linux-image-amd64 swtpm swtpm-tools
#
# A test host is QEMU in emulation (TCG) with nested SVM: slow, and the same everywhere. Its root is
# this machine's root, read-only below an overlay in memory: every path is what it is outside, and
# nothing that is written there stays, except in the job's folder. Its chip is a swtpm behind
# tpm-crb with endorsement and platform certificates, so that /dev/tpm0 and /dev/tpmrm0 are there.
# shellcheck shell=bash

TEST_HOST_DIR=$CARGO_TARGET_DIR/test-host
# Seconds a host may take to boot, on a busy machine.
TEST_HOST_BOOT_LIMIT=${TEST_HOST_BOOT_LIMIT:-180}

# What needs no test host: a /dev/kvm in which a stock Linux kernel runs. PVM only emulates one.
kvm_is_usable() { [[ -c /dev/kvm && -r /dev/kvm && -w /dev/kvm && ! -d /sys/module/kvm_pvm ]]; }

# test_host_run [OPTION]... -- COMMAND [ARGUMENT]...
# Runs the command as root in a test host, its output here, its exit status as ours. On a machine
# with a usable KVM it runs directly unless --always says otherwise. A host that does not answer in
# time is ended and, once, replaced by a new one: an emulated SVM loses an interrupt now and then.
#   --time-out SECONDS  for the command, without the boot; default 300. 124 when exceeded
#   --memory MIB        default 1024
#   --job FOLDER        where the command may leave results: the same path inside and outside, also
#                       in $TEST_HOST_JOB; default: a new one, which is removed
#   --tpm FOLDER        the chip's state, made if it is not there; default: a new chip; none: no TPM
#   --name NAME         host name; default test-host
#   --nic OPTIONS       a network card: what -netdev takes, without the id (tap,ifname=...)
#   --address IP/BITS   of that card
#   --always            boot a host even if KVM is usable here
test_host_run() {
    local time_out=300 memory=1024 job='' tpm='' name=test-host nic='' address=''
    local always=no own_job=no
    while (($# > 0)); do
        case $1 in
        --time-out) time_out=$2 ;;
        --memory) memory=$2 ;;
        --job) job=$2 ;;
        --tpm) tpm=$2 ;;
        --name) name=$2 ;;
        --nic) nic=$2 ;;
        --address) address=$2 ;;
        --always)
            always=yes
            shift
            continue
            ;;
        --)
            shift
            break
            ;;
        *) die "test host: unknown option '$1'" ;;
        esac
        shift 2
    done
    (($# > 0)) || die "test host: no command after --"
    if [[ -z $job ]]; then
        mkdir -p "$TEST_HOST_DIR"
        job=$(mktemp -d -p "$TEST_HOST_DIR")
        own_job=yes
    fi
    job=$(realpath "$job")
    local status=0
    if kvm_is_usable && [[ $always == no ]]; then
        TEST_HOST_JOB=$job timeout --kill-after=5 "$time_out" "$@" || status=$?
    else
        test_host_retrying "$@" || status=$?
    fi
    [[ $own_job == no ]] || rm -rf "$job"
    return "$status"
}

# Boots a host for the command in $@, twice if the first does not answer. Reads test_host_run's
# variables.
test_host_retrying() {
    local attempt status
    test_host_command "$@" >"$job/command"
    test_host_image
    for attempt in 1 2; do
        rm -f "$job/started" "$job/status"
        test_host_boot "$attempt"
        if [[ -s $job/status ]]; then
            status=$(<"$job/status")
            return "$status"
        fi
        warn "test host: no answer in time (attempt $attempt); its console: $job/console.$attempt"
    done
    tail -n 20 "$job/console.2" "$job/console.2.qemu" >&2
    return 125
}

# The script that runs inside: this environment's relevant part, this folder, the command.
test_host_command() {
    local variable
    printf 'export TEST_HOST_JOB=%q HOME=/root LC_ALL=C.UTF-8 TEST_HOST=1\n' "$job"
    for variable in PATH CARGO_TARGET_DIR VTPM_TEST_LENGTH RUST_BACKTRACE RUST_LOG \
        PAIR_SIDE PAIR_SELF PAIR_PEER; do
        [[ -z ${!variable:-} ]] || printf 'export %s=%q\n' "$variable" "${!variable}"
    done
    [[ $tpm == none ]] || printf 'export TPM2TOOLS_TCTI=device:/dev/tpmrm0\n'
    printf 'cd %q\n' "$PWD"
    printf 'timeout --kill-after=5 %q ' "$time_out"
    printf '%q ' "$@"
    printf '\n'
}

# Builds the host's initramfs, if its ingredients are newer.
test_host_image() {
    local init=$ROOT/scripts/lib/test-host-init
    TEST_HOST_KERNEL=$(newest_kernel)
    TEST_HOST_IMAGE=$TEST_HOST_DIR/initramfs-$TEST_HOST_KERNEL
    if [[ $TEST_HOST_IMAGE -nt $init && $TEST_HOST_IMAGE -nt ${BASH_SOURCE[0]} ]]; then
        return 0
    fi
    build_initramfs "$TEST_HOST_IMAGE" "$init" --kernel "$TEST_HOST_KERNEL" \
        --module kvm_amd --module virtio_pci --module virtio_net --module 9p \
        --module 9pnet_virtio --module overlay --module tun --module veth --module bridge
}

# One host, from its chip's start to its end. $1: which attempt, for the console's name.
test_host_boot() {
    local console=$job/console.$1 chip='' chip_pid='' qemu_pid scratch
    scratch=$(mktemp -d)
    local -a devices=()
    if [[ $tpm != none ]]; then
        chip=${tpm:-$scratch/chip}
        test_host_chip "$chip"
        swtpm socket --tpm2 --tpmstate "dir=$chip" --ctrl "type=unixio,path=$scratch/tpm" \
            --terminate --log "file=$scratch/swtpm.log" >/dev/null &
        chip_pid=$!
        wait_for_socket "$scratch/tpm" || warn "swtpm does not answer: $(cat "$scratch/swtpm.log")"
        devices+=(-chardev "socket,id=tpm,path=$scratch/tpm")
        devices+=(-tpmdev "emulator,id=tpm,chardev=tpm" -device "tpm-crb,tpmdev=tpm")
    fi
    if [[ -n $nic ]]; then
        devices+=(-netdev "$nic,id=nic")
        devices+=(-device "virtio-net-pci,netdev=nic,romfile=,mac=$(mac_of "$name")")
    fi
    test_host_qemu "$console" "$scratch" "${devices[@]}" &
    qemu_pid=$!
    test_host_wait "$qemu_pid" "$console" || true
    end_process "$qemu_pid"
    [[ -z $chip_pid ]] || end_process "$chip_pid"
    rm -rf "$scratch"
}

# QEMU itself, replacing the shell. $1: file for the console, $2: scratch folder, then devices.
test_host_qemu() {
    local console=$1 line
    shift 2
    line="console=ttyS0 quiet panic=-1 nohz=off highres=off random.trust_cpu=on"
    line+=" host.job=$job host.name=$name host.address=$address"
    exec setpriv --pdeathsig TERM \
        qemu-system-x86_64 -nodefaults -no-user-config -accel tcg,thread=multi \
        -cpu EPYC-Rome -smp 1 -m "$memory" -display none -no-reboot \
        -kernel "/boot/vmlinuz-$TEST_HOST_KERNEL" -initrd "$TEST_HOST_IMAGE" -append "$line" \
        -serial "file:$console" -serial "stdio" \
        -virtfs local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap \
        -virtfs "local,path=$job,mount_tag=job,security_model=none" \
        "$@" </dev/null 2>"$console.qemu"
}

# Waits until process $1 ends, at most the boot's and then the command's time.
test_host_wait() {
    local pid=$1 waited=0 limit=$TEST_HOST_BOOT_LIMIT
    while kill -0 "$pid" 2>/dev/null; do
        if [[ -e $job/started ]]; then
            limit=$((TEST_HOST_BOOT_LIMIT + time_out + 30))
        fi
        ((waited < limit * 4)) || return 1
        sleep 0.25
        waited=$((waited + 1))
    done
}

# Makes a chip with certificates in folder $1, unless it is one already. The authority that signs
# them is this machine's own, in test-host/ca below the target folder, made when first needed.
test_host_chip() {
    local chip=$1 ca=$TEST_HOST_DIR/ca
    [[ ! -e $chip/tpm2-00.permall ]] || return 0
    mkdir -p "$chip" "$ca"
    if [[ ! -e $ca/setup.conf ]]; then
        printf '%s\n' "statedir = $ca" "signingkey = $ca/signkey.pem" \
            "issuercert = $ca/issuercert.pem" "certserial = $ca/certserial" >"$ca/localca.conf"
        printf '%s\n' "--platform-manufacturer VTPM-TEST" "--platform-version 1" \
            "--platform-model test-host" >"$ca/localca.options"
        printf '%s\n' "create_certs_tool = $(command -v swtpm_localca)" \
            "create_certs_tool_config = $ca/localca.conf" \
            "create_certs_tool_options = $ca/localca.options" \
            "active_pcr_banks = sha1,sha256,sha384" >"$ca/setup.conf"
    fi
    flock "$ca" swtpm_setup --tpm2 --tpmstate "$chip" --config "$ca/setup.conf" --ecc \
        --create-ek-cert --create-platform-cert --overwrite --logfile "$chip/setup.log" ||
        die "swtpm_setup failed: $(tail -n 3 "$chip/setup.log")"
}

# A MAC address that depends on the name $1.
mac_of() {
    local digest
    digest=$(printf '%s' "$1" | sha256sum)
    printf '52:54:00:%s:%s:%s' "${digest:0:2}" "${digest:2:2}" "${digest:4:2}"
}

# Waits at most five seconds until there is a socket $1.
wait_for_socket() {
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        [[ ! -S $1 ]] || return 0
        sleep 0.05
    done
    return 1
}

# Ends our child $1, by force if it does not listen.
end_process() {
    local tries
    kill -TERM "$1" 2>/dev/null || true
    for ((tries = 0; tries < 50; tries++)); do
        kill -0 "$1" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}
