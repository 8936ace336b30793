//! Question answering: windows over a context, and from logits back to a piece of its text.
//!
//! Windows, the max-context rule and the joint head are those of google-research/electra
//! (`finetune/qa`); the independent head is decoded as `postprocess_qa_predictions` of
//! transformers' examples does it. In both cases an answer is cut straight out of the context by the
//! characters its tokens came from; the original joins wordpieces and then guesses which text they
//! were (`get_final_text`), which fails on accents and symbols.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use serde::Serialize;
use serde_json::{Value, json};

use crate::batch::{Features, Target};
use crate::dataset::{Answer, Problem, Question, Questions};
use crate::error::{Error, Result};
use crate::heads::BEAM;
use crate::kernels::{self, Loss};
use crate::metrics::{
    Answered, SquadReport, SquadScores, answer_scores, squad_v1_report, squad_v2_report,
    worst_first,
};
use crate::tasks::multi_label;
use crate::tokenizer::{Encoding, Tokenizer, Truncation};

/// How a question and its context are cut into windows, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windowing {
    /// Of a whole window, special tokens included.
    pub max_seq_length: usize,
    /// From the start of one window to the start of the next, as in the original; the `stride` of
    /// transformers is what two windows share.
    pub doc_stride: usize,
    /// Of the question; the rest of it is cut off, and what would take more than half of a window.
    pub max_query_length: usize,
}

impl Default for Windowing {
    fn default() -> Self {
        Windowing { max_seq_length: 512, doc_stride: 128, max_query_length: 64 }
    }
}

/// `[CLS] question [SEP] part of the context [SEP]`. Its tokens are the features at its place.
#[derive(Debug, Clone, PartialEq)]
pub struct QaWindow {
    /// Index of the question.
    pub example: usize,
    /// How many tokens it has.
    pub tokens: usize,
    /// The place of the context's first token in it.
    before: usize,
    /// Characters of the whole context, a pair for each of its tokens; one list for all windows of
    /// a question.
    offsets: Arc<[(usize, usize)]>,
    /// First and last token of the answer; 0, 0 (`[CLS]`) where the window does not hold all of it.
    pub start: usize,
    pub end: usize,
    /// Of the question, not of the window: the original calls an answerable question answerable
    /// even in windows without the answer.
    pub is_impossible: bool,
    /// Tokens of the context in it, counted from the start of the context.
    pub span: Range<usize>,
}

/// A token and its score.
type Scored = (usize, f64);

impl QaWindow {
    /// Whether the heads may put a start or an end on a token: `[CLS]`, the context, and the
    /// `[SEP]` behind it, as in the original.
    pub fn allowed(&self, token: usize) -> bool {
        token == 0 || (self.before..self.tokens).contains(&token)
    }

    /// The starts that the joint head looks for ends of, best first.
    pub fn best_starts(&self, start_logits: &[f32], beam: usize) -> Vec<usize> {
        let scores: Vec<f64> = start_logits.iter().map(|logit| f64::from(*logit)).collect();
        self.best(&scores, beam).into_iter().map(|(token, _)| token).collect()
    }

    /// The characters of the context that a token came from; None outside the context.
    pub fn characters(&self, token: usize) -> Option<(usize, usize)> {
        let place = self.span.start + token.checked_sub(self.before)?;
        self.span.contains(&place).then(|| self.offsets[place])
    }

    fn best(&self, scores: &[f64], n_best: usize) -> Vec<Scored> {
        let scores = scores.iter().copied().enumerate();
        let mut best: Vec<_> = scores.filter(|(token, _)| self.allowed(*token)).collect();
        best.sort_by(|a, b| b.1.total_cmp(&a.1));
        best.truncate(n_best);
        best
    }

    /// Logarithms of the probabilities among the allowed tokens.
    fn log_softmax(&self, logits: &[f32]) -> Vec<f64> {
        let logits: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
        let allowed =
            || logits.iter().enumerate().filter(|(t, _)| self.allowed(*t)).map(|(_, l)| *l);
        let max = allowed().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = allowed().map(|logit| (logit - max).exp()).sum();
        logits.iter().map(|logit| logit - max - sum.ln()).collect()
    }
}

// ---- Windows ----

/// The windows of questions, and the features of each at the same place.
pub type Windowed = (Vec<Features>, Vec<QaWindow>);

/// The windows of all questions. For training, a question whose answer cannot be learned is left
/// out and reported.
///
/// # Errors
/// The windowing leaves no room, or the tokenizer fails.
pub fn features(
    tokenizer: &Tokenizer,
    questions: &[Question],
    windowing: &Windowing,
    for_training: bool,
) -> Result<(Windowed, Vec<Problem>)> {
    let (mut features, mut windows, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for (example, question) in questions.iter().enumerate() {
        match Document::new(tokenizer, question, windowing)?.windows(example, for_training) {
            Ok(more) => {
                features.extend(more.0);
                windows.extend(more.1);
            }
            Err(reason) => problems.push(Problem { row: question.row, reason }),
        }
    }
    Ok(((features, windows), problems))
}

/// The windows of one question, at least one, in the order of the context.
///
/// # Errors
/// As [`features`]; and for training, the answer cannot be learned.
pub fn windows(
    tokenizer: &Tokenizer,
    question: &Question,
    example: usize,
    windowing: &Windowing,
    for_training: bool,
) -> Result<Windowed> {
    let windows = Document::new(tokenizer, question, windowing)?.windows(example, for_training);
    windows.map_err(|reason| {
        Error::new(format!("row {}, question {:?}", question.row, question.id), reason)
            .fix("Mend the answer, or leave the question out.")
    })
}

/// Or the reason why a question cannot be learned.
type Learnable<T> = std::result::Result<T, String>;

/// A question and its whole context as tokens.
struct Document<'a> {
    question: &'a Question,
    encoding: Encoding,
    /// Places in the encoding of what stands before the context in every window.
    head: Vec<usize>,
    context: Range<usize>,
    /// Characters of the context, one pair a token of it.
    offsets: Arc<[(usize, usize)]>,
    /// Tokens of the context in each window, counted from its start.
    spans: Vec<Range<usize>>,
}

impl<'a> Document<'a> {
    fn new(tokenizer: &Tokenizer, question: &'a Question, windowing: &Windowing) -> Result<Self> {
        let (text, context) = (&question.question, &*question.context);
        let encoding =
            tokenizer.encode(text, Some(context), usize::MAX, Truncation::LongestFirst)?;
        let sequences = &encoding.sequence_ids;
        let special = sequences.iter().filter(|sequence| sequence.is_none()).count();
        let room = windowing.max_seq_length.saturating_sub(special);
        check_room(windowing, room)?;
        let start = sequences.iter().position(|sequence| *sequence == Some(1));
        let start = start.unwrap_or(sequences.len());
        let length = sequences.iter().filter(|sequence| **sequence == Some(1)).count();
        let (limit, mut query) = (windowing.max_query_length.min(room / 2), 0);
        let mut stays = |token: &usize| {
            query += usize::from(sequences[*token].is_some());
            sequences[*token].is_none() || query <= limit
        };
        let head: Vec<usize> = (0..start).filter(&mut stays).collect();
        Ok(Document {
            question,
            offsets: whole_characters(context, &encoding.offsets[start..start + length]).into(),
            spans: spans(length, room - query.min(limit), windowing.doc_stride),
            context: start..start + length,
            head,
            encoding,
        })
    }

    fn windows(&self, example: usize, for_training: bool) -> Learnable<Windowed> {
        let target = if for_training { self.target()? } else { None };
        let window = |span| self.window(example, span, target.as_ref());
        Ok(self.spans.iter().map(window).unzip())
    }

    /// The answer's tokens in the context. As in the original and in transformers, the first answer
    /// is the one to learn.
    fn target(&self) -> Learnable<Option<Range<usize>>> {
        if self.question.is_impossible {
            return Ok(None);
        }
        let answer = self.question.answers.first();
        let answer = answer.ok_or("it has no answer and is not marked as impossible")?;
        let characters = locate(&self.question.context, answer)?;
        let start = self.offsets.partition_point(|offset| offset.1 <= characters.start);
        let end = self.offsets.partition_point(|offset| offset.0 < characters.end);
        let text = &answer.text;
        if start >= end {
            return Err(format!("the tokenizer leaves nothing of its answer {text:?}"));
        }
        if !self.spans.iter().any(|span| span.start <= start && end <= span.end) {
            let length = end - start;
            return Err(format!(
                "no window holds all {length} tokens of its answer {text:?}; raise max_seq_length \
                 or lower doc_stride"
            ));
        }
        Ok(Some(start..end))
    }

    fn window(
        &self,
        example: usize,
        span: &Range<usize>,
        target: Option<&Range<usize>>,
    ) -> (Features, QaWindow) {
        let places: Vec<usize> = self.head.iter().copied().chain(self.places(span)).collect();
        let pick = |values: &[u32]| places.iter().map(|&place| values[place]).collect::<Vec<_>>();
        let before = self.head.len();
        let inside = target.filter(|t| span.start <= t.start && t.end <= span.end);
        let place = |token: usize| before + token - span.start;
        let (start, end) = inside.map_or((0, 0), |t| (place(t.start), place(t.end - 1)));
        let is_impossible = self.question.is_impossible;
        let features = Features {
            row: self.question.row,
            input_ids: pick(&self.encoding.input_ids),
            token_type_ids: pick(&self.encoding.token_type_ids),
            attention_mask: vec![1; places.len()],
            target: Target::Span { start, end, is_impossible },
        };
        let (tokens, offsets, span) = (places.len(), self.offsets.clone(), span.clone());
        let window = QaWindow { example, tokens, before, offsets, start, end, is_impossible, span };
        (features, window)
    }

    /// Places in the encoding of a window's part of the context and of what follows the context.
    fn places(&self, span: &Range<usize>) -> impl Iterator<Item = usize> {
        let Range { start, end } = self.context;
        (start + span.start..start + span.end).chain(end..self.encoding.input_ids.len())
    }
}

fn check_room(windowing: &Windowing, room: usize) -> Result<()> {
    if room < 2 {
        let problem = format!("{} leaves no room for a question", windowing.max_seq_length);
        let error = Error::new("max_seq_length", problem + " and its context");
        return Err(error.fix("Three tokens are special; take at least 64."));
    }
    if windowing.doc_stride == 0 {
        return Err(Error::new("doc_stride", "windows that do not move never end")
            .fix("Take a fourth to a half of max_seq_length."));
    }
    Ok(())
}

/// Ends moved over what the tokenizer dropped behind a token: the combining marks and variation
/// selectors that a reader takes for a part of the character before them.
fn whole_characters(text: &str, offsets: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let dropped: Vec<bool> = text.chars().map(|c| !c.is_whitespace() && !is_invisible(c)).collect();
    let nexts = offsets.iter().skip(1).map(|next| next.0).chain([dropped.len()]);
    let widen = |(&(start, end), next): (&(usize, usize), usize)| {
        let more = (end..next).take_while(|&character| dropped[character]).count();
        (start, end + more)
    };
    offsets.iter().zip(nexts).map(widen).collect()
}

/// Controls and marks of layout and direction, which belong to no character.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}

/// Windows of at most `room` of `length` tokens, each `stride` behind the one before it, or right
/// after its end where it is shorter.
fn spans(length: usize, room: usize, stride: usize) -> Vec<Range<usize>> {
    let stride = stride.min(room);
    let last = length.saturating_sub(room).div_ceil(stride);
    (0..=last).map(|i| i * stride..length.min(i * stride + room)).collect()
}

/// Of the windows that hold all of an answer, the one that shows its start with most context: most
/// tokens on the poorer side, and a hundredth for each that the window is long; the first of equals.
///
/// In the original a start belongs to one window, wherever the end is. That is the same where
/// windows share much more than an answer is long; where they do not, it loses answers.
fn owner(spans: &[Range<usize>], first: usize, last: usize) -> Option<usize> {
    let from = spans.partition_point(|span| span.end <= last);
    let holding = spans.iter().enumerate().skip(from).take_while(|(_, s)| s.start <= first);
    let score = |s: &Range<usize>| 100 * (first - s.start).min(s.end - 1 - first) + s.len();
    holding.min_by_key(|(_, span)| Reverse(score(span))).map(|(window, _)| window)
}

/// The characters of an answer, if they are in the context where it says. Kinds of white space and
/// cases of letters count as one, as in the original.
fn locate(context: &str, answer: &Answer) -> Learnable<Range<usize>> {
    let Answer { text, start } = answer;
    let length = text.chars().count();
    if length == 0 {
        return Err("its answer is empty".into());
    }
    let there: String = context.chars().skip(*start).take(length).collect();
    if there.to_lowercase().split_whitespace().eq(text.to_lowercase().split_whitespace()) {
        return Ok(*start..start + length);
    }
    let other = match context.find(text) {
        Some(byte) => format!("but at {}", context[..byte].chars().count()),
        None => "nor anywhere else".into(),
    };
    Err(format!("its answer {text:?} is not at character {start} of the context, {other}"))
}

// ---- Answers ----

/// What the head says of one window; rows of padding may follow.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum SpanLogits {
    /// The head of transformers.
    Independent {
        /// `[seq, 2]`, row by row: start and end.
        logits: Vec<f32>,
    },
    /// The original's head: ends depend on the start, and a classifier tells whether there is any
    /// answer.
    Joint {
        /// `[seq]`
        start_logits: Vec<f32>,
        /// Tokens, as [`QaWindow::best_starts`] gives them.
        starts: Vec<usize>,
        /// `[starts, seq]`
        end_logits: Vec<Vec<f32>>,
        /// High where the question has no answer.
        answerability: f32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoding {
    /// Starts and ends that are tried in a window, and answers that are kept.
    pub n_best: usize,
    /// In tokens.
    pub max_answer_length: usize,
    /// Whether "no answer" is one of the answers of the independent head (SQuAD 2.0). The joint head
    /// has its classifier for that.
    pub no_answer: bool,
}

impl Default for Decoding {
    fn default() -> Self {
        Decoding { n_best: 20, max_answer_length: 30, no_answer: false }
    }
}

/// One answer, or none where the text is empty.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    pub text: String,
    /// Characters of the context.
    pub start: usize,
    pub end: usize,
    /// The sum of the two logits; of the joint head, of the two log-probabilities.
    pub score: f64,
    /// Among the candidates of the question.
    pub probability: f64,
}

/// What the model says to one question.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    pub id: String,
    /// The best text, whatever `no_answer_score` says; empty only where the context has none.
    pub answer: String,
    /// Characters of the context.
    pub start: usize,
    pub end: usize,
    /// The probability of the answer among the candidates.
    pub score: f64,
    /// The higher, the likelier is "no answer"; where to draw the line is tuned on an evaluation
    /// set. Of the independent head: the sum of the logits of `[CLS]` minus that of the answer. Of the
    /// joint head: the logit of its classifier. Each in the window where it is lowest.
    pub no_answer_score: f64,
    /// Best first, every text once.
    pub n_best: Vec<Candidate>,
}

/// The answers to all questions, in their order, from the logits of their windows, in the order of
/// [`features`].
///
/// # Panics
/// When a window has no logits of its own, or a question no window.
pub fn answers(
    questions: &[Question],
    windows: &[QaWindow],
    logits: &[SpanLogits],
    decoding: &Decoding,
) -> Vec<Prediction> {
    assert_eq!(windows.len(), logits.len(), "one entry of logits a window");
    let mut pooled = vec![Vec::new(); questions.len()];
    windows.iter().zip(logits).for_each(|pair| pooled[pair.0.example].push(pair));
    questions.iter().zip(pooled).map(|(question, pool)| answer(question, &pool, decoding)).collect()
}

/// Windows of one question, with their logits.
type Pool<'a> = [(&'a QaWindow, &'a SpanLogits)];

fn answer(question: &Question, pool: &Pool, decoding: &Decoding) -> Prediction {
    assert!(!pool.is_empty(), "question {:?} has no window", question.id);
    let nulls = pool.iter().map(|(_, logits)| logits.no_answer());
    let null = nulls.fold(f64::INFINITY, f64::min);
    let independent = matches!(pool[0].1, SpanLogits::Independent { .. });
    let no_answer = (decoding.no_answer && independent).then_some(null);
    let n_best = n_best(&question.context, pool, no_answer, decoding);
    let best = n_best.iter().find(|candidate| !candidate.text.is_empty());
    let best_score = best.map_or(0.0, |best| best.score);
    Prediction {
        id: question.id.clone(),
        answer: best.map_or(String::new(), |best| best.text.clone()),
        start: best.map_or(0, |best| best.start),
        end: best.map_or(0, |best| best.end),
        score: best.map_or(0.0, |best| best.probability),
        no_answer_score: if independent { null - best_score } else { null },
        n_best,
    }
}

/// First and last character and score.
type Span = (usize, usize, f64);

fn n_best(
    context: &str,
    pool: &Pool,
    no_answer: Option<f64>,
    decoding: &Decoding,
) -> Vec<Candidate> {
    let longest = decoding.max_answer_length;
    let mut spans = pooled_spans(pool, decoding.n_best, longest);
    // Where the best starts and ends do not go together, any do; the reference answers "empty" then.
    if spans.is_empty() {
        spans = pooled_spans(pool, usize::MAX, longest);
    }
    spans.sort_by(|a, b| b.2.total_cmp(&a.2));
    let mut candidates: Vec<Candidate> = Vec::new();
    for span in spans {
        if candidates.len() == decoding.n_best {
            break;
        }
        let candidate = Candidate::new(context, span);
        if candidates.iter().all(|better| better.text != candidate.text) {
            candidates.push(candidate);
        }
    }
    if let Some(null) = no_answer {
        let place = candidates.partition_point(|candidate| candidate.score >= null);
        // Too poor to be among the best, it is listed all the same, and so is one answer.
        candidates.truncate(decoding.n_best.saturating_sub(1).max(place).max(1));
        candidates.insert(place, Candidate::new(context, (0, 0, null)));
    }
    set_probabilities(&mut candidates);
    candidates
}

/// What the heads allow, window after window, starts and ends from the best to the worst.
fn pooled_spans(pool: &Pool, n_best: usize, longest: usize) -> Vec<Span> {
    let spans: Vec<_> = pool.iter().map(|(window, _)| window.span.clone()).collect();
    let of_window = |(index, (window, logits)): (usize, &(&QaWindow, &SpanLogits))| {
        let token = |place: usize| window.span.start + place - window.before;
        let characters = |(first, last, score): Span| {
            let (start, end) = (window.characters(first)?.0, window.characters(last)?.1);
            let answer = first <= last && last - first < longest;
            (answer && owner(&spans, token(first), token(last)) == Some(index))
                .then_some((start, end, score))
        };
        logits.pairs(window, n_best).into_iter().filter_map(characters).collect::<Vec<_>>()
    };
    pool.iter().enumerate().flat_map(of_window).collect()
}

impl SpanLogits {
    /// Reads what a network gives for a window: two logits a token, or the rows of
    /// [`JointSpanHead::search`](crate::heads::JointSpanHead::search), which are longer by far.
    pub fn read(window: &QaWindow, logits: &[f32]) -> Self {
        let tokens = window.tokens;
        if logits.len() == 2 * tokens {
            return SpanLogits::Independent { logits: logits.to_vec() };
        }
        let own = |row: &[f32]| row[1..=tokens].to_vec();
        let mut rows = logits.chunks(logits.len() / (1 + BEAM));
        let first = rows.next().expect("there is a first row");
        let (mut starts, mut end_logits) = (Vec::new(), Vec::new());
        for row in rows {
            let start = row[0] as usize;
            // In a short window the beam holds closed tokens, and tokens twice.
            if window.allowed(start) && !starts.contains(&start) {
                starts.push(start);
                end_logits.push(own(row));
            }
        }
        let (answerability, start_logits) = (first[0], own(first));
        SpanLogits::Joint { start_logits, starts, end_logits, answerability }
    }

    fn no_answer(&self) -> f64 {
        match self {
            SpanLogits::Independent { logits } => f64::from(logits[0]) + f64::from(logits[1]),
            SpanLogits::Joint { answerability, .. } => f64::from(*answerability),
        }
    }

    /// Starts, each with its score and with the ends that are tried with it.
    fn pairs(&self, window: &QaWindow, n_best: usize) -> Vec<Span> {
        let (starts, ends): (Vec<Scored>, Vec<Vec<Scored>>) = match self {
            SpanLogits::Independent { logits } => {
                let column = |c| logits[c..].iter().step_by(2).map(|l| f64::from(*l)).collect();
                let (starts, ends): (Vec<f64>, Vec<f64>) = (column(0), column(1));
                let starts = window.best(&starts, n_best);
                let ends = vec![window.best(&ends, n_best); starts.len()];
                (starts, ends)
            }
            SpanLogits::Joint { start_logits, starts, end_logits, .. } => {
                let scores = window.log_softmax(start_logits);
                let ends = |logits: &Vec<f32>| window.best(&window.log_softmax(logits), n_best);
                let starts = starts.iter().map(|&start| (start, scores[start])).collect();
                (starts, end_logits.iter().map(ends).collect())
            }
        };
        let pairs = starts.into_iter().zip(ends).flat_map(|((start, s), ends)| {
            ends.into_iter().map(move |(end, e)| (start, end, s + e))
        });
        pairs.collect()
    }
}

impl Candidate {
    fn new(context: &str, (start, end, score): Span) -> Self {
        let text = context.chars().skip(start).take(end - start).collect();
        Candidate { text, start, end, score, probability: 0.0 }
    }
}

/// Softmax of the scores.
fn set_probabilities(candidates: &mut [Candidate]) {
    let best = candidates.iter().map(|c| c.score).fold(f64::NEG_INFINITY, f64::max);
    candidates.iter_mut().for_each(|c| c.probability = (c.score - best).exp());
    let sum: f64 = candidates.iter().map(|c| c.probability).sum();
    candidates.iter_mut().for_each(|c| c.probability /= sum);
}

// ---- Loss and scores ----

/// The mean of the cross-entropies of start and end (`ElectraForQuestionAnswering`), over the
/// windows; padding cannot be chosen. The original's head adds half of the binary cross-entropy of
/// its answerability.
///
/// # Shapes
/// - logits: start and end of each token in turn, `[batch, seq * 2]`; of the original's head
///   `[batch, seq * 3]`, the third at `[CLS]` the answerability
/// - targets: `[batch, seq * 3]`, laid out so, attention_mask: `[batch, seq]`, output: `[1]`
pub fn loss(
    logits: Tensor<2>,
    targets: Tensor<2>,
    attention_mask: Tensor<2>,
    windows: usize,
) -> Tensor<1> {
    let [batch, seq] = attention_mask.dims();
    let columns = logits.dims()[1] / seq;
    let logits = logits.reshape([batch, seq, columns]).swap_dims(1, 2); // [batch, columns, seq]
    let targets = targets.reshape([batch, seq, 3]).swap_dims(1, 2); // [batch, 3, seq]
    let closed = (attention_mask - 1.0) * 10000.0; // 0, and -10000 on padding
    let spans = logits.clone().narrow(1, 0, 2) + closed.unsqueeze_dim(1);
    let wanted = targets.clone().narrow(1, 0, 2);
    let [spans, wanted] = [spans, wanted].map(|ends| ends.reshape([2 * batch, seq]));
    let spans = kernels::loss(Loss::CrossEntropy, spans, wanted, None, 2 * windows);
    if columns == 2 {
        return spans;
    }
    let at_cls = |rows: Tensor<3>| rows.narrow(1, 2, 1).narrow(2, 0, 1).reshape([batch, 1]);
    // Every window has a start to learn, and padding has none.
    let is_real = targets.clone().narrow(1, 0, 1).sum_dim(2).reshape([batch, 1]);
    let answerable = multi_label::loss(at_cls(logits), at_cls(targets), is_real, windows);
    spans + answerable * ANSWERABLE_WEIGHT
}

/// Of the answerability in the loss, as in the original.
const ANSWERABLE_WEIGHT: f64 = 0.5;

/// The logits of a question's windows, as they are shown: start and end a token, one window after
/// the other, or a [`SpanLogits::Joint`] a window.
pub fn shown_logits(windows: &[QaWindow], logits: &[Vec<f32>]) -> Value {
    let shown = |(window, logits): (&QaWindow, &Vec<f32>)| match SpanLogits::read(window, logits) {
        SpanLogits::Independent { logits } => logits.chunks(2).map(|token| json!(token)).collect(),
        joint => vec![json!(joint)],
    };
    windows.iter().zip(logits).flat_map(shown).collect()
}

/// The answers to questions from the logits of their windows, as the network gives them.
/// Where the score of "no answer" is above the threshold, the answer is empty.
pub fn predict(
    questions: &[Question],
    windows: &[QaWindow],
    logits: &[Vec<f32>],
    threshold: Option<f64>,
) -> Vec<Prediction> {
    let read = |(window, logits): (&QaWindow, &Vec<f32>)| SpanLogits::read(window, logits);
    let logits: Vec<SpanLogits> = windows.iter().zip(logits).map(read).collect();
    let mut predictions = answers(questions, windows, &logits, &Decoding::default());
    let above = |prediction: &&mut Prediction| {
        threshold.is_some_and(|threshold| prediction.no_answer_score > threshold)
    };
    for prediction in predictions.iter_mut().filter(above) {
        (prediction.answer, prediction.start, prediction.end) = (String::new(), 0, 0);
    }
    predictions
}

/// How a model does on questions.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation {
    #[serde(flatten)]
    pub scores: Scores,
    /// Above it, `no_answer_score` means "no answer": the best on these questions.
    pub no_answer_threshold: Option<f64>,
    /// Questions answered wrongly, as they come.
    pub worst: Vec<WorstQuestion>,
}

/// As the official scripts of SQuAD 1.1 and 2.0 print them, in percent.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Scores {
    V1(SquadScores),
    V2(SquadReport),
}

/// A question that was answered wrongly.
#[derive(Debug, Clone, Serialize)]
pub struct WorstQuestion {
    pub row: usize,
    pub id: String,
    pub question: String,
    pub context: String,
    pub golds: Vec<String>,
    pub predicted: String,
    pub f1: f64,
}

impl Evaluation {
    /// Of all questions, from 0 to 1; with the best threshold where some have no answer.
    pub fn f1(&self) -> f64 {
        match &self.scores {
            Scores::V1(scores) => scores.f1 / 100.0,
            Scores::V2(report) => report.best_f1 / 100.0,
        }
    }

    /// Right to the letter; as [`Self::f1`].
    pub fn exact(&self) -> f64 {
        match &self.scores {
            Scores::V1(scores) => scores.exact / 100.0,
            Scores::V2(report) => report.best_exact / 100.0,
        }
    }
}

/// Scores labelled questions from the logits of their windows.
pub fn evaluate(set: &Questions, windows: &[QaWindow], logits: &[Vec<f32>]) -> Evaluation {
    let predictions = predict(&set.examples, windows, logits, None);
    let pairs = || set.examples.iter().zip(&predictions);
    let answered: Vec<Answered> = pairs()
        .map(|(question, prediction)| Answered {
            golds: &question.golds,
            prediction: &prediction.answer,
            no_answer: prediction.no_answer_score,
        })
        .collect();
    let (scores, threshold) = match set.has_impossible {
        false => (Scores::V1(squad_v1_report(&answered)), None),
        true => {
            let threshold = squad_v2_report(&answered, f64::INFINITY).best_f1_thresh;
            (Scores::V2(squad_v2_report(&answered, threshold)), Some(threshold))
        }
    };
    Evaluation {
        scores,
        no_answer_threshold: threshold,
        worst: wrong(set, &predictions, threshold),
    }
}

/// The first questions whose answers share least with the right ones.
fn wrong(
    set: &Questions,
    predictions: &[Prediction],
    threshold: Option<f64>,
) -> Vec<WorstQuestion> {
    let told = |prediction: &Prediction| match threshold {
        Some(threshold) if prediction.no_answer_score > threshold => String::new(),
        _ => prediction.answer.clone(),
    };
    let told: Vec<String> = predictions.iter().map(told).collect();
    let none = [String::new()];
    let f1 = |(question, told): (&Question, &String)| {
        let golds = if question.golds.is_empty() { &none } else { question.golds.as_slice() };
        answer_scores(golds, told).f1
    };
    let f1: Vec<f64> = set.examples.iter().zip(&told).map(f1).collect();
    let losses: Vec<f64> = f1.iter().map(|f1| 1.0 - f1).collect();
    let worst = worst_first(&losses, |i| losses[i] > 0.0);
    let row = |i: usize| {
        let question = &set.examples[i];
        WorstQuestion {
            row: question.row,
            id: question.id.clone(),
            question: question.question.clone(),
            context: question.context.to_string(),
            golds: question.golds.clone(),
            predicted: told[i].clone(),
            f1: f1[i],
        }
    };
    worst.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_move_by_the_stride_and_reach_the_end() {
        assert_eq!(spans(10, 4, 3), [0..4, 3..7, 6..10]);
        assert_eq!(spans(11, 4, 3), [0..4, 3..7, 6..10, 9..11]);
        assert_eq!(spans(9, 4, 128), [0..4, 4..8, 8..9]);
        assert_eq!([spans(4, 4, 1).len(), spans(0, 4, 1).len()], [1, 1]);
    }

    #[test]
    fn a_start_belongs_to_the_window_with_most_context_that_holds_the_end() {
        let spans = spans(20, 8, 4);
        let owners = |length| (0..8).map(|t| owner(&spans, t, t + length - 1).unwrap()).collect();
        let one: Vec<usize> = owners(1);
        assert_eq!(one, [0, 0, 0, 0, 0, 0, 1, 1]);
        let four: Vec<usize> = owners(4);
        assert_eq!(four, [0, 0, 0, 0, 0, 1, 1, 1]);
        assert_eq!(owner(&spans, 0, 8), None);
        // 49 + 3 against 50 + 1.2: the longer window makes up for a token.
        assert_eq!(owner(&[0..300, 200..320], 250, 250), Some(0));
    }

    #[test]
    fn marks_belong_to_the_character_before_them() {
        let widened = |text: &str, end| whole_characters(text, &[(0, end)])[0].1;
        assert_eq!(widened("e\u{301}\u{323} x", 1), 3);
        assert_eq!(widened("❤\u{fe0f}", 1), 2);
        assert_eq!(widened("a\u{ad}\u{200b}\u{202c}", 1), 1);
        assert_eq!(whole_characters("ab\u{301}", &[(0, 1), (1, 2)]), [(0, 1), (1, 3)]);
    }
}
