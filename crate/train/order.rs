//! Which rows a batch holds.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::seed::stream;

/// A task and rows of it.
pub(super) type Rows = (usize, Vec<usize>);

/// The batches of an epoch in their order: every row of every task once. Where there are several
/// tasks, each takes as many turns as it has batches, at places that the seed draws.
pub(super) fn epoch(sizes: &[usize], batch_size: usize, seed: u64, epoch: usize) -> Vec<Rows> {
    let rows = |(task, size)| shuffled(size, seed, &of_task("shuffle", task), epoch);
    let orders: Vec<Vec<usize>> = sizes.iter().copied().enumerate().map(rows).collect();
    let mut batches: Vec<_> = orders.iter().map(|order| order.chunks(batch_size)).collect();
    let mut turns: Vec<usize> =
        batches.iter().enumerate().flat_map(|(task, b)| vec![task; b.len()]).collect();
    turns.shuffle(&mut rng(seed, "tasks", epoch));
    let mut next = |task: usize| batches[task].next().expect("a turn for each batch").to_vec();
    turns.into_iter().map(|task| (task, next(task))).collect()
}

/// The purpose of a stream of random numbers that each task has of its own.
fn of_task(purpose: &str, task: usize) -> String {
    if task == 0 { purpose.to_string() } else { format!("{purpose} {task}") }
}

fn shuffled(rows: usize, seed: u64, purpose: &str, epoch: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    order.shuffle(&mut rng(seed, purpose, epoch));
    order
}

fn rng(seed: u64, purpose: &str, epoch: usize) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(stream(seed, purpose, epoch as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks(batches: &[Rows]) -> Vec<usize> {
        batches.iter().map(|(task, _)| *task).collect()
    }

    #[test]
    fn every_row_of_every_task_comes_once_an_epoch() {
        for number in 0..3 {
            let batches = epoch(&[50, 7, 4], 4, 1, number);
            for (task, size) in [(0, 50), (1, 7), (2, 4)] {
                let own = batches.iter().filter(|(other, _)| *other == task);
                let mut rows: Vec<usize> = own.flat_map(|(_, rows)| rows.clone()).collect();
                rows.sort_unstable();
                assert_eq!(rows, (0..size).collect::<Vec<_>>());
            }
            assert_eq!(batches.len(), 13 + 2 + 1);
        }
    }

    #[test]
    fn the_seed_mixes_the_tasks_in_proportion() {
        let order = |seed, number| tasks(&epoch(&[4000, 1000], 4, seed, number));
        assert_eq!(order(1, 0), order(1, 0));
        assert_ne!(order(1, 0), order(2, 0));
        assert_ne!(order(1, 0), order(1, 1));
        // A fifth of the turns, all along: of 125, 25 give or take four standard deviations.
        for quarter in order(1, 0).chunks(125) {
            let small = quarter.iter().filter(|task| **task == 1).count();
            assert!((8..=42).contains(&small), "{small} of {}", quarter.len());
        }
    }

    /// Another task beside it does not change the order of its rows.
    #[test]
    fn one_task_alone_has_the_order_it_always_had() {
        let alone = epoch(&[10], 4, 3, 2);
        let expected = shuffled(10, 3, "shuffle", 2);
        assert_eq!(alone.iter().flat_map(|(_, rows)| rows.clone()).collect::<Vec<_>>(), expected);
        let both = epoch(&[10, 10], 4, 3, 2);
        let of = |task| both.iter().filter(move |(t, _)| *t == task).map(|(_, r)| r.clone());
        assert!(of(0).eq(alone.into_iter().map(|(_, rows)| rows)));
        assert!(!of(1).eq(of(0)));
    }
}
