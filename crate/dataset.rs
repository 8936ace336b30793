//! Labelled files as people have them to typed examples.
//!
//! Bytes -> [`Table`] -> [`Columns`] -> [`Texts`] -> training and evaluation set, and likewise
//! for sentences and questions, a file each. A row that cannot be used becomes a [`Problem`] with
//! its number and the reason; nothing but blank lines is dropped without one.

mod classes;
mod columns;
mod detect;
mod encoding;
mod file;
pub mod glue;
mod json;
mod kinds;
mod labels;
mod multi_label;
mod questions;
mod scores;
mod sheets;
mod split;
mod table;
mod texts;
mod word_rows;
mod words;

pub use classes::classification;
pub use columns::{ColumnChoice, Columns, choose_columns};
pub use detect::{Detected, detect, layout};
pub use file::LabelledFile;
pub use kinds::Kind;
pub use labels::are_same;
pub use multi_label::multi_label;
pub use questions::{Answer, Question, Questions, read_questions, split_questions};
pub use scores::{choose_score_columns, regression};
pub use table::{Format, Problem, Row, Table, in_file, read_table};
pub use texts::{TextExample, TextTarget, Texts};
pub use words::{Sentence, Tagging, read_tagging, split_tagging};
