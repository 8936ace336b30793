//! Files as people have them (`fixtures/cases/`), each with its siblings: what is right stands here.

use std::path::Path;

use electra::dataset::{
    ColumnChoice, Kind, Questions, Table, Texts, choose_columns, classification, detect,
    read_questions, read_table, read_tagging,
};

fn case(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cases");
    std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
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
                assert_eq!(detect(name, text.as_bytes()).unwrap(), Kind::Classification, "{text}");
            }
        }
    }
    let set = read_tagging(
        "a.json",
        br#"{"tokens": [["a", "b"], ["c"]], "tags": [["X", "Y"], ["X"]]}"#,
        None,
    );
    assert_eq!(set.unwrap().sentences.len(), 2);
    let rows = br#"{"version": "1", "data": [{"id": "x", "question": "q", "context": "a cat",
        "answers": {"text": ["cat"], "answer_start": [2]}}]}"#;
    assert_eq!(detect("a.json", rows).unwrap(), Kind::QuestionAnswering);
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
