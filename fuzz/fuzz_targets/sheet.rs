//! Spreadsheets, and each part of one with these bytes in it: a whole file's checksums keep changed bytes from
//! ever reaching what reads the parts.
#![no_main]

use electra::dataset::read_table;
use electra::pretrained::{ModelFiles, to_zip};

const RELATIONS: &str = r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>"#;
const WORKBOOK: &str = r#"<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="A" sheetId="1" r:id="r1"/></sheets></workbook>"#;
const SHEET: &str = r#"<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData><row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="inlineStr"><is><t>label</t></is></c></row><row r="2"><c r="A2" s="1"><v>45000.5</v></c><c r="B2" t="b"><v>1</v></c></row></sheetData><mergeCells count="1"><mergeCell ref="B2:B3"/></mergeCells></worksheet>"#;
const STRINGS: &str = r#"<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>text</t></si></sst>"#;
const STYLES: &str = r#"<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><cellXfs><xf numFmtId="0"/><xf numFmtId="22"/></cellXfs></styleSheet>"#;
const EXCEL: [(&str, &str); 5] = [
    ("xl/_rels/workbook.xml.rels", RELATIONS),
    ("xl/workbook.xml", WORKBOOK),
    ("xl/worksheets/sheet1.xml", SHEET),
    ("xl/sharedStrings.xml", STRINGS),
    ("xl/styles.xml", STYLES),
];
const OPEN_DOCUMENT: [(&str, &str); 3] = [
    ("META-INF/manifest.xml", "<manifest:manifest/>"),
    ("content.xml", ""),
    ("mimetype", "application/vnd.oasis.opendocument.spreadsheet"),
];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = read_table("x.xlsx", bytes);
    for parts in [&EXCEL[..], &OPEN_DOCUMENT] {
        for (place, _) in parts {
            let content =
                |name: &str, text: &str| if name == *place { bytes.to_vec() } else { text.into() };
            let part = |(name, text): &(&str, &str)| (name.to_string(), content(name, text));
            let _ = read_table("x.xlsx", &to_zip(&parts.iter().map(part).collect::<ModelFiles>()));
        }
    }
});
