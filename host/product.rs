//! Products of matrices inside a parallel loop, where the rows are still in the cache.
//!
//! The right side is packed in panels of 16 columns, one after the other, each row by row: the
//! order in which a product reads it. A tile of rows times a panel stays in registers. The sums of an
//! element are added in an order that depends on the sizes alone.

use crate::layout::{Matrix, PANEL};
use crate::{Block, scratch};

/// Rows of a tile: 12 registers of eight lanes, and four left for what is multiplied. In wasm a
/// compiler runs out of registers above nine accumulators of four lanes.
#[cfg(not(target_family = "wasm"))]
const TILE: usize = 6;
#[cfg(target_family = "wasm")]
const TILE: usize = 2;

/// Terms of a sum that are added before its tile is written: as many rows of a panel stay in the
/// first cache.
const DEPTH: usize = 256;

/// A matrix to read from: element `(i, j)` is at `i · down + j · right`.
#[derive(Clone, Copy)]
pub struct View<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    down: usize,
    right: usize,
}

impl<'a> View<'a> {
    /// All of a matrix that is stored row by row.
    pub fn whole(values: &'a [f32], columns: usize) -> Self {
        View::strided(values, [values.len() / columns, columns], columns)
    }

    /// The first columns of a matrix with `stride` elements a row.
    pub fn strided(values: &'a [f32], [rows, columns]: [usize; 2], stride: usize) -> Self {
        View { values, rows, columns, down: stride, right: 1 }.checked()
    }

    pub fn transposed(self) -> Self {
        let View { values, rows, columns, down, right } = self;
        View { values, rows: columns, columns: rows, down: right, right: down }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    /// A row of a matrix that is stored row by row.
    pub fn row(&self, row: usize) -> &'a [f32] {
        assert!(self.right == 1);
        &self.values[row * self.down..][..self.columns]
    }

    /// So many columns from one on.
    pub fn columns_from(self, first: usize, count: usize) -> Self {
        self.part([0, first], [self.rows, count])
    }

    /// From that row and column on, so many of them.
    fn part(self, [row, column]: [usize; 2], [rows, columns]: [usize; 2]) -> Self {
        assert!(row + rows <= self.rows && column + columns <= self.columns);
        let values = &self.values[row * self.down + column * self.right..];
        View { values, rows, columns, ..self }.checked()
    }

    /// What the code without bounds checks relies on.
    fn checked(self) -> Self {
        assert!(self.rows > 0 && self.columns > 0, "a product has terms");
        let last = (self.rows - 1) * self.down + (self.columns - 1) * self.right;
        assert!(last < self.values.len(), "the last element lies in the matrix");
        self
    }
}

/// A packed matrix of so many rows and columns.
#[derive(Clone, Copy)]
pub struct Panels<'a> {
    values: &'a [[f32; PANEL]],
    rows: usize,
    columns: usize,
}

/// Floats of a packed matrix.
pub const fn packed_len(rows: usize, columns: usize) -> usize {
    Matrix { rows, columns }.floats()
}

impl<'a> Panels<'a> {
    /// What [`pack`] has written.
    pub fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        let (values, _) = values[..packed_len(rows, columns)].as_chunks();
        Panels { values, rows, columns }
    }

    /// Packs into `out`, which may be longer.
    pub fn pack(from: View, out: &'a mut [f32]) -> Self {
        let out = &mut out[..packed_len(from.rows, from.columns)];
        pack(from, out);
        Panels::new(out, from.rows, from.columns)
    }
}

/// Packs a matrix; what its last panel lacks is 0.
pub fn pack(from: View, out: &mut [f32]) {
    for (panel, first) in out.chunks_mut(PANEL * from.rows).zip((0..from.columns).step_by(PANEL)) {
        let width = PANEL.min(from.columns - first);
        let from = from.part([0, first], [from.rows, width]);
        match (from.right, width) {
            (1, PANEL) => copy_rows(from, panel),
            (_, PANEL) if from.down == 1 => copy_columns(from, panel),
            _ => copy_some(from, panel),
        }
    }
}

fn copy_rows(from: View, panel: &mut [f32]) {
    for (p, row) in panel.as_chunks_mut::<PANEL>().0.iter_mut().enumerate() {
        row.copy_from_slice(&from.values[p * from.down..][..PANEL]);
    }
}

/// Eight rows at a time: so much of a column is one read.
fn copy_columns(from: View, panel: &mut [f32]) {
    const ROWS: usize = 8;
    for (rows, first) in panel.chunks_mut(ROWS * PANEL).zip((0..from.rows).step_by(ROWS)) {
        let (rows, _) = rows.as_chunks_mut::<PANEL>();
        for column in 0..PANEL {
            let source = &from.values[column * from.right + first..][..rows.len()];
            rows.iter_mut().zip(source).for_each(|(row, value)| row[column] = *value);
        }
    }
}

fn copy_some(from: View, panel: &mut [f32]) {
    for (p, row) in panel.as_chunks_mut::<PANEL>().0.iter_mut().enumerate() {
        let value = |column| from.values[p * from.down + column * from.right];
        *row = std::array::from_fn(|i| if i < from.columns { value(i) } else { 0.0 });
    }
}

/// A panel of a packed matrix turned over, `[columns, PANEL]`: its rows from `number · PANEL` on. What
/// the panel lacks is 0.
pub fn turn_panel(from: Panels, number: usize, out: &mut [f32]) {
    let first = number * PANEL;
    let rows = PANEL.min(from.rows - first);
    let (out, _) = out.as_chunks_mut::<PANEL>();
    for (out, panel) in out.chunks_mut(PANEL).zip(from.values.chunks(from.rows)) {
        let mut block = [[0f32; PANEL]; PANEL];
        for (i, row) in panel[first..][..rows].iter().enumerate() {
            for (lane, value) in row.iter().enumerate() {
                block[lane][i] = *value;
            }
        }
        out.copy_from_slice(&block[..out.len()]);
    }
}

/// The panels of a matrix to write to, each no wider than the matrix goes.
pub fn panel_blocks(values: &mut [f32], rows: usize, columns: usize) -> Vec<Block<'_>> {
    let block = |(number, panel)| {
        let whole = Block::whole(panel, PANEL);
        Block { columns: PANEL.min(columns - number * PANEL), ..whole }
    };
    values.chunks_mut(PANEL * rows).enumerate().map(block).collect()
}

/// `out = a · b`, or with `add`: `out += a · b`.
pub fn product(a: View, b: Panels, out: &mut Block, add: bool) {
    assert!(a.columns == b.rows && (out.rows, out.columns) == (a.rows, b.columns));
    #[cfg(any(target_arch = "x86_64", feature = "relaxed-simd"))]
    if has_fma() {
        #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
        #[cfg_attr(feature = "relaxed-simd", target_feature(enable = "relaxed-simd"))]
        fn with_fma(a: View, b: Panels, out: &mut Block, add: bool) {
            product_of::<true>(a, b, out, add);
        }
        // SAFETY: the processor has what the function is compiled for.
        #[allow(unused_unsafe)] // WebAssembly is checked before it runs
        return unsafe { with_fma(a, b, out, add) };
    }
    product_of::<false>(a, b, out, add);
}

#[cfg(target_arch = "x86_64")]
fn has_fma() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
}

/// An engine without it does not load the program at all.
#[cfg(feature = "relaxed-simd")]
fn has_fma() -> bool {
    true
}

#[inline(always)]
fn product_of<const FMA: bool>(a: View, b: Panels, out: &mut Block, add: bool) {
    for start in (0..a.columns).step_by(DEPTH) {
        let depth = DEPTH.min(a.columns - start);
        let a = a.part([0, start], [a.rows, depth]);
        for (number, panel) in b.values.chunks(b.rows).enumerate() {
            let column = number * PANEL;
            let mut out = out.columns(column..(column + PANEL).min(b.columns));
            rows_of::<FMA>(a, &panel[start..][..depth], &mut out, add || start > 0);
        }
    }
}

/// All rows of one panel.
#[inline(always)]
fn rows_of<const FMA: bool>(a: View, panel: &[[f32; PANEL]], out: &mut Block, add: bool) {
    for row in (0..a.rows).step_by(TILE) {
        let left = Left { first: &a.values[row * a.down..], down: a.down, right: a.right };
        // SAFETY: the rows and the terms of the sums lie in `a`, which was checked.
        unsafe { tile_of::<FMA>(TILE.min(a.rows - row), left, panel, out, row, add) }
    }
}

/// The rows of a tile.
#[derive(Clone, Copy)]
struct Left<'a> {
    first: &'a [f32],
    down: usize,
    right: usize,
}

/// Picks the tile of so many rows.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn tile_of<const FMA: bool>(
    rows: usize,
    a: Left,
    panel: &[[f32; PANEL]],
    out: &mut Block,
    row: usize,
    add: bool,
) {
    // SAFETY: as asked of the caller.
    unsafe {
        match rows {
            #[cfg(not(target_family = "wasm"))]
            6 => tile::<6, FMA>(a, panel, out, row, add),
            #[cfg(not(target_family = "wasm"))]
            5 => tile::<5, FMA>(a, panel, out, row, add),
            #[cfg(not(target_family = "wasm"))]
            4 => tile::<4, FMA>(a, panel, out, row, add),
            #[cfg(not(target_family = "wasm"))]
            3 => tile::<3, FMA>(a, panel, out, row, add),
            2 => tile::<2, FMA>(a, panel, out, row, add),
            _ => tile::<1, FMA>(a, panel, out, row, add),
        }
    }
}

/// M rows from `row` on of a block that is at most a panel wide.
///
/// # Safety
/// `a.first[i · down + p · right]` exists for all `i < M` and `p < panel.len()`.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn tile<const M: usize, const FMA: bool>(
    a: Left,
    panel: &[[f32; PANEL]],
    out: &mut Block,
    row: usize,
    add: bool,
) {
    let mut sums = [[0f32; PANEL]; M];
    // Indices and a copy of the row: with iterators the compiler leaves the sums in memory.
    for p in 0..panel.len() {
        let columns = panel[p];
        for i in 0..M {
            // SAFETY: as asked of the caller.
            let x = unsafe { *a.first.get_unchecked(i * a.down + p * a.right) };
            sums[i] = add_scaled::<FMA>(sums[i], x, columns);
        }
    }
    for i in 0..M {
        // A copy, too: of a slice of the sums themselves the compiler would want the address.
        let (sums, out) = (sums[i], out.row(row + i));
        match out.as_mut_array::<PANEL>() {
            Some(out) => write(out, &sums, add),
            None => write(out, &sums[..out.len()], add),
        }
    }
}

#[inline(always)]
fn write(out: &mut [f32], sums: &[f32], add: bool) {
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = if add { *out + sum } else { *sum };
    }
}

/// `sums + x · columns`, in one instruction a register where the processor has it, and never by a call.
#[inline(always)]
fn add_scaled<const FMA: bool>(
    mut sums: [f32; PANEL],
    x: f32,
    columns: [f32; PANEL],
) -> [f32; PANEL] {
    #[cfg(feature = "relaxed-simd")]
    if FMA {
        return relaxed::add_scaled(sums, x, columns);
    }
    for (sum, column) in sums.iter_mut().zip(columns) {
        let one = FMA || cfg!(target_arch = "aarch64");
        *sum = if one { x.mul_add(column, *sum) } else { x * column + *sum };
    }
    sums
}

/// WebAssembly's, whose compiler makes a call of a `mul_add`.
#[cfg(feature = "relaxed-simd")]
mod relaxed {
    use std::arch::wasm32::{f32x4_relaxed_madd, f32x4_splat, v128};

    use super::PANEL;

    #[inline]
    #[target_feature(enable = "relaxed-simd")]
    pub fn add_scaled(sums: [f32; PANEL], x: f32, columns: [f32; PANEL]) -> [f32; PANEL] {
        type Registers = [v128; PANEL / 4];
        // SAFETY: both are so many bytes of any content.
        let (sums, columns): (Registers, Registers) =
            unsafe { (std::mem::transmute(sums), std::mem::transmute(columns)) };
        let x = f32x4_splat(x);
        let added: Registers = std::array::from_fn(|i| f32x4_relaxed_madd(x, columns[i], sums[i]));
        // SAFETY: as above.
        unsafe { std::mem::transmute(added) }
    }
}

/// `out = aᵀ · b`, a sum over the rows of both, which may be many. `out` is a block for each panel of
/// columns.
pub fn outer(a: View, b: View, out: &mut [Block]) {
    assert!(a.rows == b.rows && out.len() == b.columns.div_ceil(PANEL));
    for (number, out) in out.iter().enumerate() {
        let columns = PANEL.min(b.columns - number * PANEL);
        assert!((out.rows, out.columns) == (a.columns, columns));
    }
    let (left, right) = (split_len::<TILE>(a.columns), split_len::<PANEL>(b.columns));
    scratch(left + right, |floats| {
        let (left, right) = floats.split_at_mut(left);
        for start in (0..a.rows).step_by(DEPTH) {
            let rows = DEPTH.min(a.rows - start);
            let a = a.part([start, 0], [rows, a.columns]);
            let b = b.part([start, 0], [rows, b.columns]);
            outer_part(a, b, out, [left, right], start > 0);
        }
    });
}

/// Floats between two panels, so that equal rows of panels do not fall on one set of the cache.
const PAD: usize = 16;

/// Floats of so many columns, [`split`].
fn split_len<const W: usize>(columns: usize) -> usize {
    columns.div_ceil(W) * (DEPTH * W + PAD)
}

fn outer_part(a: View, b: View, out: &mut [Block], scratch: [&mut [f32]; 2], add: bool) {
    #[cfg(any(target_arch = "x86_64", feature = "relaxed-simd"))]
    if has_fma() {
        #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
        #[cfg_attr(feature = "relaxed-simd", target_feature(enable = "relaxed-simd"))]
        fn with_fma(a: View, b: View, out: &mut [Block], scratch: [&mut [f32]; 2], add: bool) {
            outer_of::<true>(a, b, out, scratch, add);
        }
        // SAFETY: the processor has what the function is compiled for.
        #[allow(unused_unsafe)] // WebAssembly is checked before it runs
        return unsafe { with_fma(a, b, out, scratch, add) };
    }
    outer_of::<false>(a, b, out, scratch, add);
}

#[inline(always)]
fn outer_of<const FMA: bool>(
    a: View,
    b: View,
    out: &mut [Block],
    [left, right]: [&mut [f32]; 2],
    add: bool,
) {
    split::<TILE>(a, left);
    split::<PANEL>(b, right);
    let depth = a.rows;
    for (number, out) in out.iter_mut().enumerate() {
        let panel = &right[number * (depth * PANEL + PAD)..][..depth * PANEL];
        let (panel, _) = panel.as_chunks::<PANEL>();
        for row in (0..a.columns).step_by(TILE) {
            let first = &left[row / TILE * (depth * TILE + PAD)..][..depth * TILE];
            let left = Left { first, down: 1, right: TILE };
            // SAFETY: `first` holds TILE numbers for each term.
            unsafe { tile_of::<FMA>(TILE.min(a.columns - row), left, panel, out, row, add) }
        }
    }
}

/// Row-major to panels of W columns, PAD apart; what the last lacks is left as it is.
#[inline(always)]
fn split<const W: usize>(from: View, out: &mut [f32]) {
    assert!(from.right == 1);
    let apart = from.rows * W + PAD;
    for p in 0..from.rows {
        let row = &from.values[p * from.down..][..from.columns];
        let (whole, rest) = row.as_chunks::<W>();
        for (i, chunk) in whole.iter().enumerate() {
            out[i * apart + p * W..][..W].copy_from_slice(chunk);
        }
        if !rest.is_empty() {
            out[whole.len() * apart + p * W..][..rest.len()].copy_from_slice(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(count: usize, phase: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * 0.73 + phase).sin()).collect()
    }

    /// `base + a · b` by the definition, in f64.
    fn plain(a: View, b: View, base: f32) -> Vec<f32> {
        let at = |m: View, i: usize, j: usize| f64::from(m.values[i * m.down + j * m.right]);
        let element = |i, j| {
            let sum: f64 = (0..a.columns).map(|p| at(a, i, p) * at(b, p, j)).sum();
            sum as f32 + base
        };
        (0..a.rows).flat_map(|i| (0..b.columns).map(move |j| element(i, j))).collect()
    }

    fn close(ours: &[f32], right: &[f32], what: &str) {
        assert_eq!(ours.len(), right.len(), "{what}");
        let far =
            ours.iter().zip(right).find(|(a, b)| (**a - **b).abs() > 2e-6 * b.abs().max(10.0));
        assert!(far.is_none(), "{what}: {far:?}");
    }

    /// Both sides as they are and transposed, alone and added.
    fn check([m, n, k]: [usize; 3]) {
        let what = format!("{m} x {n} x {k}");
        let (a, b) = (wave(m * k, 0.0), wave(k * n, 1.0));
        let lefts = [View::whole(&a, k), View::whole(&a, m).transposed()];
        let rights = [View::whole(&b, n), View::whole(&b, k).transposed()];
        let mut packed = vec![f32::NAN; packed_len(k, n) + 3];
        for (left, right) in lefts.into_iter().flat_map(|l| rights.map(|r| (l, r))) {
            let panels = Panels::pack(right, &mut packed);
            let mut out = vec![f32::NAN; m * n];
            product(left, panels, &mut Block::whole(&mut out, n), false);
            close(&out, &plain(left, right, 0.0), &what);
            out.fill(0.5);
            product(left, panels, &mut Block::whole(&mut out, n), true);
            close(&out, &plain(left, right, 0.5), &what);
        }
        let (a, b) = (View::whole(&a, m), View::whole(&b, n));
        let mut packed = vec![0.0; packed_len(m, n)];
        outer(a, b, &mut panel_blocks(&mut packed, m, n));
        let mut right = vec![f32::NAN; packed.len()];
        let product = plain(a.transposed(), b, 0.0);
        pack(View::whole(&product, n), &mut right);
        close(&packed, &right, &what);
        // Turned over.
        let mut turned = vec![f32::NAN; packed_len(n, m)];
        let panels = Panels::new(&packed, m, n);
        turned.chunks_mut(PANEL * n).enumerate().for_each(|(i, out)| turn_panel(panels, i, out));
        let mut right = vec![f32::NAN; turned.len()];
        pack(View::whole(&product, n).transposed(), &mut right);
        close(&turned, &right, &what);
    }

    #[test]
    fn products_equal_plain_loops_for_all_widths_and_odd_sizes() {
        for width in 1..=40 {
            check([7, width, 13]);
            check([width, 17, 5]);
            check([3, 5, width]);
        }
        for sizes in [[64, 48, 256], [65, 33, 257], [13, 31, 700], [1, 1, 1], [6, 16, 512]] {
            check(sizes);
        }
    }

    #[test]
    fn a_product_writes_its_columns_of_a_wider_matrix_alone() {
        let (a, b) = (wave(9 * 4, 0.0), wave(4 * 5, 1.0));
        let mut packed = vec![0.0; packed_len(4, 5)];
        let panels = Panels::pack(View::whole(&b, 5), &mut packed);
        let mut out = vec![7.0; 9 * 11];
        let mut blocks = Block::whole(&mut out, 11).cut(4, 5);
        assert_eq!(blocks.len(), 9);
        let a = View::whole(&a, 4);
        // The second of the second row of blocks.
        product(a.part([4, 0], [4, 4]), panels, &mut blocks[4], false);
        let right = plain(a, View::whole(&b, 5), 0.0);
        for (i, value) in out.iter().enumerate() {
            let (row, column) = (i / 11, i % 11);
            let inside = (4..8).contains(&row) && (5..10).contains(&column);
            let right = if inside { right[row * 5 + column - 5] } else { 7.0 };
            assert!((value - right).abs() < 1e-5, "{row} {column}");
        }
    }
}
