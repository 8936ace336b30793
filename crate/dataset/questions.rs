//! Questions about a text: SQuAD 1.1 and 2.0 JSON, MRQA JSON lines, and plain JSON lines.
//!
//! Places are counted in characters (Unicode scalar values, as Python counts them), never in bytes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::de::IgnoredAny;
use serde_json::Value;

use super::encoding::decode;
use super::json::{Object, document, objects};
use super::split::part_evenly;
use super::table::{Problem, ending, require_usable};
use crate::error::{Error, Result, excerpt, listed};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// As it stands in the context.
    pub text: String,
    /// In characters of the context.
    pub start: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// 1-based: the place of the question in SQuAD JSON, else the line or place in the file.
    pub row: usize,
    /// The row where the file has none.
    pub id: String,
    pub question: String,
    pub context: Arc<str>,
    /// Empty where the question is impossible, or where the file has no answers at all.
    pub answers: Vec<Answer>,
    /// The texts that the official scripts compare with: also those that do not stand in the
    /// context, such as the aliases of MRQA.
    pub golds: Vec<String>,
    pub is_impossible: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Questions {
    pub examples: Vec<Question>,
    pub skipped: Vec<Problem>,
    pub has_impossible: bool,
}

impl Question {
    /// Whether the file says what is right.
    pub fn is_labelled(&self) -> bool {
        self.is_impossible || !self.answers.is_empty()
    }
}

const REMEDY: &str = "Give SQuAD JSON, {\"data\": [{\"paragraphs\": [{\"context\": .., \"qas\": [..]}]}]}, \
    or JSON lines: {\"question\": .., \"context\": .., \"answers\": [{\"text\": .., \"answer_start\": ..}]}.";

/// Reads questions. `plausible_answers` are ignored. An empty list of answers makes a question
/// impossible, and so does an empty answer at -1 or 0. An answer that is not where the file says is looked for nearby, then in the whole
/// context, and taken if it stands there once; else it is a [`Problem`], and so is its question
/// where no other answer is left.
pub fn read_questions(name: &str, bytes: &[u8]) -> Result<Questions> {
    let text = decode(name, bytes)?.text;
    let mut reader = Reader::default();
    match text.trim_start().chars().next() {
        Some('{') if is_squad(name, &text) => reader.squad(name, &text)?,
        Some('{' | '[') => reader.lines(name, &text)?,
        _ => return Err(Error::new(format!("{name}, row 1"), "this is no JSON").fix(REMEDY)),
    }
    let Reader { examples, mut skipped, .. } = reader;
    if examples.is_empty() && skipped.is_empty() {
        return Err(Error::new(name, "there is no question").fix(REMEDY));
    }
    skipped.sort_by_key(|problem| problem.row);
    require_usable(name, examples.is_empty(), &skipped)?;
    let has_impossible = examples.iter().any(|question| question.is_impossible);
    Ok(Questions { examples, skipped, has_impossible })
}

/// Holds out `fraction` of the contexts with all of their questions, the same ones on every
/// machine. Both parts keep the order of the file; skipped rows stay with the first. A file with
/// one context stays whole.
pub fn split_questions(set: Questions, fraction: f64, seed: u64) -> (Questions, Questions) {
    let mut seen = HashSet::new();
    let is_new = |context: &Arc<str>| seen.insert(context.clone());
    let contexts: Vec<_> = set.examples.iter().map(|q| q.context.clone()).filter(is_new).collect();
    let held_out: HashSet<_> = part_evenly(contexts, fraction, seed).1.into_iter().collect();
    let (eval, train) = set.examples.into_iter().partition(|q| held_out.contains(&q.context));
    let eval = Questions { examples: eval, skipped: vec![], has_impossible: set.has_impossible };
    (Questions { examples: train, ..set }, eval)
}

/// The first line is no object of its own, or it is the whole of a SQuAD file; rows in one
/// document, as Hugging Face's script for questions takes them, are read as lines are.
pub(super) fn is_squad(name: &str, text: &str) -> bool {
    let start = text.trim_start();
    let first_line = start.lines().next().unwrap_or_default();
    let is_whole = match serde_json::from_str::<HashMap<String, IgnoredAny>>(first_line) {
        Ok(object) => object.contains_key("data"),
        Err(_) => !matches!(ending(name).as_str(), "jsonl" | "ndjson"),
    };
    // SQuAD says so within its first lines: then there is no need to read all of it twice.
    let head = &start[..start.floor_char_boundary(4096)];
    let holds_rows = || match document(start) {
        Some(Ok(rows)) => {
            rows.first().is_some_and(|row| !row.is_empty() && !row.contains_key("paragraphs"))
        }
        _ => false,
    };
    is_whole && (head.contains("\"paragraphs\"") || !holds_rows())
}

type Checked<T> = std::result::Result<T, String>;

#[derive(Default)]
struct Reader {
    examples: Vec<Question>,
    skipped: Vec<Problem>,
    /// The row of each id.
    ids: HashMap<String, usize>,
    /// One copy of each, though every line of a file may repeat it.
    contexts: HashSet<Arc<str>>,
}

impl Reader {
    fn squad(&mut self, name: &str, text: &str) -> Result<()> {
        let whole: Value =
            serde_json::from_str(text).map_err(|cause| Error::new(name, cause).fix(REMEDY))?;
        let articles = list(&whole, "data")
            .map_err(|problem| Error::new(name, format!("the file: {problem}")).fix(REMEDY))?;
        let mut row = 1;
        for (article, number) in articles.iter().zip(0..) {
            let place = format!("data[{number}]");
            match list(article, "paragraphs") {
                Ok(paragraphs) => {
                    for (paragraph, number) in paragraphs.iter().zip(0..) {
                        self.paragraph(
                            &mut row,
                            &format!("{place}.paragraphs[{number}]"),
                            paragraph,
                        );
                    }
                }
                Err(problem) => self.skip(row, format!("{place}: {problem}")),
            }
        }
        Ok(())
    }

    /// The questions of one context, from question `row` on.
    fn paragraph(&mut self, row: &mut usize, place: &str, paragraph: &Value) {
        let questions = match list(paragraph, "qas") {
            Ok(questions) => questions,
            Err(problem) => return self.skip(*row, format!("{place}: {problem}")),
        };
        match text(paragraph, "context") {
            Ok(context) => {
                let context = self.intern(context);
                for (question, row) in questions.iter().zip(*row..) {
                    self.question(row, question, &context);
                }
            }
            Err(problem) => {
                let count = questions.len();
                self.skip(*row, format!("{place}: {problem}; its {count} questions are left out"));
            }
        }
        *row += questions.len();
    }

    fn lines(&mut self, name: &str, text: &str) -> Result<()> {
        for (row, object) in objects(name, text)? {
            match object {
                Ok(object) if object.contains_key("header") && !object.contains_key("context") => {}
                Ok(object) => self.line(row, Value::Object(object)),
                Err(cause) => self.skip(row, format!("not a JSON object: {cause}")),
            }
        }
        Ok(())
    }

    fn line(&mut self, row: usize, line: Value) {
        let context = match text(&line, "context") {
            Ok(context) => self.intern(context),
            Err(problem) => return self.skip(row, problem),
        };
        match line.get("qas") {
            None => self.question(row, &line, &context),
            Some(Value::Array(questions)) => {
                questions.iter().for_each(|question| self.question(row, question, &context));
            }
            Some(_) => self.skip(row, "\"qas\" is no list".into()),
        }
    }

    fn question(&mut self, row: usize, question: &Value, context: &Arc<str>) {
        let read = match question {
            Value::Object(question) => self.read(row, question, context),
            other => Err(format!("{} is no question", excerpt(&other.to_string()))),
        };
        match read {
            Ok(question) => self.examples.push(question),
            Err(reason) => self.skip(row, reason),
        }
    }

    fn read(&mut self, row: usize, object: &Object, context: &Arc<str>) -> Checked<Question> {
        let id = id(row, object)?;
        if let Some(first) = self.ids.insert(id.clone(), row) {
            return Err(format!("the id {id:?} is that of row {first}, too; give each its own"));
        }
        let at_question = |problem| format!("question {id:?}: {problem}");
        let question = string(object, "question").map_err(at_question)?.to_string();
        let given = given(object, context).map_err(at_question)?;
        let is_impossible = is_impossible(object, &given).map_err(at_question)?;
        let Given { answers: candidates, golds, .. } = given.unwrap_or_default();
        let mut answers: Vec<Answer> = vec![];
        let mut lost = vec![];
        for candidate in candidates {
            match locate(context, &candidate) {
                Some(answer) if answers.contains(&answer) => {}
                Some(answer) => answers.push(answer),
                None => lost.push(at_question(candidate.problem())),
            }
        }
        match lost.pop() {
            Some(problem) if answers.is_empty() => return Err(problem),
            Some(problem) => self.skip(row, format!("{problem}; another answer is used")),
            None => {}
        }
        for problem in lost {
            self.skip(row, format!("{problem}; another answer is used"));
        }
        let context = context.clone();
        Ok(Question { row, id, question, context, answers, golds, is_impossible })
    }

    fn intern(&mut self, context: &str) -> Arc<str> {
        if let Some(context) = self.contexts.get(context) {
            return context.clone();
        }
        let context: Arc<str> = context.into();
        self.contexts.insert(context.clone());
        context
    }

    fn skip(&mut self, row: usize, reason: String) {
        self.skipped.push(Problem { row, reason });
    }
}

// ---- Fields ----

fn list<'a>(object: &'a Value, field: &str) -> Checked<&'a Vec<Value>> {
    match object.get(field) {
        Some(Value::Array(values)) => Ok(values),
        Some(_) => Err(format!("{field:?} is no list")),
        None => Err(format!("there is no {field:?}{}", fields(object))),
    }
}

fn fields(object: &Value) -> String {
    let Value::Object(object) = object else { return String::new() };
    format!("; the fields are {}", listed(&object.keys().cloned().collect::<Vec<_>>()))
}

fn text<'a>(object: &'a Value, field: &str) -> Checked<&'a str> {
    match object {
        Value::Object(object) => string(object, field),
        other => Err(format!("{} is no object", excerpt(&other.to_string()))),
    }
}

fn string<'a>(object: &'a Object, field: &str) -> Checked<&'a str> {
    match object.get(field) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text),
        Some(Value::String(_)) => Err(format!("{field:?} is empty")),
        Some(other) => Err(format!("{field:?} is no text but {}", excerpt(&other.to_string()))),
        None => {
            let seen = object.keys().cloned().collect::<Vec<_>>();
            Err(format!("there is no {field:?}; the fields are {}", listed(&seen)))
        }
    }
}

fn id(row: usize, object: &Object) -> Checked<String> {
    match object.get("id").or_else(|| object.get("qid")) {
        Some(Value::String(id)) if !id.is_empty() => Ok(id.clone()),
        Some(Value::Number(id)) => Ok(id.to_string()),
        Some(Value::Null) | None => Ok(row.to_string()),
        Some(other) => Err(format!("the id is {}; give a text", excerpt(&other.to_string()))),
    }
}

fn is_impossible(object: &Object, given: &Option<Given>) -> Checked<bool> {
    let count = given.as_ref().map(|given| given.answers.len());
    let says_none = given.as_ref().is_some_and(|given| given.says_none);
    match (object.get("is_impossible"), count) {
        (Some(Value::Bool(true)), Some(1..)) => Err("it is impossible, yet has an answer".into()),
        (Some(Value::Bool(true)), _) => Ok(true),
        (Some(Value::Bool(false)), Some(0)) if !says_none => {
            Err("it has no answer; mark it with \"is_impossible\": true".into())
        }
        (None | Some(Value::Null | Value::Bool(false)), count) => Ok(count == Some(0)),
        (Some(other), _) => {
            Err(format!("\"is_impossible\" is {}, not true or false", excerpt(&other.to_string())))
        }
    }
}

// ---- Answers ----

/// The answers as the file gives them.
#[derive(Default)]
struct Given {
    answers: Vec<Candidate>,
    golds: Vec<String>,
    /// The file gives an answer that stands for none.
    says_none: bool,
}

struct Candidate {
    text: String,
    /// None: wherever it stands in the context.
    start: Option<usize>,
}

impl Candidate {
    fn problem(&self) -> String {
        let text = excerpt(&self.text);
        match self.start {
            Some(start) => format!(
                "the answer {text} is not at character {start} of the context, nor just once \
                 elsewhere; count \"answer_start\" in characters from 0"
            ),
            None => format!("the answer {text} does not stand once in the context; give its start"),
        }
    }
}

impl From<Vec<Candidate>> for Given {
    fn from(answers: Vec<Candidate>) -> Self {
        let golds = answers.iter().map(|answer| answer.text.clone()).collect();
        Given { golds, answers, says_none: false }
    }
}

/// None where the file does not say.
fn given(object: &Object, context: &str) -> Checked<Option<Given>> {
    let field = |name| object.get(name).filter(|value| !value.is_null());
    if let Some(detected) = field("detected_answers") {
        return mrqa(detected, field("answers"), context).map(Some);
    }
    let given: Checked<Vec<Option<Candidate>>> = match (field("answers"), field("answer")) {
        (Some(Value::Array(answers)), _) => answers.iter().map(|a| candidate(a, None)).collect(),
        (Some(Value::Object(columns)), _) => transposed(columns),
        (Some(other), _) => Err(format!("\"answers\" is {}", excerpt(&other.to_string()))),
        (None, Some(answer)) => {
            let start = field("answer_start").or_else(|| field("start"));
            candidate(answer, start).map(|answer| vec![answer])
        }
        (None, None) => return Ok(None),
    };
    let given = given?;
    let says_none = given.iter().any(Option::is_none);
    let answers: Vec<Candidate> = given.into_iter().flatten().collect();
    Ok(Some(Given { says_none, ..answers.into() }))
}

/// No text, at a place that stands for none (-1, 0, null): so many programs write a question
/// without an answer.
fn is_nowhere(text: &Value, start: Option<&Value>) -> bool {
    let is_empty = text.is_null() || text.as_str().is_some_and(|text| text.trim().is_empty());
    let is_none = |start: &Value| start.is_null() || matches!(start.as_f64(), Some(-1.0 | 0.0));
    is_empty && start.is_some_and(is_none)
}

/// None where the answer stands for there being none.
fn candidate(answer: &Value, start: Option<&Value>) -> Checked<Option<Candidate>> {
    let (text, start) = match answer {
        Value::Object(answer) => {
            let start = answer.get("answer_start").or_else(|| answer.get("start"));
            if answer.get("text").is_some_and(|text| is_nowhere(text, start)) {
                return Ok(None);
            }
            (string(answer, "text").map_err(|problem| format!("an answer: {problem}"))?, start)
        }
        Value::Null => return Ok(None),
        text if is_nowhere(text, start) => return Ok(None),
        Value::String(text) if !text.trim().is_empty() => (text.as_str(), start),
        Value::String(_) => {
            return Err("the answer is empty; write \"is_impossible\": true and no answers".into());
        }
        other => return Err(format!("the answer is no text but {}", excerpt(&other.to_string()))),
    };
    let start = start.filter(|start| !start.is_null()).map(place).transpose()?;
    Ok(Some(Candidate { text: text.to_string(), start }))
}

fn place(start: &Value) -> Checked<usize> {
    let place = start.as_u64().and_then(|start| usize::try_from(start).ok());
    place.ok_or_else(|| {
        format!("an answer starts at {}; count characters from 0", excerpt(&start.to_string()))
    })
}

/// `{"text": [..], "answer_start": [..]}`, as Hugging Face's datasets have it.
fn transposed(columns: &Object) -> Checked<Vec<Option<Candidate>>> {
    let column = |name: &str| match columns.get(name) {
        Some(Value::Array(values)) => Ok(values),
        _ => Err(format!("\"answers\" has no list {name:?}")),
    };
    let (texts, starts) = (column("text")?, column("answer_start")?);
    if texts.len() != starts.len() {
        return Err(format!("{} answers, but {} starts", texts.len(), starts.len()));
    }
    texts.iter().zip(starts).map(|(text, start)| candidate(text, Some(start))).collect()
}

/// Every span of every detected answer; the first is the one the original trains on.
fn mrqa(detected: &Value, golds: Option<&Value>, context: &str) -> Checked<Given> {
    let Value::Array(detected) = detected else {
        return Err("\"detected_answers\" is no list".into());
    };
    let mut answers = vec![];
    for answer in detected {
        for span in list(answer, "char_spans")? {
            answers.push(spanned(answer, span, context)?);
        }
    }
    let golds = match golds {
        Some(Value::Array(golds)) => golds.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    match golds[..] {
        [] => Ok(answers.into()),
        _ => {
            let golds = golds.into_iter().map(str::to_string).collect();
            Ok(Given { answers, golds, says_none: false })
        }
    }
}

/// The text of a span, whose end is inclusive, where it is the answer's but for capitals; else the
/// answer's own text, to be looked for.
fn spanned(answer: &Value, span: &Value, context: &str) -> Checked<Candidate> {
    let ends = span.as_array().filter(|ends| ends.len() == 2);
    let ends = ends.ok_or_else(|| format!("a span is {}", excerpt(&span.to_string())))?;
    let (start, end) = (place(&ends[0])?, place(&ends[1])?);
    let length = end.saturating_add(1).saturating_sub(start);
    let found: String = context.chars().skip(start).take(length).collect();
    let text = match answer.get("text") {
        Some(Value::String(text)) if text.to_lowercase() != found.to_lowercase() => text.clone(),
        _ if found.chars().count() < length || length == 0 => {
            return Err(format!("the span {start} to {end} leaves the context"));
        }
        _ => found,
    };
    Ok(Candidate { text, start: Some(start) })
}

/// How far an answer may be from where it should start, in characters.
const NEARBY: usize = 20;

fn locate(context: &str, candidate: &Candidate) -> Option<Answer> {
    let text = candidate.text.trim();
    let blanks = candidate.text.chars().take_while(|letter| letter.is_whitespace()).count();
    let wanted = candidate.start.map(|start| start.saturating_add(blanks));
    let answer = |start| Answer { text: text.to_string(), start };
    if let Some(start) = wanted
        && let Some((byte, _)) = context.char_indices().nth(start)
        && context[byte..].starts_with(text)
    {
        return Some(answer(start));
    }
    let places = places(context, text);
    let nearby = |place: &&usize| wanted.is_some_and(|wanted| wanted.abs_diff(**place) <= NEARBY);
    let close: Vec<usize> = places.iter().filter(nearby).copied().collect();
    match (close.as_slice(), places.as_slice()) {
        (&[place], _) | (&[], &[place]) => Some(answer(place)),
        _ => None,
    }
}

/// Where a text stands, in characters.
fn places(context: &str, text: &str) -> Vec<usize> {
    let (mut byte, mut character) = (0, 0);
    let place = |(found, _)| {
        character += context[byte..found].chars().count();
        byte = found;
        character
    };
    context.match_indices(text).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Questions {
        read_questions(name, text.as_bytes()).unwrap()
    }

    fn squad(context: &str, questions: &str) -> Questions {
        let context = Value::from(context);
        let text = format!(
            "{{\"version\": \"v2.0\", \"data\": [{{\"paragraphs\": [{{\"context\": {context}, \"qas\": [{questions}]}}]}}]}}"
        );
        read("a.json", &text)
    }

    /// The answers to a question, its text and start given.
    fn found(context: &str, text: &str, start: usize) -> Option<usize> {
        locate(context, &Candidate { text: text.into(), start: Some(start) }).map(|a| a.start)
    }

    #[test]
    fn an_answer_is_found_where_it_is_said_or_nearby_or_once() {
        assert_eq!(found("né à Paris", "Paris", 5), Some(5));
        assert_eq!(found("né à Paris", "Paris", 7), Some(5)); // counted in bytes
        assert_eq!(found("né à Paris", " Paris ", 4), Some(5));
        assert_eq!(found("ab ab", " ab", 2), Some(3));
        assert_eq!(found("ab ab", "ab", 1), None); // two as near
        let far = format!("ab {} ab", "x".repeat(40));
        assert_eq!(found(&far, "ab", 2), Some(0));
        assert_eq!(found(&far, "ab", 42), Some(44));
        assert_eq!(found("😀😀 ok", "ok", 900), Some(3));
        assert_eq!(found("ab", "c", 0), None);
        assert_eq!(found("ab", "b", usize::MAX), Some(1));
    }

    #[test]
    fn squad_has_impossible_and_plain_questions() {
        let set = squad(
            "The cat sat. The dog ran.",
            r#"{"id": "a", "question": "Who sat?", "is_impossible": false,
                "answers": [{"text": "cat", "answer_start": 4}, {"text": "The cat", "answer_start": 0},
                            {"text": "cat", "answer_start": 4}]},
               {"id": "b", "question": "Who flew?", "is_impossible": true, "answers": [],
                "plausible_answers": [{"text": "dog", "answer_start": 17}]},
               {"id": "c", "question": "Who ran?"}"#,
        );
        let [a, b, c] = &set.examples[..] else { panic!("{set:?}") };
        assert_eq!(a.answers.iter().map(|a| a.start).collect::<Vec<_>>(), [4, 0]);
        assert_eq!(a.golds, ["cat", "The cat", "cat"]);
        assert!(b.is_impossible && b.answers.is_empty() && set.has_impossible);
        assert!(!c.is_impossible && !c.is_labelled() && b.is_labelled());
        assert_eq!((a.row, c.row, set.skipped.len()), (1, 3, 0));
    }

    #[test]
    fn questions_are_counted_over_paragraphs() {
        let paragraph = |context: &str| {
            format!("{{{context} \"qas\": [{{\"question\": \"?\"}}, {{\"question\": \"!\"}}]}}")
        };
        let paragraphs =
            ["\"context\": \"a\",", "", "\"context\": \"b\","].map(paragraph).join(", ");
        let set = read("a.json", &format!("{{\"data\": [{{\"paragraphs\": [{paragraphs}]}}]}}"));
        assert_eq!(set.examples.iter().map(|q| q.row).collect::<Vec<_>>(), [1, 2, 5, 6]);
        assert_eq!(set.skipped.iter().map(|p| p.row).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn one_lost_answer_of_two_is_reported_and_the_other_used() {
        let set = squad(
            "one two one",
            r#"{"id": "a", "question": "?", "answers": [{"text": "three", "answer_start": 0}, {"text": "two", "answer_start": 4}]},
               {"id": "b", "question": "?", "answers": [{"text": "three", "answer_start": 0}]}"#,
        );
        assert_eq!((set.examples.len(), set.examples[0].golds.len()), (1, 2));
        assert!(set.skipped[0].reason.contains("question \"a\"") && set.skipped[0].row == 1);
        assert!(
            set.skipped[1]
                .reason
                .contains("question \"b\": the answer \"three\" is not at character 0")
        );
    }

    #[test]
    fn mrqa_spans_end_on_their_last_character() {
        let set = read(
            "dev.jsonl.txt",
            concat!(
                r#"{"header": {"dataset": "X", "split": "dev"}}"#,
                "\n",
                r#"{"id": "", "context": "Né à Paris, in PARIS.", "qas": [{"qid": "q", "question": "Where?","#,
                r#" "answers": ["Paris", "paris, France"],"#,
                r#" "detected_answers": [{"text": "Paris", "char_spans": [[5, 9], [15, 19]], "token_spans": [[2, 2]]}]}]}"#
            ),
        );
        let answer = |text: &str, start| Answer { text: text.into(), start };
        assert_eq!(set.examples[0].answers, [answer("Paris", 5), answer("PARIS", 15)]);
        assert_eq!(set.examples[0].golds, ["Paris", "paris, France"]);
        assert_eq!((set.examples[0].id.as_str(), set.examples[0].row), ("q", 2));
    }

    #[test]
    fn plain_lines_give_answers_in_many_ways() {
        let line =
            |rest: &str| format!(r#"{{"question": "Who?", "context": "a cat, a dog", {rest}}}"#);
        let text = [
            line(r#""answers": {"text": ["cat"], "answer_start": [2]}"#),
            line(r#""answer": "dog", "start": 9"#),
            line(r#""answer": "dog""#),
            line(r#""answers": ["cat"]"#),
            line(r#""answers": {"text": [], "answer_start": []}"#),
            line(r#""answer": null"#),
        ]
        .join("\n");
        let set = read("a.jsonl", &text);
        let starts: Vec<_> =
            set.examples.iter().map(|q| q.answers.first().map(|a| a.start)).collect();
        assert_eq!(starts, [Some(2), Some(9), Some(9), Some(2), None, None]);
        assert_eq!(
            set.examples.iter().map(|q| q.is_labelled()).collect::<Vec<_>>(),
            [true, true, true, true, true, false]
        );
        assert!(Arc::ptr_eq(&set.examples[0].context, &set.examples[1].context));
    }

    #[test]
    fn a_context_is_never_in_both_halves() {
        let line = |i: usize| {
            format!(r#"{{"question": "{i}?", "context": "text {}", "answer": "text"}}"#, i % 20)
        };
        let set = read("a.jsonl", &(0..100).map(line).collect::<Vec<_>>().join("\n"));
        let (train, eval) = split_questions(set.clone(), 0.25, 1);
        assert_eq!((train.examples.len(), eval.examples.len()), (75, 25));
        assert!(
            train.examples.iter().all(|t| eval.examples.iter().all(|e| e.context != t.context))
        );
        assert_eq!(split_questions(set.clone(), 0.25, 1).1, eval);
        assert_ne!(split_questions(set, 0.25, 2).1, eval);
    }
}
