//! Operations of our own, each with its derivative, on the CPU (`host/`) and on GPUs (`gpu/`).
//!
//! Burn derives a gradient operation by operation: a LayerNorm leaves a dozen small kernels
//! behind. In a browser each costs a call from wasm into WebGPU, and on the CPU each is a pass
//! over memory. So a layer's weights are one tensor (`layout.rs`) and the layer one operation
//! (`layer.rs`), and so are the embeddings, `x W + b`, a norm and GELU round it, the optimizer's
//! update of a parameter, and the generator's softmax over words (`vocabulary.rs`).

mod differentiable;
mod dropout;
mod embed;
mod gpu;
mod hash;
mod host;
mod layer;
pub mod layout;
mod linear;
mod noise;
mod optimizer;
#[cfg(not(target_family = "wasm"))]
pub mod vocabulary;

pub use differentiable::{gelu, layer_norm, softmax};
pub use dropout::{DropoutMasks, dropout};
pub use embed::embed;
#[cfg(test)]
pub use gpu::testing::device as gpu_for_tests;
pub use hash::Drop;
pub use layer::{LayerSpec, layer};
pub use layout::{Layout, Slot};
pub use linear::{affine, bias_of, linear};
pub use noise::add_gumbel;
pub use optimizer::{AdamFactors, adam, sum_of_squares};
