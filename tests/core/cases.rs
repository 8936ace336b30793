//! Files as people have them (`fixtures/cases/`), each with its siblings: what is right stands here.

use electra::dataset::{
    ColumnChoice, Kind, LabelledFile, Questions, Table, Tagging, Texts, choose_columns,
    classification, detect, read_questions, read_table, read_tagging,
};

use crate::fixture;

fn case(name: &str) -> Vec<u8> {
    fixture(&format!("cases/{name}"))
}

fn detected(name: &str, bytes: &[u8]) -> Kind {
    detect(&LabelledFile::new(name, bytes), &ColumnChoice::default()).unwrap().task
}

fn classes(table: &Table) -> Texts {
    let columns = choose_columns(table, &ColumnChoice::default()).unwrap();
    classification(table, &columns, None).unwrap()
}

/// A file of texts and labels, read as a whole.
#[track_caller]
fn reads(name: &str, bytes: &[u8], rows: usize, labels: &[&str]) -> Texts {
    let table = read_table(name, bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    let set = classes(&table);
    assert_eq!((set.examples.len(), set.labels.join(" ")), (rows, labels.join(" ")), "{name}");
    assert_eq!(set.skipped, [], "{name}");
    assert!(set.examples.iter().all(|e| !e.text.contains('\r')), "{name}");
    set
}

#[test]
fn lines_may_end_with_several_carriage_returns() {
    for (name, rows) in [("reviews", 36), ("mixed", 24), ("last", 24), ("space", 24)] {
        let name = format!("01-crcrlf/{name}.csv");
        let set = reads(&name, &case(&name), rows, &["neg", "pos"]);
        let commas = set.examples.iter().filter(|e| e.text.contains(", ")).count();
        assert!(commas >= rows / 3, "{name}: {commas}");
        assert!(set.examples.iter().all(|e| !e.text.contains('"')), "{name}");
    }
}

#[test]
fn fields_and_lines_end_as_in_any_spreadsheet() {
    for text in [
        "label,text\r\r\r\npos,\"a, b\"\r\r\r\nneg,c\r\r\r\n",
        "label,text\rpos,\"a, b\"\rneg,c\r",
        // Rows that end as on a Mac, a line end of another kind in a cell.
        "label,text\rpos,\"a, b\nd\"\rneg,c",
        "label, text\npos, \"a, b\"\nneg, c\n",
        "label,text\n\"pos\"  ,  \"a, b\"  \n\"neg\",c\n",
        "label,text\npos,\"a, b\",\nneg,c,\n",
        "label,text,\npos,\"a, b\",\nneg,c,\n",
        "\u{feff}\"label\",\"text\"\n\"pos\",\"a, b\"\n\"neg\",\"c\"\n",
    ] {
        let set = reads("a.csv", text.as_bytes(), 2, &["neg", "pos"]);
        assert!(set.examples[0].text.trim().starts_with("a, b"), "{text:?}");
    }
    // Whatever the name says.
    let padded = "label;text\npos;a, b;\nneg;c, d;\npos;e, f;\n";
    reads("a.txt", padded.as_bytes(), 3, &["neg", "pos"]);
}

#[test]
fn a_first_line_for_excel_names_the_delimiter() {
    for (name, rows) in [("export", 36), ("b", 24), ("c", 24)] {
        let name = format!("09-sep-line/{name}.csv");
        let set = reads(&name, &case(&name), rows, &["neg", "pos"]);
        assert_eq!(set.examples[0].row, 3, "{name}");
    }
    for line in ["sep=|", "\u{feff}sep=|\r", "Sep=|", "\"sep=|\"", "sep=||", "sep=|,"] {
        let text = format!("{line}\nlabel|text\npos|a, b; c\nneg|d\n");
        reads("a.csv", text.as_bytes(), 2, &["neg", "pos"]);
    }
    reads("a.csv", b"sep=\\t\nlabel\ttext\npos\ta, b\nneg\tc\n", 2, &["neg", "pos"]);
    // A text that starts so is none.
    let table = read_table("a.csv", b"sep=long words,label\na b,x\nc d,y\n").unwrap();
    assert_eq!(table.columns, ["sep=long words", "label"]);
}

#[test]
fn an_empty_answer_is_none() {
    let read = |name: &str| -> Questions {
        let name = format!("05-squad-empty-answers/{name}.json");
        read_questions(&name, &case(&name)).unwrap()
    };
    let plain = read("plain");
    assert_eq!((plain.examples.len(), plain.has_impossible), (12, true));
    assert_eq!(plain.examples.iter().filter(|q| q.is_impossible).count(), 4);
    assert_eq!(read("minus1"), plain);
    assert_eq!(read("zero"), plain);
}

#[test]
fn an_empty_answer_is_none_in_every_form() {
    let line = |rest: &str| format!(r#"{{"question": "q", "context": "a cat", {rest}}}"#);
    for rest in [
        r#""answers": [{"text": "", "answer_start": -1}]"#,
        r#""answers": [{"text": "", "answer_start": 0}], "is_impossible": false"#,
        r#""answers": [{"text": null, "answer_start": null}]"#,
        r#""answers": [null]"#,
        r#""answers": {"text": [""], "answer_start": [-1]}"#,
        r#""answers": {"text": [], "answer_start": []}"#,
        r#""answer": "", "answer_start": -1"#,
        r#""answers": null, "is_impossible": true"#,
        r#""is_impossible": true"#,
    ] {
        let set = read_questions("a.jsonl", line(rest).as_bytes()).unwrap();
        let [question] = &set.examples[..] else { panic!("{rest}: {set:?}") };
        assert!(question.is_impossible && question.golds.is_empty(), "{rest}");
        assert_eq!(set.skipped, [], "{rest}");
    }
    // Of several annotators one found nothing.
    let both = line(
        r#""answers": [{"text": "", "answer_start": -1}, {"text": "cat", "answer_start": 2}]"#,
    );
    let set = read_questions("a.jsonl", both.as_bytes()).unwrap();
    assert!(!set.examples[0].is_impossible && set.examples[0].golds == ["cat"]);
}

#[test]
fn one_document_may_hold_all_rows() {
    for text in [
        r#"{"text": {"0": "a b", "1": "c"}, "label": {"0": "pos", "1": "neg"}}"#,
        r#"{"text": ["a b", "c"], "label": ["pos", "neg"]}"#,
        r#"{"0": {"text": "a b", "label": "pos"}, "1": {"text": "c", "label": "neg"}}"#,
        r#"{"columns": ["text", "label"], "index": [0, 1], "data": [["a b", "pos"], ["c", "neg"]]}"#,
        r#"{"data": [{"text": "a b", "label": "pos"}, {"text": "c", "label": "neg"}]}"#,
        r#"{"data": {"text": ["a b", "c"], "label": ["pos", "neg"]}}"#,
        r#"{"schema": {"fields": []}, "data": [{"index": 0, "text": "a b", "label": "pos"}, {"index": 1, "text": "c", "label": "neg"}]}"#,
        r#"{"features": [{"name": "text"}], "rows": [
            {"row_idx": 0, "row": {"text": "a b", "label": "pos"}, "truncated_cells": []},
            {"row_idx": 1, "row": {"text": "c", "label": "neg"}, "truncated_cells": []}], "num_rows_total": 2}"#,
    ] {
        let printed: serde_json::Value = serde_json::from_str(text).unwrap();
        for text in [text.to_string(), format!("{printed:#}\n")] {
            for name in ["a.json", "a.jsonl", "a.txt"] {
                let set = reads(name, text.as_bytes(), 2, &["neg", "pos"]);
                assert_eq!((set.examples[0].text.as_str(), set.examples[1].row), ("a b", 2));
                assert_eq!(detected(name, text.as_bytes()), Kind::Classification, "{text}");
            }
        }
    }
    let lists = br#"{"tokens": [["a", "b"], ["c"]], "tags": [["X", "Y"], ["X"]]}"#;
    let set = read_tagging(&LabelledFile::new("a.json", lists), None, None);
    assert_eq!(set.unwrap().sentences.len(), 2);
    let rows = br#"{"version": "1", "data": [{"id": "x", "question": "q", "context": "a cat",
        "answers": {"text": ["cat"], "answer_start": [2]}}]}"#;
    assert_eq!(detected("a.json", rows), Kind::QuestionAnswering);
    assert_eq!(read_questions("a.json", rows).unwrap().examples[0].golds, ["cat"]);
}

#[test]
fn a_document_of_another_form_is_told_the_right_one() {
    for (text, problem) in [
        (
            "{\n\"text\": \"a\",\n\"label\": 1}",
            "none of its fields holds rows: \"text\", \"label\"",
        ),
        (r#"{"text": ["a", "b"], "label": [1]}"#, "\"text\" has 2 values, but \"label\" has 1"),
        (r#"{"columns": ["a"], "data": [[1], []]}"#, "row 2 of \"data\""),
        (r#"{"meta": 1, "data": [1, 2]}"#, "\"data\" is a list of \"1\""),
    ] {
        let message = read_table("a.json", text.as_bytes()).unwrap_err().to_string();
        assert!(message.starts_with("a.json: ") && message.contains(problem), "{message}");
        assert!(
            message.contains("Give one object a line") && message.contains("orient=\"records\"")
        );
    }
}

#[test]
fn the_same_number_is_the_same_label() {
    let known = reads("a.csv", b"text,label\na,0.0\nb,1.0\n", 2, &["0.0", "1.0"]).labels;
    let table = read_table("b.csv", b"text,label\na,1\nb,0\nc,+1.00\nd,2\n").unwrap();
    let columns = choose_columns(&table, &ColumnChoice::default()).unwrap();
    let set = classification(&table, &columns, Some(&known)).unwrap();
    let classes: Vec<_> = set.examples.iter().map(|e| e.class()).collect();
    assert_eq!(classes, [Some(1), Some(0), Some(1)]);
    assert_eq!(set.skipped[0].reason, "unknown label \"2\"");
    reads("a.csv", b"text,label\na,0\nb,0.0\nc,1\nd,1.0\n", 4, &["0", "1"]);
}

fn tagged(name: &str, bytes: &[u8]) -> Tagging {
    let set = read_tagging(&LabelledFile::new(name, bytes), None, None)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(set.skipped, [], "{name}");
    set
}

/// The words and tags of a sentence, `word/tag` with blanks between.
fn sentence(set: &Tagging, number: usize) -> String {
    let sentence = &set.sentences[number];
    let labels = sentence.labels.iter().flatten().map(|label| &set.labels[*label]);
    let words = sentence.words.iter().zip(labels).map(|(word, tag)| format!("{word}/{tag}"));
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_table_may_hold_a_word_a_row() {
    for (name, per) in [("ner", "PER"), ("ner_dataset", "per")] {
        let name = format!("02-ner-csv/{name}.csv");
        let set = tagged(&name, &case(&name));
        assert_eq!(detected(&name, &case(&name)), Kind::Tagging);
        assert_eq!(set.sentences.len(), 16);
        let expected = format!(
            "Anna/B-{per} Berg/I-{per} works/O for/O Acme/B-ORG Corp/I-ORG in/O Oslo/B-LOC"
        );
        assert_eq!(sentence(&set, 0), expected);
        assert!(set.notes[0].contains("--tag-column"), "{:?}", set.notes);
    }
    let parts = read_tagging(
        &LabelledFile::new("a.csv", &case("02-ner-csv/ner_dataset.csv")),
        Some("POS"),
        None,
    );
    assert!(parts.unwrap_err().to_string().contains("every word has the label \"NN\""));
}

#[test]
fn a_word_a_row_in_every_form() {
    for (name, text) in [
        ("a.csv", "sentence_id,words,labels\n0,a,B-X\n0,b,O\n1,c,O\n"),
        ("a.csv", "Sentence #,Word,POS,Tag\nSentence: 1,a,N,B-X\n,b,V,O\nSentence: 2,c,V,O\n"),
        ("a.csv", "word;tag\na;B-X\nb;O\n\nc;O\n"),
        ("a.csv", "word,tag\r\na,B-X\r\nb,O\r\n,\r\nc,O\r\n"),
        ("a.tsv", "token\tner_tag\na\tB-X\nb\tO\n\nc\tO\n"),
        ("a.tsv", "token\tlabel\n\na\tB-X\nb\tO\n\nc\tO\n"),
        (
            "a.jsonl",
            "{\"sentence_id\": 1, \"word\": \"a\", \"tag\": \"B-X\"}\n{\"sentence_id\": 1, \"word\": \"b\", \"tag\": \"O\"}\n{\"sentence_id\": 2, \"word\": \"c\", \"tag\": \"O\"}\n",
        ),
        (
            "a.json",
            "{\"sentence_id\": [1, 1, 2], \"word\": [\"a\", \"b\", \"c\"], \"tag\": [\"B-X\", \"O\", \"O\"]}",
        ),
        ("a.csv", "text,labels\na b,B-X O\nc d e,O O O\nc,O\n"),
        (
            "a.csv",
            "sentence,tags\n\"['a', 'b']\",\"['B-X', 'O']\"\n\"['c', 'd']\",\"['O', 'O']\"\n",
        ),
        ("a.conll", "a\tB-X\t\nb\tO\t\n\t\nc\tO\t\n"),
        ("a.conll", "a B-X\r\r\nb O\r\r\n\r\r\nc O\r\r\n"),
        ("a.conll", "a B-X\rb O\r\rc O\r"),
        ("a.conll", "\u{feff}a\tB-X\nb\tO\n\nc\tO\n"),
    ] {
        let set = tagged(name, text.as_bytes());
        assert_eq!(sentence(&set, 0), "a/B-X b/O", "{text:?}");
        assert!(sentence(&set, 1).starts_with("c/O"), "{text:?}");
        assert_eq!(detected(name, text.as_bytes()), Kind::Tagging, "{text:?}");
    }
}

#[test]
fn words_are_counted_in_germeval() {
    let (name, bytes) = ("04-germeval/NER-de-train.tsv", case("04-germeval/NER-de-train.tsv"));
    let set = tagged(name, &bytes);
    assert_eq!(detected(name, &bytes), Kind::Tagging);
    assert_eq!(sentence(&set, 0), "Anna/B-PER Berg/I-PER arbeitet/O in/O Oslo/B-LOC ./O");
    assert_eq!(sentence(&set, 1), "Die/O Universität/B-ORG Oslo/I-ORG wächst/O ./O");
    assert!(set.notes[0].contains("tags from column 3 of 4; --tag-column"), "{:?}", set.notes);
    let inner = read_tagging(&LabelledFile::new(name, &bytes), Some("4"), None).unwrap();
    assert_eq!(sentence(&inner, 1), "Die/O Universität/O Oslo/B-LOC wächst/O ./O");
    let error =
        read_tagging(&LabelledFile::new(name, &bytes), Some("5"), None).unwrap_err().to_string();
    assert!(error.contains("no column \"5\"") && error.contains("from 1 to 4"), "{error}");
    // CoNLL-2003 has its entities last, and counts no words.
    let conll =
        tagged("a.conll", b"1 CD B-NP O\nEU NNP I-NP B-ORG\n\n1 CD B-NP O\nEU NNP O B-ORG\n");
    assert_eq!(sentence(&conll, 0), "1/O EU/B-ORG");
}

#[test]
fn a_sentence_may_stand_beside_its_tags() {
    for (name, sentences) in [("train", 20), ("unlike", 40)] {
        let name = format!("11-koelectra-naver-ner/{name}.tsv");
        let set = tagged(&name, &case(&name));
        assert_eq!(detected(&name, &case(&name)), Kind::Tagging);
        assert_eq!(set.sentences.len(), sentences);
    }
    let set = tagged("a.tsv", &case("11-koelectra-naver-ner/train.tsv"));
    assert!(sentence(&set, 0).starts_with("안나/PER-B 베르그/PER-I 는/O 오슬로/LOC-B"));
    // Texts with a class stay what they are.
    let texts = b"a good film\tvery good\na bad film\tvery bad\nan odd film\tvery bad\n";
    assert_eq!(detected("a.tsv", texts), Kind::Classification);
    let many: String = (0..60).map(|i| format!("label {},the cat\n", i % 9)).collect();
    for header in ["label,text\n", ""] {
        assert_eq!(
            detected("a.csv", (header.to_string() + &many).as_bytes()),
            Kind::Classification
        );
    }
    // Parts of speech are no entities, but sentences are of many lengths.
    let speech: String =
        ["the cat\tDT NN", "cats sleep well\tNN VB RB", "so do the dogs\tRB VB DT NN"]
            .map(|line| line.to_string() + "\n")
            .concat()
            .repeat(3);
    assert_eq!(detected("a.tsv", speech.as_bytes()), Kind::Tagging);
}

#[test]
fn a_task_that_could_be_another_is_refused() {
    for text in [
        "word,tag\nAnna,B-PER\nBerg,I-PER\nsleeps,O\n",
        "Anna,B-PER\nsleeps,O\nBerg,B-PER\nsits,O\nEve,B-PER\nwaits,O\n",
    ] {
        let error = detect(&LabelledFile::new("a.csv", text.as_bytes()), &ColumnChoice::default())
            .unwrap_err();
        let error = error.to_string();
        assert!(error.contains("where a sentence ends") && error.contains("--task"), "{error}");
    }
    let found = detect(
        &LabelledFile::new("a.csv", b"kind,text\nx,a b\ny,c d\nx,e f\n"),
        &ColumnChoice::default(),
    );
    let reason = found.unwrap().reason;
    assert!(reason.contains("\"kind\" holds 2 values") && reason.contains("\"text\""), "{reason}");
    // The column that is asked for tells the task.
    let asked = ColumnChoice { label: Some("score".into()), ..ColumnChoice::default() };
    let table = b"label,score,text\nx,0.5,a b\ny,1.5,c d\nx,2.0,e f\n";
    assert_eq!(detect(&LabelledFile::new("a.csv", table), &asked).unwrap().task, Kind::Regression);
}
