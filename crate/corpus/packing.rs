//! Lines of token ids to examples of two segments: `ExampleBuilder` of google-research/electra,
//! and a packing of ours that loses no token.
//!
//! All draws belong to an example: its number in its document, and the document's in the corpus.
//! So neither threads nor interruptions change them.

use std::collections::VecDeque;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::seed::stream;

/// How lines become examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// What does not fit into an example begins the next one of the document.
    Full,
    /// As the reference does it: what does not fit is lost.
    Reference,
}

/// An example without its special tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Segments {
    pub first: Vec<u32>,
    /// May be empty.
    pub second: Vec<u32>,
}

impl Segments {
    pub fn tokens(&self) -> usize {
        self.first.len() + self.second.len()
    }
}

/// Where a packer stands; it can go on from here in another process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackerState {
    /// Documents that have ended.
    pub document: u64,
    /// Examples that this document has given.
    example: u64,
    /// This document has a line.
    begun: bool,
    tokens: VecDeque<u32>,
    /// Lengths of the lines that `tokens` is made of.
    lines: VecDeque<usize>,
}

/// Turns lines into examples, one document after the other.
pub struct Packer {
    packing: Packing,
    max_seq_length: usize,
    seed: u64,
    state: PackerState,
    draws: Draws,
}

/// What is drawn for an example before its lines are known.
struct Draws {
    /// The length it should have.
    target: usize,
    single: bool,
    coins: ChaCha8Rng,
}

impl Draws {
    /// The shares are those of the reference: 5 % of the examples are short, 10 % have one segment.
    fn new(seed: u64, state: &PackerState, max_seq_length: usize) -> Self {
        let document = stream(seed, "packing", state.document);
        let mut coins = ChaCha8Rng::seed_from_u64(stream(document, "example", state.example));
        let target = match coins.random_bool(0.05) {
            true => coins.random_range(5..=max_seq_length),
            false => max_seq_length,
        };
        Draws { target, single: coins.random_bool(0.1), coins }
    }

    fn coin(&mut self) -> bool {
        self.coins.random_bool(0.5)
    }

    /// Where the first segment should end; None where it should not.
    fn first_target(&self) -> Option<usize> {
        (!self.single).then_some((self.target - 3) / 2)
    }

    /// Tokens of text in an example of the target length.
    fn room(&self) -> usize {
        self.target - if self.single { 2 } else { 3 }
    }
}

impl Packer {
    pub fn new(packing: Packing, max_seq_length: usize, seed: u64, state: PackerState) -> Self {
        let draws = Draws::new(seed, &state, max_seq_length);
        Packer { packing, max_seq_length, seed, state, draws }
    }

    pub fn state(&self) -> &PackerState {
        &self.state
    }

    /// The number of the document that lines go to.
    pub fn document(&self) -> u64 {
        self.state.document
    }

    pub fn add_line(&mut self, ids: &[u32]) {
        self.state.begun = true;
        if !ids.is_empty() {
            self.state.tokens.extend(ids);
            self.state.lines.push_back(ids.len());
        }
    }

    /// The next example, once there are tokens enough.
    pub fn next_example(&mut self) -> Option<Segments> {
        let enough = match self.packing {
            Packing::Full => self.draws.room(),
            Packing::Reference => self.draws.target,
        };
        (self.state.tokens.len() >= enough).then(|| self.take_example())
    }

    /// The document's last example, where tokens are left. To be called when `next_example` has
    /// none.
    pub fn end_document(&mut self) -> Option<Segments> {
        let last = (!self.state.tokens.is_empty()).then(|| self.take_example());
        if self.state.begun {
            self.state = PackerState { document: self.state.document + 1, ..Default::default() };
            self.draw();
        }
        last
    }

    fn draw(&mut self) {
        self.draws = Draws::new(self.seed, &self.state, self.max_seq_length);
    }

    fn take_example(&mut self) -> Segments {
        let segments = match self.packing {
            Packing::Full => self.take_full(),
            Packing::Reference => self.take_reference(),
        };
        self.state.example += 1;
        self.draw();
        segments
    }

    /// `_create_example`, step by step. A short line can still join the first segment when the
    /// second one has begun.
    fn take_reference(&mut self) -> Segments {
        let first_target = self.draws.first_target().unwrap_or(usize::MAX);
        let mut segments = Segments::default();
        for length in std::mem::take(&mut self.state.lines) {
            let line = self.state.tokens.drain(..length);
            let Segments { first, second } = &mut segments;
            let joins = first.is_empty()
                || first.len() + length < first_target
                || (second.is_empty() && first.len() < first_target && self.draws.coin());
            if joins { first.extend(line) } else { second.extend(line) }
        }
        segments.first.truncate(self.max_seq_length - 2);
        let room = self.max_seq_length.saturating_sub(segments.first.len() + 3);
        segments.second.truncate(room);
        segments
    }

    /// As many tokens as have room, in two segments that follow each other.
    fn take_full(&mut self) -> Segments {
        let taken = self.state.tokens.len().min(self.draws.room());
        let border = self.border(taken);
        let first = self.state.tokens.drain(..border).collect();
        let second = self.state.tokens.drain(..taken - border).collect();
        self.drop_lines(taken);
        Segments { first, second }
    }

    /// Where the second segment begins in the first `taken` tokens: by the rule of the reference
    /// between two lines. Where that leaves no second segment though there are tokens for two, it
    /// is the last line, and where there is only one line, its rest.
    fn border(&mut self, taken: usize) -> usize {
        let Some(first_target) = self.draws.first_target() else { return taken };
        let (mut first, mut before) = (0, 0);
        for &length in &self.state.lines {
            let joins = first == 0
                || first + length < first_target
                || (first < first_target && self.draws.coin());
            if !joins || first >= taken {
                break;
            }
            before = first;
            first += length;
        }
        match () {
            () if first < taken => first,
            () if taken <= first_target => taken,
            () if before > 0 => before,
            () => first_target,
        }
    }

    fn drop_lines(&mut self, mut tokens: usize) {
        while let Some(length) = self.state.lines.front_mut() {
            if tokens < *length {
                *length -= tokens;
                return;
            }
            tokens -= *length;
            self.state.lines.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of documents of lines of these lengths. Every token is another number.
    fn pack(packing: Packing, max: usize, documents: &[Vec<usize>]) -> Vec<Vec<Segments>> {
        let mut packer = Packer::new(packing, max, 3, PackerState::default());
        let mut next = 0u32;
        let pack = |lines: &Vec<usize>| {
            let mut examples = Vec::new();
            for length in lines {
                packer.add_line(&(next..next + *length as u32).collect::<Vec<_>>());
                next += *length as u32;
                examples.extend(std::iter::from_fn(|| packer.next_example()));
            }
            examples.extend(packer.end_document());
            examples
        };
        documents.iter().map(pack).collect()
    }

    fn share(examples: &[Segments], is: impl Fn(&Segments) -> bool) -> f64 {
        examples.iter().filter(|example| is(example)).count() as f64 / examples.len() as f64
    }

    #[track_caller]
    fn assert_near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 0.02, "{value}, not {expected}");
    }

    fn some_documents() -> Vec<Vec<usize>> {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut length = |longest: usize| random.random_range(0..longest);
        (0..400).map(|i| (0..length(30)).map(|_| length(2 + i)).collect()).collect()
    }

    #[test]
    fn full_packing_keeps_every_token_in_order() {
        let documents = some_documents();
        let mut next = 0;
        for (lines, examples) in documents.iter().zip(pack(Packing::Full, 64, &documents)) {
            for Segments { first, second } in &examples {
                assert!(!first.is_empty());
                let special = if second.is_empty() { 2 } else { 3 };
                assert!(first.len() + second.len() + special <= 64);
                for id in first.iter().chain(second) {
                    assert_eq!(*id, next);
                    next += 1;
                }
            }
            // And none of another document.
            assert_eq!(
                examples.iter().map(Segments::tokens).sum::<usize>(),
                lines.iter().sum::<usize>()
            );
        }
    }

    #[test]
    fn reference_examples_stay_in_their_document_and_fit() {
        let documents = some_documents();
        let mut start = 0u32;
        for (lines, examples) in documents.iter().zip(pack(Packing::Reference, 64, &documents)) {
            let end = start + lines.iter().sum::<usize>() as u32;
            for Segments { first, second } in &examples {
                let special = if second.is_empty() { 2 } else { 3 };
                assert!(!first.is_empty() && first.len() + second.len() + special <= 64);
                assert!(first.iter().chain(second).all(|id| (start..end).contains(id)));
            }
            start = end;
        }
    }

    #[test]
    fn both_packings_have_the_shares_of_the_reference() {
        for packing in [Packing::Full, Packing::Reference] {
            let examples = pack(packing, 128, &[vec![10; 100_000]]).concat();
            let single = |example: &Segments| example.second.is_empty();
            let long: Vec<_> =
                examples.iter().filter(|example| example.tokens() >= 125).cloned().collect();
            assert_near(share(&long, single), 0.1);
            assert_near(long.len() as f64 / examples.len() as f64, 0.95);
        }
    }

    /// Lines of ten tokens, 128 in all: thirteen lines close an example, five tokens of them too
    /// many for two segments. Six lines are below the 62 tokens that the first segment should
    /// have; the seventh joins them half of the time.
    #[test]
    fn the_reference_cuts_as_computed_by_hand() {
        let examples = pack(Packing::Reference, 128, &[vec![10; 100_000]]).concat();
        let two = examples.iter().filter(|e| !e.second.is_empty() && e.tokens() == 125);
        let two: Vec<_> = two.cloned().collect();
        assert!(two.len() > 5000);
        // A target a little below 128 moves the border by a line.
        assert!(two.iter().all(|e| [50, 60, 70].contains(&e.first.len())));
        assert!(share(&two, |e| e.first.len() == 50) < 0.01);
        assert_near(share(&two, |e| e.first.len() == 70), 0.5);
        let one = |e: &&Segments| e.second.is_empty() && e.tokens() > 120;
        assert!(examples.iter().filter(one).all(|e| e.first.len() == 126));
        assert!(examples.iter().all(|e| e.first[0] % 10 == 0), "an example begins inside a line");
    }

    #[test]
    fn the_reference_drops_the_tail_of_a_long_line_and_full_packing_does_not() {
        let lines = vec![300; 1000];
        let reference = pack(Packing::Reference, 128, std::slice::from_ref(&lines)).concat();
        assert_eq!(reference.len(), 1000);
        assert!(reference.iter().all(|e| e.first.len() == 126 && e.second.is_empty()));
        let full = pack(Packing::Full, 128, &[lines]).concat();
        assert_eq!(full.iter().map(Segments::tokens).sum::<usize>(), 300_000);
        assert_near(share(&full, |e| e.second.is_empty()), 0.1);
    }

    #[test]
    fn the_second_segment_begins_with_a_line_where_it_can() {
        let full = pack(Packing::Full, 128, &[vec![7; 50_000]]).concat();
        let inside = |e: &Segments| !e.second.is_empty() && !e.second[0].is_multiple_of(7);
        // Only the shortest targets have no room for two lines.
        assert!(share(&full, inside) < 0.01, "{}", share(&full, inside));
    }

    #[test]
    fn a_short_rest_is_one_segment() {
        let documents = vec![vec![1], vec![2, 3], vec![], vec![0], vec![9]];
        let examples = pack(Packing::Full, 128, &documents);
        let counts: Vec<_> = examples.iter().map(Vec::len).collect();
        assert!(counts[0] == 1 && counts[2] == 0 && counts[3] == 0, "{counts:?}");
        assert!(examples.concat().iter().filter(|e| e.second.is_empty()).count() >= 3);
    }

    #[test]
    fn a_packer_goes_on_from_its_state() {
        for packing in [Packing::Full, Packing::Reference] {
            let run = |interrupted: bool| {
                let mut packer = Packer::new(packing, 64, 1, PackerState::default());
                let mut examples = Vec::new();
                for line in some_documents().concat() {
                    packer.add_line(&vec![line as u32; line]);
                    while let Some(example) = packer.next_example() {
                        examples.push(example);
                        if interrupted {
                            let state = serde_json::to_string(packer.state()).unwrap();
                            let state = serde_json::from_str(&state).unwrap();
                            packer = Packer::new(packing, 64, 1, state);
                        }
                    }
                    examples.extend((line % 7 == 0).then(|| packer.end_document()).flatten());
                }
                examples
            };
            assert!(run(true) == run(false));
        }
    }
}
