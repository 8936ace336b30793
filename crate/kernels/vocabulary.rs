//! The generator's softmax over the vocabulary as one operation: its loss, a sample from it and its
//! gradients, on the CPU (`host/vocabulary.rs`) and on GPUs (`gpu/vocabulary.rs`).
//!
//! Nothing of it is on a tape: the gradient of a softmax is known on the way forward. The tests of
//! `pretrain/softmax.rs` hold both to plain operations.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, ExtensionType, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, TensorData};
use electra_host::vocabulary::{self, Input, Noise};
pub use electra_host::vocabulary::{BLOCK_BYTES, Draw};

use super::flex;

/// Where the noise of a draw comes from.
#[derive(Debug, ExtensionType)]
pub enum DrawNoise<B: Backend> {
    /// Row `r` has the noise of row `first_row + r`.
    Seed { seed: u32, first_row: u32 },
    /// `[rows, vocab]`
    Given(FloatTensor<B>),
}

/// The rows and the weights of a softmax over words.
#[derive(Debug, ExtensionType)]
pub struct VocabularyInputs<B: Backend> {
    /// `[rows, embedding]`
    pub hidden: FloatTensor<B>,
    /// `[vocab, embedding]`
    pub table: FloatTensor<B>,
    /// `[vocab]`
    pub bias: FloatTensor<B>,
    /// `[rows]`
    pub targets: IntTensor<B>,
    /// Of each row in the loss, `[rows]`.
    pub weights: FloatTensor<B>,
    /// 1 where the sample takes the target's place, `[rows]`.
    pub replaced: IntTensor<B>,
    #[extension_type]
    pub noise: DrawNoise<B>,
}

/// What it gives.
#[derive(Debug, ExtensionType)]
pub struct VocabularyOutputs<B: Backend> {
    /// Σ weight × cross entropy, `[1]`.
    pub loss: FloatTensor<B>,
    /// 1 where the likeliest word is the target, `[rows]`.
    pub correct: IntTensor<B>,
    /// `[rows]`
    pub samples: IntTensor<B>,
    /// Of the word that now stands there, `[rows]`.
    pub log_probs: FloatTensor<B>,
}

/// Of the loss.
#[derive(Debug, ExtensionType)]
pub struct Gradients<B: Backend> {
    /// `[rows, embedding]`
    pub hidden: FloatTensor<B>,
    /// `[vocab, embedding]`
    pub table: FloatTensor<B>,
    /// `[vocab]`
    pub bias: FloatTensor<B>,
}

/// The softmax of `hidden · tableᵀ + bias`. All tensors are without autodiff.
pub fn vocabulary(
    inputs: VocabularyInputs<Dispatch>,
    draw: Draw,
    with_gradients: bool,
) -> (VocabularyOutputs<Dispatch>, Option<Gradients<Dispatch>>) {
    Dispatch::vocabulary_softmax(inputs, draw, with_gradients)
}

#[backend_extension(Cube, Flex)]
pub trait VocabularyOps: Backend {
    fn vocabulary_softmax(
        #[extension_type] inputs: VocabularyInputs<Self>,
        draw: Draw,
        with_gradients: bool,
    ) -> (VocabularyOutputs<Self>, Option<Gradients<Self>>);
}

impl VocabularyOps for Flex {
    fn vocabulary_softmax(
        inputs: VocabularyInputs<Self>,
        draw: Draw,
        with_gradients: bool,
    ) -> (VocabularyOutputs<Self>, Option<Gradients<Self>>) {
        let VocabularyInputs { hidden, table, bias, weights, .. } = inputs;
        let [hidden, table, bias, weights] =
            [hidden, table, bias, weights].map(|tensor| tensor.to_contiguous());
        let [targets, replaced]: [Vec<i32>; 2] =
            [inputs.targets, inputs.replaced].map(|ids| ids.into_data().iter::<i32>().collect());
        let given;
        let noise = match inputs.noise {
            DrawNoise::Seed { seed, first_row } => Noise::Seed { seed, first_row },
            DrawNoise::Given(noise) => {
                given = noise.to_contiguous();
                Noise::Given(given.storage::<f32>())
            }
        };
        let input = Input {
            hidden: hidden.storage::<f32>(),
            table: table.storage::<f32>(),
            bias: bias.storage::<f32>(),
            targets: &targets,
            weights: weights.storage::<f32>(),
            noise,
            draw,
        };
        let (guesses, gradients) = vocabulary::guess(&input, with_gradients);
        let rows = Shape::from([guesses.len()]);
        let terms = guesses.iter().zip(input.weights);
        let loss: f32 = terms.map(|(guess, weight)| -guess.of_target * weight).sum();
        let present = guesses.iter().zip(&replaced).map(|(guess, replaced)| match replaced {
            0 => guess.of_target,
            _ => guess.of_sample,
        });
        let correct = guesses.iter().zip(&targets);
        let correct = correct.map(|(guess, target)| i32::from(guess.likeliest == *target));
        let outputs = VocabularyOutputs {
            loss: flex(vec![loss], Shape::from([1])),
            correct: ints(correct.collect(), rows.clone()),
            samples: ints(guesses.iter().map(|guess| guess.sample).collect(), rows.clone()),
            log_probs: flex(present.collect(), rows),
        };
        let gradients = with_gradients.then(|| Gradients {
            hidden: flex(gradients.hidden, hidden.shape()),
            table: flex(gradients.table, table.shape()),
            bias: flex(gradients.bias, bias.shape()),
        });
        (outputs, gradients)
    }
}

fn ints(values: Vec<i32>, shape: Shape) -> IntTensor<Flex> {
    IntTensor::<Flex>::from_data(TensorData::new(values, shape))
}
