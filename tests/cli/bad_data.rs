//! Data files that cannot be learnt from.

use crate::workplace::{FAST, Workplace, csv};

/// Training on this file must fail with these words, and name the file.
fn training_fails(name: &str, content: impl AsRef<[u8]>, options: &str, words: &[&str]) {
    let work = Workplace::with_model_and_data();
    work.write(name, content);
    let words = [&[name], words].concat();
    let train = format!("finetune --model base --train {name} --output out {FAST} {options}");
    work.fails(&train, &words);
}

/// As an evaluation file it must fail, too, both beside training and after it.
fn evaluation_fails(content: impl AsRef<[u8]>, words: &[&str]) {
    let work = Workplace::with_classifier();
    work.write("eval.csv", content);
    let words = [&["eval.csv"], words].concat();
    let train = format!("finetune --model base --train data.csv --output out {FAST}");
    work.fails(&format!("{train} --eval eval.csv"), &words);
    let evaluate = "evaluate --model trained --device cpu --max-seq-length 16";
    work.fails(&format!("{evaluate} --data eval.csv --output rows.jsonl"), &words);
}

#[test]
fn files_with_nothing_in_them() {
    training_fails("none.csv", "", "", &["empty"]);
    training_fails("blank.csv", "\u{feff}\n  \r\n\n", "", &["empty"]);
    training_fails("header.csv", "label,text\n", "", &["no row below"]);
    training_fails("array.json", "[]", "", &[]);
    evaluation_fails("", &["empty"]);
    evaluation_fails("label,text\n", &["no row below"]);
}

#[test]
fn files_that_are_no_text() {
    let damaged = [csv(2).as_bytes(), "cat,café".as_bytes(), b"\xe9\n"].concat();
    training_fails("old.csv", &damaged, "", &["row 4", "UTF-8", "byte"]);
    evaluation_fails(&damaged, &["row 4", "UTF-8"]);
    training_fails("zeros.csv", [0; 1000], "", &["row 1", "NUL"]);
    training_fails("zero.csv", csv(8).replace("cat,the", "cat,t\0e"), "", &["row 2", "NUL"]);
    training_fails("picture.csv", b"\x89PNG\r\n\x1a\n", "", &["a picture (PNG)", "saved as CSV"]);
}

#[test]
fn files_with_broken_rows() {
    let open = csv(8) + "cat,\"never closed\n";
    training_fails("open.csv", &open, "", &["row 10", "quote", "never ends"]);
    evaluation_fails(&open, &["row 10", "never ends"]);
    training_fails("cut.json", "[{\"text\": \"a\"},", "", &["EOF", "array of objects"]);
    training_fails("bad.jsonl", "{\"text\": \"a\"\n{\n", "", &["row 1", "JSON"]);
    training_fails("ragged.csv", "label,text\na\nb\n", "", &["row 2", "fields"]);
}

#[test]
fn labels_that_cannot_be_learnt() {
    let one = csv(8).replace("dog,", "cat,");
    training_fails("one.csv", one, "", &["every row has the label \"cat\"", "at least two"]);
    let own: String = (0..60).map(|i| format!("label {i},the cat\n")).collect();
    training_fails("own.csv", format!("label,text\n{own}"), "", &["60 different labels"]);
    training_fails("few.csv", "label,text\ncat,a\ndog,b\n", "", &["too few rows"]);
    training_fails("gaps.csv", "label,text\ncat,\n,b\ndog,\n", "", &["no row has both"]);
}

#[test]
fn columns_that_are_not_there() {
    let words = ["no column \"lable\"", "\"label\", \"text\"", "Did you mean \"label\"?"];
    training_fails("a.csv", csv(8), "--label-column lable", &words);
    training_fails("a.csv", csv(8), "--text-column Text", &["Did you mean \"text\"?"]);
    training_fails("a.csv", csv(8), "--pair-column pair", &["no column \"pair\""]);
    training_fails("a.csv", csv(8), "--text-column label --label-column label", &["twice"]);
    training_fails(
        "a.csv",
        "text\nthe cat\nthe dog\n",
        "",
        &["a.csv", "no column looks like labels", "label column"],
    );
    training_fails("a.csv", "the cat\n".repeat(8), "", &["column"]);
}

/// Whose labels are unknown cannot be measured on, though the text is all there.
#[test]
fn evaluation_files_without_labels_of_the_model() {
    evaluation_fails(
        csv(8).replace("cat", "cow").replace("dog", "hen"),
        &["unknown label \"cow\""],
    );
    evaluation_fails("text\nthe cat\nthe dog\n", &["eval.csv, label column", "--label-column"]);
    let own: String = (0..8).map(|i| format!("the cat {i},note {i}\n")).collect();
    evaluation_fails(format!("text,note\n{own}"), &["eval.csv, label column"]);
}

/// The column is asked for in both files, and the error says which of them lacks it.
#[test]
fn an_evaluation_file_with_other_columns() {
    let work = Workplace::with_model_and_data();
    work.write("eval.csv", csv(8).replace("label,", "kind,"));
    let train = format!("finetune --model base --train data.csv --output out {FAST}");
    let words = ["eval.csv", "no column \"label\""];
    work.fails(&format!("{train} --eval eval.csv --label-column label"), &words);
}

#[test]
fn files_that_are_not_there() {
    let work = Workplace::with_classifier();
    let train = format!("finetune --model base --output out {FAST}");
    let evaluate = "evaluate --model trained --device cpu --max-seq-length 16";
    for name in ["nowhere.csv", "base"] {
        let words = [name, "cannot be read"];
        work.fails(&format!("{train} --train {name}"), &words);
        work.fails(&format!("{train} --train data.csv --eval {name}"), &words);
        work.fails(&format!("{evaluate} --data {name}"), &words);
    }
}
