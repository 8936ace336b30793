//! The generator's softmax over the vocabulary and its gradients: of every block of rows the logits,
//! the softmax with a draw, and two products back. Four launches, and no tape.

use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::IntTensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::super::vocabulary::{
    BLOCK_BYTES, Draw, DrawNoise, Gradients, VocabularyInputs, VocabularyOps, VocabularyOutputs,
};
use super::product::{Epilogue, Form, Matrix, Outer, outer_turned, product_into};
use super::{ALIGNED, empty, gumbel, part, row_key};

/// Below every logit.
const LOWEST: f32 = -1e30;

/// Workgroups in a row of a grid, of which every device has more.
const MOST_ROWS: usize = 1 << 15;

impl VocabularyOps for CubeBackend {
    fn vocabulary_softmax(
        inputs: VocabularyInputs<Self>,
        draw: Draw,
        with_gradients: bool,
    ) -> (VocabularyOutputs<Self>, Option<Gradients<Self>>) {
        let inputs = inputs.contiguous();
        let (rows, width) = (inputs.hidden.shape()[0], inputs.hidden.shape()[1]);
        let vocab = inputs.table.shape()[0];
        let apart = rows.next_multiple_of(ALIGNED);
        let numbers = empty(&inputs.hidden, [2 * apart]);
        let words = empty(&inputs.targets, [2 * apart]);
        let bias = (vocab * width).next_multiple_of(ALIGNED);
        let matrix = Matrix { form: Form::Rows, at: 0, inputs: vocab, outputs: width, bias };
        let of_hidden = empty(&inputs.hidden, [rows, width]);
        // The table's, and the bias' behind it.
        let of_table = empty(&inputs.hidden, [bias + vocab]);
        let at_once = rows_at_once(vocab);
        for first in (0..rows).step_by(at_once) {
            let count = at_once.min(rows - first);
            let hidden = part(&inputs.hidden, first * width, [count, width]);
            let logits = empty(&hidden, [count, vocab]);
            let weights = [&inputs.table, &inputs.bias];
            let own_bias = Matrix { bias: 0, ..matrix };
            product_into(&logits, &hidden, weights, own_bias, true, Epilogue::Bias, None, None);
            guess(&inputs, draw, &logits, first, [&numbers, &words], with_gradients);
            if with_gradients {
                let into = part(&of_hidden, first * width, [count, width]);
                product_into(&into, &logits, weights, matrix, false, Epilogue::Plain, None, None);
                outer_turned(Outer { a: &logits, b: &hidden, matrix }, &of_table, first > 0);
            }
        }
        let outputs = VocabularyOutputs {
            loss: Self::float_sum(part(&numbers, 0, [rows])),
            log_probs: part(&numbers, apart, [rows]),
            correct: part(&words, 0, [rows]),
            samples: part(&words, apart, [rows]),
        };
        let gradients = with_gradients.then(|| Gradients {
            hidden: of_hidden,
            table: part(&of_table, 0, [vocab, width]),
            bias: part(&of_table, bias, [vocab]),
        });
        (outputs, gradients)
    }
}

/// Rows of a block: such as begin where a part of a buffer may.
fn rows_at_once(vocab: usize) -> usize {
    (BLOCK_BYTES / (4 * vocab) / ALIGNED * ALIGNED).clamp(ALIGNED, MOST_ROWS)
}

impl VocabularyInputs<CubeBackend> {
    fn contiguous(self) -> Self {
        let VocabularyInputs { hidden, table, bias, targets, weights, replaced, noise } = self;
        let [hidden, table, bias, weights] = [hidden, table, bias, weights].map(into_contiguous);
        let [targets, replaced]: [IntTensor<CubeBackend>; 2] =
            [targets, replaced].map(into_contiguous);
        let noise = match noise {
            DrawNoise::Given(noise) => DrawNoise::Given(into_contiguous(noise)),
            seeded => seeded,
        };
        VocabularyInputs { hidden, table, bias, targets, weights, replaced, noise }
    }
}

/// The softmax of the rows from `first` on, and a draw from each; with `slopes`, the logits become the
/// gradients of the loss with respect to them. Of each row `numbers` gets its term of the loss and,
/// behind those of all rows, the log-probability of the word that now stands there; `words` gets whether
/// it was right, and the sample.
fn guess(
    inputs: &VocabularyInputs<CubeBackend>,
    draw: Draw,
    logits: &CubeTensor,
    first: usize,
    [numbers, words]: [&CubeTensor; 2],
    slopes: bool,
) {
    let (count, vocab) = (logits.shape()[0], logits.shape()[1]);
    let (noise, [seed, first_row]) = match &inputs.noise {
        DrawNoise::Seed { seed, first_row } => (None, [*seed, *first_row]),
        DrawNoise::Given(noise) => (Some(noise), [0, 0]),
    };
    guess_kernel::launch(
        &logits.client,
        CubeCount::Static(count as u32, 1, 1),
        CubeDim::new_1d(256),
        logits.clone().into_tensor_arg(),
        inputs.targets.clone().into_tensor_arg(),
        inputs.replaced.clone().into_tensor_arg(),
        inputs.weights.clone().into_tensor_arg(),
        noise.unwrap_or(&inputs.weights).clone().into_tensor_arg(),
        numbers.clone().into_tensor_arg(),
        words.clone().into_tensor_arg(),
        vocab as u32,
        first as u32,
        (numbers.meta.num_elements() / 2) as u32,
        draw.temperature,
        seed,
        first_row,
        noise.is_some(),
        draw.disallow_correct,
        slopes,
    );
}

/// A row a workgroup; a thread reads and writes its own words of it alone.
#[cube(launch)]
fn guess_kernel(
    logits: &mut Tensor<f32>,
    targets: &Tensor<i32>,
    replaced: &Tensor<i32>,
    weights: &Tensor<f32>,
    noise: &Tensor<f32>,
    numbers: &mut Tensor<f32>,
    words: &mut Tensor<i32>,
    vocab: u32,
    first: u32,
    apart: u32,
    temperature: f32,
    seed: u32,
    first_row: u32,
    #[comptime] given: bool,
    #[comptime] disallow_correct: bool,
    #[comptime] slopes: bool,
) {
    let mut cells = Shared::<[f32]>::new_slice(256usize);
    let mut places = Shared::<[u32]>::new_slice(256usize);
    let mut chosen = Shared::<[f32]>::new_slice(2usize);
    let unit = UNIT_POS as usize;
    let vocab = vocab as usize;
    let start = CUBE_POS_X as usize * vocab;
    let row = (first + CUBE_POS_X) as usize;
    let target = targets[row] as usize;
    let key = row_key(seed, first_row + row as u32);

    let mut top = f32::new(LOWEST);
    let mut likeliest = UNIT_POS;
    let mut best = f32::new(LOWEST);
    let mut sample = UNIT_POS;
    let mut word = unit;
    while word < vocab {
        let x = logits[start + word];
        if x > top {
            top = x;
            likeliest = word as u32;
        }
        let noise =
            if comptime!(given) { noise[row * vocab + word] } else { gumbel(key, word as u32) };
        let score = x / temperature + noise;
        let score = if comptime!(disallow_correct) {
            select(word == target, f32::new(2.0 * LOWEST), score)
        } else {
            score
        };
        if score > best {
            best = score;
            sample = word as u32;
        }
        word += 256;
    }
    let (top, likeliest) = largest(&mut cells, &mut places, top, likeliest);
    let (_, sample) = largest(&mut cells, &mut places, best, sample);

    let mut sum = 0.0f32;
    let mut word = unit;
    while word < vocab {
        let x = logits[start + word];
        sum += (x - top).exp();
        if word == target {
            chosen[0usize] = x;
        }
        if word == sample as usize {
            chosen[1usize] = x;
        }
        word += 256;
    }
    let sum = total(&mut cells, sum);
    let weight = weights[row];
    if unit == 0 {
        let log_sum = top + sum.ln();
        let (of_target, of_sample) = (chosen[0usize] - log_sum, chosen[1usize] - log_sum);
        numbers[row] = -(of_target * weight);
        numbers[apart as usize + row] = select(replaced[row] == 0, of_target, of_sample);
        words[row] = select(likeliest as usize == target, 1i32, 0i32);
        words[apart as usize + row] = sample as i32;
    }
    if comptime!(slopes) {
        let factor = weight / sum;
        let mut word = unit;
        while word < vocab {
            let slope = (logits[start + word] - top).exp() * factor;
            logits[start + word] = slope - select(word == target, weight, 0.0f32);
            word += 256;
        }
    }
}

/// The largest of all threads' numbers and its place; of equal ones, the first place.
#[cube]
fn largest(
    cells: &mut Shared<[f32]>,
    places: &mut Shared<[u32]>,
    number: f32,
    place: u32,
) -> (f32, u32) {
    let unit = UNIT_POS as usize;
    cells[unit] = number;
    places[unit] = place;
    sync_cube();
    let mut width = 128usize;
    while width > 0 {
        if unit < width {
            let (mine, other) = (cells[unit], cells[unit + width]);
            let (here, there) = (places[unit], places[unit + width]);
            if other > mine || (other == mine && there < here) {
                cells[unit] = other;
                places[unit] = there;
            }
        }
        sync_cube();
        width /= 2;
    }
    let found = (cells[0usize], places[0usize]);
    sync_cube();
    found
}

/// The sum of all threads' numbers.
#[cube]
fn total(cells: &mut Shared<[f32]>, number: f32) -> f32 {
    let unit = UNIT_POS as usize;
    cells[unit] = number;
    sync_cube();
    let mut width = 128usize;
    while width > 0 {
        if unit < width {
            let other = cells[unit + width];
            cells[unit] += other;
        }
        sync_cube();
        width /= 2;
    }
    cells[0usize]
}
