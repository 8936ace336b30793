//! Which examples a model got most wrong.

/// The places of the rows with the highest loss, worst first: as many as an evaluation lists.
pub fn worst_first(losses: &[f64]) -> impl Iterator<Item = usize> {
    const WORST: usize = 20;
    let mut order: Vec<usize> = (0..losses.len()).collect();
    order.sort_by(|a, b| losses[*b].total_cmp(&losses[*a]).then(a.cmp(b)));
    order.into_iter().take(WORST)
}
