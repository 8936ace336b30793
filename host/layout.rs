//! Where the sixteen tensors of an encoder layer lie in the one that holds them all.
//!
//! First the four matrices, queries, keys and values side by side as one. They decay. Then the
//! vectors, which do not. A matrix `[in, out]` lies in panels of 16 columns, `[out / 16, in, 16]`:
//! the order in which a product reads it, on every device. What the last panel lacks is 0 and stays
//! it: its gradient is 0.

use std::fmt;
use std::ops::Range;

/// Columns of a panel.
pub const PANEL: usize = 16;

/// The sizes that all others follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub hidden: usize,
    pub inner: usize,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}x{}", self.hidden, self.inner)
    }
}

/// `x W + b`. The gradient of one has the same form.
#[derive(Debug, Clone, Copy)]
pub struct Linear<T> {
    /// `[in, out]`
    pub weight: T,
    /// `[out]`
    pub bias: T,
}

/// `n γ + β` of a row's normalised n, `[hidden]` each.
#[derive(Debug, Clone, Copy)]
pub struct Norm<T> {
    pub gamma: T,
    pub beta: T,
}

/// One thing for each of a layer's tensors, where queries, keys and values are one.
#[derive(Debug, Clone, Copy)]
pub struct Parts<T> {
    pub qkv: Linear<T>,
    pub attention_output: Linear<T>,
    pub intermediate: Linear<T>,
    pub output: Linear<T>,
    pub attention_norm: Norm<T>,
    pub output_norm: Norm<T>,
}

/// A matrix in panels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix {
    /// What goes in.
    pub rows: usize,
    /// What comes out.
    pub columns: usize,
}

impl Matrix {
    pub const fn panels(self) -> usize {
        self.columns.div_ceil(PANEL)
    }

    /// Those that fill the last panel up among them.
    pub const fn floats(self) -> usize {
        self.panels() * self.rows * PANEL
    }

    const fn place(self, row: usize, column: usize) -> usize {
        (column / PANEL * self.rows + row) * PANEL + column % PANEL
    }
}

impl Layout {
    /// Wqkv, Wo, W1, W2.
    pub const fn matrices(self) -> [Matrix; 4] {
        let Layout { hidden, inner } = self;
        [
            Matrix { rows: hidden, columns: 3 * hidden },
            Matrix { rows: hidden, columns: hidden },
            Matrix { rows: hidden, columns: inner },
            Matrix { rows: inner, columns: hidden },
        ]
    }

    /// Of all.
    pub fn floats(self) -> usize {
        self.ranges().output_norm.beta.end
    }

    /// Floats of the matrices: so many decay, from the first on.
    pub fn decaying(self) -> usize {
        self.matrices().map(Matrix::floats).iter().sum()
    }

    pub fn ranges(self) -> Parts<Range<usize>> {
        let mut end = 0;
        self.parts(|length| {
            end += length;
            end - length..end
        })
    }

    /// Cuts what has the layout into its parts.
    pub fn split(self, mut all: &[f32]) -> Parts<&[f32]> {
        self.parts(|length| all.split_off(..length).expect("it has the layout"))
    }

    /// The same, to write to.
    pub fn split_mut(self, mut all: &mut [f32]) -> Parts<&mut [f32]> {
        self.parts(|length| all.split_off_mut(..length).expect("it has the layout"))
    }

    /// Asks for parts of so many floats, from the first to the last.
    fn parts<T>(self, mut take: impl FnMut(usize) -> T) -> Parts<T> {
        let Layout { hidden, inner } = self;
        let [w_qkv, w_o, w_1, w_2] = self.matrices().map(|matrix| take(matrix.floats()));
        let [b_qkv, b_o, b_1, b_2] = [3 * hidden, hidden, inner, hidden].map(&mut take);
        let [gamma_1, beta_1, gamma_2, beta_2] = [hidden; 4].map(&mut take);
        Parts {
            qkv: Linear { weight: w_qkv, bias: b_qkv },
            attention_output: Linear { weight: w_o, bias: b_o },
            intermediate: Linear { weight: w_1, bias: b_1 },
            output: Linear { weight: w_2, bias: b_2 },
            attention_norm: Norm { gamma: gamma_1, beta: beta_1 },
            output_norm: Norm { gamma: gamma_2, beta: beta_2 },
        }
    }
}

/// A tensor that Hugging Face has a name for (`pretrained/names.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    Query,
    Key,
    Value,
    AttentionOutput,
    Intermediate,
    Output,
    QueryBias,
    KeyBias,
    ValueBias,
    AttentionOutputBias,
    IntermediateBias,
    OutputBias,
    AttentionGamma,
    AttentionBeta,
    OutputGamma,
    OutputBeta,
}

impl Slot {
    pub const ALL: [Slot; 16] = [
        Slot::Query,
        Slot::Key,
        Slot::Value,
        Slot::AttentionOutput,
        Slot::Intermediate,
        Slot::Output,
        Slot::QueryBias,
        Slot::KeyBias,
        Slot::ValueBias,
        Slot::AttentionOutputBias,
        Slot::IntermediateBias,
        Slot::OutputBias,
        Slot::AttentionGamma,
        Slot::AttentionBeta,
        Slot::OutputGamma,
        Slot::OutputBeta,
    ];
}

impl Layout {
    /// `[in, out]` or `[width]`.
    pub fn shape(self, slot: Slot) -> Vec<usize> {
        match self.region(slot) {
            Region::Columns { matrix, columns, .. } => vec![matrix.rows, columns.len()],
            Region::Vector(range) => vec![range.len()],
        }
    }

    /// A tensor's values, row by row, out of the layer's.
    pub fn read(self, slot: Slot, all: &[f32]) -> Vec<f32> {
        self.places(slot).map(|place| all[place]).collect()
    }

    /// The opposite of [`Layout::read`].
    pub fn write(self, slot: Slot, values: &[f32], all: &mut [f32]) {
        self.places(slot).zip(values).for_each(|(place, value)| all[place] = *value);
    }

    /// Where a tensor's values lie, row by row.
    fn places(self, slot: Slot) -> impl Iterator<Item = usize> {
        // A vector is a row whose places follow each other.
        let region = self.region(slot);
        let (rows, columns) = match &region {
            Region::Columns { matrix, columns, .. } => (matrix.rows, columns.clone()),
            Region::Vector(range) => (1, range.clone()),
        };
        (0..rows).flat_map(move |row| columns.clone().map(move |column| (row, column))).map(
            move |(row, column)| match &region {
                Region::Columns { at, matrix, .. } => at + matrix.place(row, column),
                Region::Vector(_) => column,
            },
        )
    }

    fn region(self, slot: Slot) -> Region {
        let Layout { hidden, inner } = self;
        let [w_qkv, w_o, w_1, w_2] = self.matrices();
        let Parts { qkv, attention_output, intermediate, output, attention_norm, output_norm } =
            self.ranges();
        let columns = |weight: Range<usize>, matrix, columns| Region::Columns {
            at: weight.start,
            matrix,
            columns,
        };
        let third = |i: usize| i * hidden..(i + 1) * hidden;
        let bias = |i| {
            let Range { start, end } = third(i);
            Region::Vector(qkv.bias.start + start..qkv.bias.start + end)
        };
        match slot {
            Slot::Query => columns(qkv.weight, w_qkv, third(0)),
            Slot::Key => columns(qkv.weight, w_qkv, third(1)),
            Slot::Value => columns(qkv.weight, w_qkv, third(2)),
            Slot::AttentionOutput => columns(attention_output.weight, w_o, 0..hidden),
            Slot::Intermediate => columns(intermediate.weight, w_1, 0..inner),
            Slot::Output => columns(output.weight, w_2, 0..hidden),
            Slot::QueryBias => bias(0),
            Slot::KeyBias => bias(1),
            Slot::ValueBias => bias(2),
            Slot::AttentionOutputBias => Region::Vector(attention_output.bias),
            Slot::IntermediateBias => Region::Vector(intermediate.bias),
            Slot::OutputBias => Region::Vector(output.bias),
            Slot::AttentionGamma => Region::Vector(attention_norm.gamma),
            Slot::AttentionBeta => Region::Vector(attention_norm.beta),
            Slot::OutputGamma => Region::Vector(output_norm.gamma),
            Slot::OutputBeta => Region::Vector(output_norm.beta),
        }
    }
}

/// Where a tensor lies.
enum Region {
    /// Some columns of a matrix that begins at a place.
    Columns {
        at: usize,
        matrix: Matrix,
        columns: Range<usize>,
    },
    Vector(Range<usize>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_model_s_layer_is_known() {
        let layout = Layout { hidden: 256, inner: 1024 };
        assert_eq!((layout.floats(), layout.decaying()), (789_760, 786_432));
    }

    /// Every tensor has places of its own, and only what fills panels up has none.
    #[test]
    fn tensors_do_not_overlap() {
        for (hidden, inner) in [(32, 64), (15, 37), (7, 9), (48, 17), (1, 1)] {
            let layout = Layout { hidden, inner };
            let mut all = vec![0f32; layout.floats()];
            let mut next = 0f32;
            for slot in Slot::ALL {
                let count: usize = layout.shape(slot).iter().product();
                let values: Vec<f32> = (0..count).map(|i| next + 1.0 + i as f32).collect();
                layout.write(slot, &values, &mut all);
                assert_eq!(layout.read(slot, &all), values);
                next += count as f32;
            }
            let mut found: Vec<f32> = all.iter().copied().filter(|value| *value > 0.0).collect();
            found.sort_by(f32::total_cmp);
            assert_eq!(found, (1..=next as usize).map(|i| i as f32).collect::<Vec<_>>());
            let vectors = &all[layout.decaying()..];
            assert_eq!(vectors.len(), 3 * hidden + inner + 6 * hidden);
            assert!(vectors.iter().all(|value| *value > 0.0));
        }
    }

    #[test]
    fn queries_keys_and_values_are_columns_of_one_matrix() {
        let layout = Layout { hidden: 15, inner: 4 };
        let mut all = vec![0f32; layout.floats()];
        let values: Vec<f32> = (1..=225).map(|i| i as f32).collect();
        layout.write(Slot::Key, &values, &mut all);
        // Column 0 is the last of the first panel, the others lie in the second.
        assert_eq!((all[15], all[16 + 15]), (1.0, 16.0));
        assert_eq!(all[15 * PANEL..][..14], values[1..15]);
    }
}
