//! Labelled files that cannot be learnt from: each reader names the file, the row and what to do.

use electra::dataset::glue::{self, Split, read_glue};
use electra::dataset::{
    ColumnChoice, Columns, LabelledFile, Problem, choose_columns, choose_score_columns, detect,
    in_file, multi_label, read_questions, read_table, read_tagging, regression,
};
use electra::error::Result;

/// A bad file: its name and content, and words that the message must have.
type Case<'a> = (&'a str, Vec<u8>, &'a [&'a str]);

/// What a reader says of a file: its error, or what it skipped and how much it kept.
fn said(read: Result<(usize, Vec<Problem>)>) -> String {
    match read {
        Err(error) => error.to_string(),
        Ok((kept, skipped)) => {
            assert!(!skipped.is_empty(), "read without a complaint");
            let rows =
                skipped.iter().map(|problem| format!("row {}: {}", problem.row, problem.reason));
            format!("kept {kept}\n{}", rows.collect::<Vec<_>>().join("\n"))
        }
    }
}

fn all_say(cases: &[Case], read: impl Fn(&str, &[u8]) -> Result<(usize, Vec<Problem>)>) {
    assert!(cases.len() >= 8);
    for (name, bytes, words) in cases {
        let message = said(read(name, bytes));
        assert!(message.starts_with("kept") || message.starts_with(name), "{message}");
        for word in *words {
            assert!(message.contains(word), "{name}: {word:?} is not in\n{message}");
        }
        assert!(message.len() < 1000, "{name}: {} bytes of message", message.len());
    }
}

fn text(text: impl Into<String>) -> Vec<u8> {
    text.into().into_bytes()
}

/// Files that no reader takes, whatever the format.
fn no_text(name: &'static str) -> Vec<Case<'static>> {
    let zip = b"PK\x03\x04\x14\x00\x08\x00\x00\x00ab\n";
    // Half a letter of two.
    let utf16 = "\u{feff}a\t\u{1f431}\n".encode_utf16().take(4).chain([10]);
    let utf16 = utf16.flat_map(u16::to_le_bytes).collect();
    let blank = text("\u{feff} \r\n\n");
    vec![
        (name, vec![], &["the file is empty"]),
        (name, blank, &["the file is empty"]),
        (name, zip.to_vec(), &["a zip archive", "Unpack it"]),
        (name, vec![0; 99], &["row 1", "NUL", "save it as UTF-8"]),
        (name, utf16, &["row 1", "not UTF-16", "Save"]),
        (name, b"\xc3\xa9\tN\nb\xff\tN\n".to_vec(), &["row 2", "not UTF-8 at byte 6", "Save"]),
    ]
}

#[test]
fn tagging() {
    let many: String = (0..60).map(|i| format!("word\ttag{i}\n")).collect();
    let long = format!("a\tN\n\nb\tV\n\nc\t{}\n", "x".repeat(1 << 20));
    let mut cases = no_text("a.conll");
    cases.extend::<Vec<Case>>(vec![
        ("a.conll", text("a\tN\nb\tV\n\nc\tN\nd\n"), &["kept 1", "row 5: 1 columns where most lines have 2", "row 4"]),
        ("a.conll", text("a\tN\nb\tV\n\nc\tX\n"), &["kept 1", "row 4: unknown label \"X\""]),
        ("a.conll", text(&long), &["kept 2", "row 5: unknown label \"xxx"]),
        ("a.conll", text("a\tN\nb\tV\n\nc\t\n"), &["kept 1", "row 4: the label of \"c\" is empty"]),
        ("a.conll", text("a\tX\n"), &["a.conll: none of the 1 rows", "Row 1, for example: unknown label"]),
        ("a.conll", text("a text here\tN\na b\tV\n"), &["a.conll, row 1", "texts, not words", "a blank line ends"]),
        ("a.jsonl", text("{\"text\": \"a b\"}\n"), &["a.jsonl", "\"words\" or \"tokens\"", "\"text\"", "JSON lines: {"]),
        ("a.jsonl", text("{\"words\": [\"a\"], \"labels\": [\"N\"]}\n{\"words\": [\"b\"\n"), &["kept 1", "row 2: not a JSON object"]),
        ("a.jsonl", text("{\"words\": [\"a\"], \"labels\": [\"N\"]}\n{\"words\": [\"b\", \"c\"], \"labels\": [\"N\"]}\n"), &["row 2: 2 words, but 1 labels"]),
        ("a.jsonl", text("{\"words\": [\"a\"], \"labels\": [\"N\"]}\n{\"words\": \"b c\", \"labels\": [\"N\"]}\n"), &["row 2: \"words\" is no array; write"]),
        ("a.jsonl", text("{\"words\": [\"a\"], \"labels\": [\"N\"]}\n{\"words\": [3], \"labels\": [\"N\"]}\n"), &["row 2: word 1 is no text but \"3\""]),
        ("a.jsonl", text("{\"words\": [\"a\"], \"labels\": [\"N\"]}\n{\"words\": [], \"labels\": []}\n"), &["row 2: there are no words"]),
        ("a.jsonl", text("{\"words\": [\"a\"], \"labels\": [\"N\"]}\n{\"words\": [\"b\"]}\n"), &["row 2: \"labels\" is missing"]),
        ("a.jsonl", text("{\"words\": [\"a\"], \"labels\": [\"N\"]}\n{\"words\": [\"b\"], \"labels\": [1.5]}\n"), &["row 2: label 1 is \"1.5\""]),
        ("a.jsonl", text("{\"words\": [\"a\"], \"labels\": [\"N\"]}\n{\"words\": [\"b\"], \"labels\": [1]}\n"), &["a.jsonl, row 2", "words in row 1", "Write all labels as words"]),
        ("a.json", text("[{\"words\": [\"a\"]"), &["a.json: EOF", "Give an array of objects"]),
        ("a.jsonl", text("{\"words\"\n"), &["a.jsonl: none of the 1 rows", "Row 1"]),
        ("a.conll", text("-DOCSTART- O\n\n"), &["a.conll: there is no sentence", "blank line ends"]),
    ]);
    let known = ["N".to_string(), "V".to_string()];
    let read = |labels: Option<&[String]>, name: &str, bytes: &[u8]| {
        read_tagging(&LabelledFile::new(name, bytes), None, labels)
            .map(|set| (set.sentences.len(), set.skipped))
    };
    all_say(&cases, |name, bytes| read(Some(&known), name, bytes));
    let own = |content: &str| said(read(None, "a.conll", content.as_bytes()));
    assert!(
        own("a\tN\nb\tN\n")
            .contains("a.conll: every word has the label \"N\"\n  Give words of at least two")
    );
    assert!(own(&many).contains("60 different labels for 60 words"));
}

fn squad(questions: &str) -> Vec<u8> {
    let good = r#"{"id": "g", "question": "?", "answers": [{"text": "cat", "answer_start": 2}]}"#;
    text(format!(
        "{{\"data\": [{{\"paragraphs\": [{{\"context\": \"a cat, a dog, a dog\", \"qas\": [{good}, {questions}]}}]}}]}}"
    ))
}

#[test]
fn questions() {
    let long = format!(
        "[{{\"context\": \"c\", \"question\": \"q\", \"answer\": \"{}\"}}]",
        "x".repeat(1 << 20)
    );
    let line =
        |rest: &str| text(format!("{{\"question\": \"q\", \"context\": \"a cat\", {rest}}}"));
    let mut cases = no_text("a.json");
    cases.extend::<Vec<Case>>(vec![
        ("a.json", squad(r#"{"id": "x", "question": "?", "answers": [{"text": "dog", "answer_start": 11}]}"#), &["kept 1", "row 2: question \"x\": the answer \"dog\" is not at character 11", "count \"answer_start\" in characters from 0"]),
        ("a.json", squad(r#"{"id": "x", "question": "?", "answers": [{"text": "cow", "answer_start": 0}]}"#), &["row 2: question \"x\"", "\"cow\""]),
        ("a.json", squad(r#"{"id": "g", "question": "?", "answers": []}"#), &["row 2: the id \"g\" is that of row 1, too"]),
        ("a.json", squad(r#"{"id": "x", "answers": []}"#), &["row 2: question \"x\": there is no \"question\"; the fields are \"id\", \"answers\""]),
        ("a.json", squad(r#"{"id": "x", "question": 3}"#), &["row 2: question \"x\": \"question\" is no text but \"3\""]),
        ("a.json", squad(r#"{"id": "x", "question": "?", "answers": [{"text": "cat", "answer_start": "2"}]}"#), &["row 2: question \"x\": an answer starts at", "count characters from 0"]),
        ("a.json", squad(r#"{"id": "x", "question": "?", "answers": [{"text": "cat", "answer_start": -1}]}"#), &["an answer starts at \"-1\""]),
        ("a.json", squad(r#"{"id": "x", "question": "?", "is_impossible": true, "answers": [{"text": "cat", "answer_start": 2}]}"#), &["row 2: question \"x\": it is impossible, yet has an answer"]),
        ("a.json", squad(r#"{"id": "x", "question": "?", "is_impossible": false, "answers": []}"#), &["row 2: question \"x\": it has no answer; mark it"]),
        ("a.json", squad(r#"{"id": "x", "question": "?", "is_impossible": "no", "answers": []}"#), &["not true or false"]),
        ("a.json", squad(r#"{"id": [], "question": "?"}"#), &["row 2: the id is \"[]\""]),
        ("a.json", squad("7"), &["row 2: \"7\" is no question"]),
        ("a.json", text("{\"data\": [{\"paragraphs\": [{\"context\": \"c\", \"qas\": ["), &["a.json: EOF", "line 1", "Give SQuAD JSON"]),
        ("a.json", text("{\"version\": \"v2.0\",\n \"dat\": []}"), &["a.json: the file: there is no \"data\"; the fields are \"version\", \"dat\"", "Give SQuAD"]),
        ("a.json", text("{\"data\": 1}"), &["a.json: the file: \"data\" is no list"]),
        ("a.json", text("{\"data\": []}"), &["a.json: there is no question", "Give SQuAD"]),
        ("a.json", text("{\"data\": [{\"paragraphs\": [{\"qas\": [1, 2]}]}]}"), &["a.json: none of the 1", "Row 1", "data[0].paragraphs[0]: there is no \"context\"", "its 2 questions"]),
        ("a.json", text("{\"data\": [{}]}"), &["Row 1", "data[0]: there is no \"paragraphs\""]),
        ("a.csv", text("question,context\na,b\n"), &["a.csv, row 1: this is no JSON", "or JSON lines"]),
        ("a.jsonl", text("{\"question\": \"q\", \"context\": \"c\"}\n{oops\n"), &["kept 1", "row 2: not a JSON object"]),
        ("a.jsonl", text("{\"question\": \"q\", \"text\": \"c\"}\n"), &["a.jsonl: none of the 1", "Row 1", "no \"context\"; the fields are \"question\", \"text\""]),
        ("a.jsonl", line("\"answers\": \"cat\""), &["Row 1, for example: question \"1\": \"answers\" is"]),
        ("a.jsonl", line("\"answers\": {\"text\": [\"cat\"]}"), &["\"answers\" has no list \"answer_start\""]),
        ("a.jsonl", line("\"answers\": {\"text\": [\"cat\"], \"answer_start\": []}"), &["1 answers, but 0 starts"]),
        ("a.jsonl", line("\"answer\": \"\""), &["the answer is empty; write \"is_impossible\": true"]),
        ("a.jsonl", line("\"answer\": \"a\""), &["the answer \"a\" does not stand once in the context; give its start"]),
        ("a.jsonl", line("\"qas\": 5"), &["Row 1", "\"qas\" is no list"]),
        ("a.jsonl", line("\"qas\": [{\"question\": \"q\", \"detected_answers\": [{\"text\": \"dog\", \"char_spans\": [[2, 4]]}]}]"), &["question \"1\"", "the answer \"dog\" is not at character 2"]),
        ("a.jsonl", line("\"detected_answers\": [{\"char_spans\": [[2, 9]]}]"), &["the span 2 to 9 leaves the context"]),
        ("a.jsonl", line("\"detected_answers\": [{\"text\": \"cat\", \"char_spans\": [2]}]"), &["a span is \"2\""]),
        ("a.jsonl", line("\"detected_answers\": [{\"text\": \"cat\"}]"), &["no \"char_spans\""]),
        ("a.json", text(&long), &["a.json: none of the 1 rows", "Row 1", "xxx"]),
    ]);
    all_say(&cases, |name, bytes| {
        read_questions(name, bytes).map(|set| (set.examples.len(), set.skipped))
    });
}

#[test]
fn scores() {
    let long = format!("score,text\n1,a\n2,b\n{},c\n", "9x".repeat(1 << 19));
    let mut cases = no_text("a.csv");
    cases.extend::<Vec<Case>>(vec![
        ("a.csv", text("score,text\n1,a\n2,b\nhigh,c\n"), &["kept 2", "row 4: the score \"high\" is not a number"]),
        ("a.csv", text("score,text\n1,a\n2,b\nNaN,c\n"), &["row 4: the score \"NaN\" is not finite"]),
        ("a.csv", text("score,text\n1,a\n2,b\n1e999,c\n"), &["row 4: the score \"1e999\" is not finite"]),
        ("a.csv", text("score,text\n1,a\n2,b\n,c\n"), &["row 4: the score is empty"]),
        ("a.csv", text("score,text\n1,a\n2,b\n3,\n"), &["row 4: the text is empty"]),
        ("a.csv", text("score;text\n1;a\n2;b\n3,5;c\n"), &["row 4: the score \"3,5\" has a comma; write a point"]),
        ("a.csv", text("score,text\n1,a\n2,b\n3,c,d\n"), &["row 4: 3 fields where the first row has 2"]),
        ("a.csv", text("score,sentence1,sentence2\n1,a,b\n2,b,c\n3,c,\n"), &["row 4: the second text is empty"]),
        ("a.csv", text("score,text\n3,a\n3.0,b\n"), &["a.csv, score column \"score\": every row has the score 3", "Give rows with different"]),
        ("a.csv", text("score,text\nx,a\ny,b\n"), &["a.csv, examples: none of the 2 rows", "Row 2", "not a number"]),
        ("a.csv", text("score,text\n1,a\n2,\"b\n"), &["a.csv, row 3", "never ends", "Close the quote"]),
        ("a.csv", text("score,text\n"), &["a.csv", "no row below"]),
        ("a.jsonl", text("{\"score\": 1, \"text\": \"a\"}\n{\"score\": 2, \"text\": \"b\"}\n{\"text\": \"c\"}\n[]\n"), &["row 3: the score is empty", "row 4: not a JSON object"]),
        ("a.jsonl", text("{\"score\": 1, \"text\": \"a\"}\n{\"score\": [2], \"text\": \"b\"}\n{\"score\": 2, \"text\": \"c\"}\n"), &["row 2: the score \"[2]\" is not a number"]),
        ("a.csv", text(&long), &["row 4: the score \"9x9x"]),
    ]);
    let named = |pair: bool| Columns {
        text: if pair { "sentence1" } else { "text" }.into(),
        pair: pair.then(|| "sentence2".into()),
        label: Some("score".into()),
    };
    all_say(&cases, |name, bytes| {
        let table = read_table(name, bytes)?;
        let columns = named(table.columns.contains(&"sentence2".to_string()));
        let set = regression(&table, &columns, None).map_err(|error| in_file(name, error))?;
        Ok((set.examples.len(), set.skipped))
    });
    let found = |text: &str| {
        choose_score_columns(&read_table("a.csv", text.as_bytes())?, &ColumnChoice::default())
    };
    let message = found("name,text\nx,the cat\ny,the dog\n").unwrap_err().to_string();
    assert!(
        message.contains("score column: no column looks like scores")
            && message.contains("\"name\", \"text\"")
    );
}

#[test]
fn multiple_labels() {
    let own: String = (0..60).map(|i| format!("label {i}|l{i}\ta text\n")).collect();
    let mut cases = no_text("a.tsv");
    cases.extend::<Vec<Case>>(vec![
        ("a.tsv", text("labels\ttext\n\ta\n\tb\n"), &["a.tsv, labels: no row has a label", "Separate the labels"]),
        ("a.tsv", text("labels\ttext\nx|y\ta\ny|x\tb\n"), &["a.tsv, labels: every row has the same labels"]),
        ("a.tsv", text(format!("labels\ttext\n{own}")), &["a.tsv, labels: 120 different labels in 60 rows"]),
        ("a.tsv", text("labels\ttext\nx|y\ta\ny\t\n\tc\n"), &["kept 2", "row 3: the text is empty"]),
        ("a.tsv", text("labels\ttext\nx|y\ta\ny\tb\tc\n\td\n"), &["kept 2", "row 3: 3 fields"]),
        ("a.tsv", text("label\ttext\nx\ta\n"), &["columns: there is no column \"labels\"", "Did you mean \"label\"?"]),
        ("a.jsonl", text("{\"text\": \"a\", \"labels\": [\"x\"]}\n{\"text\": \"b\", \"labels\": [[\"y\"]]}\n{\"text\": \"c\", \"labels\": []}\n"), &["kept 2", "row 2", "is no label; write a text"]),
        ("a.jsonl", text("{\"text\": \"a\", \"labels\": [\"x\"]}\n{\"text\": \"b\"}\n{\"text\": \"c\", \"labels\": []}\n"), &["row 2: the labels are missing; write [] for none"]),
        ("a.jsonl", text("{\"text\": \"a\", \"labels\": [\"x\"]}\nnope\n{\"text\": \"c\", \"labels\": []}\n"), &["row 2: not a JSON object"]),
    ]);
    let columns = Columns { text: "text".into(), pair: None, label: Some("labels".into()) };
    all_say(&cases, |name, bytes| {
        let set = multi_label(&read_table(name, bytes)?, &columns, &[], None);
        let set = set.map_err(|error| in_file(name, error))?;
        Ok((set.examples.len(), set.skipped))
    });
    let bare = Columns { label: None, ..columns };
    let flags = |content: &str, flags: &[&str]| {
        let flags: Vec<String> = flags.iter().map(|flag| flag.to_string()).collect();
        let set =
            multi_label(&read_table("a.csv", content.as_bytes()).unwrap(), &bare, &flags, None);
        said(set.map(|set| (set.examples.len(), set.skipped)))
    };
    assert!(
        flags("text,x\na,1\nb,0\nc,7\n", &["x"])
            .contains("row 4: the flag \"x\" is \"7\", not 0 or 1")
    );
    assert!(flags("text,x\na,1\nb,0\n", &["y"]).contains("there is no column \"y\""));
    assert!(flags("text,x\na,1\nb,1\n", &["x"]).contains("every row has the same labels"));
    assert!(flags("text,x\na,1\nb,0\n", &[]).contains("label column: no column looks like labels"));
}

#[test]
fn glue() {
    let header = "index\tsentence1\tsentence2\tlabel\n";
    let good = "0\ta\tb\tentailment\n";
    let rte = |rows: &str| text([header, good, rows].concat());
    let long = format!("1\ta\tb\t{}\n", "x".repeat(1 << 20));
    let mut cases = no_text("train.tsv");
    cases.extend::<Vec<Case>>(vec![
        (
            "train.tsv",
            text("sentence\tlabel\na\t1\n"),
            &[
                "train.tsv, row 1: there is no column \"sentence1\" for rte",
                "\"sentence\", \"label\"",
                "Give GLUE's own files",
            ],
        ),
        ("train.tsv", text(header), &["train.tsv", "no row below"]),
        ("train.tsv", rte("1\ta\tb\n"), &["kept 1", "row 3: 3 fields where the first row has 4"]),
        ("train.tsv", rte("1\ta\tb\tneutral\n"), &["kept 1", "row 3: unknown label \"neutral\""]),
        ("train.tsv", rte("1\ta\tb\t\n"), &["row 3: the label is empty"]),
        ("train.tsv", rte("1\t\tb\tentailment\n"), &["row 3: the text is empty"]),
        ("train.tsv", rte("1\ta\t \tentailment\n"), &["row 3: the second text is empty"]),
        ("train.tsv", rte(&long), &["row 3: unknown label \"xxx"]),
        (
            "train.tsv",
            text([header, "0\ta\tb\t1\n"].concat()),
            &["train.tsv, examples: none of the 1 rows", "Row 2, for example: unknown label \"1\""],
        ),
        (
            "train.tsv",
            text("{\"sentence1\": \"a\"}\n{}\n"),
            &["train.tsv, row 1: there is no column"],
        ),
        (
            "train.csv",
            text("index,sentence1,sentence2,label\n0,a,b,entailment\n"),
            &["train.csv, row 1: there is no column"],
        ),
    ]);
    let read = |task: &str, split, name: &str, bytes: &[u8]| {
        let set = read_glue(glue::find(task)?, split, name, bytes);
        set.map(|set| (set.examples.len(), set.skipped))
    };
    all_say(&cases, |name, bytes| read("rte", Split::Train, name, bytes));
    let ragged = said(read("rte", Split::Test, "test.tsv", b"index\tsentence1\tsentence2\n0\ta\n"));
    assert!(
        ragged.starts_with("test.tsv, row 2: 2 fields") && ragged.contains("needs every row"),
        "{ragged}"
    );
    let split = said(read("rte", Split::Diagnostic, "d.tsv", b"index\n0\n"));
    assert!(
        split.starts_with("d.tsv: rte has no split Diagnostic") && split.contains("Only mnli"),
        "{split}"
    );
    let sts = said(read(
        "stsb",
        Split::Dev,
        "dev.tsv",
        b"sentence1\tsentence2\tscore\na\tb\t1\na\tb\tx\n",
    ));
    assert!(sts.contains("kept 1\nrow 3: the score \"x\" is not a number"), "{sts}");
    let cola = said(read("cola", Split::Dev, "dev.tsv", b"x\t1\t\ta\nx\t2\t\tb\nx\t1\n"));
    assert!(cola.contains("row 2: unknown label \"2\"\nrow 3: 2 fields"), "{cola}");
}

#[test]
fn tasks_that_cannot_be_detected() {
    let many: String = (0..40).map(|i| format!("{},a text\n", i % 20 * 5)).collect();
    let mut cases = no_text("a.csv");
    cases.extend::<Vec<Case>>(vec![
        (
            "a.csv",
            text(format!("label,text\n{many}")),
            &["a.csv, columns: it is open which task", "Name the task", "\"label\", \"text\""],
        ),
        (
            "a.csv",
            text("text\nthe cat\nthe dog\n"),
            &["a.csv, columns: it is open", "\"text\"", "Name the task"],
        ),
        ("a.csv", text("label,text\n1,\"a\n"), &["a.csv, row 2", "never ends"]),
        ("a.csv", text("label,text\n"), &["a.csv", "no row below"]),
        ("a.json", text("[1"), &["a.json", "EOF"]),
        ("a.jsonl", text("{\"a\"\n"), &["a.jsonl, row 1", "not a JSON object"]),
        ("a.csv", text("label,text\n1,a\n1,b\n"), &["every row has the label \"1\""]),
    ]);
    all_say(&cases, |name, bytes| {
        let kind = detect(&LabelledFile::new(name, bytes), &ColumnChoice::default())?.task;
        Ok((0, vec![Problem { row: 0, reason: kind.name().to_string() }]))
    });
}

/// Every reader on every prefix and on changed bytes of good files: an answer, never a panic.
#[test]
fn no_bytes_make_a_reader_panic() {
    let files: &[(&str, &str)] = &[
        ("a.conll", "# id = 1\na\tN\nné\tV\n\n-DOCSTART- O\n\n1\tb\t_\tN\n"),
        ("a.jsonl", "{\"words\": [\"a\", \"é\"], \"labels\": [\"N\", 1]}\n{\"tokens\": []}\n"),
        (
            "a.json",
            "{\"data\": [{\"paragraphs\": [{\"context\": \"né à Paris\", \"qas\": [{\"id\": \"x\", \"question\": \"?\", \"answers\": [{\"text\": \"Paris\", \"answer_start\": 5}]}]}]}]}",
        ),
        (
            "a.jsonl",
            "{\"header\": 1}\n{\"context\": \"né\", \"qas\": [{\"qid\": 1, \"question\": \"?\", \"detected_answers\": [{\"text\": \"né\", \"char_spans\": [[0, 1]]}]}]}",
        ),
        ("a.tsv", "index\tsentence1\tsentence2\tscore\tlabels\n0\ta\té\t2.5\tx|y\n1\tc\td\t5\ty\n"),
    ];
    for (name, good) in files {
        for place in 0..good.len() {
            read_all(name, &good.as_bytes()[..place]);
            for byte in *b"\"[,:\t\n9\xff" {
                let mut bytes = good.as_bytes().to_vec();
                bytes[place] = byte;
                read_all(name, &bytes);
            }
        }
    }
}

fn read_all(name: &str, bytes: &[u8]) {
    drop(read_tagging(&LabelledFile::new(name, bytes), None, None));
    drop(read_questions(name, bytes));
    drop(detect(&LabelledFile::new(name, bytes), &ColumnChoice::default()));
    for (task, split) in [("cola", Split::Train), ("stsb", Split::Train), ("rte", Split::Test)] {
        drop(read_glue(glue::find(task).unwrap(), split, name, bytes));
    }
    let Ok(table) = read_table(name, bytes) else { return };
    if let Ok(columns) = choose_score_columns(&table, &ColumnChoice::default()) {
        drop(regression(&table, &columns, None));
    }
    if let Ok(columns) = choose_columns(&table, &ColumnChoice::default()) {
        drop(multi_label(&table, &columns, &table.columns, None));
        drop(multi_label(&table, &columns, &[], None));
    }
}
