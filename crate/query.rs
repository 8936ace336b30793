//! What a person asks a model, and its answer; what examples come to: the command line and the page
//! alike.
//!
//! An [`Input`] is what came in, a [`Query`] is it as the network takes it, and the answer is a
//! JSON object by the kind of network. Between the two lies [`Pipeline::ask`]. Labelled examples, or
//! examples to predict, go through [`Pipeline::run`].

use burn::tensor::Device;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::batch::{Features, Target};
use crate::config::ElectraConfig;
use crate::dataset::{Kind, Question, Sentence};
use crate::error::{Error, Result};
use crate::heads::{Architecture, Electra, class_names, num_labels};
use crate::predict::{Scorer, logits};
use crate::tasks::classification::{Prediction, probabilities};
use crate::tasks::detection::{Detection, Likelihood};
use crate::tasks::question_answering::{self, QaWindow, Windowing};
use crate::tasks::tagging::{self, TagWindow};
use crate::tasks::{Encoded, Examples, Measured, Metric, kind_of, multi_label, regression};
use crate::tokenizer::{Encoding, Tokenizer, Truncation};

const FORMS: &str = "It is {\"text\":..}, {\"text\":..,\"text_pair\":..}, {\"words\":[..]}, \
    {\"question\":..,\"context\":..} or {\"input_ids\":[..],..}.";

/// What came in.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    Text { text: String, text_pair: Option<String> },
    Words { words: Vec<String> },
    Question { question: String, context: String },
    Ids { input_ids: Vec<u32>, token_type_ids: Option<Vec<u32>>, attention_mask: Option<Vec<u32>> },
}

impl Input {
    /// A plain text, or an object with the fields of one of the forms; `place` names it.
    ///
    /// # Errors
    /// It is neither.
    pub fn from_value(value: Value, place: &str) -> Result<Self> {
        let input = match value {
            Value::String(text) => Ok(Input::Text { text, text_pair: None }),
            Value::Object(fields) => Self::from_fields(fields),
            other => Err(format!("{other} is neither a text nor an object")),
        };
        input.map_err(|problem| wrong_form(place, &problem))
    }

    /// A line of a file: an object in JSON, or else plain text.
    ///
    /// # Errors
    /// It begins like an object and is none of the forms.
    pub fn from_line(line: &str, place: &str) -> Result<Self> {
        if !line.trim_start().starts_with('{') {
            return Ok(Input::Text { text: line.to_string(), text_pair: None });
        }
        let value = serde_json::from_str(line).map_err(|e| wrong_form(place, &e.to_string()))?;
        Self::from_value(value, place)
    }

    /// Text or ids, by the field that is there.
    fn from_fields(mut fields: Map<String, Value>) -> std::result::Result<Self, String> {
        let has = |name: &str| fields.contains_key(name);
        let kinds: [&[&str]; 4] = [
            &["input_ids", "token_type_ids", "attention_mask"],
            &["words"],
            &["question", "context"],
            &["text", "text_pair"],
        ];
        let known = kinds.into_iter().find(|kind| has(kind[0])).unwrap_or(kinds[3]);
        if let Some(name) = fields.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(format!("the field {name:?} is none of {}", known.join(", ")));
        }
        Ok(match known[0] {
            "words" => Input::Words { words: field(&mut fields, "words")?.unwrap_or_default() },
            "question" => Input::Question {
                question: field(&mut fields, "question")?.unwrap_or_default(),
                context: field(&mut fields, "context")?
                    .ok_or("it has a question and no context")?,
            },
            "input_ids" => Input::Ids {
                input_ids: field(&mut fields, "input_ids")?.unwrap_or_default(),
                token_type_ids: field(&mut fields, "token_type_ids")?,
                attention_mask: field(&mut fields, "attention_mask")?,
            },
            _ => Input::Text {
                text: field(&mut fields, "text")?.ok_or("it has neither text nor input_ids")?,
                text_pair: field(&mut fields, "text_pair")?,
            },
        })
    }
}

fn wrong_form(place: &str, problem: &str) -> Error {
    Error::new(place, format!("is not an input: {problem}")).fix(FORMS)
}

fn field<T: DeserializeOwned>(
    fields: &mut Map<String, Value>,
    name: &str,
) -> std::result::Result<Option<T>, String> {
    let value = fields.remove(name).unwrap_or_default();
    serde_json::from_value(value).map_err(|e| format!("{name}: {e}"))
}

/// An input as the network takes it, and what is needed to read the answer.
#[derive(Debug)]
pub struct Query {
    /// One for a text, one a window for the others.
    features: Vec<Features>,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Text(Encoding),
    Words(Sentence, Vec<TagWindow>),
    Question(Question, Vec<QaWindow>),
}

impl Query {
    /// Was the end of a text left out?
    pub fn is_cut(&self) -> bool {
        matches!(&self.form, Form::Text(encoding) if encoding.truncated)
    }
}

/// What an answer holds beside the least.
#[derive(Debug, Clone, Copy)]
pub struct Details {
    /// The logits as the network gives them.
    pub logits: bool,
    /// Candidates for each `[MASK]` and answers to each question.
    pub top_k: usize,
}

/// A model with all that it takes to answer: its tokenizer, its config, how texts are cut, how many
/// go through it at once, and where.
#[derive(Debug)]
pub struct Pipeline<'a> {
    model: Electra,
    config: ElectraConfig,
    tokenizer: &'a Tokenizer,
    device: &'a Device,
    windowing: Windowing,
    batch_size: usize,
    architecture: Architecture,
    /// What it was fine-tuned for.
    kind: Option<Kind>,
}

impl<'a> Pipeline<'a> {
    /// `model` is on `device`, the plain one. Texts are as long as the model takes them, and windows
    /// of a long context share half of their tokens.
    ///
    /// # Errors
    /// `architectures` names a class that is not ELECTRA's.
    pub fn new(
        model: Electra,
        config: ElectraConfig,
        tokenizer: &'a Tokenizer,
        batch_size: usize,
        device: &'a Device,
    ) -> Result<Self> {
        let (architecture, kind) = (Architecture::of(&config)?, kind_of(&config)?);
        let length = config.max_position_embeddings;
        let windowing = overlapping(length);
        let pipeline = Pipeline {
            model,
            config,
            tokenizer,
            device,
            windowing,
            batch_size,
            architecture,
            kind,
        };
        Ok(pipeline)
    }

    /// With texts of so many tokens.
    pub fn with_length(self, max_seq_length: usize) -> Self {
        self.with_windowing(overlapping(max_seq_length))
    }

    pub fn with_windowing(self, windowing: Windowing) -> Self {
        Pipeline { windowing, ..self }
    }

    pub fn config(&self) -> &ElectraConfig {
        &self.config
    }

    /// Tokens of a text; the rest is cut off.
    pub fn max_seq_length(&self) -> usize {
        self.windowing.max_seq_length
    }

    /// The answers to queries, in their order.
    ///
    /// # Errors
    /// The device failed, or the network's kind says nothing of such an input.
    pub async fn ask(&self, queries: &[Query], details: Details) -> Result<Vec<Value>> {
        let features: Vec<&Features> = queries.iter().flat_map(|query| &query.features).collect();
        let (batch_size, length) = (self.batch_size, self.max_seq_length());
        let logits = logits(&self.model, &features, batch_size, length, self.device).await?;
        let mut logits = logits.into_iter();
        let answer = |query: &Query| {
            let own: Vec<_> = logits.by_ref().take(query.features.len()).collect();
            self.answer(query, &own, details)
        };
        queries.iter().map(answer).collect()
    }

    /// What the model gives for examples; `progress` hears after each batch how many windows are
    /// done, and of how many.
    ///
    /// # Errors
    /// The lengths leave no room, or the device failed.
    pub async fn run<'e>(
        &'e self,
        examples: &'e Examples,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Outputs<'e>> {
        let encoded = examples.encode(self.tokenizer, &self.windowing, false)?;
        let features = &encoded.features;
        let mut scorer = Scorer::new(features, self.batch_size, self.max_seq_length());
        while scorer.done() < features.len() {
            scorer.advance(&self.model, features, self.device).await?;
            progress(scorer.done(), features.len());
        }
        Ok(Outputs { examples, config: &self.config, logits: scorer.finish(), encoded })
    }

    /// An input as this network takes it; `number` counts it, and `place` names it in errors.
    ///
    /// # Errors
    /// The network does not take such an input.
    pub fn query(&self, input: &Input, number: usize, place: &str) -> Result<Query> {
        match (input, self.kind) {
            (Input::Text { text, text_pair: None }, Some(Kind::Tagging)) => {
                self.words(text.split_whitespace().map(str::to_string).collect(), number)
            }
            (Input::Words { words }, Some(Kind::Tagging)) => self.words(words.clone(), number),
            (Input::Question { question, context }, Some(Kind::QuestionAnswering)) => {
                self.question(question, context, number, place)
            }
            (Input::Text { text, text_pair: Some(context) }, Some(Kind::QuestionAnswering)) => {
                self.question(text, context, number, place)
            }
            (Input::Words { .. }, _) => Err(Error::new(place, "words are for a tagger")),
            (Input::Question { .. }, _) => {
                Err(Error::new(place, "question and context are for a question answerer"))
            }
            (Input::Text { text, text_pair }, _) => {
                self.text(text, text_pair.as_deref(), number, place)
            }
            (Input::Ids { input_ids, token_type_ids, attention_mask }, _) => {
                let length = input_ids.len();
                let types = token_type_ids.clone().unwrap_or_else(|| vec![0; length]);
                let mask = attention_mask.clone().unwrap_or_else(|| vec![1; length]);
                self.check_ids(input_ids, &types, &mask)
                    .map_err(|problem| Error::new(place, problem))?;
                Ok(self.ids(input_ids, types, mask, number))
            }
        }
    }

    fn text(&self, text: &str, pair: Option<&str>, number: usize, place: &str) -> Result<Query> {
        let length = self.max_seq_length();
        let encoding = self.tokenizer.encode(text, pair, length, Truncation::LongestFirst)?;
        self.check_types(&encoding.token_type_ids).map_err(|e| Error::new(place, e))?;
        let features = vec![Features::new(number, &encoding, Target::Nothing)];
        Ok(Query { features, form: Form::Text(encoding) })
    }

    fn words(&self, words: Vec<String>, number: usize) -> Result<Query> {
        let sentence = Sentence { row: number, words, labels: None };
        let sentences = std::slice::from_ref(&sentence);
        let (features, windows) =
            tagging::features(self.tokenizer, sentences, self.max_seq_length())?;
        Ok(Query { features, form: Form::Words(sentence, windows) })
    }

    fn question(&self, question: &str, context: &str, number: usize, place: &str) -> Result<Query> {
        self.check_types(&[1]).map_err(|e| Error::new(place, e))?;
        let question = Question {
            row: number,
            id: number.to_string(),
            question: question.to_string(),
            context: context.into(),
            answers: Vec::new(),
            golds: Vec::new(),
            is_impossible: false,
        };
        let (features, windows) =
            question_answering::windows(self.tokenizer, &question, 0, &self.windowing, false)?;
        Ok(Query { features, form: Form::Question(question, windows) })
    }

    fn check_ids(
        &self,
        ids: &[u32],
        types: &[u32],
        mask: &[u32],
    ) -> std::result::Result<(), String> {
        let (positions, words) = (self.config.max_position_embeddings, self.config.vocab_size);
        if ids.is_empty() || ids.len() > positions {
            return Err(format!("has {} input_ids; 1 to {positions} fit this model", ids.len()));
        }
        if types.len() != ids.len() || mask.len() != ids.len() {
            return Err("input_ids, token_type_ids and attention_mask differ in length".into());
        }
        if let Some(id) = ids.iter().find(|id| **id as usize >= words) {
            return Err(format!("input_ids has {id}; the vocabulary ends at {}", words - 1));
        }
        if let Some(other) = mask.iter().find(|bit| **bit > 1) {
            return Err(format!("attention_mask has {other}; it holds 1 and, for padding, 0"));
        }
        self.check_types(types)
    }

    /// A model of one segment has no embedding for the second text of a pair.
    fn check_types(&self, types: &[u32]) -> std::result::Result<(), String> {
        let limit = self.config.type_vocab_size;
        match types.iter().find(|id| **id as usize >= limit) {
            Some(id) => Err(format!("token_type_ids has {id}; the type_vocab_size is {limit}")),
            None => Ok(()),
        }
    }

    fn ids(&self, ids: &[u32], types: Vec<u32>, mask: Vec<u32>, number: usize) -> Query {
        let token = |id: &u32| self.tokenizer.token(*id).unwrap_or_default();
        let encoding = Encoding {
            input_ids: ids.to_vec(),
            token_type_ids: types.clone(),
            tokens: ids.iter().map(token).collect(),
            offsets: vec![(0, 0); ids.len()],
            word_ids: vec![None; ids.len()],
            sequence_ids: vec![None; ids.len()],
            truncated: false,
        };
        let (input_ids, token_type_ids, attention_mask) = (ids.to_vec(), types, mask);
        let target = Target::Nothing;
        let features = Features { row: number, input_ids, token_type_ids, attention_mask, target };
        Query { features: vec![features], form: Form::Text(encoding) }
    }

    /// The answer to a query from the logits of its features, in their order.
    ///
    /// # Errors
    /// The network's kind says nothing of such an input.
    fn answer(&self, query: &Query, logits: &[Vec<f32>], details: Details) -> Result<Value> {
        let mut line = match &query.form {
            Form::Text(encoding) => return self.of_text(encoding, &logits[0], details),
            Form::Words(sentence, windows) => {
                let labels = class_names(&self.config);
                let sentences = std::slice::from_ref(sentence);
                let decoded = tagging::decode(sentences, windows, logits, labels.len());
                json!(tagging::Prediction::new(sentence, &decoded[0], &labels))
            }
            Form::Question(question, windows) => {
                let questions = std::slice::from_ref(question);
                let threshold = self.config.no_answer_threshold;
                let mut answers =
                    question_answering::predict(questions, windows, logits, threshold);
                let mut answer = answers.remove(0);
                answer.n_best.truncate(details.top_k);
                json!(answer)
            }
        };
        if details.logits {
            // Token by token, one window after the other.
            let tokens = logits.iter().flat_map(|window| window.chunks(num_labels(&self.config)));
            line["logits"] = match &query.form {
                Form::Question(_, windows) => question_answering::shown_logits(windows, logits),
                _ => json!(tokens.collect::<Vec<_>>()),
            };
        }
        Ok(line)
    }

    fn of_text(&self, encoding: &Encoding, logits: &[f32], details: Details) -> Result<Value> {
        let mut line = match self.architecture {
            Architecture::SequenceClassification => self.classes(logits),
            Architecture::PreTraining if self.config.objective.is_some() => {
                json!(Likelihood::new(encoding.clone(), logits))
            }
            Architecture::PreTraining => {
                json!(Detection::new(encoding.clone(), logits))
            }
            Architecture::MaskedLm => self.candidates(encoding, logits, details.top_k),
            _ if details.logits => json!({"tokens": encoding.tokens}),
            other => return Err(self.unanswered(other)),
        };
        if details.logits {
            let of_tokens = !matches!(
                self.architecture,
                Architecture::SequenceClassification | Architecture::PreTraining
            );
            let name = if self.architecture == Architecture::Model { HIDDEN } else { "logits" };
            line[name] = match of_tokens {
                true => {
                    let width = logits.len() / encoding.tokens.len().max(1);
                    json!(logits.chunks(width).collect::<Vec<_>>())
                }
                false => json!(logits),
            };
        }
        Ok(line)
    }

    /// A label, or what else the logits of a classification head stand for.
    fn classes(&self, logits: &[f32]) -> Value {
        match (self.kind, logits) {
            (Some(Kind::Regression), [logit]) => {
                json!({"value": regression::value(*logit, self.config.score_range)})
            }
            (Some(Kind::Regression), values) => json!({"value": values}),
            (Some(Kind::MultiLabel), _) => {
                json!(multi_label::Prediction::new(logits, &class_names(&self.config)))
            }
            _ => json!(Prediction::new(logits, &class_names(&self.config), false)),
        }
    }

    /// The likeliest words for each `[MASK]`.
    fn candidates(&self, encoding: &Encoding, logits: &[f32], top_k: usize) -> Value {
        let vocabulary = logits.len() / encoding.input_ids.len();
        let rows = encoding.input_ids.iter().zip(logits.chunks(vocabulary));
        let masked = rows.filter(|(id, _)| **id == self.tokenizer.mask_id());
        let predictions = masked.map(|(_, logits)| {
            let probabilities = probabilities(logits);
            let mut order: Vec<usize> = (0..vocabulary).collect();
            order.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]).then(a.cmp(b)));
            let best = order.into_iter().take(top_k);
            let name = |id: usize| self.tokenizer.token(id as u32).unwrap_or_default();
            best.map(|id| json!({"token": name(id), "id": id, "score": probabilities[id]}))
                .collect::<Vec<_>>()
        });
        json!({"tokens": encoding.tokens, "predictions": predictions.collect::<Vec<_>>()})
    }

    fn unanswered(&self, architecture: Architecture) -> Error {
        if architecture == Architecture::Model {
            return Error::new(
                "config.json",
                "the model is a body without a head: it has no answers",
            )
            .fix(format!("Fine-tune it first; --logits gives its {HIDDEN}."));
        }
        let name = architecture.name(&self.config);
        Error::new("config.json", format!("{name} says nothing of a bare text or ids"))
            .fix("Give words, or question and context; or ask for its logits.")
    }
}

/// What a body without a head gives, as transformers calls it.
const HIDDEN: &str = "last_hidden_state";

/// Windows that share half of their tokens.
fn overlapping(max_seq_length: usize) -> Windowing {
    Windowing { max_seq_length, doc_stride: max_seq_length / 2, ..Windowing::default() }
}

/// What a model gives for examples.
#[derive(Debug)]
pub struct Outputs<'a> {
    examples: &'a Examples,
    config: &'a ElectraConfig,
    encoded: Encoded,
    logits: Vec<Vec<f32>>,
}

impl Outputs<'_> {
    /// How the model does on labelled examples, as a JSON object; `metric` is the score, the usual
    /// one of the task where absent.
    pub fn measure(&self, metric: Option<Metric>) -> Value {
        let evaluation = self.examples.evaluate(&self.encoded, &self.logits);
        let mut line = json!(Measured::new(self.examples.kind(), evaluation, metric));
        line["skipped"] = json!(self.examples.skipped().len());
        line
    }

    /// A JSON object for each example, with its row and what would have been right.
    pub fn predictions(&self) -> Vec<Value> {
        self.examples.predictions(&self.encoded, &self.logits, self.config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(value: Value) -> String {
        Input::from_value(value, "input 3").unwrap_err().to_string()
    }

    #[test]
    fn inputs_are_told_apart_by_their_fields() {
        let read = |value| Input::from_value(value, "input").unwrap();
        let text = |text_pair: Option<&str>| Input::Text {
            text: "a".into(),
            text_pair: text_pair.map(String::from),
        };
        assert_eq!(read(json!("a")), text(None));
        assert_eq!(read(json!({"text": "a", "text_pair": null})), text(None));
        assert_eq!(read(json!({"text": "a", "text_pair": "b"})), text(Some("b")));
        assert_eq!(read(json!({"words": ["a"]})), Input::Words { words: vec!["a".into()] });
        let (question, context) = ("q".to_string(), "c".to_string());
        let asked = read(json!({"question": "q", "context": "c"}));
        assert_eq!(asked, Input::Question { question, context });
    }

    #[test]
    fn what_is_no_input_is_named() {
        for (value, words) in [
            (json!(3), "neither a text nor an object"),
            (json!({"txt": "a"}), "\"txt\" is none of text, text_pair"),
            (json!({"words": "a b"}), "words: invalid type"),
            (json!({"question": "q"}), "no context"),
            (json!({}), "neither text nor input_ids"),
        ] {
            let error = refused(value);
            assert!(error.contains(words) && error.contains("input 3"), "{error}");
        }
    }

    #[test]
    fn a_line_that_is_no_object_is_text() {
        let text = |line: &str| Input::from_line(line, "line 1");
        assert!(matches!(text("a {b}"), Ok(Input::Text { .. })));
        assert!(text(" {\"text\": ").is_err());
    }
}
