//! Operations of our own, each with its derivative, on the CPU (the crate `host/`) and on GPUs (`gpu/`).
//!
//! Burn derives a gradient operation by operation: a LayerNorm leaves a dozen small kernels
//! behind. In a browser each costs a call from wasm into WebGPU, and on the CPU each is a pass
//! over memory. So a layer's weights are one tensor (`host/layout.rs`) and the layer one operation
//! (`layer.rs`), and so are the embeddings, `x W + b`, a norm and GELU round it, the optimizer's
//! update of a parameter, and the generator's softmax over words (`vocabulary.rs`).

mod differentiable;
mod dropout;
mod embed;
mod first;
mod gpu;
mod layer;
mod linear;
mod loss;
mod noise;
mod optimizer;
#[cfg(not(target_family = "wasm"))]
pub mod vocabulary;

pub use differentiable::{gelu, layer_norm, softmax};
pub use dropout::{DropoutMasks, dropout};
pub use electra_host::hash::Drop;
pub use electra_host::layout::{self, Layout, Slot};
pub use embed::embed;
pub use first::first;
#[cfg(test)]
pub use gpu::testing::device as gpu_for_tests;
pub use layer::{LayerSpec, layer};
pub use linear::{affine, bias_of, linear};
pub use loss::{Loss, loss};
pub use noise::add_gumbel;
pub use optimizer::{AdamFactors, adam, norm_and_clip};

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{Shape, TensorData};

/// What a loop of the CPU has made, as a tensor.
fn flex(values: Vec<f32>, shape: impl Into<Shape>) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, shape.into()))
}
