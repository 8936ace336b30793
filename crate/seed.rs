//! One seed for a run, split per purpose and step, so that a resumed run draws the same numbers
//! as one that never stopped, and the order of drawing does not matter.

use std::io;

/// FNV-1a: the standard library's hash may change between versions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fnv(pub u64);

impl Fnv {
    pub fn new() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    /// A byte, or a word at once.
    pub fn with(self, word: u64) -> Self {
        Fnv((self.0 ^ word).wrapping_mul(0x0100_0000_01b3))
    }

    pub fn with_bytes(self, bytes: impl IntoIterator<Item = u8>) -> Self {
        bytes.into_iter().fold(self, |hash, byte| hash.with(u64::from(byte)))
    }
}

/// So that whatever can be written out can be hashed.
impl io::Write for Fnv {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        *self = self.with_bytes(bytes.iter().copied());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The seed of one purpose (`"dropout"`, `"shuffle"`, a parameter's name) at one step.
pub fn stream(seed: u64, purpose: &str, step: u64) -> u64 {
    let words = [seed, step].into_iter().flat_map(u64::to_le_bytes).chain(purpose.bytes());
    let Fnv(hash) = Fnv::new().with_bytes(words);
    // FNV leaves neighbouring inputs close; one round of mixing parts them.
    (hash ^ (hash >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every run ever made hangs on these numbers.
    #[test]
    fn streams_stay_what_they_are() {
        assert_eq!(stream(0, "shuffle", 0), 0xac2d_eb0c_340d_a651);
        assert_eq!(stream(7, "dropout", 3), 0x57ed_a7fa_fe82_2005);
    }

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
