# What the tests of the daemon beside swtpm share. Sourced after common.sh, and initramfs.sh where a
# machine boots. Whatever these functions start is ended, by its id, when the script ends.
# shellcheck shell=bash

VTPMD_WORK=$(mktemp -d)
# The daemon under swtpm's names.
VTPMD_NAMES=$VTPMD_WORK/names
declare -a vtpmd_started=()

# Seconds that anything but a boot may take on a busy machine.
VTPMD_PATIENCE=${VTPMD_PATIENCE:-60}
# Seconds that a boot may take.
VTPMD_BOOT_LIMIT=${VTPMD_BOOT_LIMIT:-400}

vtpmd_end() {
    local pid
    for pid in "${vtpmd_started[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in "${vtpmd_started[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$VTPMD_WORK"
}
trap vtpmd_end EXIT

# Builds the daemon and gives it swtpm's names. Its states here are not encrypted.
vtpmd_prepare() {
    local name
    (cd "$ROOT" && cargo build --quiet --package vtpmd)
    mkdir -p "$VTPMD_NAMES"
    for name in swtpm swtpm_setup swtpm_ioctl; do
        ln -s "$CARGO_TARGET_DIR/debug/vtpmd" "$VTPMD_NAMES/$name"
    done
    export VTPMD_STATE=unencrypted
}

# The program that stands for swtpm in the variant $1: ours or swtpm.
vtpmd_program() {
    case $1 in
    ours) say "$VTPMD_NAMES/swtpm" ;;
    swtpm) command -v swtpm || die "no swtpm: apt-get install swtpm" ;;
    *) die "no variant '$1'" ;;
    esac
}

# Starts a TPM of the variant $1 in the new folder $2, with its control channel at $2/ctrl and
# further options in $3 and later.
vtpmd_start() {
    local program folder=$2
    program=$(vtpmd_program "$1")
    shift 2
    mkdir -p "$folder"
    "$program" socket --tpm2 --tpmstate "dir=$folder" --ctrl "type=unixio,path=$folder/ctrl" \
        --log "file=$folder/log" "$@" &
    vtpmd_started+=($!)
    wait_until "$VTPMD_PATIENCE" "the TPM's socket" test -S "$folder/ctrl"
}

# Waits up to $1 seconds for $2, which is there once the command $3 and later succeeds.
wait_until() {
    local limit=$1 what=$2 end=$((SECONDS + $1))
    shift 2
    until "$@"; do
        ((SECONDS < end)) || die "$what did not come within $limit s"
        sleep 0.1
    done
}

# What every kernel here is told. Without the last one it gives up where an emulated timer is late.
# shellcheck disable=SC2034 # used by those who source this
VTPMD_KERNEL_OPTIONS="console=ttyS0 quiet panic=-1 no_timer_check"

# Starts a machine in the folder $1 with the TPM device $2 (tpm-tis, tpm-crb) on the control channel
# $1/ctrl, with its serial line in $1/console and a QMP socket at $1/qmp; further options in $3 and
# later. Sets machine_pid.
machine_start() {
    local folder=$1 device=$2
    shift 2
    qemu-system-x86_64 -nodefaults -display none -machine q35,accel=tcg -cpu max -smp 1 -m 256 \
        -no-reboot -chardev "socket,id=tpm,path=$folder/ctrl" -tpmdev emulator,id=t,chardev=tpm \
        -device "$device,tpmdev=t" \
        -chardev "socket,id=serial,path=$folder/serial,server=on,wait=off,logfile=$folder/console" \
        -serial chardev:serial -qmp "unix:$folder/qmp,server=on,wait=off" "$@" \
        2>"$folder/qemu.log" &
    machine_pid=$!
    vtpmd_started+=("$machine_pid")
    wait_until "$VTPMD_PATIENCE" "the machine's monitor" test -S "$folder/qmp"
}

# Options of the firmware $1 (seabios, ovmf) for a machine in the folder $2, one a line.
firmware_options() {
    [[ $1 == ovmf ]] || return 0
    cp /usr/share/OVMF/OVMF_VARS.fd "$2/vars.fd"
    printf '%s\n' -drive if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE.fd \
        -drive "if=pflash,format=raw,file=$2/vars.fd"
}

# Tells the guest in the folder $1, of the machine $2, the word $3, and waits until it answers with
# the line $4. Tells it again now and then: an emulated serial line may lose what comes too early.
tell_guest() {
    local end=$((SECONDS + VTPMD_BOOT_LIMIT)) next=0
    until grep -qs "^$4" "$1/console"; do
        if ! kill -0 "$2" 2>/dev/null || ((SECONDS >= end)); then
            tail -n 20 "$1/console" >&2 || true
            die "the guest did not answer '$3' with '$4'"
        fi
        if ((SECONDS >= next)); then
            ask_machine "$1" say "$3"
            next=$((SECONDS + 20))
        fi
        sleep 0.2
    done
}

# Waits until the console in the folder $1 says the line $2, or its machine $3 has ended.
console_says() {
    local end=$((SECONDS + VTPMD_BOOT_LIMIT))
    until grep -q "^$2" "$1/console" 2>/dev/null; do
        if ! kill -0 "$3" 2>/dev/null || ((SECONDS >= end)); then
            tail -n 20 "$1/console" "$1/qemu.log" "$1/log" >&2 || true
            die "the guest did not say '$2'"
        fi
        sleep 0.2
    done
}

# What the guest printed between the lines BEGIN $2 and END $2 on the console in the folder $1.
console_part() { tr -d '\r' <"$1/console" | sed -n "/^BEGIN $2\$/,/^END $2\$/{//!p}"; }

# Asks the machine in the folder $1: hmp COMMAND, status (of a migration), or say TEXT (to its
# serial line).
ask_machine() { "$ROOT/scripts/lib/vtpmd-machine" "$@"; }
