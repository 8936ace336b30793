//! The one error type: what is wrong, where, and what to do about it.

use std::fmt::Display;

pub type Result<T> = std::result::Result<T, Error>;

/// An error a person can act on. It is printed once, at the edge (`main.rs`, `wasm.rs`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}{}{remedy}", if remedy.is_empty() { "" } else { "\n  " })]
pub struct Error {
    /// The file, row, field or option at fault.
    pub place: String,
    pub problem: String,
    /// What the reader can do; may be empty where the problem says it all.
    pub remedy: String,
}

impl Error {
    pub fn new(place: impl Display, problem: impl Display) -> Self {
        Error { place: place.to_string(), problem: problem.to_string(), remedy: String::new() }
    }

    /// The same error with advice.
    pub fn fix(mut self, remedy: impl Display) -> Self {
        self.remedy = remedy.to_string();
        self
    }
}

// ---- Words of messages ----

/// Names in quotes, one after the other.
pub fn listed<T: AsRef<str>>(names: &[T]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{:?}", name.as_ref())).collect();
    quoted.join(", ")
}

/// The name that was meant by a wrong one, where one is near: capitals aside, about a third of the
/// letters may be others.
pub fn nearest<'a, T: AsRef<str>>(wrong: &str, names: &'a [T]) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let distance = |name: &str| strsim::levenshtein(&name.to_lowercase(), &wrong);
    let near = names.iter().map(AsRef::as_ref).map(|name| (distance(name), name));
    let (distance, name) = near.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + wrong.len() / 3).then_some(name)
}

/// The text in quotes, cut where it is long.
pub fn excerpt(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}
