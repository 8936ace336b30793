//! The real binary in a fresh folder: what a person types, and what comes back.
//!
//! Every run checks the contract of the command line: stdout holds JSON lines only, a failure says
//! `error:`, ends with 1 (2 for wrong usage), never panics, and leaves no file behind.

#[path = "cli/bad_data.rs"]
mod bad_data;
#[path = "cli/bad_models.rs"]
mod bad_models;
#[path = "cli/bad_pretrain.rs"]
mod bad_pretrain;
#[path = "cli/bodies.rs"]
mod bodies;
#[path = "cli/cases.rs"]
mod cases;
#[path = "cli/convert.rs"]
mod convert;
#[path = "cli/finetune.rs"]
mod finetune;
#[path = "cli/finetune_resume.rs"]
mod finetune_resume;
#[path = "cli/hub.rs"]
mod hub;
#[cfg(feature = "mpi")]
#[path = "cli/mpi.rs"]
mod mpi;
#[path = "cli/names.rs"]
mod names;
#[path = "cli/outputs.rs"]
mod outputs;
#[path = "cli/predict.rs"]
mod predict;
#[path = "cli/prepare.rs"]
mod prepare;
#[path = "cli/pretrain.rs"]
mod pretrain;
#[path = "cli/qa_head.rs"]
mod qa_head;
#[path = "cli/resume.rs"]
mod resume;
#[path = "cli/several.rs"]
mod several;
#[path = "cli/tasks.rs"]
mod tasks;
#[path = "cli/usage.rs"]
mod usage;
#[path = "cli/vocab.rs"]
mod vocab;
#[path = "cli/weights.rs"]
mod weights;
#[path = "cli/whole.rs"]
mod whole;
#[path = "cli/workplace.rs"]
mod workplace;
