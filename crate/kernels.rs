//! Operations of our own, each in a plain form that any backend runs and a faster one where it
//! pays. A layer's weights are one tensor (`layout.rs`). On the CPU an encoder layer is one
//! operation, forward and back (`layer.rs`, `host/`), and so is the generator's softmax
//! (`vocabulary.rs`). Elsewhere GELU has its exact derivative, LayerNorm and softmax have
//! derivatives in closed form, and everywhere the optimizer's update is one kernel a parameter.
//!
//! Burn derives a gradient operation by operation: a LayerNorm leaves a dozen small kernels
//! behind. In a browser each costs a call from wasm into WebGPU, and on the CPU each is a pass
//! over memory.

mod differentiable;
mod dropout;
mod gpu;
mod hash;
mod host;
mod layer;
pub mod layout;
mod noise;
mod optimizer;
#[cfg(not(target_family = "wasm"))]
pub mod vocabulary;

pub use differentiable::{gelu, layer_norm, softmax};
pub use dropout::{DropoutMasks, dropout};
pub use hash::Drop;
pub use layer::{LayerSpec, layer};
pub use layout::{Layout, Slot};
pub use noise::add_gumbel;
pub use optimizer::{AdamFactors, adam, sum_of_squares};
