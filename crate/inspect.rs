//! What a labelled file holds, before anything is trained on it: what the page shows first.

use serde::Serialize;

use crate::config::ElectraConfig;
use crate::dataset::{
    ColumnChoice, Columns, Detected, Format, Kind, LabelledFile, Problem, Question, Sentence,
    Table, TextExample, choose_columns, choose_score_columns, classification, in_file, layout,
};
use crate::error::Result;
use crate::finetune::{Effort, Fitting, LISTED, LabelCount, Source};
use crate::tasks::tagging;
use crate::tasks::{Examples, Known, Reading};
use crate::tokenizer::{Tokenizer, Truncation};
use crate::train::FinetuneConfig;

/// Of more rows the lengths of so many are counted, from all over the file: to cut 50 000 texts into
/// tokens takes a page seconds.
const MEASURED: usize = 1000;

/// Rows of the preview.
const SHOWN: usize = 5;

/// What a file holds, read for one task.
#[derive(Debug, Serialize)]
pub struct Inspection {
    pub task: Kind,
    /// What the file can be read as.
    pub tasks: Vec<Kind>,
    /// Why the file is taken to be for that task, where nobody said.
    pub reason: Option<String>,
    /// Which columns were taken, where there was a choice that nobody made.
    pub notes: Vec<String>,
    /// Why the task is not clear, where it is not: then `task` is a guess.
    pub unclear: Option<String>,
    pub format: &'static str,
    /// Between the cells of a table that is no JSON.
    pub delimiter: Option<char>,
    pub has_header: bool,
    /// Those of a spreadsheet that have rows, and the one that was read.
    pub sheets: Vec<String>,
    pub sheet: Option<String>,
    /// Of a table; else those of the preview.
    pub columns: Vec<String>,
    /// None where there are none to choose.
    pub chosen: Option<Columns>,
    /// Rows, sentences or questions.
    pub rows: usize,
    pub labels: Vec<LabelCount>,
    /// Of the scores of a regression.
    pub range: Option<(f64, f64)>,
    pub scores: Option<Scores>,
    pub lengths: Lengths,
    /// The settings that fit, should 15 % of the rows be held out.
    pub settings: Settings,
    pub skipped: Vec<Problem>,
    pub skipped_count: usize,
    /// The first rows, a cell a column.
    pub preview: Vec<Vec<Option<String>>>,
}

/// Settings by how much time a run may take.
#[derive(Debug, PartialEq, Serialize)]
pub struct Settings {
    pub quick: Fitting,
    pub normal: Fitting,
    pub thorough: Fitting,
}

impl Settings {
    fn new(kind: Kind, examples: usize, model: &ElectraConfig) -> Self {
        let held = FinetuneConfig::default().eval_fraction;
        let rows = examples - (examples as f64 * held).round() as usize;
        let fitting = |effort| Fitting::new(kind, rows, model, effort);
        Settings {
            quick: fitting(Effort::Quick),
            normal: fitting(Effort::Normal),
            thorough: fitting(Effort::Thorough),
        }
    }
}

/// How scores lie on their range.
#[derive(Debug, PartialEq, Serialize)]
pub struct Scores {
    pub bins: Vec<Bin<f64>>,
    pub mean: f64,
}

/// How long the examples are, in tokens, `[CLS]` and `[SEP]` included.
#[derive(Debug, PartialEq, Serialize)]
pub struct Lengths {
    /// The examples that were measured: all, or some from all over the file where there are many.
    pub measured: usize,
    pub bins: Vec<Bin<usize>>,
    pub mean: f64,
    pub max: usize,
    /// Those longer than `max_seq_length`: texts are cut, sentences and contexts go on in further
    /// windows.
    pub truncated: usize,
}

/// How many lie from `from` up to and including `to`.
#[derive(Debug, PartialEq, Serialize)]
pub struct Bin<T> {
    pub from: T,
    pub to: T,
    pub count: usize,
}

/// Looks into a file, for `task` or for what it looks like.
///
/// # Errors
/// It cannot be read for that task, or a column that was asked for is not there.
pub fn inspect(
    source: &Source,
    task: Option<Kind>,
    reading: &Reading,
    (tokenizer, model): (&Tokenizer, &ElectraConfig),
    max_seq_length: usize,
) -> Result<Inspection> {
    let labelled =
        LabelledFile::new(&source.name, &source.bytes).with_sheet(reading.sheet.as_deref());
    let file = &labelled;
    let is_chosen = task.is_some();
    let (task, reason, mut unclear) = match task {
        Some(task) => (task, None, None),
        None => match reading.detect(file) {
            Ok(Detected { task, reason }) => (task, Some(reason), None),
            // A table is shown all the same, so that its columns can be chosen by hand.
            Err(error) if file.table().is_ok() => {
                (Kind::Classification, None, Some(error.to_string()))
            }
            Err(error) => return Err(error),
        },
    };
    let file = match task {
        Kind::Tagging | Kind::QuestionAnswering => read_whole(file, task, reading)?,
        _ => {
            let table = file.table()?;
            read_columns(table, task, reading).or_else(|error| {
                let error = in_file(&source.name, error);
                // Nobody chose what cannot be learnt from: another column may be.
                let columns = choose_columns(table, &reading.columns).ok().filter(|_| !is_chosen);
                let columns = columns.map(|columns| Columns { label: None, ..columns });
                let shown = columns.and_then(|columns| read_unlabelled(table, columns).ok());
                unclear = Some(error.to_string());
                shown.ok_or(error)
            })?
        }
    };
    let set = &file.set;
    let scores = values(set);
    let range = set.known().range.filter(|_| !scores.is_empty());
    let sheets = labelled.sheets()?;
    Ok(Inspection {
        task,
        tasks: match file.chosen.is_some() {
            true => vec![Kind::Classification, Kind::MultiLabel, Kind::Regression],
            // A table of words can be read as one of texts.
            false if matches!(file.format, "csv" | "tsv" | "spreadsheet") => {
                vec![task, Kind::Classification, Kind::MultiLabel, Kind::Regression]
            }
            false => vec![task],
        },
        reason,
        notes: labelled.note().into_iter().chain(set.notes().to_vec()).collect(),
        unclear,
        format: file.format,
        delimiter: file.delimiter,
        has_header: file.has_header,
        sheets: sheets.map_or(vec![], |(titles, _)| titles.to_vec()),
        sheet: sheets.map(|(_, title)| title.to_string()),
        columns: file.columns,
        chosen: file.chosen,
        rows: file.rows,
        labels: LabelCount::all(set),
        scores: range.map(|range| histogram(&scores, range)),
        range,
        settings: Settings::new(task, set.len(), model),
        skipped_count: set.skipped().len(),
        skipped: set.skipped().iter().take(LISTED).cloned().collect(),
        preview: file.preview,
        lengths: lengths(&token_counts(&file.set.sample(MEASURED), tokenizer)?, max_seq_length),
    })
}

/// A file that was read.
struct File {
    set: Examples,
    format: &'static str,
    delimiter: Option<char>,
    has_header: bool,
    columns: Vec<String>,
    chosen: Option<Columns>,
    rows: usize,
    preview: Vec<Vec<Option<String>>>,
}

fn read_whole(file: &LabelledFile, task: Kind, reading: &Reading) -> Result<File> {
    let set = Examples::read(task, file, reading, &Known::default())?;
    let (columns, preview): (&[&str], Vec<_>) = match &set {
        Examples::Tagging(set) => {
            let name = |labels: &Vec<usize>| {
                let names = labels.iter().map(|label| set.labels[*label].as_str());
                names.collect::<Vec<_>>().join(" ")
            };
            let shown = set.sentences.iter().take(SHOWN);
            let row = |s: &Sentence| vec![Some(s.words.join(" ")), s.labels.as_ref().map(name)];
            (&["words", "labels"], shown.map(row).collect())
        }
        Examples::QuestionAnswering(set) => {
            let row = |q: &Question| {
                let answers = Some(q.golds.join(" | ")).filter(|golds| !golds.is_empty());
                vec![Some(q.question.clone()), answers, Some(q.context.to_string())]
            };
            let shown = set.examples.iter().take(SHOWN);
            (&["question", "answers", "context"], shown.map(row).collect())
        }
        _ => unreachable!("the others are tables"),
    };
    Ok(File {
        rows: set.len(),
        format: layout(file, task)?,
        delimiter: None,
        set,
        has_header: false,
        columns: columns.iter().map(|name| name.to_string()).collect(),
        chosen: None,
        preview,
    })
}

fn read_columns(table: &Table, task: Kind, reading: &Reading) -> Result<File> {
    let choice = &reading.columns;
    let chosen = match task {
        Kind::Regression => choose_score_columns(table, choice)?,
        _ => choose_columns(table, choice)?,
    };
    let has_labels = chosen.label.is_some() || !reading.label_columns.is_empty();
    if !has_labels {
        return read_unlabelled(table, chosen);
    }
    let columns = ColumnChoice {
        text: Some(chosen.text.clone()),
        pair: chosen.pair.clone(),
        label: chosen.label.clone(),
    };
    let reading = Reading { columns, ..reading.clone() };
    let set = Examples::from_table(task, table, &reading, &Known::default())?;
    Ok(file_of(table, chosen, set))
}

/// The texts alone: their lengths can be shown while the labels' column is not chosen yet.
fn read_unlabelled(table: &Table, chosen: Columns) -> Result<File> {
    let set = Examples::Texts(classification(table, &chosen, Some(&[]))?);
    Ok(file_of(table, chosen, set))
}

fn file_of(table: &Table, chosen: Columns, set: Examples) -> File {
    File {
        set,
        format: table.format.name(),
        delimiter: match table.format {
            Format::Csv { delimiter } => Some(delimiter),
            Format::Jsonl | Format::Spreadsheet => None,
        },
        has_header: table.has_header,
        columns: table.columns.clone(),
        chosen: Some(chosen),
        rows: table.rows.len(),
        preview: table.rows.iter().take(SHOWN).map(|row| row.cells.clone()).collect(),
    }
}

fn values(set: &Examples) -> Vec<f64> {
    match set {
        Examples::Texts(set) => set.examples.iter().filter_map(TextExample::score).collect(),
        _ => Vec::new(),
    }
}

fn histogram(values: &[f64], (minimum, maximum): (f64, f64)) -> Scores {
    const BINS: usize = 20;
    let width = (maximum - minimum) / BINS as f64;
    let edge = |i: usize| minimum + i as f64 * width;
    let mut bins: Vec<Bin<f64>> =
        (0..BINS).map(|i| Bin { from: edge(i), to: edge(i + 1), count: 0 }).collect();
    for value in values {
        bins[(((value - minimum) / width) as usize).min(BINS - 1)].count += 1;
    }
    Scores { bins, mean: values.iter().sum::<f64>() / values.len().max(1) as f64 }
}

/// The tokens of every example, uncut.
fn token_counts(set: &Examples, tokenizer: &Tokenizer) -> Result<Vec<usize>> {
    let count = |text: &str, pair: Option<&str>| {
        let encoding = tokenizer.encode(text, pair, usize::MAX, Truncation::LongestFirst)?;
        Ok(encoding.input_ids.len())
    };
    match set {
        Examples::Texts(set) => {
            set.examples.iter().map(|e| count(&e.text, e.pair.as_deref())).collect()
        }
        Examples::QuestionAnswering(set) => {
            set.examples.iter().map(|q| count(&q.question, Some(&q.context))).collect()
        }
        Examples::Tagging(set) => {
            let (features, _) = tagging::features(tokenizer, &set.sentences, usize::MAX)?;
            Ok(features.iter().map(|features| features.input_ids.len()).collect())
        }
    }
}

fn lengths(counts: &[usize], max_seq_length: usize) -> Lengths {
    const WIDTH: usize = 8;
    let max = counts.iter().copied().max().unwrap_or(0);
    // The few very long texts share the last bin.
    let last = (max.clamp(1, 512) - 1) / WIDTH;
    let mut bins: Vec<Bin<usize>> =
        (0..=last).map(|i| Bin { from: i * WIDTH + 1, to: (i + 1) * WIDTH, count: 0 }).collect();
    bins[last].to = bins[last].to.max(max);
    for length in counts {
        bins[((length.max(&1) - 1) / WIDTH).min(last)].count += 1;
    }
    let mean = counts.iter().sum::<usize>() as f64 / counts.len().max(1) as f64;
    let truncated = counts.iter().filter(|length| **length > max_seq_length).count();
    Lengths { measured: counts.len(), bins, mean, max, truncated }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> Tokenizer {
        let words = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\nd\n";
        let files = [("vocab.txt".to_string(), words.as_bytes().to_vec())].into();
        Tokenizer::from_files(&files).unwrap()
    }

    fn look(name: &str, text: &str, task: Option<Kind>) -> Inspection {
        let source = Source { name: name.into(), bytes: text.as_bytes().to_vec() };
        let model = (&tokenizer(), &ElectraConfig::default());
        inspect(&source, task, &Reading::default(), model, 4).unwrap()
    }

    #[test]
    fn a_table_shows_its_columns_labels_and_lengths() {
        let found = look("x.csv", "text,label\na b c,x\na,y\nb,x\n", None);
        assert_eq!((found.task, found.format, found.rows), (Kind::Classification, "csv", 3));
        assert_eq!(found.chosen.unwrap().label.as_deref(), Some("label"));
        assert_eq!((found.lengths.max, found.lengths.truncated), (5, 1));
        assert_eq!(found.labels[0], LabelCount { label: "x".into(), count: 2 });
        assert_eq!(found.tasks.len(), 3);
    }

    #[test]
    fn of_many_rows_some_are_measured() {
        let rows: String = (0..5000).map(|i| format!("a b c,{}\n", i % 2)).collect();
        let found = look("x.csv", &format!("text,label\n{rows}"), None);
        let Lengths { measured, mean, max, .. } = found.lengths;
        assert_eq!((found.rows, max, mean), (5000, 5, 5.0));
        assert!(measured <= MEASURED && measured > MEASURED / 2, "{measured}");
    }

    #[test]
    fn scores_lie_on_their_range() {
        let found = look("x.csv", "text,score\na,0.5\nb,1.0\nc,2.5\nd,0.65\n", None);
        assert_eq!((found.task, found.range), (Kind::Regression, Some((0.5, 2.5))));
        let bins = found.scores.unwrap().bins;
        assert_eq!((bins[0].count, bins[1].count, bins[19].count), (1, 1, 1));
        assert_eq!(bins.iter().map(|bin| bin.count).sum::<usize>(), 4);
    }

    #[test]
    fn sentences_and_questions_have_no_columns_to_choose() {
        let tags = look("x.conll", "a X\nb Y\n\nc X\n", None);
        assert_eq!((tags.task, tags.format, tags.rows), (Kind::Tagging, "conll", 2));
        assert_eq!(tags.preview[0], [Some("a b".into()), Some("X Y".into())]);
        assert_eq!(tags.lengths.max, 4);
        let answers = r#"{"question":"a","context":"b c","answers":["c"]}"#;
        let found = look("x.jsonl", answers, None);
        assert_eq!((found.task, found.tasks.len()), (Kind::QuestionAnswering, 1));
        assert!(found.chosen.is_none() && found.lengths.max == 6);
    }

    #[test]
    fn a_table_without_labels_is_shown_as_unclear() {
        let found = look("x.csv", "id,text\n1,a b\n2,b c\n3,c d\n", None);
        assert!(found.unclear.is_some() && found.labels.is_empty());
        assert_eq!(found.lengths.max, 4);
    }

    #[test]
    fn labels_that_cannot_be_learnt_leave_the_columns_to_choose() {
        let rows = "text,label,tone\na,x,good\nb,x,bad\nc,x,bad\n";
        let found = look("x.csv", rows, None);
        assert!(found.unclear.unwrap().contains("every row has the label \"x\""));
        assert_eq!((found.rows, found.chosen.unwrap().label), (3, None));
        let source = Source { name: "x.csv".into(), bytes: rows.into() };
        let model = (&tokenizer(), &ElectraConfig::default());
        let chosen = Some(Kind::Classification);
        assert!(inspect(&source, chosen, &Reading::default(), model, 4).is_err());
    }
}
