//! Question answering: that an answer is found again whatever the windows, and that decoding equals the
//! published algorithms on every case of `fixtures/generate_spans.py`.

use electra::dataset::{Answer, Question, read_questions};
use electra::heads::BEAM;
use electra::tasks::question_answering::{
    Decoding, Evaluation, Prediction, QaWindow, Scores, SpanLogits, Windowing, answers, evaluate,
    features, predict, shown_logits, windows,
};
use electra::tokenizer::{Tokenizer, Truncation};
use serde::Deserialize;

use crate::{bert_tokenizer, read};

fn bert() -> Tokenizer {
    bert_tokenizer(&serde_json::json!({}))
}

fn tiny() -> Tokenizer {
    let names = ["tokenizer.json", "tokenizer_config.json", "vocab.txt"];
    let file = |name: &str| (name.to_string(), read(&format!("public/models/electra-tiny/{name}")));
    Tokenizer::from_files(&names.into_iter().map(file).collect()).unwrap()
}

fn question(question: &str, context: &str, answer: Option<(&str, usize)>) -> Question {
    let answer = answer.map(|(text, start)| Answer { text: text.into(), start });
    Question {
        row: 7,
        id: "q".into(),
        question: question.into(),
        context: context.into(),
        golds: Vec::new(),
        is_impossible: answer.is_none(),
        answers: answer.into_iter().collect(),
    }
}

fn windowing(max_seq_length: usize, doc_stride: usize) -> Windowing {
    Windowing { max_seq_length, doc_stride, ..Default::default() }
}

fn cut(text: &str, start: usize, end: usize) -> String {
    text.chars().skip(start).take(end - start).collect()
}

// ---- An answer is found again ----

/// What stands before the answer, the answer, what stands behind it: no white space in between.
const ANSWERS: [(&str, &str, &str); 26] = [
    ("", "Denver", ""),
    ("(", "1895", "-1943)"),
    ("\"", "the Broncos", "\","),
    ("U.S. ", "$5.99", "."),
    ("", "café", ""),
    ("", "cafe\u{301}", ","),
    ("", "e\u{301}\u{323}", ""),
    ("", "Straße", "!"),
    ("", "❤\u{fe0f}", ""),
    ("", "👩🏽\u{200d}💻", ""),
    ("I ", "1\u{fe0f}\u{20e3}", ""),
    ("", "🇩🇪", ""),
    ("日", "本語", "の"),
    ("東京", "2020", "年"),
    ("中", "𠀀", "文"),
    ("", "한국어", ""),
    ("", "שָׁלוֹם", ""),
    ("\u{202b}", "مُحَمَّد", "\u{202c}"),
    ("", "می\u{200c}خواهم", ""),
    ("", "किताब", "।"),
    ("", "10\u{202f}000", "\u{202f}km"),
    ("a\u{a0}", "b\nc", "\u{3000}d"),
    ("", "zero\u{200b}width", ""),
    ("", "soft\u{ad}hyphen", "\u{ad}"),
    ("", "[MASK]", ""),
    ("", "x", ""),
];

const FILLING: [&str; 12] = [
    "the",
    "Straße",
    "été",
    "o\u{308}",
    "東京都",
    "😀",
    "שלום",
    "unaffable",
    "\u{200b}",
    "1,234.5",
    "[SEP]",
    "—",
];

/// A document of `before` and `after` words around an answer, and the character it starts at.
fn document(
    (left, answer, right): (&str, &str, &str),
    before: usize,
    after: usize,
) -> (String, usize) {
    let spaces = [" ", "\u{202f}", "\n", "  ", "\u{3000}"];
    let filling = |i: usize| FILLING[(i * 7 + before) % FILLING.len()];
    let mut text: String =
        (0..before).map(|i| format!("{}{}", filling(i), spaces[i % spaces.len()])).collect();
    text.push_str(left);
    let start = text.chars().count();
    text.push_str(answer);
    text.push_str(right);
    (0..after)
        .for_each(|i| text += &format!("{}{}", spaces[(i + 1) % spaces.len()], filling(i + 5)));
    (text, start)
}

/// Logits of a head that knows the answer where it sees all of it, and says "none" elsewhere.
fn oracle(window: &QaWindow, joint: bool) -> SpanLogits {
    let length = window.tokens + 3; // padding
    let peak = |token: usize| (0..length).map(|t| if t == token { 9.0 } else { 0.0 }).collect();
    let (start_logits, end_logits): (Vec<f32>, Vec<f32>) = (peak(window.start), peak(window.end));
    if joint {
        let starts = window.best_starts(&start_logits, 4);
        let end_logits = vec![end_logits; starts.len()];
        return SpanLogits::Joint { start_logits, starts, end_logits, answerability: 0.0 };
    }
    let logits = start_logits.iter().zip(end_logits).flat_map(|(s, e)| [*s, e]).collect();
    SpanLogits::Independent { logits }
}

/// The rows that the joint head gives a window.
fn flat(logits: &SpanLogits) -> Vec<f32> {
    let SpanLogits::Joint { start_logits, starts, end_logits, answerability } = logits else {
        panic!("not of the joint head")
    };
    // Starts come again where there are not enough.
    let beam = starts.iter().zip(end_logits).cycle().take(BEAM);
    let mut rows = vec![[&[*answerability][..], start_logits.as_slice()].concat()];
    rows.extend(beam.map(|(start, ends)| [&[*start as f32][..], ends.as_slice()].concat()));
    rows.concat()
}

/// The characters of the tokens that hold the answer, counted without any window.
fn tokens_of(
    tokenizer: &Tokenizer,
    context: &str,
    start: usize,
    end: usize,
) -> Vec<(usize, usize)> {
    let encoding = tokenizer.encode(context, None, usize::MAX, Truncation::LongestFirst).unwrap();
    let inside = |span: &&(usize, usize)| span.0 < end && span.1 > start;
    encoding.offsets.iter().filter(inside).copied().collect()
}

/// The characters of the context that each token came from.
fn offsets(window: &QaWindow) -> Vec<Option<(usize, usize)>> {
    (0..window.tokens).map(|token| window.characters(token)).collect()
}

fn holds(window: &QaWindow, tokens: &[(usize, usize)]) -> bool {
    let starts: Vec<_> = offsets(window).iter().flatten().map(|span| span.0).collect();
    starts.windows(tokens.len()).any(|part| part.iter().eq(tokens.iter().map(|span| &span.0)))
}

fn check_every_window(tokenizer: &Tokenizer, question: &Question, cutting: &Windowing) -> usize {
    let what = format!("{question:?} {cutting:?}");
    let Answer { text, start } = &question.answers[0];
    let end = start + text.chars().count();
    let tokens = tokens_of(tokenizer, &question.context, *start, end);
    let (features, windows) = match windows(tokenizer, question, 0, cutting, true) {
        Ok(windows) => windows,
        Err(error) => {
            assert!(error.problem.contains("no window holds all"), "{what}: {error}");
            let (_, blind) = windows(tokenizer, question, 0, cutting, false).unwrap();
            assert!(!blind.iter().any(|window| holds(window, &tokens)), "{what}");
            return 0;
        }
    };
    assert_eq!(features.len(), windows.len(), "{what}");
    for (features, window) in features.iter().zip(&windows) {
        assert!(features.input_ids.len() <= cutting.max_seq_length, "{what}");
        assert_eq!(features.input_ids.len(), window.tokens, "{what}");
        let types = &features.token_type_ids;
        assert!((1..window.tokens).all(|t| window.allowed(t) == (types[t] == 1)), "{what}");
        assert_eq!(window.start != 0, holds(window, &tokens), "{what}");
        if window.start != 0 {
            let characters = |token| window.characters(token).unwrap();
            let (from, to) = (characters(window.start).0, characters(window.end).1);
            assert_eq!(cut(&question.context, from, to), *text, "{what}");
            assert_eq!((from, to), (*start, end), "{what}");
        }
    }
    assert!(windows.iter().any(|window| window.start != 0), "{what}");
    let decoding = Decoding { n_best: 4, max_answer_length: 1000, no_answer: false };
    for joint in [false, true] {
        let mut logits: Vec<_> = windows.iter().map(|window| oracle(window, joint)).collect();
        if joint {
            let read = |(window, logits)| SpanLogits::read(window, &flat(logits));
            logits = windows.iter().zip(&logits).map(read).collect();
        }
        let [prediction] =
            &answers(std::slice::from_ref(question), &windows, &logits, &decoding)[..]
        else {
            panic!("{what}")
        };
        let Prediction { answer, start: from, end: to, .. } = prediction;
        assert_eq!((answer, from, to), (text, start, &end), "{what}, joint: {joint}");
    }
    1
}

#[test]
fn the_span_found_is_the_gold_text_in_every_window() {
    let (mut found, mut all) = (0, 0);
    for tokenizer in [tiny(), bert()] {
        for (number, answer) in ANSWERS.into_iter().enumerate() {
            for (before, after) in [(0, 0), (0, 9), (9, 0), (1, 1), (5, 12), (17, 20), (24, 3)] {
                let (context, start) = document(answer, before, after);
                let question = question("who was that ?", &context, Some((answer.1, start)));
                for room in [8, 21, 34, 400] {
                    for stride in [1, 8, 128].map(|stride| stride + number % 2) {
                        let cutting = windowing(room + 7, stride);
                        found += check_every_window(&tokenizer, &question, &cutting);
                        all += 1;
                    }
                }
            }
        }
    }
    // Where the windows are as short as that, some answers fit into none.
    assert!(all > 4000 && found * 10 > all * 8, "{found} of {all}");
}

#[test]
fn every_place_and_length_in_one_document() {
    let tokenizer = bert();
    let words =
        ["a", "the", "cat", "on", "a", "mat", "a", "the", "cat", "sat", "on", "it", "a", "the"];
    let context = words.join(" ");
    let place = |word: usize| words[..word].iter().map(|word| word.len() + 1).sum::<usize>();
    let mut found = 0;
    for first in 0..words.len() {
        for last in first..words.len().min(first + 6) {
            // Most of these texts stand in the context several times.
            let (text, start) = (words[first..=last].join(" "), place(first));
            let question = question("where", &context, Some((&text, start)));
            for room in 3..16 {
                for stride in 1..=room {
                    found +=
                        check_every_window(&tokenizer, &question, &windowing(room + 4, stride));
                }
            }
        }
    }
    assert!(found > 5000, "{found}");
}

// ---- The joint head ----

/// Questions of two windows or more; every second one has no answer.
fn squad() -> (electra::dataset::Questions, Vec<QaWindow>) {
    let line = |i: usize| {
        let context = format!("{} Ada wrote it . {}", "so ".repeat(20), "and so on ".repeat(9));
        let answers = match i % 2 {
            0 => r#"[{"text": "Ada", "answer_start": 61}]"#,
            _ => "[]",
        };
        let impossible = i % 2 == 1;
        format!(
            r#"{{"id": "{i}", "question": "who {i} ?", "context": {context:?}, "answers": {answers}, "is_impossible": {impossible}}}"#
        )
    };
    let lines: Vec<String> = (0..6).map(line).collect();
    let set = read_questions("squad.jsonl", lines.join("\n").as_bytes()).unwrap();
    let ((_, windows), _) = features(&bert(), &set.examples, &windowing(40, 16), true).unwrap();
    assert!(windows.len() > 2 * set.examples.len());
    (set, windows)
}

/// What a head says that knows the answers, and which questions have none (or the opposite of it). At
/// the start of the context it always thinks that there is none.
fn joint_logits(windows: &[QaWindow], knows_which: bool) -> Vec<Vec<f32>> {
    let logits = |window: &QaWindow| {
        let mut logits = oracle(window, true);
        if let SpanLogits::Joint { answerability, .. } = &mut logits {
            *answerability = match window.is_impossible == knows_which {
                true => 3.0,
                false if window.span.start == 0 => 9.0,
                false => -1.0,
            };
        }
        flat(&logits)
    };
    windows.iter().map(logits).collect()
}

#[test]
fn answerability_decides_where_some_questions_have_no_answer() {
    let (set, windows) = squad();
    let Evaluation { scores: Scores::V2(report), no_answer_threshold, worst } =
        evaluate(&set, &windows, &joint_logits(&windows, true))
    else {
        panic!("some have no answer")
    };
    let threshold = no_answer_threshold.unwrap();
    assert_eq!((report.best_exact, report.best_f1, worst.len()), (100.0, 100.0, 0));
    // Of a question's windows the one counts that is lowest.
    assert!((-1.0..3.0).contains(&threshold), "{threshold}");
    let logits = joint_logits(&windows, true);
    for (answer, question) in
        predict(&set.examples, &windows, &logits, Some(threshold)).iter().zip(&set.examples)
    {
        assert_eq!(answer.answer, if question.is_impossible { "" } else { "Ada" });
        assert_eq!(answer.no_answer_score > threshold, question.is_impossible);
    }
    let wrong = evaluate(&set, &windows, &joint_logits(&windows, false));
    assert!(wrong.f1() < 0.6, "{}", wrong.f1());
}

#[test]
fn logits_are_shown_as_their_head_has_them() {
    let (_, windows) = squad();
    let joint = shown_logits(&windows[..2], &joint_logits(&windows[..2], true));
    let tokens = windows[0].tokens;
    assert_eq!(joint.as_array().unwrap().len(), 2);
    assert_eq!(joint[0]["start_logits"].as_array().unwrap().len(), tokens);
    assert_eq!(joint[0]["end_logits"][0].as_array().unwrap().len(), tokens);
    assert!(joint[1]["answerability"].is_number() && joint[1]["starts"][0].is_number());
    let two = [vec![0.5; 2 * tokens]];
    let independent = shown_logits(&windows[..1], &two);
    assert_eq!(independent.as_array().unwrap().len(), tokens);
    assert_eq!(independent[0], serde_json::json!([0.5, 0.5]));
}

// ---- Windows ----

#[test]
fn windows_are_those_of_the_tokenizer() {
    let tokenizer = bert();
    let (context, _) = document(ANSWERS[0], 40, 40);
    let text = "Who played in the unaffable game?";
    let query = tokenizer.ids(text).unwrap().len();
    for max_seq_length in [40, 64, 96, 512] {
        for stride in [1, 8, 13] {
            let question = question(text, &context, None);
            let (features, got) =
                windows(&tokenizer, &question, 3, &windowing(max_seq_length, stride), false)
                    .unwrap();
            let overlap = max_seq_length - 3 - query - stride;
            let truncation = Truncation::OnlySecond;
            let expected = tokenizer
                .encode_windows(text, Some(&context), max_seq_length, overlap, truncation)
                .unwrap();
            assert_eq!(got.len(), expected.len());
            for ((features, got), expected) in features.iter().zip(&got).zip(expected) {
                assert_eq!(features.input_ids, expected.input_ids);
                assert_eq!(features.token_type_ids, expected.token_type_ids);
                let inside = expected.sequence_ids.iter().map(|sequence| *sequence == Some(1));
                assert!(inside.eq(offsets(got).iter().map(Option::is_some)));
                assert_eq!((got.example, features.row, got.start, got.end), (3, 7, 0, 0));
                assert!(got.is_impossible);
            }
        }
    }
}

#[test]
fn a_long_question_is_cut_and_leaves_half_of_a_window() {
    let tokenizer = bert();
    let long = question(&"why ".repeat(100), &"because ".repeat(100), None);
    for (max_seq_length, query) in [(512, 64), (131, 64), (64, 30), (5, 1)] {
        let (features, windows) =
            windows(&tokenizer, &long, 0, &windowing(max_seq_length, 128), false).unwrap();
        let [cls, .., sep] = features[0].input_ids[..query + 2] else { panic!() };
        assert_eq!((cls, sep), (tokenizer.cls_id(), tokenizer.sep_id()));
        assert_eq!(windows[0].span, 0..(max_seq_length - 3 - query).min(100));
        assert_eq!(windows.last().unwrap().span.end, 100);
    }
}

#[test]
fn an_empty_context_has_one_window_and_no_answer() {
    let tokenizer = bert();
    for context in ["", " \n", "\u{200b}"] {
        let empty = question("who ?", context, None);
        let (features, windows) =
            windows(&tokenizer, &empty, 0, &Windowing::default(), true).unwrap();
        let [window] = &windows[..] else { panic!("{windows:?}") };
        assert_eq!(features[0].token_type_ids, [0, 0, 0, 0, 1]);
        for no_answer in [false, true] {
            let decoding = Decoding { no_answer, ..Default::default() };
            for joint in [false, true] {
                let logits = [oracle(window, joint)];
                let got = &answers(std::slice::from_ref(&empty), &windows, &logits, &decoding)[0];
                assert_eq!((got.answer.as_str(), got.start, got.end, got.score), ("", 0, 0, 0.0));
                assert_eq!(got.no_answer_score, if joint { 0.0 } else { 18.0 });
                assert_eq!(got.n_best.len(), usize::from(no_answer && !joint));
            }
        }
    }
}

#[test]
fn an_answer_that_cannot_be_learned_is_reported() {
    let (tokenizer, long) = (bert(), "word ".repeat(40));
    let report = |context: &str, answer: Option<(&str, usize)>| {
        let mut question = question("who", context, answer);
        question.is_impossible = false;
        let questions = [question.clone(), self::question("who", "Ada", Some(("Ada", 0)))];
        let ((_, windows), problems) =
            features(&tokenizer, &questions, &windowing(24, 8), true).unwrap();
        assert!(windows.iter().all(|window| window.example == 1));
        let error = self::windows(&tokenizer, &question, 0, &windowing(24, 8), true).unwrap_err();
        assert_eq!((error.problem, 7), (problems[0].reason.clone(), problems[0].row));
        assert_eq!(error.place, "row 7, question \"q\"");
        // To predict it, nothing is asked of its answer.
        let ((_, windows), problems) =
            features(&tokenizer, &questions, &windowing(24, 8), false).unwrap();
        assert!(windows[0].example == 0 && problems.is_empty());
        error_reason(&tokenizer, &question)
    };
    assert_eq!(report("a b", None), "it has no answer and is not marked as impossible");
    assert_eq!(report("a b", Some(("", 1))), "its answer is empty");
    let wrong = report("😀 Ada", Some(("Ada", 3)));
    assert_eq!(wrong, "its answer \"Ada\" is not at character 3 of the context, but at 2");
    let wrong = report("Ada", Some(("Bob", usize::MAX)));
    assert!(wrong.ends_with("of the context, nor anywhere else"), "{wrong}");
    let nothing = report("a \u{200b} b", Some(("\u{200b}", 2)));
    assert_eq!(nothing, "the tokenizer leaves nothing of its answer \"\\u{200b}\"");
    let too_long = report(&long, Some((long.trim(), 0)));
    assert!(too_long.starts_with("no window holds all 40 tokens"), "{too_long}");
}

fn error_reason(tokenizer: &Tokenizer, question: &Question) -> String {
    windows(tokenizer, question, 0, &windowing(24, 8), true).unwrap_err().problem
}

#[test]
fn white_space_and_letters_of_another_kind_are_the_same() {
    let tokenizer = bert();
    let question = question("how far", "some 10\u{202f}000\u{a0}km off", Some((" 10 000 KM", 4)));
    let (_, windows) = windows(&tokenizer, &question, 0, &Windowing::default(), true).unwrap();
    let window = &windows[0];
    let span = [window.start, window.end].map(|token| window.characters(token).unwrap());
    assert_eq!(cut(&question.context, span[0].0, span[1].1), "10\u{202f}000\u{a0}km");
}

#[test]
fn settings_that_cannot_work_are_errors() {
    let (tokenizer, question) = (bert(), question("who", "Ada", None));
    let place = |cutting| windows(&tokenizer, &question, 0, &cutting, false).unwrap_err().place;
    assert_eq!(place(windowing(0, 8)), "max_seq_length");
    assert_eq!(place(windowing(4, 8)), "max_seq_length");
    assert_eq!(place(windowing(64, 0)), "doc_stride");
    assert!(windows(&tokenizer, &question, 0, &windowing(5, 8), false).is_ok());
}

#[test]
fn an_answer_is_given_beside_a_likelier_none() {
    let (tokenizer, question) = (bert(), [question("who", "Ada", None)]);
    let (_, windows) = windows(&tokenizer, &question[0], 0, &Windowing::default(), false).unwrap();
    let logits = [9.0, 9.0].into_iter().chain([0.0; 8]).collect();
    let decoding = Decoding { n_best: 1, no_answer: true, ..Default::default() };
    let got = &answers(&question, &windows, &[SpanLogits::Independent { logits }], &decoding)[0];
    assert_eq!((got.answer.as_str(), got.no_answer_score, got.n_best.len()), ("Ada", 18.0, 2));
    assert!(got.n_best[0].text.is_empty() && got.score < 1e-7);
}

// ---- Against the published algorithms ----

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    question: String,
    context: String,
    head: String,
    max_seq_length: usize,
    doc_stride: usize,
    n_best: usize,
    max_answer_length: usize,
    no_answer: bool,
    windows: Vec<Window>,
    /// Text, first and last character, score, probability.
    expected: Vec<(String, usize, usize, f64, f64)>,
    no_answer_score: f64,
    found: bool,
    published: bool,
}

#[derive(Deserialize)]
struct Window {
    context_start: usize,
    /// First token of the context and number of tokens.
    span: (usize, usize),
    offsets: Vec<(usize, usize)>,
    #[serde(default)]
    logits: Vec<(f32, f32)>,
    #[serde(default)]
    start_logits: Vec<f32>,
    #[serde(default)]
    starts: Vec<usize>,
    #[serde(default)]
    end_logits: Vec<Vec<f32>>,
    #[serde(default)]
    answerability: f32,
}

fn logits(case: &Case, window: Window) -> SpanLogits {
    let Window { logits, start_logits, starts, end_logits, answerability, .. } = window;
    match case.head.as_str() {
        "independent" => {
            SpanLogits::Independent { logits: logits.iter().flat_map(|l| [l.0, l.1]).collect() }
        }
        "joint" => SpanLogits::Joint { start_logits, starts, end_logits, answerability },
        other => panic!("{other}"),
    }
}

fn check(case: &mut Case, tokenizer: &Tokenizer) {
    let question = question(&case.question, &case.context, None);
    let cutting = windowing(case.max_seq_length, case.doc_stride);
    let (_, windows) = windows(tokenizer, &question, 0, &cutting, false).unwrap();
    let expected = std::mem::take(&mut case.windows);
    assert_eq!(windows.len(), expected.len());
    for (window, expected) in windows.iter().zip(&expected) {
        assert_eq!(window.span, expected.span.0..expected.span.0 + expected.span.1);
        let offsets = offsets(window);
        assert!(offsets[..expected.context_start].iter().all(Option::is_none));
        assert!(offsets.iter().flatten().eq(&expected.offsets));
        let beam = expected.starts.len();
        assert_eq!(window.best_starts(&expected.start_logits, beam), expected.starts);
    }
    let logits: Vec<_> = expected.into_iter().map(|window| logits(case, window)).collect();
    let Case { n_best, max_answer_length, no_answer, .. } = *case;
    let decoding = Decoding { n_best, max_answer_length, no_answer };
    let got = answers(std::slice::from_ref(&question), &windows, &logits, &decoding).remove(0);
    let close = |a: f64, b: f64| assert!((a - b).abs() < 2e-9, "{a} {b}");
    // A beam may hold nothing but `[CLS]`; the independent head always has an answer.
    assert!(case.head == "joint" || !got.answer.is_empty());
    if case.found {
        let texts: Vec<_> = got.n_best.iter().map(|c| (c.text.as_str(), c.start, c.end)).collect();
        let expected: Vec<_> = case.expected.iter().map(|e| (e.0.as_str(), e.1, e.2)).collect();
        assert_eq!(texts, expected);
        for (got, expected) in got.n_best.iter().zip(&case.expected) {
            close(got.score, expected.3);
            close(got.probability, expected.4);
        }
        close(got.no_answer_score, case.no_answer_score);
        let best = case.expected.iter().find(|expected| !expected.0.is_empty()).unwrap();
        assert_eq!((&got.answer, got.start, got.end), (&best.0, best.1, best.2));
        close(got.score, best.4);
    }
}

#[test]
fn decoding_equals_the_published_algorithms() {
    let tokenizer = bert();
    let Cases { mut cases } =
        serde_json::from_slice(&read("tests/fixtures/spans_cases.json")).unwrap();
    for case in &mut cases {
        check(case, &tokenizer);
    }
    for head in ["independent", "joint"] {
        let same = cases.iter().filter(|case| case.head == head && case.found && case.published);
        assert!(same.count() >= 120);
    }
}
