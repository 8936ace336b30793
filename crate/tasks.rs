//! What a network is used for: features, loss and decoding, a file a task.

pub mod classification;
pub mod detection;
