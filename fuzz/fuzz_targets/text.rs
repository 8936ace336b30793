//! Text files to documents: plain, JSON lines, and both packed.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use electra::corpus::input::{Input, ReadOptions, Reader};

const NAMES: [&str; 4] = ["x.txt", "x.jsonl", "x.txt.gz", "x.jsonl.zst"];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().expect("a writable folder").keep());
    let path = folder.join(NAMES[bytes.len() % NAMES.len()]);
    std::fs::write(&path, bytes).expect("room for it");
    let inputs = [Input::File(path)];
    for document_per_file in [false, true] {
        let options = ReadOptions { field: "text".into(), document_per_file };
        let (mut reader, mut places) = (Reader::new(&inputs, &options), vec![]);
        while let Ok(Some(item)) = reader.next(&mut String::new()) {
            places.push(item.after);
        }
        // A run that was interrupted goes on from any of them.
        if let Some(middle) = places.get(places.len() / 2)
            && let Ok(mut reader) = Reader::at(&inputs, &options, *middle)
        {
            let _ = reader.next(&mut String::new());
        }
    }
});
