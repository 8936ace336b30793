//! Model folders that are damaged, incomplete, or of another kind.

use serde_json::{Value, json};

use crate::weights::Weights;
use crate::workplace::{FAST, Workplace};

/// Every command that reads a whole model must fail on this one with these words, and name the
/// folder.
fn all_commands_fail(work: &Workplace, model: &str, words: &[&str]) {
    let words = [&[model], words].concat();
    work.fails_on("the cat\n", &format!("predict --model {model} --device cpu"), &words);
    work.fails(&format!("finetune --model {model} --train data.csv --output out {FAST}"), &words);
    work.fails(&format!("convert --from {model} --to out"), &words);
}

fn with_weights(damage: impl FnOnce(&[u8]) -> Vec<u8>) -> Workplace {
    let work = Workplace::with_model_and_data();
    let weights = damage(&work.read("base/model.safetensors"));
    work.write("base/model.safetensors", weights);
    work
}

type Damage = fn(&[u8]) -> Vec<u8>;

const TENSOR: &str = "electra.embeddings.LayerNorm.bias";

#[test]
fn damaged_weights() {
    let header = |length: u64, bytes: &[u8]| [&length.to_le_bytes(), &bytes[8..]].concat();
    let damages: [(&str, Damage); 6] = [
        ("empty", |_| vec![]),
        ("cut off", |bytes| bytes[..bytes.len() / 2].to_vec()),
        ("cut off by a byte", |bytes| bytes[..bytes.len() - 1].to_vec()),
        ("zeros", |_| vec![0; 1000]),
        ("text", |_| b"version https://git-lfs.github.com/spec/v1\n".to_vec()),
        ("not JSON", |bytes| [&bytes[..8], b"x", &bytes[9..]].concat()),
    ];
    for (name, damage) in damages {
        println!("{name}");
        all_commands_fail(&with_weights(damage), "base", &["model.safetensors", "damaged"]);
    }
    for length in [u64::MAX, 1 << 62, 99_999_999] {
        let work = with_weights(|bytes| header(length, bytes));
        all_commands_fail(&work, "base", &["model.safetensors", "damaged"]);
    }
}

#[test]
fn sizes_that_the_file_does_not_hold() {
    for (field, value) in [
        ("shape", json!([1u64 << 40, 1u64 << 40])),
        ("shape", json!([u64::MAX])),
        ("shape", json!([-1])),
        ("data_offsets", json!([0, 1u64 << 60])),
        ("data_offsets", json!([8, 0])),
        ("dtype", json!("F128")),
    ] {
        let work = with_weights(|bytes| Weights::parse(bytes).set(TENSOR, field, value));
        all_commands_fail(&work, "base", &["model.safetensors", "damaged"]);
    }
}

#[test]
fn tensors_that_do_not_fit_the_config() {
    let work = with_weights(|bytes| Weights::parse(bytes).set(TENSOR, "shape", json!([4, 4])));
    all_commands_fail(&work, "base", &[TENSOR, "[4, 4]", "[16]"]);
    let work = with_weights(|bytes| Weights::parse(bytes).add("electra.pooler.bias"));
    all_commands_fail(&work, "base", &["electra.pooler.bias", "no place"]);
    let work = with_weights(|bytes| Weights::parse(bytes).rename(TENSOR, "electra.other"));
    all_commands_fail(&work, "base", &[TENSOR, "missing"]);
    let work = Workplace::with_model_and_data();
    work.edit_config("base", |config| drop(config.insert("hidden_size".into(), json!(64))));
    all_commands_fail(&work, "base", &["model.safetensors", "expected [64"]);
}

#[test]
fn weights_that_are_no_numbers() {
    for number in [f32::NAN, f32::INFINITY] {
        let work = with_weights(|bytes| Weights::parse(bytes).set_first(TENSOR, number));
        all_commands_fail(&work, "base", &["model.safetensors", TENSOR]);
    }
}

#[test]
fn a_config_that_cannot_be_read() {
    for content in [&b""[..], b"{\"hidden_size\": 32", b"[]", b"\xff\xfe", &[0; 64], b"\"electra\""]
    {
        let work = Workplace::with_model_and_data();
        work.write("base/config.json", content);
        all_commands_fail(&work, "base", &["config.json"]);
    }
    let work = Workplace::with_model_and_data();
    work.write("base/config.json", "{\"a\": ".to_string() + &"[".repeat(100_000));
    all_commands_fail(&work, "base", &["config.json"]);
}

#[test]
fn a_config_that_says_the_impossible() {
    for (field, value, word) in [
        ("model_type", json!("roberta"), "\"roberta\""),
        ("architectures", json!(["BertForMaskedLM"]), "BertForMaskedLM"),
        ("hidden_size", json!(-1), "-1"),
        ("hidden_size", json!("32"), "string"),
        ("hidden_size", json!(0), "hidden_size"),
        ("vocab_size", json!(1u64 << 60), "vocab_size"),
        ("num_hidden_layers", json!(1u64 << 60), "num_hidden_layers"),
        ("num_attention_heads", json!(5), "5 heads"),
        ("hidden_act", json!("gelu_10"), "gelu_10"),
        ("hidden_dropout_prob", json!(1.5), "hidden_dropout_prob"),
        ("position_embedding_type", json!("relative_key"), "relative_key"),
        ("id2label", json!(["cat", "dog"]), "sequence"),
    ] {
        let work = Workplace::with_model_and_data();
        work.edit_config("base", |config| drop(config.insert(field.into(), value)));
        all_commands_fail(&work, "base", &["config.json", word]);
    }
}

/// The weights are looked at before memory is taken for what the config promises.
#[test]
fn a_config_of_a_giant() {
    for (field, value) in [
        ("hidden_size", 1 << 24),
        ("intermediate_size", 1 << 24),
        ("embedding_size", 1 << 24),
        ("max_position_embeddings", 1 << 24),
        ("num_hidden_layers", 1000),
    ] {
        let work = Workplace::with_model_and_data();
        work.edit_config("base", |config| drop(config.insert(field.into(), json!(value))));
        all_commands_fail(&work, "base", &["model.safetensors"]);
    }
}

#[test]
fn files_that_are_not_there() {
    let work = Workplace::with_model_and_data();
    work.remove("base/model.safetensors");
    all_commands_fail(&work, "base", &["model.safetensors", "missing"]);
    let work = Workplace::with_model_and_data();
    work.remove("base/config.json");
    all_commands_fail(&work, "base", &["config.json", "missing"]);
    all_commands_fail(&work, "nowhere", &["cannot be read"]);
    all_commands_fail(&work, "data.csv", &["zip"]);
    work.write("empty.zip", []);
    all_commands_fail(&work, "empty.zip", &["zip"]);
}

/// As transformers writes a model beyond `max_shard_size`: each tensor in one of two files.
fn in_two_files(work: &Workplace, model: &str) -> [String; 2] {
    let whole = Weights::parse(&work.read(&format!("{model}/model.safetensors")));
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let mut map = serde_json::Map::new();
    let tensors = whole.header.iter().filter(|(name, _)| *name != "__metadata__").enumerate();
    for (number, (name, _)) in tensors {
        map.insert(name.clone(), json!(names[number % 2]));
    }
    for file in names {
        let is_here = |name: &str| map.get(name).is_some_and(|own| own == file);
        work.write(&format!("{model}/{file}"), whole.only(is_here));
    }
    let index = json!({"metadata": {"total_size": 1}, "weight_map": map});
    work.write(&format!("{model}/model.safetensors.index.json"), index.to_string());
    work.remove(&format!("{model}/model.safetensors"));
    names.map(|file| format!("{model}/{file}"))
}

#[test]
fn weights_in_several_files_are_a_model() {
    let work = Workplace::with_classifier();
    let predict = "predict --model trained --device cpu --logits";
    let answers = work.ok_on("the cat\n", predict);
    work.ok("convert --from base --to whole");
    for model in ["trained", "base"] {
        in_two_files(&work, model);
    }
    assert_eq!(work.ok_on("the cat\n", predict), answers);
    work.ok("convert --from base --to again");
    assert!(work.read("again/model.safetensors") == work.read("whole/model.safetensors"));
    work.ok(&format!("finetune --model base --train data.csv --output out {FAST}"));
    assert!(!work.path("out/model.safetensors.index.json").exists());
}

#[test]
fn damage_to_weights_in_several_files_is_named() {
    let work = Workplace::with_model_and_data();
    let [first, second] = in_two_files(&work, "base");
    let whole = work.read(&first);
    work.write(&first, &whole[..whole.len() - 1]);
    all_commands_fail(&work, "base", &["model-00001-of-00002.safetensors", "damaged"]);
    // A tensor of the other file only.
    work.write(&first, work.read(&second));
    all_commands_fail(&work, "base", &["model.safetensors.index.json", "is missing"]);
    work.remove(&first);
    all_commands_fail(&work, "base", &["model-00001-of-00002.safetensors", "is missing"]);
    let index = "base/model.safetensors.index.json";
    for (content, word) in [
        ("{", "damaged"),
        ("{}", "weight_map"),
        (r#"{"weight_map": {"electra.a": "../model-1.safetensors"}}"#, "no name of a file"),
        (r#"{"weight_map": {}}"#, "is missing"),
    ] {
        work.write(index, content);
        all_commands_fail(&work, "base", &["model.safetensors.index.json", word]);
    }
}

#[test]
fn a_folder_in_the_place_of_a_file() {
    let work = Workplace::with_model_and_data();
    work.remove("base/model.safetensors");
    std::fs::create_dir(work.path("base/model.safetensors")).unwrap();
    all_commands_fail(&work, "base", &["model.safetensors"]);
}

/// `m` is how `model.safetensors` starts, too.
#[test]
fn a_folder_with_a_short_name_is_named() {
    let work = with_weights(|_| vec![]);
    std::fs::rename(work.path("base"), work.path("m")).unwrap();
    work.fails_on("a\n", "predict --model m --device cpu", &["error: m, model.safetensors"]);
    work.fails("convert --from m --to out", &["error: m, model.safetensors"]);
}

#[test]
fn a_tokenizer_that_cannot_be_used() {
    let work = Workplace::with_model_and_data();
    work.write("data.txt", "the cat\n");
    let commands = [
        "predict --model base --device cpu --input data.txt".to_string(),
        "tokenize --model base --input data.txt".to_string(),
        format!("finetune --model base --train data.csv --output out {FAST}"),
    ];
    let all_fail = |words: &[&str]| commands.iter().for_each(|c| drop(work.fails(c, words)));
    let tokenizer = |content: &[u8], words: &[&str]| {
        work.write("base/tokenizer.json", content);
        all_fail(words);
        work.remove("base/tokenizer.json");
    };
    for content in [&b""[..], b"{", b"[]", b"{\"model\": 1}", &[0; 64], b"\xff\xfe"] {
        tokenizer(content, &["base", "tokenizer.json"]);
    }
    for (field, value) in [
        ("normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"})),
        ("decoder", json!(7)),
        ("model", json!({"type": "WordPiece", "vocab": {"[UNK]": -1}})),
        ("post_processor", json!({"type": "TemplateProcessing", "single": 1})),
    ] {
        let mut whole = whole_tokenizer(&work);
        whole[field] = value;
        tokenizer(whole.to_string().as_bytes(), &["base", "tokenizer.json"]);
    }
    let broken = whole_tokenizer(&work).to_string().replace("\"type\":\"WordPiece\"", "\"type\":x");
    tokenizer(broken.as_bytes(), &["base", "tokenizer.json"]);
    work.write("base/tokenizer_config.json", "{\"do_lower_case\": \"yes\"}");
    all_fail(&["base", "tokenizer_config.json", "do_lower_case"]);
    work.remove("base/tokenizer_config.json");
    for content in ["", "the\ncat\n", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nthe\n"] {
        work.write("base/vocab.txt", content);
        all_fail(&["base", "vocab.txt"]);
    }
    work.remove("base/vocab.txt");
    all_fail(&["base", "neither tokenizer.json nor vocab.txt"]);
}

/// The `tokenizer.json` that belongs to the vocabulary.
fn whole_tokenizer(work: &Workplace) -> Value {
    if !work.path("converted").exists() {
        work.ok("convert --from base --to converted");
    }
    serde_json::from_slice(&work.read("converted/tokenizer.json")).unwrap()
}

#[test]
fn a_tokenizer_of_another_model() {
    let work = Workplace::with_model_and_data();
    let vocabulary = String::from_utf8(work.read("base/vocab.txt")).unwrap();
    work.write("base/vocab.txt", vocabulary + "more\n");
    let words = ["71 tokens", "vocab_size is 70"];
    work.fails_on("a\n", "predict --model base --device cpu", &words);
    work.fails(&format!("finetune --model base --train data.csv --output out {FAST}"), &words);
}

#[test]
fn a_model_of_one_segment_takes_no_pairs() {
    let work = Workplace::new();
    work.model("base", "model_pretraining_relu");
    work.write(
        "pairs.csv",
        "label,sentence1,sentence2\n".to_string() + &"a,b,c\nd,e,f\n".repeat(8),
    );
    let pair = "{\"text\": \"the cat\", \"text_pair\": \"is big\"}\n";
    work.fails_on(pair, "predict --model base --device cpu", &["line 1", "type_vocab_size"]);
    let train = format!("finetune --model base --train pairs.csv --output out {FAST}");
    work.fails(&train, &["type_vocab_size"]);
    assert_eq!(work.ok_on("the cat\n", "predict --model base --device cpu").len(), 1);
}

#[test]
fn a_model_that_is_no_classifier_cannot_be_evaluated() {
    let work = Workplace::with_model_and_data();
    let evaluate = "evaluate --model base --data data.csv --device cpu --max-seq-length 16";
    work.fails(evaluate, &["base", "not fine-tuned for any task", "electra finetune"]);
}

#[test]
fn label_names_that_make_no_sense() {
    for labels in [
        json!({"0": "cat", "2": "dog"}),
        json!({"0": 0, "1": 1}),
        json!({"first": "cat", "second": "dog"}),
        json!({"0": "cat", "1": "cat"}),
    ] {
        let work = Workplace::with_classifier();
        work.edit_config("trained", |config| drop(config.insert("id2label".into(), labels)));
        let evaluate = "evaluate --model trained --data data.csv --device cpu --max-seq-length 16";
        work.fails(evaluate, &["trained", "config.json", "id2label"]);
        work.fails_on("a\n", "predict --model trained --device cpu", &["trained", "id2label"]);
    }
}
