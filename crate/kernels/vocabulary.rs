//! The generator's softmax over the vocabulary as one operation: its loss, a sample from it and its
//! gradients, on the CPU.
//!
//! Nothing of it is on a tape: the gradient of a softmax is known on the way forward. GPUs take the
//! plain operations of `pretrain/softmax.rs`, which the tests hold this one to.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, ExtensionType, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, TensorData};

use super::host::vocabulary::{self, Input};

/// How a word is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    pub temperature: f32,
    /// Never the target.
    pub disallow_correct: bool,
    pub noise: DrawNoise,
}

/// Where the noise of a draw comes from.
#[derive(Debug, Clone, Copy)]
pub enum DrawNoise {
    /// Row `r` has the noise of row `first_row + r`.
    Seed {
        seed: u32,
        first_row: u32,
    },
    Given,
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
    /// `[rows, vocab]` where it is given, anything where it is not.
    pub noise: FloatTensor<B>,
}

/// What it gives; the gradients are empty where none are wanted.
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
) -> VocabularyOutputs<Dispatch> {
    Dispatch::vocabulary_softmax(inputs, draw, with_gradients)
}

#[backend_extension(Flex)]
pub trait VocabularyOps: Backend {
    fn vocabulary_softmax(
        #[extension_type] inputs: VocabularyInputs<Self>,
        draw: Draw,
        with_gradients: bool,
    ) -> VocabularyOutputs<Self>;
}

impl VocabularyOps for Flex {
    fn vocabulary_softmax(
        inputs: VocabularyInputs<Self>,
        draw: Draw,
        with_gradients: bool,
    ) -> VocabularyOutputs<Self> {
        let VocabularyInputs { hidden, table, bias, weights, noise, .. } = inputs;
        let [hidden, table, bias, weights, noise] =
            [hidden, table, bias, weights, noise].map(|tensor| tensor.to_contiguous());
        let [targets, replaced]: [Vec<i32>; 2] =
            [inputs.targets, inputs.replaced].map(|ids| ids.into_data().iter::<i32>().collect());
        let given = matches!(draw.noise, DrawNoise::Given);
        let input = Input {
            hidden: hidden.storage::<f32>(),
            table: table.storage::<f32>(),
            bias: bias.storage::<f32>(),
            targets: &targets,
            weights: weights.storage::<f32>(),
            noise: given.then(|| noise.storage::<f32>()),
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
        let empty = |shape: Shape| match with_gradients {
            true => shape,
            false => Shape::from(vec![0; shape.num_dims()]),
        };
        VocabularyOutputs {
            loss: floats(vec![loss], Shape::from([1])),
            correct: ints(correct.collect(), rows.clone()),
            samples: ints(guesses.iter().map(|guess| guess.sample).collect(), rows.clone()),
            log_probs: floats(present.collect(), rows),
            hidden: floats(gradients.hidden, empty(hidden.shape())),
            table: floats(gradients.table, empty(table.shape())),
            bias: floats(gradients.bias, empty(bias.shape())),
        }
    }
}

fn floats(values: Vec<f32>, shape: Shape) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, shape))
}

fn ints(values: Vec<i32>, shape: Shape) -> IntTensor<Flex> {
    IntTensor::<Flex>::from_data(TensorData::new(values, shape))
}
