# Builds small initramfs images: busybox, programs with their libraries, kernel modules, an /init.
# Sourced after common.sh. Needs: busybox-static cpio kmod linux-image-amd64
# shellcheck shell=bash

# The newest Debian kernel here that has its modules: its version, as in /boot/vmlinuz-VERSION.
# The cloud kernels are left out, for they have neither 9p nor a TPM driver.
newest_kernel() {
    local file version
    while read -r file; do
        version=${file#/boot/vmlinuz-}
        if [[ -d /lib/modules/$version && $version != *cloud* ]]; then
            say "$version"
            return 0
        fi
    done < <(find /boot -name 'vmlinuz-*' | sort --version-sort --reverse)
    die "no kernel in /boot with modules in /lib/modules: apt-get install linux-image-amd64"
}

# build_initramfs OUTPUT INIT [OPTION]...
# Writes the image OUTPUT (newc, not compressed: faster to boot where the machine is emulated) with
# the script INIT as /init and all of busybox's applets in /bin. Options, each any number of times:
#   --program FILE    a program with the libraries that it needs, both at their own paths
#   --file FROM:TO    a file or folder FROM as TO
#   --folder PATH     an empty folder
#   --kernel VERSION  the kernel that the modules are for; default: the newest
#   --module NAME     a module with what it depends on; /init calls `load-modules` for them
build_initramfs() {
    local output=$1 init=$2 kernel='' tree
    local -a modules=()
    shift 2
    tree=$(mktemp -d)
    initramfs_base "$tree" "$init"
    while (($# > 0)); do
        case $1 in
        --program) initramfs_program "$tree" "$2" ;;
        --file) initramfs_file "$tree" "${2%%:*}" "${2#*:}" ;;
        --folder) mkdir -p "$tree/$2" ;;
        --kernel) kernel=$2 ;;
        --module) modules+=("$2") ;;
        *) die "build_initramfs does not know '$1'" ;;
        esac
        shift 2
    done
    if ((${#modules[@]} > 0)); then
        initramfs_modules "$tree" "${kernel:-$(newest_kernel)}" "${modules[@]}"
    fi
    mkdir -p "$(dirname "$output")"
    (cd "$tree" && find . -print0 | LC_ALL=C sort --zero-terminated |
        cpio --null --create --format=newc --owner=0:0 --reproducible --quiet) >"$output.new"
    mv "$output.new" "$output"
    rm -rf "$tree"
}

# The tpm2 tool and what it loads, as options of build_initramfs, one a line.
tpm2_in_initramfs() {
    local library
    library=$(find /usr/lib -name 'libtss2-tcti-device.so.0' | head -n 1)
    printf '%s\n' --program "$(command -v tpm2)" --program "$library"
}

# Folders, busybox with its applets, `load-modules` and the script $2 as /init, in the tree $1.
initramfs_base() {
    local tree=$1 init=$2 busybox applet
    busybox=$(command -v busybox) || die "no busybox: apt-get install busybox-static"
    mkdir -p "$tree"/{bin,dev,etc,lib,modules,proc,root,run,sys,tmp,usr/bin,usr/sbin}
    ln -s bin "$tree/sbin"
    cp "$busybox" "$tree/bin/busybox"
    while read -r applet; do
        ln -s busybox "$tree/bin/$applet"
    done < <("$busybox" --list | grep -vx busybox)
    install -m 755 "$init" "$tree/init"
    : >"$tree/modules/order"
    cat >"$tree/bin/load-modules" <<'SCRIPT'
#!/bin/sh
# Loads the modules of this image, in an order that satisfies their dependencies.
while read -r module; do
    insmod "/modules/$module" || echo "load-modules: $module failed" >&2
done </modules/order
SCRIPT
    chmod 755 "$tree/bin/load-modules"
}

# The program $2 and, as the dynamic linker finds them, its libraries, in the tree $1. What a
# program loads by name at run time (TCTI modules, say) has to be named as a program too.
initramfs_program() {
    local tree=$1 program=$2 library
    [[ -f $program ]] || die "no program '$program' for the initramfs"
    initramfs_file "$tree" "$program" "$program"
    while read -r library; do
        [[ -e $tree/$library ]] || initramfs_file "$tree" "$library" "$library"
    done < <({ ldd "$program" 2>/dev/null || true; } | grep -oE '/[^ ]+')
}

# The file or folder $2 as $3 in the tree $1; links are followed.
initramfs_file() {
    local tree=$1 from=$2 to=$3
    [[ -e $from ]] || die "no '$from' for the initramfs"
    mkdir -p "$tree/$(dirname "$to")"
    cp --recursive --dereference --preserve=mode "$from" "$tree/$to"
}

# The modules $3 and later of kernel $2, their dependencies first, and the order to load them in.
initramfs_modules() {
    local tree=$1 kernel=$2 kind file
    shift 2
    while read -r kind file _; do
        [[ $kind == insmod && ! -e $tree/modules/$(basename "$file") ]] || continue
        cp "$file" "$tree/modules/"
        basename "$file" >>"$tree/modules/order"
    done < <(modprobe --set-version "$kernel" --show-depends --all "$@" ||
        warn "a module of $* is not in kernel $kernel")
}
