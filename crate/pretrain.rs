//! Pre-training: from packed text to an ELECTRA in Hugging Face format.
//!
//! In the order data flows: the settings, the network, a batch with what was drawn from it, the
//! softmax over the vocabulary, the objective, its evaluation, and the run with its checkpoints.

pub mod batch;
pub mod config;
pub mod evaluation;
pub mod events;
pub mod network;
pub mod objective;
pub mod run;
pub mod state;
pub mod vocabulary;
