//! The library as the module that a page loads.
//!
//! A crate of its own, because what is linked is optimized as its last crate asks for, down to whether loops
//! become vector code at all: this one is compiled for speed and has nothing in it, so that `electra` can be
//! compiled for size and `electra-host` for speed (`[profile.web]` in Cargo.toml).

#[cfg(target_family = "wasm")]
pub use electra::wasm::*;
