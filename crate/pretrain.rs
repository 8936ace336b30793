//! Pre-training: from packed text to an ELECTRA in Hugging Face format.
//!
//! In the order data flows: the settings, a batch with what was drawn from it, the softmax over the
//! vocabulary, the network, the objective, its evaluation, and the run with its checkpoints.
//! `variants.rs`, before the network, holds what only research asks for.

pub mod batch;
pub mod config;
pub mod evaluation;
pub mod events;
pub mod network;
pub mod objective;
pub mod run;
pub mod softmax;
pub mod state;
pub mod variants;
