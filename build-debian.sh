# shellcheck shell=bash
# Part of build.sh: how to compile for the browser where rustup's server cannot be reached. Debian's own
# compiler comes with the standard library's source, and builds that, too.

need_debian_compiler() {
  local package missing=
  for package in rustc-web cargo-web rust-web-src lld-22; do
    dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
  done
  # shellcheck disable=SC2086  # a list of words
  [ -z "$missing" ] || install_packages "Debian's Rust compiler for the web" $missing
  local version
  version=$(/usr/bin/rustc --version | cut -d' ' -f2)
  at_least "$version" "$(wanted_rust)" ||
    die "Debian's /usr/bin/rustc is $version: $(wanted_rust) or newer is needed" "use ELECTRA_WASM_TOOLCHAIN=rustup"
}

take_debian_toolchain() {
  need_debian_compiler
  take_toolchain debian "$debian_target" "$1"
}

# cargo_wasm_debian ARGUMENTS..: RUSTC_BOOTSTRAP lets a stable compiler build its own standard library.
cargo_wasm_debian() {
  RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc RUSTFLAGS="-C linker=wasm-ld-22 $wasm_features" CARGO_TARGET_DIR=$wasm_target \
    /usr/bin/cargo "$@" --target "$wasm_triple" -Zbuild-std=std,panic_abort
}
