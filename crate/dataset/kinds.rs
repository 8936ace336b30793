//! The tasks that files are labelled for.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Classification,
    MultiLabel,
    Regression,
    Tagging,
    QuestionAnswering,
}

impl Kind {
    /// As the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Classification => "classification",
            Kind::MultiLabel => "multi-label",
            Kind::Regression => "regression",
            Kind::Tagging => "tagging",
            Kind::QuestionAnswering => "question-answering",
        }
    }
}
