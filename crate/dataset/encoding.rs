//! The bytes of a file to its text, whatever program wrote them: UTF-8, UTF-16 or
//! windows-1252. What is none of these is named.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::error::{Error, Result};

/// A file's text.
#[derive(Debug, Clone)]
pub(super) struct Decoded<'a> {
    pub text: Cow<'a, str>,
    /// How it was read, where that is not as UTF-8.
    pub note: Option<String>,
}

/// The text of a file, which must hold some; lines end with LF, or CR and LF.
pub(super) fn decode<'a>(name: &str, bytes: &'a [u8]) -> Result<Decoded<'a>> {
    if let Some((what, remedy)) = foreign(bytes) {
        return Err(Error::new(name, format!("is {what}, and no text")).fix(remedy));
    }
    let (text, note) = to_text(name, bytes)?;
    if let Some(offset) = text.find('\0') {
        let row = 1 + text[..offset].matches('\n').count();
        return Err(Error::new(format!("{name}, row {row}"), "a NUL byte")
            .fix("The file is damaged, or no text at all: save it as UTF-8."));
    }
    if text.trim().is_empty() {
        return Err(Error::new(name, "the file is empty"));
    }
    let text = if ends_lines_with_cr(&text) { text.replace('\r', "\n").into() } else { text };
    Ok(Decoded { text, note })
}

fn to_text<'a>(name: &str, bytes: &'a [u8]) -> Result<(Cow<'a, str>, Option<String>)> {
    let marked = Encoding::for_bom(bytes).map(|(encoding, length)| (encoding, &bytes[length..]));
    let (encoding, bytes) = match marked {
        Some(marked) => marked,
        None => (unmarked(bytes), bytes),
    };
    if encoding == UTF_8 {
        return utf8(name, bytes).map(|text| (text.into(), None));
    }
    let (text, is_broken) = encoding.decode_without_bom_handling(bytes);
    // Bytes that windows-1252 has no letter for come out as these.
    let is_text =
        |letter: char| !letter.is_control() || "\0\t\n\r\u{b}\u{c}\u{85}".contains(letter);
    let wrong = if is_broken { text.find('\u{fffd}') } else { None };
    let wrong = wrong.or_else(|| text.find(|letter| !is_text(letter)));
    match wrong {
        None => Ok((text, Some(format!("read as {}", title(encoding))))),
        // UTF-8 is what was expected.
        Some(_) if encoding == WINDOWS_1252 => utf8(name, bytes).map(|text| (text.into(), None)),
        Some(offset) => {
            let row = 1 + text[..offset].matches('\n').count();
            Err(Error::new(format!("{name}, row {row}"), format!("not {}", title(encoding)))
                .fix(SAVE))
        }
    }
}

const SAVE: &str = "Save the file as UTF-8 (in a spreadsheet: \"CSV UTF-8\").";

fn title(encoding: &'static Encoding) -> &'static str {
    match encoding.name() {
        "UTF-16LE" | "UTF-16BE" => "UTF-16",
        name if name == WINDOWS_1252.name() => "windows-1252, as older spreadsheets save",
        name => name,
    }
}

/// Of a file without a byte order mark.
fn unmarked(bytes: &[u8]) -> &'static Encoding {
    if let Some(encoding) = utf16(bytes) {
        return encoding;
    }
    match std::str::from_utf8(bytes) {
        Ok(_) => UTF_8,
        Err(_) if has_utf8_letters(bytes) || bytes.contains(&0) => UTF_8,
        Err(_) => WINDOWS_1252,
    }
}

/// Is there a letter beyond ASCII that is UTF-8? In windows-1252 two such bytes in a row are next
/// to never one. Then the file is UTF-8, and damaged.
fn has_utf8_letters(bytes: &[u8]) -> bool {
    let mut chunks = bytes.utf8_chunks();
    chunks.any(|chunk| !chunk.valid().is_ascii())
}

/// UTF-16 of mostly Latin letters: every other byte is zero.
fn utf16(bytes: &[u8]) -> Option<&'static Encoding> {
    let start = &bytes[..bytes.len().min(2000) & !1];
    let pairs = start.len() / 2;
    let zeros = |side: usize| start.iter().skip(side).step_by(2).filter(|byte| **byte == 0).count();
    let (first, second) = (zeros(0), zeros(1));
    match (first * 10 >= pairs * 6, second * 10 >= pairs * 6) {
        _ if pairs < 4 => None,
        (false, true) if first * 50 <= pairs => Some(UTF_16LE),
        (true, false) if second * 50 <= pairs => Some(UTF_16BE),
        _ => None,
    }
}

fn utf8<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|cause| {
        let offset = cause.valid_up_to();
        let row = 1 + bytes[..offset].iter().filter(|&&byte| byte == b'\n').count();
        Error::new(format!("{name}, row {row}"), format!("not UTF-8 at byte {offset}")).fix(SAVE)
    })
}

/// Files of another kind, by how they begin, and what to do with them.
fn foreign(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    const TABLE: &str = "Give the text itself: a table saved as CSV, or a text file.";
    const SHEET: &str = "In the spreadsheet, save it as CSV UTF-8; on the page, the cells can also be \
                         copied and pasted with Ctrl+V.";
    const OLD: &str = "Open it in a spreadsheet, and save it as .xlsx or as CSV UTF-8.";
    const PACKED: &str = "Unpack it, and give the file inside.";
    let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    Some(match bytes {
        [0x89, b'P', b'N', b'G', ..] => ("a picture (PNG)", TABLE),
        [0xff, 0xd8, 0xff, ..] => ("a picture (JPEG)", TABLE),
        [b'G', b'I', b'F', b'8', ..] => ("a picture (GIF)", TABLE),
        [b'%', b'P', b'D', b'F', ..] => ("a PDF", "Copy its text into a table or a text file."),
        [0xd0, 0xcf, 0x11, 0xe0, ..] => ("a file of an old Excel or Word", OLD),
        [b'P', b'A', b'R', b'1', ..] => ("a Parquet file", "Save it as CSV or JSON lines."),
        [b'{', b'\\', b'r', b't', b'f', ..] => ("a word processor's document (RTF)", TABLE),
        [0x1f, 0x8b, ..] => ("a packed file (gzip)", PACKED),
        [b'7', b'z', 0xbc, 0xaf, ..] | [b'R', b'a', b'r', b'!', ..] => ("an archive", PACKED),
        [b'P', b'K', 3, 4, ..] if has(b"xl/workbook.xml") => ("a spreadsheet (Excel)", SHEET),
        [b'P', b'K', 3, 4, ..] if has(b"opendocument.spreadsheet") => ("a spreadsheet", SHEET),
        [b'P', b'K', 3, 4, ..] if has(b"word/document.xml") => ("a Word document", TABLE),
        [b'P', b'K', 3, 4, ..] if has(b"ppt/presentation.xml") => ("a presentation", TABLE),
        [b'P', b'K', 3, 4, ..] if has(b"vnd.oasis.opendocument") => ("a document", TABLE),
        [b'P', b'K', 3, 4, ..] if has(b"model.safetensors") => {
            ("a model", "Load it as the model; the data is another file.")
        }
        [b'P', b'K', 3, 4, ..] => ("a zip archive", PACKED),
        _ => return None,
    })
}

/// Lines of an old Mac, and of a Mac's spreadsheet, end with CR alone; a quoted field may hold LF
/// all the same.
fn ends_lines_with_cr(text: &str) -> bool {
    let mut is_quoted = false;
    let is_end = |letter: char| {
        is_quoted ^= letter == '"';
        !is_quoted && matches!(letter, '\r' | '\n')
    };
    let end = text.find(is_end).or_else(|| text.find(['\r', '\n'])).unwrap_or(text.len());
    text[end..].starts_with('\r') && !text[end..].trim_start_matches('\r').starts_with('\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> (String, Option<String>) {
        let decoded = decode("a.csv", bytes).unwrap();
        (decoded.text.into_owned(), decoded.note)
    }

    fn error(bytes: &[u8]) -> String {
        decode("a.csv", bytes).unwrap_err().to_string()
    }

    #[test]
    fn a_spreadsheets_encodings_are_read_and_said() {
        let text = "label,text\nja,Grüße aus Köln – für 5 €\n";
        assert_eq!(read(text.as_bytes()), (text.into(), None));
        assert_eq!(read(format!("\u{feff}{text}").as_bytes()), (text.into(), None));
        let old = WINDOWS_1252.encode(text).0;
        let (found, note) = read(&old);
        assert_eq!(found, text);
        assert!(note.unwrap().contains("windows-1252"));
        let wide = |order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order);
        for (mark, bytes) in [
            ([0xff, 0xfe], wide(u16::to_le_bytes).collect::<Vec<u8>>()),
            ([0xfe, 0xff], wide(u16::to_be_bytes).collect()),
        ] {
            let note = Some("read as UTF-16".to_string());
            assert_eq!(read(&bytes), (text.to_string(), note.clone()));
            assert_eq!(read(&[&mark[..], &bytes].concat()), (text.to_string(), note));
        }
    }

    #[test]
    fn what_is_damaged_is_no_other_encoding() {
        // One broken byte among letters of UTF-8.
        assert!(error(b"a,b\n\xc3\xa9,\xff").starts_with("a.csv, row 2: not UTF-8 at byte 7"));
        // No letter of windows-1252.
        assert!(error(b"a,b\n1,\x81").starts_with("a.csv, row 2: not UTF-8 at byte 6"));
        assert!(error(&[0xff, 0xfe, 0, 0xd8, 10, 0]).contains("row 1: not UTF-16"));
        assert!(error(&[0; 100]).contains("a NUL byte"));
        assert!(error(b"a,b\n1\xff\0").contains("row 2: not UTF-8"));
    }

    #[test]
    fn foreign_files_are_named() {
        assert!(error(b"\x89PNG\r\n\x1a\n").contains("a picture (PNG), and no text"));
        assert!(error(b"%PDF-1.7\n").contains("a PDF"));
        assert!(error(b"PK\x03\x04\x14\x00xl/workbook.xml").contains("a spreadsheet (Excel)"));
        assert!(error(b"PK\x03\x04\x14\x00word/document.xml").contains("a Word document"));
        assert!(error(b"PK\x03\x04\x14\x00model.safetensors").contains("is a model"));
        assert!(error(b"PK\x03\x04\x14\x00\x08\x00ab\n").contains("a zip archive"));
    }
}
