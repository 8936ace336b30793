//! TensorBoard's event files: records of a `tensorflow.Event` each, framed with checksums.
//!
//! The messages are the part of `event.proto` and `summary.proto` that a scalar needs.

use std::fs::File;
use std::io::{Result, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use crate::pretrained::masked_crc32c;

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// An event file that is being written.
#[derive(Debug)]
pub struct EventFile(File);

impl EventFile {
    /// A new file in `folder`, under a name that TensorBoard looks for.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn create(folder: &Path) -> Result<Self> {
        let now = seconds();
        let name = format!("events.out.tfevents.{:.6}.electra", now);
        let mut file = EventFile(File::create(folder.join(name))?);
        let version = Some("brain.Event:2".to_string());
        file.put(&Event { wall_time: now, step: 0, file_version: version, summary: None })?;
        Ok(file)
    }

    /// Writes scalars of one step.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(&mut self, step: u64, scalars: &[(String, f64)]) -> Result<()> {
        let scalar = |(tag, value): &(String, f64)| Scalar {
            tag: tag.clone(),
            simple_value: Some(*value as f32),
        };
        let summary = Summary { value: scalars.iter().map(scalar).collect() };
        self.put(&Event {
            wall_time: seconds(),
            step: step as i64,
            file_version: None,
            summary: Some(summary),
        })
    }

    fn put(&mut self, event: &Event) -> Result<()> {
        self.0.write_all(&framed(&event.encode_to_vec()))
    }
}

/// TFRecord: the length, its checksum, the data, its checksum.
fn framed(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let checksum = |bytes: &[u8]| masked_crc32c(bytes).to_le_bytes();
    [&length[..], &checksum(&length), data, &checksum(data)].concat()
}

fn seconds() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0.0, |now| now.as_secs_f64())
}
