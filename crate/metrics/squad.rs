//! Scores of answers, equal to SQuAD's official scripts, `evaluate-v1.1.py` and
//! `evaluate-v2.0.py`. Scores of a question are between 0 and 1, those of a set percentages.

use std::collections::HashMap;
use std::sync::LazyLock;

use fancy_regex::{Captures, Regex};
use serde::Serialize;

/// A question with its accepted answers, and what was answered.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// None where the paragraph holds no answer.
    pub golds: &'a [String],
    /// Empty for "no answer".
    pub prediction: &'a str,
    /// How sure it is that there is no answer: a probability or log-odds. v1.1 does not look at it.
    pub no_answer: f64,
}

/// How good an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AnswerScores {
    /// 1 or 0.
    pub exact: f64,
    /// Of the words, each counted as often as it occurs.
    pub f1: f64,
}

/// Means over questions, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SquadScores {
    pub exact: f64,
    pub f1: f64,
    /// Questions.
    pub total: usize,
}

/// What `evaluate-v2.0.py` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SquadReport {
    pub all: SquadScores,
    /// The questions that have an answer; `None` where there are none.
    pub has_ans: Option<SquadScores>,
    /// Those that have none.
    pub no_ans: Option<SquadScores>,
    /// With the best threshold on `no_answer`. Of questions with equal `no_answer` the script lets
    /// a threshold part the earlier from the later, so what it reports can be out of reach.
    pub best_exact: f64,
    pub best_exact_thresh: f64,
    pub best_f1: f64,
    pub best_f1_thresh: f64,
    /// Average precision, in percent, of finding the questions with an answer, each counting its
    /// score; `None` where there are none.
    pub pr_exact_ap: Option<f64>,
    pub pr_f1_ap: Option<f64>,
    /// The same if every answer were right.
    pub pr_oracle_ap: Option<f64>,
}

/// A point of a precision-recall curve; both between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PrecisionRecall {
    pub precision: f64,
    pub recall: f64,
}

/// Lower case, without ASCII punctuation and articles, words parted by one space: what answers are
/// compared by, down to Python's idea of a word and of white space.
pub fn normalize_answer(text: &str) -> String {
    let lower = text.to_lowercase();
    let bare: String = lower.chars().filter(|c| !c.is_ascii_punctuation()).collect();
    let kept = WORD.replace_all(&bare, |word: &Captures| match &word[0] {
        "a" | "an" | "the" => " ".to_string(),
        other => other.to_string(),
    });
    kept.split(is_python_space).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What lies between two `\b` of Python. `char::is_alphanumeric` also has the marks of Indic
/// scripts and circled letters.
static WORD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[\p{L}\p{N}]+").expect("a constant of the program"));

/// `str.isspace`: four control characters more than Unicode's white space.
fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// The scores of one answer by the rules of v2.0: the best over the accepted answers, or whether it
/// is empty where there are none. Answers of nothing but punctuation and articles are empty.
pub fn answer_scores(golds: &[String], prediction: &str) -> AnswerScores {
    let mut golds: Vec<_> = golds.iter().map(|gold| normalize_answer(gold)).collect();
    golds.retain(|gold| !gold.is_empty());
    let prediction = normalize_answer(prediction);
    if golds.is_empty() {
        let right = f64::from(u8::from(prediction.is_empty()));
        return AnswerScores { exact: right, f1: right };
    }
    best_scores(&golds, &prediction)
}

/// Over normalised answers, each score by itself; 0 without any.
fn best_scores(golds: &[String], prediction: &str) -> AnswerScores {
    let exact = golds.iter().any(|gold| gold == prediction);
    let f1 = golds.iter().map(|gold| word_f1(gold, prediction));
    AnswerScores { exact: f64::from(u8::from(exact)), f1: f1.fold(0.0, f64::max) }
}

/// 0 where either has no words.
fn word_f1(gold: &str, prediction: &str) -> f64 {
    let mut left: HashMap<&str, usize> = HashMap::new();
    for word in gold.split_whitespace() {
        *left.entry(word).or_default() += 1;
    }
    let golds: usize = left.values().sum();
    let (mut predicted, mut same) = (0, 0);
    for word in prediction.split_whitespace() {
        predicted += 1;
        if let Some(count @ 1..) = left.get_mut(word) {
            *count -= 1;
            same += 1;
        }
    }
    if same == 0 {
        return 0.0;
    }
    let (precision, recall) = (same as f64 / predicted as f64, same as f64 / golds as f64);
    2.0 * precision * recall / (precision + recall)
}

/// v1.1: every question has an answer, and an answer without words has an F1 of 0.
pub fn squad_v1_report(questions: &[Answered]) -> SquadScores {
    let scores = questions.iter().map(|question| {
        let golds: Vec<_> = question.golds.iter().map(|gold| normalize_answer(gold)).collect();
        best_scores(&golds, &normalize_answer(question.prediction))
    });
    means(scores)
}

/// v2.0. A question whose `no_answer` is above `na_prob_thresh` counts as answered by "no answer";
/// the script's default is 1. The best thresholds come from the answers as given.
pub fn squad_v2_report(questions: &[Answered], na_prob_thresh: f64) -> SquadReport {
    let mut rows: Vec<_> = questions.iter().map(Row::new).collect();
    let part = |has_answer: bool| {
        let rows = rows.iter().filter(|row| row.has_answer == has_answer);
        let scores = means(rows.map(|row| row.above(na_prob_thresh)));
        (scores.total > 0).then_some(scores)
    };
    let (has_ans, no_ans) = (part(true), part(false));
    let all = means(rows.iter().map(|row| row.above(na_prob_thresh)));
    sort(&mut rows);
    let (best_exact, best_exact_thresh) = best_threshold(&rows, |row| row.scores.exact);
    let (best_f1, best_f1_thresh) = best_threshold(&rows, |row| row.scores.f1);
    SquadReport {
        all,
        has_ans,
        no_ans,
        best_exact,
        best_exact_thresh,
        best_f1,
        best_f1_thresh,
        pr_exact_ap: average_precision(&rows, |row| row.scores.exact),
        pr_f1_ap: average_precision(&rows, |row| row.scores.f1),
        pr_oracle_ap: average_precision(&rows, |_| 1.0),
    }
}

/// The curve below `pr_f1_ap`, by rising recall; empty where no question has an answer.
pub fn f1_curve(questions: &[Answered]) -> Vec<PrecisionRecall> {
    let mut rows: Vec<_> = questions.iter().map(Row::new).collect();
    sort(&mut rows);
    curve(&rows, |row| row.scores.f1)
}

/// A question by what v2.0 needs of it.
struct Row {
    scores: AnswerScores,
    has_answer: bool,
    /// The script looks at the text as given: one of punctuation alone is an attempt.
    attempted: bool,
    no_answer: f64,
}

impl Row {
    fn new(question: &Answered) -> Self {
        Row {
            scores: answer_scores(question.golds, question.prediction),
            has_answer: !question.golds.is_empty(),
            attempted: !question.prediction.is_empty(),
            no_answer: question.no_answer,
        }
    }

    /// The scores with a threshold on `no_answer`.
    fn above(&self, threshold: f64) -> AnswerScores {
        if self.no_answer > threshold {
            let right = f64::from(u8::from(!self.has_answer));
            AnswerScores { exact: right, f1: right }
        } else {
            self.scores
        }
    }
}

/// The surest of an answer first; equal ones keep their order. Adding 0 makes -0 equal 0.
fn sort(rows: &mut [Row]) {
    rows.sort_by(|a, b| (a.no_answer + 0.0).total_cmp(&(b.no_answer + 0.0)));
}

/// From "no answer" everywhere, one question after the other gets its answer.
fn best_threshold(rows: &[Row], score: fn(&Row) -> f64) -> (f64, f64) {
    let mut now = rows.iter().filter(|row| !row.has_answer).count() as f64;
    let mut best = (now, 0.0);
    for row in rows {
        now += match (row.has_answer, row.attempted) {
            (true, _) => score(row),
            (false, true) => -1.0,
            (false, false) => 0.0,
        };
        if now > best.0 {
            best = (now, row.no_answer);
        }
    }
    (percent(best.0, rows.len()), best.1)
}

fn average_precision(rows: &[Row], score: fn(&Row) -> f64) -> Option<f64> {
    let curve = curve(rows, score);
    let areas = curve.windows(2).map(|pair| pair[1].precision * (pair[1].recall - pair[0].recall));
    (!curve.is_empty()).then(|| 100.0 * areas.sum::<f64>())
}

/// A point wherever a threshold can stand.
fn curve(rows: &[Row], score: fn(&Row) -> f64) -> Vec<PrecisionRecall> {
    let answerable = rows.iter().filter(|row| row.has_answer).count();
    if answerable == 0 {
        return Vec::new();
    }
    let mut points = vec![PrecisionRecall { precision: 1.0, recall: 0.0 }];
    let (mut found, mut seen) = (0.0, 0);
    for tied in rows.chunk_by(|a, b| a.no_answer == b.no_answer) {
        found += tied.iter().filter(|row| row.has_answer).map(score).sum::<f64>();
        seen += tied.len();
        let (precision, recall) = (found / seen as f64, found / answerable as f64);
        points.push(PrecisionRecall { precision, recall });
    }
    points
}

fn means(scores: impl Iterator<Item = AnswerScores>) -> SquadScores {
    let (mut exact, mut f1, mut total) = (0.0, 0.0, 0);
    for one in scores {
        exact += one.exact;
        f1 += one.f1;
        total += 1;
    }
    SquadScores { exact: percent(exact, total), f1: percent(f1, total), total }
}

/// 0 where there is nothing to divide by.
fn percent(part: f64, whole: usize) -> f64 {
    100.0 * part / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tie_lets_the_threshold_stand_between_equals() {
        let (golds, none) = (["x".to_string()], []);
        let row = |golds, no_answer| Answered { golds, prediction: "x", no_answer };
        let best = |rows: &[Answered]| {
            let report = squad_v2_report(rows, 1.0);
            (report.best_exact, report.best_exact_thresh)
        };
        // The script's: no threshold parts the two.
        assert_eq!(best(&[row(&golds, 0.5), row(&none, 0.5)]), (100.0, 0.5));
        assert_eq!(best(&[row(&none, 0.5), row(&golds, 0.5)]), (50.0, 0.0));
        assert_eq!(best(&[row(&golds, 0.0), row(&none, -0.0)]), (100.0, 0.0));
    }

    #[test]
    fn nothing_to_score_is_zero() {
        assert_eq!(squad_v1_report(&[]), SquadScores { exact: 0.0, f1: 0.0, total: 0 });
        let report = squad_v2_report(&[], 1.0);
        assert_eq!((report.best_f1, report.pr_f1_ap, report.has_ans), (0.0, None, None));
    }
}
