//! Which examples a model got most wrong.

/// The places of the rows with the highest loss among those that are wrong, worst first: as many as
/// an evaluation lists.
pub fn worst_first(losses: &[f64], is_wrong: impl Fn(usize) -> bool) -> Vec<usize> {
    const WORST: usize = 20;
    let mut order: Vec<usize> = (0..losses.len()).filter(|row| is_wrong(*row)).collect();
    order.sort_by(|a, b| losses[*b].total_cmp(&losses[*a]).then(a.cmp(b)));
    order.truncate(WORST);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_right_is_not_listed() {
        assert_eq!(worst_first(&[0.1, 0.9, 0.5, 0.7], |row| row != 1), [3, 2, 0]);
        assert_eq!(worst_first(&[1.0; 30], |_| true).len(), 20);
    }
}
