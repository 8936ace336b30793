//! An encoder layer and its gradients on a GPU: the same steps in the same order as `host/layer.rs`,
//! seven launches forward and ten back. Letters as there.

use burn::backend::TensorMetadata;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use super::attention::{Heads, attend, attend_back};
use super::product::{Epilogue, Form, Matrix, Outer, activated, outer, product};
use super::rows::{At, Norm, columns, empty_sums, norm, norm_back};
use super::{empty, shaped};
use electra_host::layer::Wants;
use electra_host::layout::{self, Linear, Parts};

/// What the backward pass needs.
#[derive(Debug, Clone)]
pub struct Kept {
    half: Half,
    /// Before the activation and after it, `[T, I]`.
    u: CubeTensor,
    inner: CubeTensor,
    /// As r1 and stats_1, at the end.
    r2: CubeTensor,
    stats_2: CubeTensor,
}

/// The first half of a layer.
#[derive(Debug, Clone)]
struct Half {
    /// Queries, keys and values, `[T, 3 H]`.
    qkv: CubeTensor,
    /// Of each softmax the logarithm of its sum, `[batch, heads, seq]`.
    sums: CubeTensor,
    /// `[T, H]`
    context: CubeTensor,
    /// Before the norm, `[T, H]`, and each row's mean and one over its deviation, `[T, 2]`.
    r1: CubeTensor,
    stats_1: CubeTensor,
    /// What the second half starts from, `[T, H]`.
    middle: CubeTensor,
}

type Input = super::super::layer::Input<CubeBackend>;

impl Input {
    fn width(&self) -> usize {
        self.spec.layout.hidden
    }

    fn tokens(&self) -> usize {
        self.hidden.shape().num_elements() / self.width()
    }

    fn heads(&self) -> Heads {
        let batch = self.hidden.shape()[0];
        Heads {
            batch,
            seq: self.tokens() / batch,
            heads: self.spec.heads,
            hidden: self.width(),
            drop: self.spec.attention_drop,
        }
    }

    /// Wqkv, Wo, W1, W2.
    fn matrices(&self) -> [Matrix; 4] {
        let Parts { qkv, attention_output, intermediate, output, .. } = self.spec.layout.ranges();
        let linears = [qkv, attention_output, intermediate, output];
        let mut linears = linears.into_iter();
        self.spec.layout.matrices().map(|layout::Matrix { rows, columns }| {
            let Linear { weight, bias } = linears.next().expect("as many as matrices");
            let (at, bias) = (weight.start, bias.start);
            Matrix { form: Form::Panels, at, inputs: rows, outputs: columns, bias }
        })
    }

    fn norms(&self) -> [Norm<'_>; 2] {
        let Parts { attention_norm, output_norm, .. } = self.spec.layout.ranges();
        [attention_norm, output_norm].map(|layout::Norm { gamma, beta }| Norm {
            gamma: At(&self.weights, gamma.start),
            beta: At(&self.weights, beta.start),
            hidden: self.width(),
            epsilon: self.spec.epsilon,
        })
    }

    /// `a W` with an epilogue.
    fn product(
        &self,
        a: &CubeTensor,
        matrix: Matrix,
        epilogue: Epilogue,
        extra: Option<&CubeTensor>,
    ) -> CubeTensor {
        product(a, [&self.weights; 2], matrix, false, epilogue, extra, None)
    }

    /// `a Wᵀ` with an epilogue.
    fn back(
        &self,
        a: &CubeTensor,
        matrix: Matrix,
        epilogue: Epilogue,
        extra: Option<&CubeTensor>,
    ) -> CubeTensor {
        product(a, [&self.weights; 2], matrix, true, epilogue, extra, None)
    }

    /// `norm(drop(a W + b) + x)` of half a layer: what is normalised, the result, and the rows' means
    /// and deviations.
    fn add_and_norm(&self, number: usize, a: &CubeTensor, x: &CubeTensor) -> [CubeTensor; 3] {
        let [_, w_o, _, w_2] = self.matrices();
        let (matrix, drop) = ([w_o, w_2][number], self.spec.hidden_drops[number]);
        let r = product(a, [&self.weights; 2], matrix, false, Epilogue::DropAdd, Some(x), drop);
        let [y, stats] = norm(&r, self.norms()[number]);
        [r, y, stats]
    }
}

// ---------------------------------------------------------------------------------------------
// Forward

/// The layer's output, `[batch, seq, H]`.
pub fn forward(input: &Input) -> CubeTensor {
    let Half { middle, .. } = attended(input);
    let [_, _, w_1, _] = input.matrices();
    let inner = input.product(&middle, w_1, Epilogue::Activate(input.spec.activation), None);
    let [_, y, _] = input.add_and_norm(1, &inner, &middle);
    shaped(y, input.hidden.shape())
}

/// The same, with what [`backward`] needs.
pub fn forward_keeping(input: &Input) -> (CubeTensor, Kept) {
    let half = attended(input);
    let [_, _, w_1, _] = input.matrices();
    let [u, inner] = activated(&half.middle, &input.weights, w_1, input.spec.activation);
    let [r2, y, stats_2] = input.add_and_norm(1, &inner, &half.middle);
    (shaped(y, input.hidden.shape()), Kept { half, u, inner, r2, stats_2 })
}

fn attended(input: &Input) -> Half {
    let [w_qkv, ..] = input.matrices();
    let qkv = input.product(&input.hidden, w_qkv, Epilogue::Bias, None);
    let [context, sums] = attend(&qkv, &input.mask, input.heads());
    let [r1, middle, stats_1] = input.add_and_norm(0, &context, &input.hidden);
    Half { qkv, sums, context, r1, stats_1, middle }
}

// ---------------------------------------------------------------------------------------------
// Backward

/// The gradients of the layer's input, `[batch, seq, H]`, and of its weights, where they are wanted.
pub fn backward(
    input: &Input,
    kept: Kept,
    grad: CubeTensor,
    wants: Wants,
) -> (Option<CubeTensor>, Option<CubeTensor>) {
    let Kept { half, u, inner, r2, stats_2 } = kept;
    let Half { qkv, sums, context, r1, stats_1, middle } = half;
    let (tokens, hidden) = (input.tokens(), input.width());
    let [w_qkv, w_o, w_1, w_2] = input.matrices();
    let [gamma_1, gamma_2] = input.norms().map(|norm| norm.gamma);
    let [drop_1, drop_2] = input.spec.hidden_drops;
    let parts = empty_sums(2, &grad, tokens, hidden);
    let into = wants.weights.then(|| empty(&grad, [input.weights.meta.num_elements()]));

    let [d_r2, d_o] = norm_back(&grad, [&r2, &stats_2], gamma_2, hidden, drop_2, (&parts, 1));
    let d_u = input.back(&d_o, w_2, Epilogue::Slope(input.spec.activation), Some(&u));
    if let Some(into) = &into {
        let first = Outer { a: &middle, b: &d_u, matrix: w_1 };
        outer(first, Some(Outer { a: &inner, b: &d_o, matrix: w_2 }), into);
    }
    drop((u, inner, r2));
    let d_middle = input.back(&d_u, w_1, Epilogue::Add, Some(&d_r2));
    let [d_r1, d_a] = norm_back(&d_middle, [&r1, &stats_1], gamma_1, hidden, drop_1, (&parts, 0));
    let d_context = input.back(&d_a, w_o, Epilogue::Plain, None);
    let d_qkv = attend_back(&qkv, &input.mask, [&context, &sums], &d_context, input.heads());
    if let Some(into) = &into {
        let first = Outer { a: &context, b: &d_a, matrix: w_o };
        outer(first, Some(Outer { a: &input.hidden, b: &d_qkv, matrix: w_qkv }), into);
        columns(&parts, 0..4 * hidden, tokens, At(into, gamma_1.1));
    }
    let d_x = wants.x.then(|| input.back(&d_qkv, w_qkv, Epilogue::Add, Some(&d_r1)));
    (d_x.map(|d_x| shaped(d_x, input.hidden.shape())), into)
}
