//! Spreadsheets (`fixtures/sheets/`, written by `fixtures/generate_sheets.py`): each program's file
//! holds the same mails.

use electra::dataset::{
    ColumnChoice, Kind, LabelledFile, Row, choose_columns, classification, detect, read_questions,
    read_table, read_tagging,
};

use crate::fixture;

const MAILS: [&str; 2] = ["mails.xlsx", "mails.ods"];

fn sheet(name: &str) -> Vec<u8> {
    fixture(&format!("sheets/{name}"))
}

fn text(row: &Row) -> String {
    let cells = row.cells.iter().map(|cell| cell.as_deref().unwrap_or("-"));
    cells.collect::<Vec<_>>().join(" | ")
}

fn error(name: &str, bytes: &[u8], sheet: Option<&str>) -> String {
    LabelledFile::new(name, bytes).with_sheet(sheet).table().unwrap_err().to_string()
}

#[test]
fn cells_are_the_text_that_they_show() {
    for name in MAILS {
        let table = read_table(name, &sheet(name)).unwrap();
        assert_eq!((table.format.name(), table.has_header), ("spreadsheet", true), "{name}");
        assert_eq!(table.columns, ["no", "received", "message", "topic", "hours"], "{name}");
        let rows: Vec<_> = table.rows.iter().map(|row| (row.number, text(row))).collect();
        // "delivery" is one cell, merged over two rows; in the .xlsx the last cell is #N/A.
        let expected = [
            (5, "1 | 2026-03-09 | The invoice says \"due\", and is wrong | billing | 0.3"),
            (6, "2 | 2026-03-10 12:30:00 | My password is\nnot accepted | login | 3"),
            (7, "3 |  | The parcel never came; für 5 € | delivery | "),
            (8, " | 2026-03-09 | Where is my package | delivery | 1.25"),
            (9, "5 | 2026-03-09 |  | login | 2"),
            (10, "7 | 2026-03-09 | I was charged twice | billing | 12345678"),
            (11, "8 | 2026-03-09 | 2026 | login | TRUE"),
        ];
        let last = if name == "mails.xlsx" { "" } else { "TRUE" };
        let expected = expected.map(|(number, text)| (number, text.replace("TRUE", last)));
        assert_eq!(rows, expected, "{name}");
        let above: Vec<_> = table.problems.iter().map(|problem| problem.row).collect();
        assert_eq!(above, [2], "{name}");
    }
}

#[test]
fn a_sheet_is_a_table_like_any_other() {
    for name in MAILS {
        let bytes = sheet(name);
        let file = LabelledFile::new(name, &bytes);
        assert_eq!(detect(&file, &ColumnChoice::default()).unwrap().task, Kind::Classification);
        let table = file.table().unwrap();
        let columns = choose_columns(table, &ColumnChoice::default()).unwrap();
        assert_eq!((&columns.text[..], columns.label.as_deref()), ("message", Some("topic")));
        let set = classification(table, &columns, None).unwrap();
        assert_eq!((set.examples.len(), &set.labels.join(" ")[..]), (6, "billing delivery login"));
        let skipped: Vec<_> = set.skipped.iter().map(|p| (p.row, &p.reason[..])).collect();
        assert_eq!(skipped, [(2, "it stands above the table"), (9, "the text is empty")]);
    }
}

#[test]
fn one_of_several_sheets_can_be_named() {
    for name in MAILS {
        let bytes = sheet(name);
        let first = LabelledFile::new(name, &bytes);
        let titles = ["Mails", "Later"].map(String::from);
        assert_eq!(first.sheets().unwrap(), Some((&titles[..], "Mails")), "{name}");
        assert!(first.note().unwrap().contains("sheet \"Mails\" of \"Mails\", \"Later\""));
        let second = LabelledFile::new(name, &bytes).with_sheet(Some("Later"));
        let table = second.table().unwrap();
        assert_eq!((table.columns.join(" "), table.rows.len()), ("message topic".into(), 12));
        let message = error(name, &bytes, Some("Lates"));
        assert!(message.starts_with(&format!("{name}: there is no sheet \"Lates\"")));
        assert!(message.contains("Did you mean \"Later\"? The sheets are \"Read me\""));
        let message = error(name, &bytes, Some("Empty"));
        assert!(message.starts_with(&format!("{name}, sheet \"Empty\": the sheet is empty")));
    }
    let single = sheet("support.xlsx");
    let single = LabelledFile::new("support.xlsx", &single);
    assert_eq!((single.note(), single.table().unwrap().rows.len()), (None, 90));
}

#[test]
fn what_cannot_be_read_is_said_in_peoples_words() {
    let says = |name: &str, bytes: &[u8], words: &[&str]| {
        let message = error(name, bytes, None);
        assert!(message.starts_with(name), "{message}");
        for word in words {
            assert!(message.contains(word), "{word:?} is not in\n{message}");
        }
    };
    says("a.xlsx", &sheet("locked.xlsx"), &["protected with a password", "Save it without"]);
    says("a.xlsx", &sheet("empty.xlsx"), &["the sheet is empty"]);
    says("a.xlsx", &sheet("header.xlsx"), &["a header, but no row below it"]);
    for name in MAILS {
        let bytes = sheet(name);
        says(name, &bytes[..bytes.len() - 30], &["cannot be read", "save it again"]);
    }
    let book = sheet("mails.xlsx");
    let file = LabelledFile::new("a.xlsx", &book);
    let message = read_tagging(&file, None, None).unwrap_err().to_string();
    assert!(message.contains("no columns of words and their tags"), "{message}");
    let message = read_questions("a.xlsx", &book).unwrap_err().to_string();
    assert!(message.contains("a spreadsheet (Excel)"), "{message}");
}

/// On every prefix and on changed bytes: an answer, never a panic.
#[test]
fn no_bytes_make_the_reader_panic() {
    for name in MAILS {
        let good = sheet(name);
        for place in (0..good.len()).step_by(7) {
            drop(read_table(name, &good[..place]));
            let mut bytes = good.clone();
            for byte in [0, 0xff, b'<'] {
                bytes[place] = byte;
                drop(read_table(name, &bytes));
            }
        }
    }
}
