//! Operations of our own, each in a plain form that any backend runs and a faster one where it
//! pays: GELU with its exact derivative, LayerNorm and softmax with derivatives in closed form,
//! and the optimizer's update in one kernel a parameter.
//!
//! Burn derives a gradient operation by operation: a LayerNorm leaves a dozen small kernels
//! behind. In a browser each costs a call from wasm into WebGPU, and on the CPU each is a pass
//! over memory.

mod differentiable;
mod dropout;
mod gpu;
mod host;
mod noise;
mod optimizer;

pub use differentiable::{gelu, layer_norm, softmax};
pub use dropout::{Drop, DropoutMasks, dropout};
pub use noise::add_gumbel;
pub use optimizer::{AdamFactors, adam, sum_of_squares};
