//! Tagged words: CoNLL columns, CoNLL-U, tables of words, or JSON lines with words and labels.
//!
//! In columns the first is the word and the last its label, as the original reads CoNLL-2000; of
//! CoNLL-U's ten it is the form and its universal part of speech, and where words are counted, as
//! GermEval does, the first of several columns of entities.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::file::LabelledFile;
use super::json::{is_json, objects};
use super::labels::{Known, sorted_labels, too_many};
use super::split::part_evenly;
use super::table::{Problem, Table, in_file, require_usable};
use super::word_rows::WordTable;
use crate::error::{Error, Result, excerpt, listed};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// 1-based: the line of its first word, or its line or place in a JSON file.
    pub row: usize,
    pub words: Vec<String>,
    /// Indices into [`Tagging::labels`], one a word; None where the whole file has no labels.
    pub labels: Option<Vec<usize>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagging {
    pub sentences: Vec<Sentence>,
    pub labels: Vec<String>,
    pub skipped: Vec<Problem>,
    /// Which columns were taken, where there was a choice.
    pub notes: Vec<String>,
}

/// Names of fields in JSON, the likeliest first.
const WORDS: &[&str] = &["words", "tokens"];
const TAGS: &[&str] = &["labels", "tags", "ner_tags", "pos_tags", "chunk_tags", "upos"];

const REMEDY: &str = "A line has a word, its label last, a tab or spaces between; a blank line ends \
    a sentence. Or JSON lines: {\"words\": [..], \"labels\": [..]}.";

/// Reads sentences. `tag_column`: the column or JSON field of the labels, by its name or, of columns
/// without one, its number from 1. `labels`: the labels a model knows; a sentence with another one is skipped.
/// Without them the file's own are collected, in alphabetical order as the original sorts them
/// (numbers in the order of their values). A sentence with a bad line is skipped as a whole.
///
/// # Errors
/// No sentence can be used, the column is not there, or the labels are no labels: one alone, nearly all different, words in
/// one row and numbers in another.
pub fn read_tagging(
    file: &LabelledFile,
    tag_column: Option<&str>,
    labels: Option<&[String]>,
) -> Result<Tagging> {
    let name = file.name;
    let is_sheet = file.sheets()?.is_some();
    let text = if is_sheet { "" } else { file.text()? };
    let mut notes = vec![];
    let is_json = is_json(name, text);
    let (tagged, mut skipped) = if is_json && has_word_lists(name, text)? {
        from_json(name, text, tag_column)?
    } else if let Some((table, words)) = word_table(file, tag_column)? {
        notes.push(format!("{}; --tag-column for other tags", words.described(table)));
        words.read(table)?
    } else if is_sheet {
        return Err(Error::new(name, "the sheet has no columns of words and their tags").fix(
            "Give a word a row, the columns named word, tag and sentence_id; or a text a row \
             and its tags beside it.",
        ));
    } else if is_json {
        from_json(name, text, tag_column)?
    } else {
        let layout = Layout::of(text, tag_column).map_err(|error| in_file(name, error))?;
        notes.extend(layout.note(tag_column));
        from_columns(name, text, &layout)?
    };
    if tagged.is_empty() && skipped.is_empty() {
        return Err(Error::new(name, "there is no sentence").fix(REMEDY));
    }
    let labels = match labels {
        Some(labels) => labels.to_vec(),
        None => collect_labels(name, &tagged)?,
    };
    let known = Known::new(&labels);
    let mut sentences = vec![];
    for tagged in tagged {
        match tagged.index(&known) {
            Ok(sentence) => sentences.push(sentence),
            Err(problem) => skipped.push(problem),
        }
    }
    skipped.sort_by_key(|problem| problem.row);
    require_usable(name, sentences.is_empty(), &skipped)?;
    Ok(Tagging { sentences, labels, skipped, notes })
}

/// The table and its columns, where it is one of words.
pub(super) fn word_table<'a>(
    file: &'a LabelledFile,
    tag_column: Option<&str>,
) -> Result<Option<(&'a Table, WordTable)>> {
    // A stray quote makes columns no table.
    let Ok(table) = file.table() else { return Ok(None) };
    let found = WordTable::find(table, tag_column).map_err(|error| in_file(file.name, error))?;
    Ok(found.map(|words| (table, words)))
}

/// Holds out `fraction` of the sentences for evaluation, the same ones on every machine. Both parts
/// keep the order of the file; skipped rows stay with the first.
pub fn split_tagging(set: Tagging, fraction: f64, seed: u64) -> (Tagging, Tagging) {
    let (kept, held_out) = part_evenly(set.sentences, fraction, seed);
    let labels = set.labels.clone();
    let eval = Tagging { sentences: held_out, labels, skipped: vec![], notes: vec![] };
    (Tagging { sentences: kept, ..set }, eval)
}

/// A sentence whose labels are text still.
pub(super) struct Tagged {
    /// The row of each word.
    pub rows: Vec<usize>,
    pub words: Vec<String>,
    pub tags: Option<Vec<String>>,
}

impl Tagged {
    fn index(self, known: &Known) -> std::result::Result<Sentence, Problem> {
        let row = self.rows[0];
        let index = |(tag, row): (&String, &usize)| {
            known.find(tag).map_err(|reason| left_out(*row, self.rows[0], reason))
        };
        let labels =
            self.tags.as_ref().map(|tags| tags.iter().zip(&self.rows).map(index).collect());
        Ok(Sentence { row, labels: labels.transpose()?, words: self.words })
    }
}

pub(super) fn left_out(row: usize, first: usize, reason: String) -> Problem {
    Problem { row, reason: format!("{reason}; the sentence from row {first} is left out") }
}

pub(super) type Read = (Vec<Tagged>, Vec<Problem>);

fn collect_labels(name: &str, tagged: &[Tagged]) -> Result<Vec<String>> {
    let tags: Vec<&str> =
        tagged.iter().filter_map(|t| t.tags.as_ref()).flatten().map(String::as_str).collect();
    let labels = sorted_labels(&tags);
    match labels.len() {
        1 => Err(Error::new(name, format!("every word has the label {}", excerpt(&labels[0])))
            .fix(format!("Give words of at least two labels. {REMEDY}"))),
        many if too_many(many, tags.len()) => {
            let problem = format!("{many} different labels for {} words", tags.len());
            Err(Error::new(name, problem).fix(REMEDY))
        }
        _ => Ok(labels),
    }
}

// ---- Columns ----

fn from_columns(name: &str, text: &str, layout: &Layout) -> Result<Read> {
    let (mut tagged, mut problems) = (vec![], vec![]);
    for block in layout.blocks(text) {
        match layout.sentence(&block) {
            Ok(sentence) if sentence.words.is_empty() => {}
            Ok(sentence) => tagged.push(sentence),
            Err(problem) => problems.push(problem),
        }
    }
    let words = || tagged.iter().flat_map(|sentence| &sentence.words);
    if words().filter(|word| word.contains(' ')).count() * 2 > words().count() {
        let problem = "the first column holds texts, not words";
        return Err(Error::new(format!("{name}, row {}", tagged[0].rows[0]), problem).fix(REMEDY));
    }
    Ok((tagged, problems))
}

type Line<'a> = (usize, &'a str);

/// How the columns of a file are cut, and which are read.
struct Layout {
    separator: &'static [char],
    /// Every line ends with a separator.
    is_padded: bool,
    /// Of most lines.
    width: usize,
    is_conllu: bool,
    /// The places of the word and its label.
    word: usize,
    tag: usize,
}

impl Layout {
    /// # Errors
    /// There is no such column for the labels.
    fn of(text: &str, tag_column: Option<&str>) -> Result<Self> {
        let no_comment = |line: &&str| !line.starts_with('#') && !line.trim().is_empty();
        let lines: Vec<&str> = text.lines().filter(no_comment).collect();
        let tabs = lines.iter().filter(|line| line.contains('\t')).count();
        let separator: &[char] = if tabs * 2 > lines.len() { &['\t'] } else { &[' ', '\t'] };
        let is_padded = lines.iter().all(|line| line.trim_end_matches('\r').ends_with('\t'));
        let mut layout =
            Layout { separator, is_padded, width: 1, is_conllu: false, word: 0, tag: 0 };
        let mut widths: BTreeMap<usize, usize> = BTreeMap::new();
        for line in &lines {
            *widths.entry(layout.cells(line).len()).or_default() += 1;
        }
        layout.width = widths.into_iter().max_by_key(|(_, count)| *count).map_or(1, |(w, _)| w);
        let has_id = |line: &&str| is_conllu_id(layout.cells(line)[0]);
        layout.is_conllu = layout.width == 10 && lines.iter().take(100).all(has_id);
        (layout.word, layout.tag) = layout.places(text);
        if let Some(column) = tag_column {
            layout.tag = layout.asked(column)?;
        }
        Ok(layout)
    }

    /// Of the word and its label.
    fn places(&self, text: &str) -> (usize, usize) {
        let last = self.width - 1;
        if self.is_conllu {
            return (1, 3);
        }
        let blocks = self.blocks(text);
        let is_counted = |block: &Vec<Line>| {
            (1..).zip(block).all(|(n, (_, line))| self.cells(line)[0] == n.to_string())
        };
        if self.width < 3 || blocks.is_empty() || !blocks.iter().take(100).all(is_counted) {
            return (0, last);
        }
        let is_entity = |place: &usize| {
            let tags = || {
                blocks
                    .iter()
                    .flatten()
                    .filter_map(|(_, line)| self.cells(line).get(*place).copied())
            };
            tags().all(|tag| tag == "O" || is_entity_tag(tag)) && tags().any(is_entity_tag)
        };
        (1, (2..self.width).find(is_entity).unwrap_or(last))
    }

    fn asked(&self, column: &str) -> Result<usize> {
        let number = column.trim().parse().ok().filter(|number| (1..=self.width).contains(number));
        number.map(|number| number - 1).ok_or_else(|| {
            Error::new("columns", format!("there is no column {column:?} for the labels"))
                .fix(format!("They have no names: give a number from 1 to {}.", self.width))
        })
    }

    /// Which columns were taken, where there was a choice.
    fn note(&self, tag_column: Option<&str>) -> Option<String> {
        let (word, tag, width) = (self.word + 1, self.tag + 1, self.width);
        (width > 2 && tag_column.is_none()).then(|| {
            format!("words from column {word}, tags from column {tag} of {width}; --tag-column for another")
        })
    }

    fn cells<'a>(&self, line: &'a str) -> Vec<&'a str> {
        let line = line.trim_end_matches('\r');
        let line = if self.is_padded { line.strip_suffix('\t').unwrap_or(line) } else { line };
        let cells = line.split(self.separator).map(str::trim);
        if self.separator.len() == 1 {
            cells.collect()
        } else {
            cells.filter(|c| !c.is_empty()).collect()
        }
    }

    /// The lines of each sentence.
    fn blocks<'a>(&self, text: &'a str) -> Vec<Vec<Line<'a>>> {
        let mut blocks = vec![vec![]];
        for (number, line) in (1..).zip(text.lines()) {
            let starts = blocks.last().is_some_and(Vec::is_empty);
            if line.trim().is_empty() || line.starts_with("-DOCSTART-") {
                blocks.push(vec![]);
            } else if !(starts && self.is_comment(line))
                && let Some(block) = blocks.last_mut()
            {
                block.push((number, line));
            }
        }
        blocks.retain(|block| !block.is_empty());
        blocks
    }

    /// `# key = value`, or a line from `#` that does not fit the columns: `#` is a word, too.
    fn is_comment(&self, line: &str) -> bool {
        let is_field = line.split_whitespace().nth(2) == Some("=");
        line.starts_with('#') && (is_field || self.cells(line).len() != self.width)
    }

    fn sentence(&self, block: &[Line]) -> std::result::Result<Tagged, Problem> {
        let mut tagged = Tagged { rows: vec![], words: vec![], tags: None };
        let mut tags = vec![];
        for &(row, line) in block {
            let problem = |reason| left_out(row, block[0].0, reason);
            let cells = self.cells(line);
            if cells.len() != self.width {
                let (columns, width) = (cells.len(), self.width);
                return Err(problem(format!("{columns} columns where most lines have {width}")));
            }
            let (word, tag) = (self.word, self.tag);
            if self.is_conllu && !cells[0].bytes().all(|byte| byte.is_ascii_digit()) {
                // The surface form of several words (1-2), or a word that is not in the text (1.1).
                continue;
            }
            if cells[word].is_empty() {
                return Err(problem("the word is empty".into()));
            }
            if cells[tag].is_empty() {
                let reason = format!("the label of {} is empty", excerpt(cells[word]));
                return Err(problem(reason));
            }
            tagged.rows.push(row);
            tagged.words.push(cells[word].to_string());
            tags.push(cells[tag].to_string());
        }
        tagged.tags = (self.width > 1).then_some(tags);
        Ok(tagged)
    }
}

fn is_conllu_id(cell: &str) -> bool {
    cell.starts_with(|first: char| first.is_ascii_digit())
        && cell.bytes().all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte))
}

/// `B-PER`, `S-PER`, or with the type first `PER-B`.
pub(super) fn is_entity_tag(tag: &str) -> bool {
    let is_place = |part: &str| matches!(part, "B" | "I" | "E" | "S" | "L" | "U");
    tag.split_once('-').is_some_and(|(first, _)| is_place(first))
        || tag.rsplit_once('-').is_some_and(|(_, last)| is_place(last))
}

/// Whether text is columns of words: sentences between blank lines, one width, no word with a
/// space or a comma in it. Its first lines tell.
pub(super) fn looks_like_columns(text: &str) -> bool {
    const LINES: usize = 2000;
    let end = text.match_indices('\n').nth(LINES).map_or(text.len(), |(end, _)| end);
    let text = &text[..end];
    let Ok(layout) = Layout::of(text, None) else { return false };
    let blocks = layout.blocks(text);
    let lines = || blocks.iter().flatten();
    let is_word = |(_, line): &&Line| {
        let cells = layout.cells(line);
        let word = cells.first().copied().unwrap_or_default();
        cells.len() == layout.width && (word.len() == 1 || !word.contains([' ', ',', ';', '"']))
    };
    layout.width > 1
        && blocks.len() > 1
        && lines().count() > 2 * blocks.len()
        && lines().filter(is_word).count() * 10 >= lines().count() * 9
}

// ---- JSON ----

fn from_json(name: &str, text: &str, tag_column: Option<&str>) -> Result<Read> {
    let (mut read, mut problems) = (vec![], vec![]);
    for (row, object) in objects(name, text)? {
        match object {
            Ok(object) => read.push((row, object)),
            Err(cause) => {
                problems.push(Problem { row, reason: format!("not a JSON object: {cause}") });
            }
        }
    }
    let field = |names: &[&'static str]| {
        let given = |name: &&str| read.iter().any(|(_, object)| is_given(object, name));
        names.iter().copied().find(|name| given(name))
    };
    let fields = || read.first().map_or(vec![], |(_, object)| object.keys().cloned().collect());
    let tags = match tag_column {
        Some(column) if !read.iter().any(|(_, object)| is_given(object, column)) => {
            return Err(Error::new(name, format!("no row has the labels {column:?}"))
                .fix(format!("The fields are {}.", listed::<String>(&fields()))));
        }
        Some(column) => Some(column),
        None => field(TAGS),
    };
    let Some(words) = field(WORDS) else {
        require_usable(name, true, if read.is_empty() { &problems } else { &[] })?;
        let fields = listed::<String>(&fields());
        let seen = format!("no row has \"words\" or \"tokens\"; its fields are {fields}");
        return Err(Error::new(name, seen).fix(REMEDY));
    };
    let mut tagged = vec![];
    let mut kinds = [None; 2];
    for (row, object) in &read {
        match json_sentence(*row, object, words, tags, &mut kinds) {
            Ok(sentence) => tagged.push(sentence),
            Err(reason) => problems.push(Problem { row: *row, reason }),
        }
    }
    match (kinds, tags) {
        ([Some(word), Some(number)], Some(tags)) => {
            let problem = format!("{tags:?} holds numbers here, but words in row {word}");
            Err(Error::new(format!("{name}, row {number}"), problem)
                .fix("Write all labels as words, such as \"B-PER\"."))
        }
        _ => Ok((tagged, problems)),
    }
}

/// Whether the first row has a list of words.
fn has_word_lists(name: &str, text: &str) -> Result<bool> {
    let mut rows = objects(name, text)?.filter_map(|(_, object)| object.ok());
    let is_list = |object: Map<String, Value>| {
        WORDS.iter().any(|name| object.get(*name).is_some_and(Value::is_array))
    };
    Ok(rows.next().is_some_and(is_list))
}

fn is_given(object: &Map<String, Value>, name: &str) -> bool {
    object.get(name).is_some_and(|value| !value.is_null())
}

/// `kinds`: the first row with a word for a label, and the first with a number.
fn json_sentence(
    row: usize,
    object: &Map<String, Value>,
    words: &str,
    tags: Option<&str>,
    kinds: &mut [Option<usize>; 2],
) -> std::result::Result<Tagged, String> {
    let words = array(object, words)?.map(|(place, word)| match word {
        Value::String(word) if !word.trim().is_empty() => Ok(word.clone()),
        other => Err(format!("word {place} is no text but {}", excerpt(&other.to_string()))),
    });
    let words: Vec<String> = words.collect::<std::result::Result<_, _>>()?;
    let mut tag = |(place, tag): (usize, &Value)| {
        let (text, kind) = match tag {
            Value::String(tag) if !tag.trim().is_empty() => (tag.trim().to_string(), 0),
            Value::Number(tag) if tag.is_i64() => (tag.to_string(), 1),
            other => return Err(format!("label {place} is {}", excerpt(&other.to_string()))),
        };
        kinds[kind].get_or_insert(row);
        Ok(text)
    };
    let tags: Option<Vec<String>> = match tags {
        Some(tags) => {
            Some(array(object, tags)?.map(&mut tag).collect::<std::result::Result<_, _>>()?)
        }
        None => None,
    };
    match &tags {
        _ if words.is_empty() => Err("there are no words".into()),
        Some(tags) if tags.len() != words.len() => {
            Err(format!("{} words, but {} labels", words.len(), tags.len()))
        }
        _ => Ok(Tagged { rows: vec![row; words.len()], words, tags }),
    }
}

fn array<'a>(
    object: &'a Map<String, Value>,
    field: &str,
) -> std::result::Result<impl Iterator<Item = (usize, &'a Value)>, String> {
    match object.get(field) {
        Some(Value::Array(values)) => Ok((1..).zip(values)),
        Some(Value::Null) | None => Err(format!("{field:?} is missing")),
        Some(_) => Err(format!("{field:?} is no array; write it as [\"..\", \"..\"]")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Tagging {
        read_tagging(&LabelledFile::new("a.txt", text.as_bytes()), None, None).unwrap()
    }

    fn words(set: &Tagging) -> Vec<String> {
        set.sentences.iter().map(|sentence| sentence.words.join(" ")).collect()
    }

    #[test]
    fn columns_may_be_cut_by_tabs_or_spaces() {
        for text in [
            "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects  VBZ O\n \n\nGo VB O\n",
            "\u{feff}-DOCSTART-\t-X-\tO\r\n\r\nEU\tNNP\tB-ORG\r\nrejects\tVBZ\tO\r\n\r\n\r\nGo\tVB\tO",
        ] {
            let set = read(text);
            assert_eq!(words(&set), ["EU rejects", "Go"]);
            assert_eq!(set.labels, ["B-ORG", "O"]);
            assert_eq!(set.sentences[0].labels, Some(vec![0, 1]));
            assert_eq!((set.sentences[0].row, set.skipped.len()), (3, 0));
        }
    }

    #[test]
    fn a_hash_starts_a_comment_or_is_a_word() {
        let set =
            read("# global.columns = X Y\n# id = 7\n# par =\n# # B-NP\n5 CD I-NP\n# # I-NP\n");
        assert_eq!(words(&set), ["# 5 #"]);
        assert_eq!(set.sentences[0].row, 4);
    }

    #[test]
    fn conllu_gives_forms_and_parts_of_speech() {
        let line = |id: &str, form: &str, upos: &str| {
            format!("{id}\t{form}\tlemma\t{upos}\tXX\t_\t0\troot\t_\tSpaceAfter=No\n")
        };
        let text = ["# text = vámonos\n".to_string(), line("1-2", "vámonos", "_")].concat()
            + &line("1", "vamos", "VERB")
            + &line("2", "nos", "PRON")
            + &line("2.1", "ghost", "NOUN");
        let set = read(&text);
        assert_eq!(
            (words(&set), set.labels),
            (vec!["vamos nos".into()], vec!["PRON".into(), "VERB".into()])
        );
    }

    #[test]
    fn a_bad_line_skips_its_sentence_only() {
        let known = ["N".to_string(), "V".to_string()];
        let text = "a\tN\nb\tV\n\nc\tN\nd\n\ne\tV\nf\tX\n\ng\t\n\n\tN\n";
        let set =
            read_tagging(&LabelledFile::new("a.tsv", text.as_bytes()), None, Some(&known)).unwrap();
        assert_eq!(words(&set), ["a b"]);
        let skipped: Vec<_> = set.skipped.iter().map(|p| (p.row, p.reason.as_str())).collect();
        assert_eq!(
            skipped,
            [
                (5, "1 columns where most lines have 2; the sentence from row 4 is left out"),
                (8, "unknown label \"X\"; the sentence from row 7 is left out"),
                (10, "the label of \"g\" is empty; the sentence from row 10 is left out"),
                (12, "the word is empty; the sentence from row 12 is left out"),
            ]
        );
    }

    #[test]
    fn words_alone_have_no_labels() {
        let set = read("one\ntwo\n\nthree\n");
        assert_eq!(
            (words(&set), set.sentences[1].labels.clone()),
            (vec!["one two".into(), "three".into()], None)
        );
        let set = read("{\"tokens\": [\"a\", \"b\"]}\n");
        assert_eq!((words(&set), set.labels.len()), (vec!["a b".into()], 0));
    }

    #[test]
    fn json_lines_hold_words_and_labels_or_numbers() {
        let set = read(
            "{\"id\": 1, \"words\": [\"a\", \"b\"], \"ner_tags\": [10, 9]}\n{\"words\": [\"c\"], \"ner_tags\": [9]}",
        );
        assert_eq!(set.labels, ["9", "10"]);
        assert_eq!(set.sentences[0].labels, Some(vec![1, 0]));
        let set = read(
            "[{\"tokens\": [\"a\", \"b\"], \"tags\": [\"O\", \"B-X\"], \"pos_tags\": [1, 2]}]",
        );
        assert_eq!(set.labels, ["B-X", "O"]);
    }

    #[test]
    fn the_split_keeps_every_sentence_once() {
        let text: String = (0..40).map(|i| format!("w{i} {}\n\n", i % 2)).collect();
        let set = read(&text);
        let (train, eval) = split_tagging(set.clone(), 0.25, 3);
        assert_eq!((train.sentences.len(), eval.sentences.len()), (30, 10));
        assert_eq!(split_tagging(set.clone(), 0.25, 3).1, eval);
        assert_ne!(split_tagging(set.clone(), 0.25, 4).1, eval);
        let mut all = [train.sentences, eval.sentences].concat();
        all.sort_by_key(|sentence| sentence.row);
        assert_eq!(all, set.sentences);
    }
}
