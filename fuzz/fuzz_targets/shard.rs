//! A shard of packed examples, beside an index that says what should be in it.
#![no_main]

use electra::corpus::Split;
use electra::corpus::shard::{Layout, Shard, ShardInfo};
use electra::tokenizer::SpecialIds;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a writable temporary folder");
    let file = "train-00000.safetensors".to_string();
    std::fs::write(folder.path().join(&file), bytes).expect("room for it");
    let special = SpecialIds { pad: 0, unk: 1, cls: 2, sep: 3, mask: 4 };
    let layout = Layout { max_seq_length: 16, vocab_size: 7, special };
    let info =
        ShardInfo { file, split: Split::Train, examples: 2, tokens: 9, sha256: String::new() };
    let Ok(shard) = Shard::open(folder.path(), &info, layout) else { return };
    for row in 0..shard.examples() {
        let _ = shard.example(row);
    }
    let _ = shard.verify(&info);
});
