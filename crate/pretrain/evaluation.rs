//! How well a run does on held-out text: `metric_fn` in `run_pretraining.py` of
//! google-research/electra, over real tokens only (there padding inflates the AUC).

use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

use super::batch::MaskedBatch;
use super::objective::Pass;
use crate::error::{Error, Result};
use crate::metrics::roc_auc;

/// Scores of a run. Those of the discriminator are absent where there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Cross entropy of masked tokens.
    pub gen_loss: f64,
    /// The share of masked tokens that the generator's first choice is right about.
    pub masked_lm_accuracy: f64,
    /// The share of its samples that are the original.
    pub sampled_masked_lm_accuracy: f64,
    #[serde(flatten)]
    pub detection: Option<DetectionScores>,
}

/// "Replaced" is the positive class, said where the logit is above 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DetectionScores {
    pub disc_loss: f64,
    pub disc_accuracy: f64,
    pub disc_precision: f64,
    pub disc_recall: f64,
    /// 0.5 is chance.
    pub disc_auc: f64,
    /// The share of real tokens that were replaced: what always saying "original" gets wrong.
    pub share_replaced: f64,
}

impl Evaluation {
    /// Not so once a weight is infinite.
    pub fn is_finite(&self) -> bool {
        let disc_loss = self.detection.as_ref().map_or(0.0, |scores| scores.disc_loss);
        self.gen_loss.is_finite() && disc_loss.is_finite()
    }
}

/// Sums over batches.
#[derive(Debug, Default)]
pub struct Tally {
    batches: Vec<[f64; 4]>,
    drawn: usize,
    correct: usize,
    sampled: usize,
    logits: Vec<f32>,
    is_replaced: Vec<bool>,
    detects: bool,
}

impl Tally {
    /// Takes in one pass whose losses are means over its own batch, of so many tokens.
    ///
    /// # Errors
    /// The device failed.
    pub async fn add(&mut self, batch: &MaskedBatch, pass: Pass, tokens: f64) -> Result<()> {
        let losses = floats(Tensor::cat(vec![pass.gen_loss, pass.disc_loss], 0)).await?;
        self.batches.push([losses[0] as f64, pass.guessed, losses[1] as f64, tokens]);
        let drawn = floats(batch.weights.clone()).await?;
        let correct = ints(pass.correct).await?;
        let same = ints(pass.samples.equal(batch.targets.clone()).int()).await?;
        for ((drawn, correct), same) in drawn.iter().zip(correct).zip(same) {
            let counts = *drawn != 0.0;
            self.drawn += usize::from(counts);
            self.correct += usize::from(counts && correct != 0);
            self.sampled += usize::from(counts && same != 0);
        }
        let Some(detection) = pass.detection else { return Ok(()) };
        self.detects = true;
        let mask = floats(batch.inputs.attention_mask.clone()).await?;
        let logits = floats(detection.logits).await?;
        let replaced = floats(detection.is_replaced).await?;
        for ((mask, logit), replaced) in mask.iter().zip(logits).zip(replaced) {
            if *mask != 0.0 {
                self.logits.push(logit);
                self.is_replaced.push(replaced != 0.0);
            }
        }
        Ok(())
    }

    pub fn finish(self) -> Evaluation {
        let mean = |loss: usize| {
            let total: f64 = self.batches.iter().map(|batch| batch[loss + 1]).sum();
            self.batches.iter().map(|batch| batch[loss] * batch[loss + 1]).sum::<f64>() / total
        };
        Evaluation {
            gen_loss: mean(0),
            masked_lm_accuracy: share(self.correct, self.drawn),
            sampled_masked_lm_accuracy: share(self.sampled, self.drawn),
            detection: self.detects.then(|| self.detection(mean(2))),
        }
    }

    fn detection(&self, disc_loss: f64) -> DetectionScores {
        let pairs = || self.logits.iter().map(|logit| *logit > 0.0).zip(&self.is_replaced);
        let count = |wanted: fn(bool, bool) -> bool| {
            pairs().filter(|(said, is)| wanted(*said, **is)).count()
        };
        let hits = count(|said, is| said && is);
        let replaced = count(|_, is| is);
        DetectionScores {
            disc_loss,
            disc_accuracy: share(count(|said, is| said == is), self.logits.len()),
            disc_precision: share(hits, count(|said, _| said)),
            disc_recall: share(hits, replaced),
            disc_auc: roc_auc(&self.logits, &self.is_replaced).unwrap_or(0.5),
            share_replaced: share(replaced, self.logits.len()),
        }
    }
}

/// 0 where there is nothing to divide by.
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

async fn floats<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let data = tensor.into_data_async().await;
    let data = data.map_err(|e| Error::new("reading the evaluation back", format!("{e:?}")))?;
    Ok(data.try_into_vec::<f32>().expect("logits are f32"))
}

async fn ints<const D: usize>(tensor: Tensor<D, Int>) -> Result<Vec<i32>> {
    let data = tensor.into_data_async().await;
    let data = data.map_err(|e| Error::new("reading the evaluation back", format!("{e:?}")))?;
    Ok(data.convert::<i32>().try_into_vec::<i32>().expect("converted"))
}
