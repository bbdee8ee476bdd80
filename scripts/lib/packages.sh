# Installs what a stage needs and the machine lacks, by apt. Sourced after common.sh.
# shellcheck shell=bash

# Those of the Debian packages in $@ that are not installed, one a line.
missing_packages() {
    local package state
    for package in "$@"; do
        state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
        [[ $state == installed ]] || say "$package"
    done
}

# Makes sure that the Debian packages in $@ are installed.
ensure_packages() {
    local -a missing
    have dpkg-query || {
        warn "not a Debian system; expecting the equivalent of: $*"
        return 0
    }
    mapfile -t missing < <(missing_packages "$@")
    [[ ${#missing[@]} -gt 0 ]] || return 0
    say "installing: ${missing[*]}"
    apt_install "${missing[@]}" && return 0
    say "once more, with a fresh list of packages"
    as_root apt-get -qq update && apt_install "${missing[@]}"
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 \
        install --no-install-recommends -y "$@" >/dev/null
}

# Downloads and unpacks the Debian source package $1 into the new folder $2, without touching the
# machine's own apt configuration: the same sources are read as `deb-src` from a private copy.
debian_source() {
    local package=$1 into=$2 apt unpacked
    apt=$(mktemp -d)
    mkdir -p "$apt/parts" "$apt/lists/partial" "$apt/cache" "$apt/source"
    private_sources "$apt/parts"
    local -a options=(
        -qq
        -o "Dir::Etc::sourcelist=/dev/null"
        -o "Dir::Etc::sourceparts=$apt/parts"
        -o "Dir::State::lists=$apt/lists"
        -o "Dir::Cache=$apt/cache"
        -o "APT::Sandbox::User="
    )
    if apt-get "${options[@]}" update &&
        (cd "$apt/source" && apt-get "${options[@]}" source "$package" >/dev/null); then
        unpacked=$(find "$apt/source" -mindepth 1 -maxdepth 1 -type d | head -n 1)
        mkdir -p "$(dirname "$into")"
        mv "$unpacked" "$into"
        rm -rf "$apt"
    else
        rm -rf "$apt"
        return 1
    fi
}

# Copies the machine's Debian sources into folder $1, asking for source packages, not binaries.
private_sources() {
    local into=$1 file
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
        [[ -f $file ]] || continue
        case $file in
        *.list) sed -nE 's/^deb(-src)?( .*debian.*)$/deb-src\2/p' "$file" ;;
        *.sources)
            ! grep -q '^URIs:.*debian' "$file" || sed -E 's/^Types:.*/Types: deb-src/' "$file"
            ;;
        *) continue ;;
        esac >"$into/$(basename "$file")"
    done
}
