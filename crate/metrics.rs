//! Scores of predictions: plain slices in, `f64` out, equal to scikit-learn, SciPy, seqeval and
//! SQuAD's official scripts.

mod classification;
mod entities;
mod multi_label;
mod regression;
mod squad;
mod worst;

pub use classification::{ClassScores, ClassificationReport, classification_report, roc_auc};
pub use entities::{
    Entity, EntityReport, TaggingReport, entities, is_entity_scheme, tagging_report, to_bioes,
};
pub use multi_label::{MultiLabelReport, multi_label_report};
pub use regression::{RegressionReport, regression_report};
pub use squad::{
    AnswerScores, Answered, PrecisionRecall, SquadReport, SquadScores, answer_scores, f1_curve,
    normalize_answer, squad_v1_report, squad_v2_report,
};
pub use worst::worst_first;
