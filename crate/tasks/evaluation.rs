//! How a model does on labelled examples, and the numbers that runs are compared by.

use serde::{Deserialize, Serialize};

use super::{classification, multi_label, question_answering, regression, tagging};
use crate::dataset::Kind;

/// A number that runs can be compared by; the higher the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    Accuracy,
    /// Of two labels that of the second one, or of the one called 1; of entities; of answers.
    F1,
    MicroF1,
    MacroF1,
    Mcc,
    Pearson,
    Spearman,
    /// Answers that are right to the letter.
    Exact,
}

impl Metric {
    #[rustfmt::skip]
    pub(super) const ALL: [Metric; 8] = [
        Metric::Accuracy, Metric::F1, Metric::MicroF1, Metric::MacroF1, Metric::Mcc,
        Metric::Pearson, Metric::Spearman, Metric::Exact,
    ];

    /// As results have it.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Accuracy => "accuracy",
            Metric::F1 => "f1",
            Metric::MicroF1 => "micro_f1",
            Metric::MacroF1 => "macro_f1",
            Metric::Mcc => "mcc",
            Metric::Pearson => "pearson",
            Metric::Spearman => "spearman",
            Metric::Exact => "exact",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// Do evaluations of that task have it?
    pub fn is_of(self, kind: Kind) -> bool {
        use Metric::*;
        let own: &[Metric] = match kind {
            Kind::Classification => &[Accuracy, F1, MacroF1, Mcc],
            Kind::MultiLabel => &[MicroF1, MacroF1],
            Kind::Regression => &[Pearson, Spearman],
            Kind::Tagging => &[Accuracy, F1],
            Kind::QuestionAnswering => &[Exact, F1],
        };
        own.contains(&self)
    }
}

/// How a model does on labelled examples.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Evaluation {
    Classification(classification::Evaluation),
    MultiLabel(multi_label::Evaluation),
    Regression(regression::Evaluation),
    Tagging(tagging::Evaluation),
    QuestionAnswering(question_answering::Evaluation),
}

impl Evaluation {
    /// The mean loss; answers have none, for a window is not an example.
    pub fn loss(&self) -> Option<f64> {
        match self {
            Evaluation::Classification(evaluation) => Some(evaluation.loss),
            Evaluation::MultiLabel(evaluation) => Some(evaluation.loss),
            Evaluation::Regression(evaluation) => Some(evaluation.loss),
            Evaluation::Tagging(evaluation) => Some(evaluation.loss),
            Evaluation::QuestionAnswering(_) => None,
        }
    }

    /// The one number that runs are compared by, with its name; the higher the better.
    pub fn score(&self) -> (&'static str, f64) {
        match self {
            Evaluation::Classification(evaluation) => ("accuracy", evaluation.report.accuracy),
            Evaluation::MultiLabel(evaluation) => ("micro_f1", evaluation.report.micro.f1),
            Evaluation::Regression(evaluation) => {
                ("pearson", evaluation.report.pearson.unwrap_or(0.0))
            }
            Evaluation::Tagging(evaluation) => match &evaluation.report.entities {
                Some(entities) => ("f1", entities.micro.f1),
                None => ("accuracy", evaluation.report.tags.accuracy),
            },
            Evaluation::QuestionAnswering(evaluation) => ("f1", evaluation.f1()),
        }
    }

    /// The same by a metric of one's own choice; 0 where it is not defined.
    pub fn score_by(&self, metric: Option<Metric>) -> (&'static str, f64) {
        match metric {
            Some(metric) => (metric.name(), self.metric(metric).unwrap_or(0.0)),
            None => self.score(),
        }
    }

    /// A metric, from 0 (or -1) to 1; None where it is not defined, or not of this task.
    pub fn metric(&self, metric: Metric) -> Option<f64> {
        match (self, metric) {
            (Evaluation::Classification(evaluation), _) => {
                let report = &evaluation.report;
                match metric {
                    Metric::Accuracy => Some(report.accuracy),
                    Metric::MacroF1 => Some(report.macro_f1),
                    Metric::Mcc => Some(report.mcc),
                    Metric::F1 => classification::positive_f1(report),
                    _ => None,
                }
            }
            (Evaluation::MultiLabel(evaluation), Metric::MicroF1) => {
                Some(evaluation.report.micro.f1)
            }
            (Evaluation::MultiLabel(evaluation), Metric::MacroF1) => {
                Some(evaluation.report.macro_f1)
            }
            (Evaluation::Regression(evaluation), Metric::Pearson) => evaluation.report.pearson,
            (Evaluation::Regression(evaluation), Metric::Spearman) => evaluation.report.spearman,
            (Evaluation::Tagging(evaluation), Metric::F1) => {
                evaluation.report.entities.as_ref().map(|entities| entities.micro.f1)
            }
            (Evaluation::Tagging(evaluation), Metric::Accuracy) => {
                Some(evaluation.report.tags.accuracy)
            }
            (Evaluation::QuestionAnswering(evaluation), Metric::F1) => Some(evaluation.f1()),
            (Evaluation::QuestionAnswering(evaluation), Metric::Exact) => Some(evaluation.exact()),
            _ => None,
        }
    }

    /// Was every example given the same label, though they have several?
    pub fn is_collapsed(&self) -> bool {
        let report = match self {
            Evaluation::Classification(evaluation) => &evaluation.report,
            Evaluation::Tagging(evaluation) => &evaluation.report.tags,
            _ => return false,
        };
        let given = (0..report.labels.len())
            .filter(|label| report.confusion_matrix.iter().any(|row| row[*label] > 0));
        given.count() < 2 && report.per_class.iter().filter(|class| class.support > 0).count() > 1
    }

    /// Above it, a question has no answer; where some have none.
    pub fn no_answer_threshold(&self) -> Option<f64> {
        match self {
            Evaluation::QuestionAnswering(evaluation) => evaluation.no_answer_threshold,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{TextExample, TextTarget, Texts};

    /// What a task says it has is what its evaluations have.
    #[test]
    fn metrics_are_those_of_the_task() {
        let set = |kind, labels: &[&str], range, targets: [TextTarget; 2]| {
            let example =
                |target| TextExample { row: 1, text: "a".into(), pair: None, target: Some(target) };
            let labels = labels.iter().map(|label| label.to_string()).collect();
            let examples = targets.map(example).to_vec();
            Texts { kind, examples, labels, range, skipped: vec![] }
        };
        use TextTarget::{Class, Score};
        let classes = set(Kind::Classification, &["0", "1"], None, [Class(0), Class(1)]);
        let scores = set(Kind::Regression, &[], Some((0.0, 5.0)), [Score(1.0), Score(2.0)]);
        let logits = [vec![0.1, 0.2], vec![0.3, 0.5]];
        for (kind, evaluation) in [
            (
                Kind::Classification,
                Evaluation::Classification(classification::evaluate(&classes, &logits)),
            ),
            (Kind::Regression, Evaluation::Regression(regression::evaluate(&scores, &logits))),
        ] {
            for metric in Metric::ALL {
                assert_eq!(Metric::named(metric.name()), Some(metric));
                let is_there = evaluation.metric(metric).is_some();
                assert_eq!(is_there, metric.is_of(kind), "{metric:?} of {kind:?}");
            }
            assert_eq!(evaluation.score_by(None), evaluation.score());
        }
        assert_eq!(Metric::named("loss"), None);
    }
}
