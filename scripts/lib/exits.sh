# Counts the exits of TPM commands; for scripts/exits-per-command. Sourced after common.sh and
# initramfs.sh.
# shellcheck shell=bash

EXITS_COMMANDS=(pcr-extend quote hash-1k)
EXITS_COUNTER=/sys/kernel/debug/kvm/mmio_exits

# The bytes of hexadecimal text $1.
exits_bytes() {
    local text=${1//[[:space:]]/}
    printf '%b' "$(fold --width=2 <<<"$text" | sed 's/^/\\x/' | tr -d '\n')"
}

# Writes the guest's initramfs to file $1: an /init, and a file for each command.
exits_image() {
    local image=$1 tree password=00000009400000090000000000
    tree=$(mktemp -d)
    # An ECC key that signs what the TPM made, without authorization. Of the null hierarchy: SeaBIOS
    # disables the others when the machine is so slow that its time-outs for the TPM pass.
    exits_bytes "8002000000410000013140000007 $password 000400000000 0018 0023000b00050472 0000 \
        0010 0018000b 0003 0010 0000 0000 0000 00000000" >"$tree/create-primary"
    exits_bytes "8002000000410000018200000010 $password 00000001000b$(printf '61%.0s' {1..32})" \
        >"$tree/pcr-extend"
    exits_bytes "80020000003d0000015880000000 $password 0014$(printf '62%.0s' {1..20}) 0010 \
        00000001000b03ff0000" >"$tree/quote"
    exits_bytes "8001000004120000017d0400$(printf '63%.0s' {1..1024})000b40000007" >"$tree/hash-1k"
    cat >"$tree/init" <<'SCRIPT'
#!/bin/sh
# Runs each command that the host asks for, one at a time, and says what it gave.
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
load-modules
stty -echo
tries=0
while [ ! -c /dev/tpm0 ] && [ $tries -lt 50 ]; do sleep 0.2; tries=$((tries + 1)); done
exec 3<>/dev/tpm0
run() {
    dd if="/commands/$1" bs=4096 count=1 2>/dev/null >&3
    dd bs=4096 count=1 <&3 2>/dev/null >/response
    code=$(dd if=/response bs=1 skip=6 count=4 2>/dev/null | od -An -tx1 | tr -d ' ')
}
run create-primary
echo "EXITS primary $code interrupts $(grep -c tpm /proc/interrupts)"
while echo "EXITS ready" && read -r command && [ "$command" != end ]; do
    run "$command"
    echo "EXITS done $command $(wc -c </response) $code"
done
poweroff -f
SCRIPT
    build_initramfs "$image" "$tree/init" --module tpm_tis --module tpm_crb \
        --file "$tree/create-primary:commands/create-primary" \
        --file "$tree/pcr-extend:commands/pcr-extend" \
        --file "$tree/quote:commands/quote" --file "$tree/hash-1k:commands/hash-1k"
    rm -rf "$tree"
}

# In the test host: measures all four machines, with what is in folder $1, in $2 rounds.
exits_measure_all() {
    local job=$1 rounds=$2 kernel interface daemon
    # A test host has no udev that would make it.
    [[ -e /dev/fd ]] || ln -s /proc/self/fd /dev/fd
    kernel=/boot/vmlinuz-$(newest_kernel)
    mountpoint --quiet /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
    local line="console=ttyS0 quiet panic=-1 random.trust_cpu=on"
    : >"$job/counts"
    for interface in tis crb; do
        exits_measure "$job" "$rounds" "ours $interface" "$CARGO_TARGET_DIR/debug/vmm" run \
            --kernel "$kernel" --initrd "$job/initramfs" --cmdline "$line" --memory 256 \
            --tpm "$interface" --serial stdio
        exits_daemon "$job"
        exits_measure "$job" "$rounds" "qemu $interface" qemu-system-x86_64 -machine q35 \
            -accel kvm -cpu host -m 256 -nodefaults -no-user-config -display none -no-reboot \
            -kernel "$kernel" -initrd "$job/initramfs" -append "$line" -serial stdio \
            -chardev "socket,id=tpm,path=$daemon/tpm" -tpmdev emulator,id=tpm,chardev=tpm \
            -device "tpm-$interface,tpmdev=tpm"
    done
}

# A new TPM for QEMU; it ends with QEMU. Its folder is left in `daemon`: the job's holds no sockets.
exits_daemon() {
    local tries
    daemon=$(mktemp -d)
    "$CARGO_TARGET_DIR/debug/vtpmd" --unencrypted socket --tpm2 --tpmstate "dir=$daemon" \
        --ctrl "type=unixio,path=$daemon/tpm" --terminate >"$1/vtpmd.log" 2>&1 &
    for ((tries = 0; tries < 100; tries++)); do
        [[ ! -S $daemon/tpm ]] || return 0
        sleep 0.1
    done
    die "vtpmd has no socket: $(<"$1/vtpmd.log")"
}

# Boots the machine of command $4... and measures each command in $2 rounds. A line of $1/counts for
# each: the machine's name $3, the command, the size of the response, the counts.
exits_measure() {
    local job=$1 rounds=$2 name=$3 log command round line before after size counts
    shift 3
    log=$job/${name/ /-}.log
    coproc MACHINE { exec "$@" 2>>"$log"; }
    local machine=$MACHINE_PID input=${MACHINE[1]} output=${MACHINE[0]}
    exits_expect "$output" "$log" primary
    [[ $line == "primary 00000000 "* ]] || die "$name: $line"
    for command in "${EXITS_COMMANDS[@]}"; do
        counts=''
        for ((round = 0; round < rounds; round++)); do
            exits_expect "$output" "$log" ready
            # What the guest does between its word and its waiting for ours is no exit of MMIO.
            sleep 0.2
            before=$(<"$EXITS_COUNTER")
            printf '%s\n' "$command" >&"$input"
            exits_expect "$output" "$log" "done $command"
            after=$(<"$EXITS_COUNTER")
            [[ $line == *" 00000000" ]] || die "$name: $line"
            counts+=" $((after - before))"
        done
        size=$(cut -d ' ' -f 3 <<<"$line")
        say "$name $command $size$counts" | tee -a "$job/counts"
    done
    exits_expect "$output" "$log" ready
    printf 'end\n' >&"$input"
    timeout 30 tail --pid="$machine" -f /dev/null || kill "$machine"
    wait "$machine" 2>/dev/null || true
}

# Reads descriptor $1 up to a line "EXITS $3 ...", which is left in `line`.
exits_expect() {
    while IFS= read -r -t 300 line <&"$1"; do
        line=${line%$'\r'}
        printf '%s\n' "$line" >>"$2"
        [[ $line == *"EXITS $3"* ]] || continue
        line=${line#*EXITS }
        return 0
    done
    die "no \"$3\" from the guest; its console is in $2"
}

# The fewest exits of machine $2 for command $3 in file $1: more are polls, while the TPM works.
exits_fewest() {
    awk -v machine="$2" -v command="$3" '$1 " " $2 == machine && $3 == command {
        for (i = 5; i <= NF; i++) print $i
    }' "$1" | sort -n | head -n 1
}

# Prints the table of the counts in file $1.
exits_table() {
    local interface command ours qemu
    printf '%-9s %-12s %8s %8s %8s\n' interface command ours QEMU ratio
    for interface in tis crb; do
        for command in "${EXITS_COMMANDS[@]}"; do
            ours=$(exits_fewest "$1" "ours $interface" "$command")
            qemu=$(exits_fewest "$1" "qemu $interface" "$command")
            printf '%-9s %-12s %8d %8d %7s\n' "$interface" "$command" "$ours" "$qemu" \
                "$(awk "BEGIN { printf \"%.1f\", $qemu / $ours }")"
        done
    done
}

# Fails unless ours take no more exits than QEMU's, and at most a tenth for the long command on TIS.
exits_check() {
    local interface command ours qemu
    for interface in tis crb; do
        for command in "${EXITS_COMMANDS[@]}"; do
            ours=$(exits_fewest "$1" "ours $interface" "$command")
            qemu=$(exits_fewest "$1" "qemu $interface" "$command")
            ((ours <= qemu)) || die "$interface, $command: $ours exits, QEMU $qemu"
        done
    done
    ours=$(exits_fewest "$1" "ours tis" hash-1k)
    qemu=$(exits_fewest "$1" "qemu tis" hash-1k)
    ((ours * 10 <= qemu)) || die "tis, hash-1k: $ours exits, more than a tenth of QEMU's $qemu"
}
