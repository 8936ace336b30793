//! One seed for a run, split per purpose and step, so that a resumed run draws the same numbers
//! as one that never stopped, and the order of drawing does not matter.

/// The seed of one purpose (`"dropout"`, `"shuffle"`, a parameter's name) at one step.
pub fn stream(seed: u64, purpose: &str, step: u64) -> u64 {
    let words = [seed, step].into_iter().flat_map(u64::to_le_bytes).chain(purpose.bytes());
    // FNV-1a: the standard library's hash may change between versions.
    let hash = words.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // FNV leaves neighbouring inputs close; one round of mixing parts them.
    (hash ^ (hash >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_steps_part() {
        let seeds = [
            stream(0, "dropout", 0),
            stream(0, "dropout", 1),
            stream(0, "shuffle", 0),
            stream(1, "dropout", 0),
        ];
        for (i, a) in seeds.iter().enumerate() {
            assert!(seeds[..i].iter().all(|b| (a ^ b).count_ones() > 8), "{seeds:x?}");
        }
    }
}
