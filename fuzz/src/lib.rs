//! What the targets share: a small tokenizer, a small model, and the reading of a labelled file.

use std::sync::OnceLock;

use electra::config::ElectraConfig;
use electra::dataset::{Kind, LabelledFile};
use electra::device::cpu;
use electra::finetune::{FinetuneOptions, Source};
use electra::heads::Architecture;
use electra::pretrained::{ModelFiles, fresh, save};
use electra::tasks::{Examples, Known, Reading};
use electra::tokenizer::Tokenizer;
use electra::train::FinetuneConfig;

const VOCAB: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ncat\nsat\n##s\na\nb\nc\n,\n.\n1\n";

/// Rows for a run of fine-tuning.
pub const ROWS: &[u8] = b"label,text\nx,the cat\ny,sat\nx,cats\ny,a b\nx,c a\ny,b b\n";

/// Documents for a prepared corpus.
pub const TEXT: &str = "the cat sat\n\na b c\n\nthe cats\n";

pub fn tokenizer() -> &'static Tokenizer {
    static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
    TOKENIZER.get_or_init(|| {
        let files = [("vocab.txt".to_string(), VOCAB.into())].into();
        Tokenizer::from_files(&files).expect("a whole vocabulary")
    })
}

/// Tokens of a window are few, so that a small input has several.
pub fn options() -> FinetuneOptions {
    let config = FinetuneConfig {
        batch_size: 4,
        eval_every: Some(1),
        max_seq_length: 12,
        doc_stride: 4,
        max_query_length: 4,
        ..FinetuneConfig::default()
    };
    FinetuneOptions { config, ..FinetuneOptions::default() }
}

/// The smallest model there is, whole, with its vocabulary.
pub fn model() -> ModelFiles {
    let config = ElectraConfig {
        vocab_size: VOCAB.lines().count(),
        embedding_size: 2,
        hidden_size: 4,
        num_hidden_layers: 1,
        num_attention_heads: 1,
        intermediate_size: 4,
        max_position_embeddings: 16,
        ..ElectraConfig::default()
    };
    let network = fresh(&config, Architecture::PreTraining, 1, &cpu("small").device);
    let saved = pollster::block_on(save(&network, &config, Architecture::PreTraining));
    let mut files = saved.expect("finite weights");
    files.insert("vocab.txt".into(), VOCAB.into());
    files
}

/// A file of one of these names. Its length picks the name, so that a seed is a file as people have it.
pub fn source(bytes: &[u8], names: &[&str]) -> Source {
    Source { name: names[bytes.len() % names.len()].into(), bytes: bytes.to_vec() }
}

/// From a file to token ids, as a run does it.
pub fn read(kind: Kind, source: &Source) {
    let (reading, known) = <(Reading, Known)>::default();
    let file = LabelledFile::new(&source.name, &source.bytes);
    let Ok(set) = Examples::read(kind, &file, &reading, &known) else { return };
    let windowing = options().config.windowing();
    let _ = set.encode(tokenizer(), &windowing, set.is_labelled());
    let _ = set.label_counts();
    let _ = set.split(0.5, 1);
}

/// Whole bytes with some changed: two bytes say where, one what. A file whose parts depend on each other
/// stays near to one that is read.
pub fn edited(whole: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for edit in edits.chunks_exact(3) {
        let place = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % bytes.len();
        bytes[place] = edit[2];
    }
    bytes
}
