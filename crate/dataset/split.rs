//! Which examples are held out for evaluation: the same ones on every machine.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Draws `fraction` of each group of indices and takes those examples out; both parts keep their
/// order.
pub(super) fn part<T>(
    examples: Vec<T>,
    mut groups: Vec<Vec<usize>>,
    fraction: f64,
    seed: u64,
) -> (Vec<T>, Vec<T>) {
    let shares = held_out(&groups.iter().map(Vec::len).collect::<Vec<_>>(), fraction);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut is_held_out = vec![false; examples.len()];
    for (group, share) in groups.iter_mut().zip(shares) {
        group.shuffle(&mut random);
        group[..share].iter().for_each(|&index| is_held_out[index] = true);
    }
    let (held_out, kept): (Vec<_>, Vec<_>) =
        examples.into_iter().zip(is_held_out).partition(|(_, held_out)| *held_out);
    let examples = |part: Vec<(T, bool)>| part.into_iter().map(|(example, _)| example).collect();
    (examples(kept), examples(held_out))
}

/// [`part`] with every example in one group.
pub(super) fn part_evenly<T>(examples: Vec<T>, fraction: f64, seed: u64) -> (Vec<T>, Vec<T>) {
    let everything = (0..examples.len()).collect();
    part(examples, vec![everything], fraction, seed)
}

/// How many of each group are held out: the whole part of their share first, then one more for
/// those whose share was cut most, until the total is right. Small sets of many labels thus get an
/// evaluation set, too.
fn held_out(sizes: &[usize], fraction: f64) -> Vec<usize> {
    let fraction = fraction.clamp(0.0, 1.0);
    let share = |group: usize| sizes[group] as f64 * fraction;
    let limit = |group: usize| sizes[group].saturating_sub(1);
    let mut held_out: Vec<_> =
        (0..sizes.len()).map(|group| (share(group) as usize).min(limit(group))).collect();
    let total = (sizes.iter().sum::<usize>() as f64 * fraction).round() as usize;
    let total = if fraction > 0.0 { total.max(1) } else { 0 };
    let missing = total.saturating_sub(held_out.iter().sum());
    let mut order: Vec<_> =
        (0..sizes.len()).filter(|&group| held_out[group] < limit(group)).collect();
    order.sort_by(|&a, &b| share(b).fract().total_cmp(&share(a).fract()));
    for group in order.into_iter().take(missing) {
        held_out[group] += 1;
    }
    held_out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        assert_eq!(held_out(&[3, 3, 3, 3], 0.25), [1, 1, 1, 0]);
        assert_eq!(held_out(&[10, 5, 1], 0.2), [2, 1, 0]);
        assert_eq!(held_out(&[1, 1], 0.5), [0, 0]);
        assert_eq!(held_out(&[], 0.5), Vec::<usize>::new());
    }
}
