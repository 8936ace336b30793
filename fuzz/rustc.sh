#!/bin/sh
# rustc.sh RUSTC ARGUMENTS..: cargo's RUSTC_WRAPPER. Only the crates that a fuzzer should see through are
# compiled with its counters, as cargo-fuzz does it for all of them; the others are the program's own.
case " $* " in
  *" --crate-name electra "* | *" --crate-name electra_fuzz "* | *" fuzz_targets/"* | \
    *" --crate-name tokenizers "* | *" --crate-name zip "* | *" --crate-name calamine "*)
    exec "$@" --cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
      -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
      -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
  *) exec "$@" ;;
esac
