//! Labelled files as people have them to typed examples.
//!
//! Bytes -> [`Table`] -> [`Columns`] -> [`Classification`] -> training and evaluation set, and
//! likewise for the other tasks, a file each. A row that cannot be used becomes a [`Problem`] with
//! its number and the reason; nothing but blank lines is dropped without one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::error::{Error, Result};

pub mod glue;
mod kind;
mod multi_label;
mod questions;
mod scores;
mod table;
mod words;

pub use kind::{Kind, detect, layout};
pub use multi_label::{MultiExample, MultiLabel, multi_label, split_multi_label};
pub use questions::{Answer, Question, Questions, read_questions, split_questions};
pub use scores::{Regression, ScoredExample, choose_score_columns, regression, split_regression};
pub use table::{Format, Problem, Row, Table, read_table};
use table::{LABELS, PAIRS, TEXTS, is_number};
pub use words::{Sentence, Tagging, read_tagging, split_tagging};

/// The columns that are used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Columns {
    pub text: String,
    pub pair: Option<String>,
    pub label: Option<String>,
}

/// The columns that a user asked for; the rest is detected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnChoice {
    pub text: Option<String>,
    pub pair: Option<String>,
    pub label: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Counted as in [`Problem::row`].
    pub row: usize,
    pub text: String,
    pub pair: Option<String>,
    /// Index into [`Classification::labels`]; None only where the table has no label column.
    pub label: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classification {
    pub examples: Vec<Example>,
    pub labels: Vec<String>,
    pub skipped: Vec<Problem>,
}

// ---- Columns ----

/// What was asked for, else what the names say, else what the cells look like. A pair column is
/// never guessed from its cells, nor when the user chose the text column.
pub fn choose_columns(table: &Table, choice: &ColumnChoice) -> Result<Columns> {
    let ColumnChoice { mut text, mut pair, mut label } = choice.clone();
    for name in [&text, &pair, &label].into_iter().flatten() {
        require_column(table, name)?;
    }
    if text.is_none()
        && let Some((first, second)) = named_pair(table, &pair, &label)
    {
        (text, pair) = (Some(first), Some(second));
    }
    text = text.or_else(|| named(table, TEXTS, [&pair, &label]));
    label = label.or_else(|| named(table, LABELS, [&text, &pair]));
    label = label.or_else(|| guess_label(table, [&text, &pair]));
    text = text.or_else(|| longest_column(table, [&pair, &label]));
    let text = text.ok_or_else(|| {
        Error::new("text column", "there is no column with text")
            .fix(format!("The columns are {}.", listed(&table.columns)))
    })?;
    distinct(Columns { text, pair, label })
}

type Taken<'a> = [&'a Option<String>; 2];

/// The columns that have no role yet, with their places.
fn free<'a>(table: &'a Table, taken: Taken<'a>) -> impl Iterator<Item = (usize, &'a String)> {
    let is_taken = move |column: &String| taken.into_iter().flatten().any(|name| name == column);
    table.columns.iter().enumerate().filter(move |(_, column)| !is_taken(column))
}

fn named(table: &Table, names: &[&str], taken: Taken) -> Option<String> {
    let find = |name: &&str| free(table, taken).find(|(_, column)| column.to_lowercase() == **name);
    names.iter().find_map(find).map(|(_, column)| column.clone())
}

fn named_pair(
    table: &Table,
    pair: &Option<String>,
    label: &Option<String>,
) -> Option<(String, String)> {
    PAIRS.iter().find_map(|(first, second)| {
        let second = named(table, &[second], [label, &None])?;
        let asked_for = pair.as_ref().is_none_or(|pair| *pair == second);
        named(table, &[first], [label, &None]).filter(|_| asked_for).zip(Some(second))
    })
}

/// The column of short values that repeat; the one with the fewest where there are several.
fn guess_label(table: &Table, taken: Taken) -> Option<String> {
    let most = (table.rows.len() / 2).clamp(2, 200);
    let values = |place| cells(table, place).map(str::trim).collect::<HashSet<_>>();
    free(table, taken)
        .map(|(place, column)| (values(place), column))
        .filter(|(values, _)| (2..=most).contains(&values.len()))
        .filter(|(values, _)| values.iter().all(|value| value.chars().count() <= 40))
        .min_by_key(|(values, _)| values.len())
        .map(|(_, column)| column.clone())
}

fn longest_column(table: &Table, taken: Taken) -> Option<String> {
    let length = |place| cells(table, place).map(str::len).sum::<usize>();
    let longest = free(table, taken).max_by_key(|(place, _)| length(*place));
    longest.map(|(_, column)| column.clone())
}

fn cells(table: &Table, place: usize) -> impl Iterator<Item = &str> {
    table.rows.iter().filter_map(move |row| row.cells[place].as_deref())
}

fn distinct(columns: Columns) -> Result<Columns> {
    let names = [Some(&columns.text), columns.pair.as_ref(), columns.label.as_ref()];
    let names: Vec<_> = names.into_iter().flatten().collect();
    match (1..names.len()).find(|&place| names[..place].contains(&names[place])) {
        None => Ok(columns),
        Some(twice) => Err(Error::new("columns", format!("{:?} is chosen twice", names[twice]))
            .fix("Choose another column for the text, its pair and the label.")),
    }
}

fn require_column(table: &Table, name: &str) -> Result<usize> {
    table.columns.iter().position(|column| column == name).ok_or_else(|| {
        let nearest = table.columns.iter().min_by_key(|column| edit_distance(column, name));
        let hint = match nearest {
            Some(nearest) if edit_distance(nearest, name) <= 1 + name.len() / 3 => {
                format!(" Did you mean {nearest:?}?")
            }
            _ => String::new(),
        };
        Error::new("columns", format!("there is no column {name:?}"))
            .fix(format!("The columns are {}.{hint}", listed(&table.columns)))
    })
}

pub(crate) fn listed(names: &[String]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

/// Letters to insert, delete or replace, capitals aside.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

// ---- Table to examples ----

/// The examples of a classification task. `labels`: the labels a model knows; rows with another one
/// are skipped. Without them the table's own are collected: numbers in the order of their values,
/// words in alphabetical order.
pub fn classification(
    table: &Table,
    columns: &Columns,
    labels: Option<&[String]>,
) -> Result<Classification> {
    let places = Places::find(table, columns)?;
    let labels = match labels {
        Some(labels) => labels.to_vec(),
        None => places.collect_labels(table)?,
    };
    let known: HashMap<&str, usize> = labels.iter().map(String::as_str).zip(0..).collect();
    let (mut examples, mut skipped) = (vec![], table.problems.clone());
    for row in &table.rows {
        match places.example(row, &known) {
            Ok(example) => examples.push(example),
            Err(reason) => skipped.push(Problem { row: row.number, reason }),
        }
    }
    skipped.sort_by_key(|problem| problem.row);
    require_usable("examples", examples.is_empty(), &skipped)?;
    Ok(Classification { examples, labels, skipped })
}

fn require_usable(place: &str, is_empty: bool, skipped: &[Problem]) -> Result<()> {
    match (is_empty, skipped.first()) {
        (true, Some(Problem { row, reason })) => {
            let problem = format!("none of the {} rows can be used", skipped.len());
            Err(Error::new(place, problem).fix(format!("Row {row}, for example: {reason}.")))
        }
        _ => Ok(()),
    }
}

/// Where the chosen columns are.
struct Places {
    text: usize,
    pair: Option<usize>,
    label: Option<usize>,
}

impl Places {
    fn find(table: &Table, columns: &Columns) -> Result<Self> {
        let place = |name: &String| require_column(table, name);
        Ok(Places {
            text: place(&columns.text)?,
            pair: columns.pair.as_ref().map(place).transpose()?,
            label: columns.label.as_ref().map(place).transpose()?,
        })
    }

    fn example(
        &self,
        row: &Row,
        known: &HashMap<&str, usize>,
    ) -> std::result::Result<Example, String> {
        let text = filled(row, self.text, "text")?.to_string();
        let pair = self.pair.map(|place| filled(row, place, "second text")).transpose()?;
        let label = match self.label {
            Some(place) => {
                let name = filled(row, place, "label")?.trim();
                Some(*known.get(name).ok_or_else(|| format!("unknown label {}", excerpt(name)))?)
            }
            None => None,
        };
        Ok(Example { row: row.number, text, pair: pair.map(str::to_string), label })
    }

    /// The labels of the rows that can be used.
    fn collect_labels(&self, table: &Table) -> Result<Vec<String>> {
        let Some(label) = self.label else {
            return Err(Error::new("label column", "no column looks like labels")
                .fix(format!("Name it; the columns are {}.", listed(&table.columns))));
        };
        let texts = [Some(self.text), self.pair].into_iter().flatten();
        let usable = |row: &&Row| texts.clone().all(|place| filled(row, place, "text").is_ok());
        let names =
            table.rows.iter().filter(usable).filter_map(|row| filled(row, label, "label").ok());
        let names: Vec<&str> = names.map(str::trim).collect();
        let labels = sorted_labels(&names);
        let column = format!("label column {:?}", table.columns[label]);
        match labels.len() {
            0 => Err(Error::new(column, "no row has both a text and a label")),
            1 => {
                Err(Error::new(column, format!("every row has the label {}", excerpt(&labels[0])))
                    .fix("Give rows of at least two labels, or choose another column."))
            }
            many if many > 50 && many * 2 > names.len() => {
                Err(Error::new(column, format!("{many} different labels in {} rows", names.len()))
                    .fix("Choose the column whose values repeat."))
            }
            _ => Ok(labels),
        }
    }
}

fn filled<'a>(row: &'a Row, place: usize, what: &str) -> std::result::Result<&'a str, String> {
    let cell = row.cells[place].as_deref().filter(|cell| !cell.trim().is_empty());
    cell.ok_or_else(|| format!("the {what} is empty"))
}

/// What the functions that take a [`Table`] leave to their caller: the name of its file.
pub fn in_file(name: &str, error: Error) -> Error {
    Error { place: format!("{name}, {}", error.place), ..error }
}

/// The text in quotes, cut where it is long.
fn excerpt(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

fn sorted_labels(names: &[&str]) -> Vec<String> {
    let mut labels: Vec<&str> =
        names.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    if labels.iter().all(|label| is_number(label)) {
        let number = |label: &str| label.parse::<f64>().unwrap_or(f64::NAN);
        labels.sort_by(|a, b| number(a).total_cmp(&number(b)));
    }
    labels.into_iter().map(str::to_string).collect()
}

/// Holds out `fraction` of every label's examples for evaluation, the same ones on every machine. A
/// label's last example always stays in training. Both parts keep the order of the file; skipped
/// rows stay with the first.
pub fn train_eval_split(
    set: Classification,
    fraction: f64,
    seed: u64,
) -> (Classification, Classification) {
    let mut by_label: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for (index, example) in set.examples.iter().enumerate() {
        by_label.entry(example.label).or_default().push(index);
    }
    let (kept, held_out) = part(set.examples, by_label.into_values().collect(), fraction, seed);
    let Classification { labels, skipped, .. } = set;
    let eval = Classification { examples: held_out, labels: labels.clone(), skipped: vec![] };
    (Classification { examples: kept, labels, skipped }, eval)
}

/// Draws `fraction` of each group of indices and takes those examples out; both parts keep their
/// order.
fn part<T>(
    examples: Vec<T>,
    mut groups: Vec<Vec<usize>>,
    fraction: f64,
    seed: u64,
) -> (Vec<T>, Vec<T>) {
    let shares = held_out(&groups.iter().map(Vec::len).collect::<Vec<_>>(), fraction);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut is_held_out = vec![false; examples.len()];
    for (group, share) in groups.iter_mut().zip(shares) {
        group.shuffle(&mut random);
        group[..share].iter().for_each(|&index| is_held_out[index] = true);
    }
    let (held_out, kept): (Vec<_>, Vec<_>) =
        examples.into_iter().zip(is_held_out).partition(|(_, held_out)| *held_out);
    let examples = |part: Vec<(T, bool)>| part.into_iter().map(|(example, _)| example).collect();
    (examples(kept), examples(held_out))
}

/// [`part`] with every example in one group.
fn part_evenly<T>(examples: Vec<T>, fraction: f64, seed: u64) -> (Vec<T>, Vec<T>) {
    let everything = (0..examples.len()).collect();
    part(examples, vec![everything], fraction, seed)
}

/// How many of each group are held out: the whole part of their share first, then one more for
/// those whose share was cut most, until the total is right. Small sets of many labels thus get an
/// evaluation set, too.
fn held_out(sizes: &[usize], fraction: f64) -> Vec<usize> {
    let fraction = fraction.clamp(0.0, 1.0);
    let share = |group: usize| sizes[group] as f64 * fraction;
    let limit = |group: usize| sizes[group].saturating_sub(1);
    let mut held_out: Vec<_> =
        (0..sizes.len()).map(|group| (share(group) as usize).min(limit(group))).collect();
    let total = (sizes.iter().sum::<usize>() as f64 * fraction).round() as usize;
    let total = if fraction > 0.0 { total.max(1) } else { 0 };
    let missing = total.saturating_sub(held_out.iter().sum());
    let mut order: Vec<_> =
        (0..sizes.len()).filter(|&group| held_out[group] < limit(group)).collect();
    order.sort_by(|&a, &b| share(b).fract().total_cmp(&share(a).fract()));
    for group in order.into_iter().take(missing) {
        held_out[group] += 1;
    }
    held_out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many examples each label has, in the order of the labels.
    fn label_counts(set: &Classification) -> Vec<(String, usize)> {
        let mut counts = vec![0; set.labels.len()];
        for label in set.examples.iter().filter_map(|example| example.label) {
            counts[label] += 1;
        }
        set.labels.iter().cloned().zip(counts).collect()
    }

    fn table(text: &str) -> Table {
        read_table("data.csv", text.as_bytes()).unwrap()
    }

    fn detected(header: &str, row: &str) -> (String, Option<String>, Option<String>) {
        let table = table(&format!("{header}\n{row}\n{row}\n"));
        let Columns { text, pair, label } =
            choose_columns(&table, &ColumnChoice::default()).unwrap();
        (text, pair, label)
    }

    fn some(name: &str) -> Option<String> {
        Some(name.to_string())
    }

    fn set(text: &str) -> Result<Classification> {
        let table = table(text);
        classification(&table, &choose_columns(&table, &ColumnChoice::default())?, None)
    }

    #[test]
    fn columns_are_found_by_name() {
        let single = ("sentence".to_string(), None, some("topic"));
        assert_eq!(detected("topic,title,sentence", "Arts,Design,long"), single);
        let pair = ("question".to_string(), some("passage"), some("label"));
        assert_eq!(detected("label,passage,question", "1,a,b"), pair);
        let nli = ("Sentence1".to_string(), some("Sentence2"), some("gold_label"));
        assert_eq!(detected("gold_label,Sentence1,Sentence2,score", "1,a,b,0.5"), nli);
    }

    #[test]
    fn columns_are_found_by_content() {
        let table = table("1,x1,ham,how are you\n2,x2,spam,win money now\n3,x3,ham,fine thanks\n");
        let columns = choose_columns(&table, &ColumnChoice::default()).unwrap();
        assert_eq!(columns, Columns { text: "4".into(), pair: None, label: some("3") });
    }

    #[test]
    fn a_choice_overrides_detection() {
        let table = table("label,sentence1,sentence2,kind\n1,a,b,x\n0,c,d,y\n");
        let choice = |text: Option<&str>, pair: Option<&str>, label: Option<&str>| {
            let [text, pair, label] = [text, pair, label].map(|name| name.map(str::to_string));
            choose_columns(&table, &ColumnChoice { text, pair, label })
        };
        let columns = choice(Some("sentence2"), None, Some("kind")).unwrap();
        assert_eq!(columns, Columns { text: "sentence2".into(), pair: None, label: some("kind") });
        let columns = choice(None, Some("sentence2"), None).unwrap();
        assert_eq!((columns.text.as_str(), columns.pair), ("sentence1", some("sentence2")));
        let message = choice(Some("sentense1"), None, None).unwrap_err().to_string();
        assert!(message.contains("no column \"sentense1\"") && message.contains("\"kind\""));
        assert!(message.ends_with("Did you mean \"sentence1\"?"), "{message}");
        assert!(choice(Some("kind"), None, Some("kind")).is_err());
    }

    #[test]
    fn labels_are_sorted_as_numbers_or_as_words() {
        let numbers = set("label,text\n10,a\n9,b\n-1,c\n10,d\n").unwrap();
        assert_eq!(numbers.labels, ["-1", "9", "10"]);
        assert_eq!(numbers.examples[0].label, Some(2));
        let words = set("label,text\nspam,a\n ham ,b\n10,c\n").unwrap();
        assert_eq!(words.labels, ["10", "ham", "spam"]);
        let counts = [("10", 1), ("ham", 1), ("spam", 1)];
        assert_eq!(label_counts(&words), counts.map(|(label, count)| (label.to_string(), count)));
    }

    #[test]
    fn rows_that_cannot_be_used_are_reported() {
        let table = table("label,text\n1,a\n0, \n,b\n1,c,d\n0,e\n2,f\n");
        let columns = Columns { text: "text".into(), pair: None, label: some("label") };
        let known = ["0".to_string(), "1".to_string()];
        let set = classification(&table, &columns, Some(&known)).unwrap();
        assert_eq!(set.examples.iter().map(|e| e.row).collect::<Vec<_>>(), [2, 6]);
        let skipped: Vec<_> = set.skipped.iter().map(|p| (p.row, p.reason.as_str())).collect();
        let ragged = "3 fields where the first row has 2";
        let (text, label) = ("the text is empty", "the label is empty");
        assert_eq!(skipped, [(3, text), (4, label), (5, ragged), (7, "unknown label \"2\"")]);
    }

    #[test]
    fn sets_that_cannot_be_learnt_are_errors() {
        let message = |text: &str| set(text).unwrap_err().to_string();
        assert!(message("label,text\n1,a\n1,b\n").contains("every row has the label \"1\""));
        assert!(message("label,text\n1,\n,b\n").contains("no row has both"));
        assert!(message("title,text\na,b c d\nb,c\nc,d\nd,e\ne,f\n").contains("looks like labels"));
        let own: String = (0..60).map(|row| format!("label {row},text\n")).collect();
        assert!(message(&format!("label,text\n{own}")).contains("60 different labels in 60 rows"));
        let table = table("label,text\n1,a\n0,b\n");
        let columns = choose_columns(&table, &ColumnChoice::default()).unwrap();
        let strange = classification(&table, &columns, Some(&["x".to_string()])).unwrap_err();
        assert!(strange.to_string().contains("none of the 2 rows can be used"), "{strange}");
    }

    #[test]
    fn the_split_is_stratified_and_always_the_same() {
        let rows: String = (0..100).map(|i| format!("{},text {i}\n", i % 10 / 7)).collect();
        let set = set(&format!("label,text\n{rows}")).unwrap();
        let (train, eval) = train_eval_split(set.clone(), 0.1, 7);
        assert_eq!(label_counts(&eval), [("0".to_string(), 7), ("1".to_string(), 3)]);
        let mut rows: Vec<_> = train.examples.iter().chain(&eval.examples).map(|e| e.row).collect();
        rows.sort();
        assert_eq!(rows, (2..102).collect::<Vec<_>>());
        assert_eq!(train_eval_split(set.clone(), 0.1, 7), (train, eval.clone()));
        assert_ne!(train_eval_split(set, 0.1, 8).1, eval);
        // Pinned: the same rows on every machine, in the browser too.
        let rows: Vec<_> = eval.examples.iter().map(|e| e.row).collect();
        assert_eq!(rows, [19, 36, 38, 62, 73, 75, 81, 87, 91, 98]);
    }

    #[test]
    fn a_label_keeps_its_last_example_in_training() {
        let set = set("label,text\na,1\na,2\nb,3\nc,4\nc,5\nc,6\n").unwrap();
        for fraction in [0.0, 0.01, 0.3, 0.9, 1.0] {
            let (train, eval) = train_eval_split(set.clone(), fraction, 1);
            assert!(label_counts(&train).iter().all(|(_, count)| *count > 0), "{fraction}");
            assert_eq!(eval.examples.is_empty(), fraction == 0.0, "{fraction}");
            assert_eq!(train.examples.len() + eval.examples.len(), 6);
        }
    }

    #[test]
    fn shares_add_up() {
        assert_eq!(held_out(&[3, 3, 3, 3], 0.25), [1, 1, 1, 0]);
        assert_eq!(held_out(&[10, 5, 1], 0.2), [2, 1, 0]);
        assert_eq!(held_out(&[1, 1], 0.5), [0, 0]);
        assert_eq!(held_out(&[], 0.5), Vec::<usize>::new());
    }
}
