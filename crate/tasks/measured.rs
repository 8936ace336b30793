//! What an evaluation comes to: the one JSON that the command line prints, the page gets and a
//! report is made from.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Evaluation, Metric};
use crate::dataset::Kind;

/// An evaluation, and what it says of the model.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    pub task: Kind,
    /// The name of the score.
    pub metric: &'static str,
    /// What runs are compared by, the higher the better; 0 where it is not defined.
    pub score: f64,
    /// Was every example given the same label, though they have several?
    pub is_collapsed: bool,
    /// Every metric of the task as a share, null where it is not defined.
    pub metrics: Map<String, Value>,
    #[serde(flatten)]
    pub evaluation: Evaluation,
}

impl Measured {
    /// With `metric` as the score; the usual one of the task where absent.
    pub fn new(task: Kind, evaluation: Evaluation, metric: Option<Metric>) -> Self {
        let (metric, score) = evaluation.score_by(metric);
        let own = Metric::ALL.into_iter().filter(|metric| metric.is_of(task));
        let value = |metric: Metric| (metric.name().to_string(), json!(evaluation.metric(metric)));
        let (metrics, is_collapsed) = (own.map(value).collect(), evaluation.is_collapsed());
        Measured { task, metric, score, is_collapsed, metrics, evaluation }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::LabelledFile;
    use crate::metrics::SquadScores;
    use crate::tasks::question_answering::{self, Scores};
    use crate::tasks::{Encoded, Examples, Known, Reading, Windows};

    fn measured(kind: Kind, data: &str, logits: &[[f32; 2]]) -> Value {
        let (reading, known) = (Reading::default(), Known::default());
        let examples =
            Examples::read(kind, &LabelledFile::new("a.csv", data.as_bytes()), &reading, &known)
                .unwrap();
        let encoded = Encoded { features: Vec::new(), windows: Windows::Rows, skipped: Vec::new() };
        let width = examples.width().labels;
        let logits: Vec<Vec<f32>> = logits.iter().map(|row| row[..width].to_vec()).collect();
        json!(Measured::new(kind, examples.evaluate(&encoded, &logits), None))
    }

    /// The second label counts as the positive one.
    #[test]
    fn a_line_says_what_it_is_judged_by_beside_all_numbers() {
        let data = "label,text\nx,a\ny,b\ny,c\ny,d\n";
        let line =
            measured(Kind::Classification, data, &[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]);
        assert_eq!(
            (&line["task"], &line["metric"]),
            (&json!("classification"), &json!("accuracy"))
        );
        assert_eq!([&line["score"], &line["accuracy"]], [0.75, 0.75]);
        assert_eq!(line["metrics"]["f1"], 0.8);
        let names: Vec<_> = line["metrics"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["accuracy", "f1", "macro_f1", "mcc"]);
    }

    #[test]
    fn a_score_that_is_not_defined_counts_as_nothing() {
        let line = measured(Kind::Regression, "score,text\n1,a\n2,b\n", &[[0.5, 0.0]; 2]);
        assert_eq!((&line["metric"], &line["score"]), (&json!("pearson"), &json!(0.0)));
        assert_eq!(line["metrics"], json!({"pearson": null, "spearman": null}));
    }

    #[test]
    fn one_label_for_all_is_noticed() {
        let collapsed = |data: &str, logits: &[[f32; 2]]| {
            measured(Kind::Classification, data, logits)["is_collapsed"] == true
        };
        let (first, second) = ([1.0, 0.0], [0.0, 1.0]);
        let several = "label,text\nx,a\ny,b\ny,c\n";
        assert!(collapsed(several, &[second; 3]));
        assert!(!collapsed(several, &[first, second, second]));
        let scores = measured(Kind::Regression, "score,text\n1,a\n2,b\n", &[first; 2]);
        assert_eq!(scores["is_collapsed"], false);
    }

    /// SQuAD's scripts give percents.
    #[test]
    fn metrics_of_answers_are_shares() {
        let scores = SquadScores { exact: 20.0, f1: 30.0, total: 5 };
        let line = |scores| {
            let evaluation =
                question_answering::Evaluation { scores, no_answer_threshold: None, worst: vec![] };
            let evaluation = Evaluation::QuestionAnswering(evaluation);
            json!(Measured::new(Kind::QuestionAnswering, evaluation, None))
        };
        let first = line(Scores::V1(scores));
        assert_eq!(first["metrics"], json!({"f1": 0.3, "exact": 0.2}));
        assert_eq!((&first["f1"], &first["score"]), (&json!(30.0), &json!(0.3)));
    }
}
