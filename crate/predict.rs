//! Running texts through a network in batches.

use std::borrow::Borrow;

use burn::tensor::Device;

use crate::batch::{Features, pad};
use crate::device::is_cpu;
use crate::error::{Error, Result};
use crate::heads::Electra;

/// Runs rows through a network and keeps their logits; long rows first, so that the largest
/// buffers are made once and few lengths occur.
#[derive(Debug)]
pub struct Scorer {
    order: Vec<usize>,
    next: usize,
    batch_size: usize,
    max_seq_length: usize,
    logits: Vec<Vec<f32>>,
}

impl Scorer {
    pub fn new(
        features: &[impl Borrow<Features>],
        batch_size: usize,
        max_seq_length: usize,
    ) -> Self {
        let mut order: Vec<usize> = (0..features.len()).collect();
        order.sort_by_key(|i| std::cmp::Reverse(features[*i].borrow().input_ids.len()));
        let logits = vec![Vec::new(); features.len()];
        Scorer { order, next: 0, batch_size, max_seq_length, logits }
    }

    /// Rows done.
    pub fn done(&self) -> usize {
        self.next
    }

    /// Runs one batch; `model` is on the plain device.
    ///
    /// # Errors
    /// The device failed.
    pub async fn advance(
        &mut self,
        model: &Electra,
        features: &[impl Borrow<Features>],
        device: &Device,
    ) -> Result<()> {
        let end = (self.next + self.batch_size).min(self.order.len());
        let rows = &self.order[self.next..end];
        let examples: Vec<&Features> = rows.iter().map(|row| features[*row].borrow()).collect();
        // A GPU keeps to one shape, for which its kernels are compiled already.
        let full = if is_cpu(device) { examples.len() } else { self.batch_size };
        let inputs = pad(&examples, full, self.max_seq_length, device);
        let [_, seq] = inputs.input_ids.dims();
        let logits = model.flat_logits(&inputs);
        let [_, width] = logits.dims();
        let data = logits.into_data_async().await;
        let data = data.map_err(|e| Error::new("reading the logits back", format!("{e:?}")))?;
        let values = data.try_into_vec::<f32>().expect("logits are f32");
        for (row, logits) in rows.iter().zip(values.chunks(width)) {
            let tokens = features[*row].borrow().input_ids.len();
            let used = if model.is_per_token() { width / seq * tokens } else { width };
            self.logits[*row] = logits[..used].to_vec();
        }
        self.next = end;
        Ok(())
    }

    /// The logits of every row, in the order of the features: `num_labels` of a classifier,
    /// one or more a token (padding left out) of the other heads.
    pub fn finish(self) -> Vec<Vec<f32>> {
        self.logits
    }
}

/// The logits of every row, without stopping between batches.
///
/// # Errors
/// The device failed.
pub async fn logits(
    model: &Electra,
    features: &[impl Borrow<Features>],
    batch_size: usize,
    max_seq_length: usize,
    device: &Device,
) -> Result<Vec<Vec<f32>>> {
    let mut scorer = Scorer::new(features, batch_size, max_seq_length);
    while scorer.done() < features.len() {
        scorer.advance(model, features, device).await?;
    }
    Ok(scorer.finish())
}
