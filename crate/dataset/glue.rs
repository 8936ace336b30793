//! GLUE's tasks by name: the files as they are downloaded, and those its site takes.
//!
//! Mirrors `finetune/classification/classification_tasks.py` of the original, whose label orders
//! these are, and adds WNLI. Of Hugging Face's copies MNLI's order differs.

use std::collections::HashMap;

use super::classes::classification;
use super::columns::Columns;
use super::kinds::Kind;
use super::scores::regression;
use super::table::{Problem, Row, Table, in_file, read_raw_table};
use super::texts::{TextExample, Texts};
use crate::error::{Error, Result, excerpt, listed, nearest};

/// What the tasks are trained with, in tokens.
pub const MAX_SEQ_LENGTH: usize = 128;

/// STS-B's scores.
pub const RANGE: (f64, f64) = (0.0, 5.0);

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Task {
    /// As `--glue` takes it.
    pub name: &'static str,
    /// What its folder may be called, the download's name first.
    pub folders: &'static [&'static str],
    /// Text, its pair and the label of the training and development files: names in the header, or
    /// the numbers of the columns where there is none.
    columns: [&'static str; 3],
    /// In the order of their indices; empty where the task is regression.
    pub labels: &'static [&'static str],
    /// The first one chooses the best model.
    pub metrics: &'static [&'static str],
    pub epochs: f64,
    /// The order of a pair means nothing: train on both.
    pub is_symmetric: bool,
}

const BINARY: &[&str] = &["0", "1"];
const ENTAILMENT: &[&str] = &["entailment", "not_entailment"];

#[rustfmt::skip]
pub const TASKS: &[Task] = &[
    Task { name: "cola", folders: &["CoLA", "cola"], columns: ["4", "", "2"], labels: BINARY, metrics: &["mcc"], epochs: 3.0, is_symmetric: false },
    Task { name: "sst2", folders: &["SST-2", "sst", "sst2"], columns: ["sentence", "", "label"], labels: BINARY, metrics: &["accuracy"], epochs: 3.0, is_symmetric: false },
    Task { name: "mrpc", folders: &["MRPC", "mrpc"], columns: ["#1 String", "#2 String", "Quality"], labels: BINARY, metrics: &["accuracy", "f1"], epochs: 3.0, is_symmetric: true },
    Task { name: "stsb", folders: &["STS-B", "sts", "stsb"], columns: ["sentence1", "sentence2", "score"], labels: &[], metrics: &["spearman", "pearson"], epochs: 10.0, is_symmetric: true },
    Task { name: "qqp", folders: &["QQP", "qqp"], columns: ["question1", "question2", "is_duplicate"], labels: BINARY, metrics: &["accuracy", "f1"], epochs: 3.0, is_symmetric: false },
    Task { name: "mnli", folders: &["MNLI", "mnli"], columns: ["sentence1", "sentence2", "gold_label"], labels: &["contradiction", "entailment", "neutral"], metrics: &["accuracy"], epochs: 3.0, is_symmetric: false },
    Task { name: "qnli", folders: &["QNLI", "qnli"], columns: ["question", "sentence", "label"], labels: ENTAILMENT, metrics: &["accuracy"], epochs: 3.0, is_symmetric: false },
    Task { name: "rte", folders: &["RTE", "rte"], columns: ["sentence1", "sentence2", "label"], labels: ENTAILMENT, metrics: &["accuracy"], epochs: 10.0, is_symmetric: false },
    Task { name: "wnli", folders: &["WNLI", "wnli"], columns: ["sentence1", "sentence2", "label"], labels: BINARY, metrics: &["accuracy"], epochs: 3.0, is_symmetric: false },
];

/// MNLI alone has the mismatched splits, from other genres than its training texts, and the
/// diagnostic one; its `Dev` and `Test` are the matched ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    Train,
    Dev,
    DevMismatched,
    Test,
    TestMismatched,
    Diagnostic,
}

impl Split {
    pub fn is_labelled(self) -> bool {
        matches!(self, Split::Train | Split::Dev | Split::DevMismatched)
    }
}

/// Finds a task by its name, or that of a folder, capitals aside.
///
/// # Errors
/// There is no such task; the error lists them, and names the one that looks like it.
pub fn find(name: &str) -> Result<&'static Task> {
    let is_name = |task: &&Task| {
        task.name == name || task.folders.iter().any(|folder| folder.eq_ignore_ascii_case(name))
    };
    TASKS.iter().find(is_name).ok_or_else(|| {
        let names: Vec<_> = TASKS.iter().map(|task| task.name).collect();
        let all = TASKS.iter().flat_map(|task| task.folders.iter().chain([&task.name]));
        let all: Vec<&str> = all.copied().collect();
        let own = |near: &str| TASKS.iter().find(|t| t.name == near || t.folders.contains(&near));
        let hint = nearest(name, &all).and_then(own);
        let hint = hint.map_or(String::new(), |task| format!(" Did you mean {}?", task.name));
        Error::new("GLUE task", format!("there is no {}", excerpt(name)))
            .fix(format!("The tasks are {}.{hint}", names.join(", ")))
    })
}

impl Task {
    pub fn splits(&self) -> &'static [Split] {
        use Split::*;
        match self.name {
            "mnli" => &[Train, Dev, DevMismatched, Test, TestMismatched, Diagnostic],
            _ => &[Train, Dev, Test],
        }
    }

    pub fn kind(&self) -> Kind {
        if self.labels.is_empty() { Kind::Regression } else { Kind::Classification }
    }

    /// Its labels, owned.
    pub fn label_names(&self) -> Vec<String> {
        self.labels.iter().map(|label| label.to_string()).collect()
    }
}

/// Where a split may lie below the data folder, to be tried in this order.
pub fn paths(task: &Task, split: Split) -> Vec<String> {
    let is_mnli = task.name == "mnli";
    let file = match split {
        Split::Train => "train.tsv",
        Split::Dev if is_mnli => "dev_matched.tsv",
        Split::Dev => "dev.tsv",
        Split::DevMismatched => "dev_mismatched.tsv",
        Split::Test if is_mnli => "test_matched.tsv",
        Split::Test => "test.tsv",
        Split::TestMismatched => "test_mismatched.tsv",
        Split::Diagnostic => "diagnostic.tsv",
    };
    let own = if split == Split::Diagnostic { Some("diagnostic") } else { None };
    let folders = task.folders.iter().copied().chain(own);
    folders.map(|folder| format!("{folder}/{file}")).chain([file.to_string()]).collect()
}

// ---- Reading ----

/// Reads one of a task's files. Quotes are text, as in all of GLUE.
///
/// # Errors
/// The header lacks a column, or no row can be used; of a test split also any row that cannot be
/// read, because a submission needs every one.
pub fn read_glue(task: &Task, split: Split, name: &str, bytes: &[u8]) -> Result<Texts> {
    read_glue_as(task, split, name, bytes, None, None)
}

/// The same for a model that has an order of the labels, or a range of scores, of its own.
///
/// # Errors
/// As [`read_glue`].
pub fn read_glue_as(
    task: &Task,
    split: Split,
    name: &str,
    bytes: &[u8],
    labels: Option<&[String]>,
    range: Option<(f64, f64)>,
) -> Result<Texts> {
    if !task.splits().contains(&split) {
        return Err(Error::new(name, format!("{} has no split {split:?}", task.name))
            .fix("Only mnli has mismatched and diagnostic splits."));
    }
    let has_header = task.name != "cola" || !split.is_labelled();
    let table = read_raw_table(name, bytes, has_header)?;
    let columns = columns(task, split);
    for column in [Some(&columns.text), columns.pair.as_ref(), columns.label.as_ref()] {
        require(task, &table, column)?;
    }
    let labels = labels.map_or_else(|| task.label_names(), <[String]>::to_vec);
    if !split.is_labelled() {
        return test_examples(task, &table, &columns, labels, range);
    }
    let set = match task.kind() {
        Kind::Regression => regression(&table, &columns, Some(range.unwrap_or(RANGE))),
        _ => classification(&table, &columns, Some(&labels)),
    };
    set.map_err(|error| in_file(name, error))
}

fn columns(task: &Task, split: Split) -> Columns {
    let [text, pair, label] = task.columns;
    // Only CoLA's test file has a header.
    let text = if task.name == "cola" && !split.is_labelled() { "sentence" } else { text };
    Columns {
        text: text.to_string(),
        pair: (!pair.is_empty()).then(|| pair.to_string()),
        label: split.is_labelled().then(|| label.to_string()),
    }
}

fn require(task: &Task, table: &Table, column: Option<&String>) -> Result<()> {
    match column.filter(|column| !table.columns.contains(column)) {
        None => Ok(()),
        Some(column) => {
            let problem = format!("there is no column {column:?} for {}", task.name);
            Err(Error::new(format!("{}, row 1", table.name), problem).fix(format!(
                "The columns are {}. Give GLUE's own files, as they are downloaded.",
                listed(&table.columns)
            )))
        }
    }
}

/// Every row, also one without text: the site counts them.
fn test_examples(
    task: &Task,
    table: &Table,
    columns: &Columns,
    labels: Vec<String>,
    range: Option<(f64, f64)>,
) -> Result<Texts> {
    if let Some(Problem { row, reason }) = table.problems.first() {
        return Err(Error::new(format!("{}, row {row}", table.name), reason)
            .fix("A submission needs every row: download the file again, or take it away."));
    }
    let places: HashMap<&String, usize> = table.columns.iter().zip(0..).collect();
    let cell = |row: &Row, column: &String| row.cells[places[column]].clone().unwrap_or_default();
    let example = |row: &Row| TextExample {
        row: row.number,
        text: cell(row, &columns.text),
        pair: columns.pair.as_ref().map(|pair| cell(row, pair)),
        target: None,
    };
    let examples = table.rows.iter().map(example).collect();
    let kind = task.kind();
    let range = (kind == Kind::Regression).then(|| range.unwrap_or(RANGE));
    Ok(Texts { kind, examples, labels, range, skipped: vec![] })
}

// ---- Submission ----

/// The file that the site takes for a test split; None for the others.
pub fn submission_name(task: &Task, split: Split) -> Option<String> {
    match (split, task.name) {
        (Split::Test, "mnli") => Some("MNLI-m.tsv".into()),
        (Split::TestMismatched, "mnli") => Some("MNLI-mm.tsv".into()),
        (Split::Diagnostic, "mnli") => Some("AX.tsv".into()),
        (Split::Test, _) => Some(format!("{}.tsv", task.folders[0])),
        _ => None,
    }
}

/// The content of that file: one prediction each row of the test file, in its order. Labels are
/// words of [`Task::labels`]; scores are numbers, cut to the range of [`RANGE`].
///
/// # Errors
/// A prediction is no label of the task, or no number.
pub fn submission(task: &Task, predictions: &[impl AsRef<str>]) -> Result<String> {
    let mut lines = String::from("index\tprediction\n");
    for (index, prediction) in predictions.iter().enumerate() {
        let answer = answer(task, prediction.as_ref()).map_err(|problem| {
            Error::new(format!("{}, prediction {index}", task.name), problem)
                .fix("Predict with a model that was fine-tuned for this task, labels and all.")
        })?;
        lines += &format!("{index}\t{answer}\n");
    }
    Ok(lines)
}

fn answer(task: &Task, prediction: &str) -> std::result::Result<String, String> {
    if task.labels.is_empty() {
        let score = prediction.parse::<f64>().ok().filter(|score| score.is_finite());
        let score = score.ok_or_else(|| format!("{} is no score", excerpt(prediction)))?;
        return Ok(format!("{:.3}", score.clamp(RANGE.0, RANGE.1)));
    }
    if task.labels.contains(&prediction) {
        return Ok(prediction.to_string());
    }
    let labels = task.labels.join(", ");
    Err(format!("{} is no label; the labels are {labels}", excerpt(prediction)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(task: &str, split: Split, text: &str) -> Texts {
        read_glue(find(task).unwrap(), split, "x.tsv", text.as_bytes()).unwrap()
    }

    /// Text, pair and label of the first row, and how many there are.
    fn first(set: &Texts) -> (String, Option<String>, Option<String>, usize) {
        let example = set.examples[0].clone();
        let label = match set.kind {
            Kind::Regression => example.score().map(|score| score.to_string()),
            _ => example.class().map(|label| set.labels[label].clone()),
        };
        (example.text, example.pair, label, set.examples.len())
    }

    #[test]
    fn every_task_reads_its_columns() {
        let mnli = |dev: &str| {
            format!(
                "index\tpromptID\tpairID\tgenre\ts1b\ts2b\ts1p\ts2p\tsentence1\tsentence2{dev}\tgold_label\n0\ti\tp\tg\tb\tb\tp\tp\ta \"x\ty\" z{}\tneutral\n",
                dev.replace("label", "neutral")
            )
        };
        for (task, split, text, expected) in [
            ("cola", Split::Train, "gj04\t1\t\tOur \"friends\n\"gj04\t0\t*\tb\n".to_string(), ("Our \"friends", "", "1", 2)),
            ("cola", Split::Test, "index\tsentence\n0\ta\n1\tb\n".into(), ("a", "", "", 2)),
            ("sst2", Split::Dev, "sentence\tlabel\nit 's \t1\n".into(), ("it 's ", "", "1", 1)),
            ("sst2", Split::Test, "index\tsentence\r\n0\tx\r\n".into(), ("x", "", "", 1)),
            ("mrpc", Split::Train, "\u{feff}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t7\t8\ta\tb\n".into(), ("a", "b", "0", 1)),
            ("mrpc", Split::Test, "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t7\t8\ta\tb\n".into(), ("a", "b", "", 1)),
            ("stsb", Split::Dev, "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n0\tg\tf\ty\to\ts\ts\ta\tb\t2.400\n".into(), ("a", "b", "2.4", 1)),
            ("stsb", Split::Test, "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\n0\tg\tf\ty\to\ts\ts\ta\tb\n".into(), ("a", "b", "", 1)),
            ("qqp", Split::Train, "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n0\t1\t2\ta\tb\t1\n".into(), ("a", "b", "1", 1)),
            ("qqp", Split::Test, "id\tquestion1\tquestion2\n0\ta\t\n".into(), ("a", "", "", 1)),
            ("mnli", Split::Train, mnli("\tlabel1"), ("a \"x", "y\" z", "neutral", 1)),
            ("mnli", Split::DevMismatched, mnli("\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5"), ("a \"x", "y\" z", "neutral", 1)),
            ("mnli", Split::Diagnostic, "index\tsentence1\tsentence2\n0\ta\tb\n".into(), ("a", "b", "", 1)),
            ("qnli", Split::Dev, "index\tquestion\tsentence\tlabel\n0\ta\tb\tnot_entailment\n".into(), ("a", "b", "not_entailment", 1)),
            ("rte", Split::Train, "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n".into(), ("a", "b", "entailment", 1)),
            ("wnli", Split::Train, "index\tsentence1\tsentence2\tlabel\n0\ta\tb\t1\n".into(), ("a", "b", "1", 1)),
        ] {
            let (text, pair, label, count) = first(&read(task, split, &text));
            let flat = (text.as_str(), pair.as_deref().unwrap_or(""), label.as_deref().unwrap_or(""), count);
            assert_eq!(flat, expected, "{task} {split:?}");
        }
    }

    /// A model that learned the labels in another order keeps it, also for test rows.
    #[test]
    fn a_model_may_have_an_order_and_a_range_of_its_own() {
        let rte = find("rte").unwrap();
        let labels = ["not_entailment", "entailment"].map(String::from);
        let dev = b"index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n";
        let test = b"index\tsentence1\tsentence2\n0\ta\tb\n";
        for (split, bytes, label) in
            [(Split::Dev, &dev[..], Some(1)), (Split::Test, &test[..], None)]
        {
            let set = read_glue_as(rte, split, "x.tsv", bytes, Some(&labels), None).unwrap();
            assert_eq!((set.labels.as_slice(), set.examples[0].class()), (&labels[..], label));
        }
        let sts = find("stsb").unwrap();
        let dev = b"sentence1\tsentence2\tscore\na\tb\t2.5\n";
        let set = read_glue_as(sts, Split::Dev, "x.tsv", dev, None, Some((0.0, 1.0))).unwrap();
        assert_eq!((set.range, set.examples[0].score()), (Some((0.0, 1.0)), Some(2.5)));
    }

    #[test]
    fn names_and_folders_find_a_task() {
        for task in TASKS {
            assert_eq!(find(task.name).unwrap(), task);
            assert!(task.folders.iter().all(|folder| find(folder).unwrap() == task));
        }
        let labels = |name| find(name).unwrap().labels;
        assert_eq!(labels("mnli"), ["contradiction", "entailment", "neutral"]);
        assert!(
            [labels("qnli"), labels("rte")].iter().all(|l| *l == ["entailment", "not_entailment"])
        );
        let names =
            |is: fn(&&Task) -> bool| TASKS.iter().filter(is).map(|t| t.name).collect::<Vec<_>>();
        assert_eq!(names(|task| task.is_symmetric), ["mrpc", "stsb"]);
        assert_eq!(names(|task| task.epochs == 10.0), ["stsb", "rte"]);
        assert_eq!(find("SST-2").unwrap().name, "sst2");
        assert!(find("boolq").unwrap_err().to_string().contains("cola, sst2, mrpc"));
        let typo = |name| find(name).unwrap_err().to_string();
        assert!(typo("colla").ends_with("Did you mean cola?"), "{}", typo("colla"));
        assert!(typo("STSB2").ends_with("Did you mean stsb?"), "{}", typo("STSB2"));
        assert!(!typo("natural-questions").contains("Did you mean"));
        let paths = |name, split| paths(find(name).unwrap(), split);
        assert_eq!(paths("sst2", Split::Dev)[..2], ["SST-2/dev.tsv", "sst/dev.tsv"]);
        assert_eq!(paths("mnli", Split::Dev)[0], "MNLI/dev_matched.tsv");
        assert_eq!(
            paths("mnli", Split::Diagnostic)[2..],
            ["diagnostic/diagnostic.tsv", "diagnostic.tsv"]
        );
    }

    #[test]
    fn submissions_are_as_the_site_wants_them() {
        let name = |task, split| submission_name(find(task).unwrap(), split);
        let names: Vec<_> = TASKS
            .iter()
            .flat_map(|task| task.splits().iter().filter_map(|split| submission_name(task, *split)))
            .collect();
        assert_eq!(
            names,
            [
                "CoLA.tsv",
                "SST-2.tsv",
                "MRPC.tsv",
                "STS-B.tsv",
                "QQP.tsv",
                "MNLI-m.tsv",
                "MNLI-mm.tsv",
                "AX.tsv",
                "QNLI.tsv",
                "RTE.tsv",
                "WNLI.tsv"
            ]
        );
        assert_eq!(name("cola", Split::Dev), None);
        let rte = submission(find("rte").unwrap(), &["entailment", "not_entailment"]).unwrap();
        assert_eq!(rte, "index\tprediction\n0\tentailment\n1\tnot_entailment\n");
        let sts = submission(find("stsb").unwrap(), &["2.34567", "-0.1", "5.2"]).unwrap();
        assert_eq!(sts, "index\tprediction\n0\t2.346\n1\t0.000\n2\t5.000\n");
        let message =
            submission(find("mnli").unwrap(), &["neutral", "LABEL_1"]).unwrap_err().to_string();
        assert!(message.starts_with("mnli, prediction 1: \"LABEL_1\" is no label"), "{message}");
        assert!(submission(find("stsb").unwrap(), &["NaN"]).is_err());
    }
}
