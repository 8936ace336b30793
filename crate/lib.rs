//! ELECTRA in Rust: one crate, natively and in the browser.
//!
//! The modules stand in the order data flows, and each uses only those above it.

pub mod error;
pub mod seed;

#[cfg(not(target_family = "wasm"))]
pub mod files;

pub mod config;
pub mod dataset;
pub mod metrics;
pub mod tokenizer;

#[cfg(not(target_family = "wasm"))]
pub mod corpus;

pub mod device;
pub mod kernels;
pub mod model;

pub mod heads;

pub mod batch;
pub mod pretrained;

pub mod gradients;
pub mod optim;
pub mod predict;
pub mod tasks;

pub mod query;

pub mod train;

#[cfg(not(target_family = "wasm"))]
pub mod masking;

#[cfg(not(target_family = "wasm"))]
pub mod distributed;
#[cfg(not(target_family = "wasm"))]
pub mod pretrain;

pub mod finetune;
pub mod inspect;
#[cfg(not(target_family = "wasm"))]
pub mod report;
pub mod self_test;

#[cfg(target_family = "wasm")]
pub mod wasm;
