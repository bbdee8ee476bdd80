# The Rust toolchain and cargo's extra tools. Sourced after common.sh and packages.sh.
# shellcheck shell=bash

# Makes sure that there is a cargo with clippy and rustfmt at least as new as the workspace says.
ensure_rust() {
    local wanted
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml")
    [[ -n $wanted ]] || die "Cargo.toml does not say rust-version"
    if ! have cargo && ! have rustup; then
        install_rustup
    fi
    if ! rust_is_at_least "$wanted" && have rustup; then
        say "rustup: installing the stable toolchain"
        rustup toolchain install stable --profile minimal --component clippy,rustfmt &&
            export RUSTUP_TOOLCHAIN=stable
    fi
    rust_is_at_least "$wanted" || die "needs Rust $wanted or later: Debian's own is older. \
Install rustup (https://rustup.rs), then: rustup toolchain install stable"
    if ! cargo clippy --version >/dev/null 2>&1 || ! cargo fmt --version >/dev/null 2>&1; then
        rustup component add clippy rustfmt
    fi
}

# Fails if rustc is missing or older than $1.
rust_is_at_least() {
    local found
    found=$(rustc --version 2>/dev/null | cut -d ' ' -f 2) || return 1
    [[ -n $found && $(printf '%s\n' "$1" "$found" | sort -V | head -n 1) == "$1" ]]
}

install_rustup() {
    ensure_packages curl ca-certificates
    say "installing rustup for this user, without a default toolchain"
    local installer
    installer=$(curl --proto '=https' --tlsv1.2 -sSf --max-time 60 https://sh.rustup.rs) ||
        die "no cargo, and rustup cannot be had from here: install Rust, then run this again"
    sh -s -- -y --quiet --no-modify-path --default-toolchain none <<<"$installer"
}

# Makes sure that the cargo tool $1 (say, cargo-deny) is there; builds it once into target/tools.
ensure_cargo_tool() {
    local tool=$1 started
    have "$tool" && return 0
    started=$(now_ms)
    say "building $tool from crates.io, once"
    CARGO_TARGET_DIR=$TOOLS_DIR/build cargo install --quiet --locked --root "$TOOLS_DIR" "$tool" ||
        return 1
    rm -rf "$TOOLS_DIR/build"
    say "$tool took $(duration $(($(now_ms) - started)))"
}
