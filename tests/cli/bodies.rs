//! Bodies without a head: BERT's, and `ElectraModel`.

use serde_json::{Value, json};

use crate::pretrain::{PRETRAIN, SMALL, prepared};
use crate::weights::Weights;
use crate::workplace::{FAST, Workplace};

const BODIES: [&str; 3] = ["format_bert_model", "format_bert_pretraining", "format_electra_model"];

fn with_body(fixture: &str) -> Workplace {
    let work = Workplace::with_model_and_data();
    work.model("body", fixture);
    work
}

/// What a network says of two texts, by `--logits`.
fn hidden(work: &Workplace, model: &str) -> Vec<Value> {
    let predict = format!("predict --model {model} --device cpu --logits");
    let answers = work.ok_on("the cat says meow\nthe dog\n", &predict);
    answers.into_iter().map(|mut answer| answer["last_hidden_state"].take()).collect()
}

#[test]
fn a_body_is_fine_tuned_and_becomes_an_electra() {
    for fixture in BODIES {
        let work = with_body(fixture);
        let run = work.run(&format!("finetune --model body --train data.csv --output out {FAST}"));
        let heads = match fixture {
            "format_bert_model" => "left behind: pooler.dense.bias, pooler.dense.weight",
            "format_bert_pretraining" => "left behind: cls.predictions.bias, ",
            _ => "head is fresh",
        };
        assert!(run.stderr.contains(heads), "{fixture}: {}", run.stderr);
        run.results();
        let config: Value = serde_json::from_slice(&work.read("out/config.json")).unwrap();
        assert_eq!(config["architectures"], json!(["ElectraForSequenceClassification"]));
        assert_eq!(
            (&config["model_type"], &config["embedding_size"]),
            (&json!("electra"), &json!(16))
        );
        assert_eq!(work.ok_on("the cat\n", "predict --model out --device cpu").len(), 1);
    }
}

#[test]
fn a_body_without_a_head_gives_no_answers_but_its_states() {
    let work = with_body("format_bert_model");
    let predict = "predict --model body --device cpu";
    for line in ["the cat\n", "{\"input_ids\": [2, 5, 3]}\n"] {
        work.fails_on(line, predict, &["body, config.json", "without a head", "Fine-tune it"]);
    }
    let evaluate = "evaluate --model body --data data.csv --device cpu --max-seq-length 16";
    work.fails(evaluate, &["not fine-tuned for any task"]);
    let states = hidden(&work, "body");
    let shapes: Vec<_> = states.iter().map(|rows| rows.as_array().unwrap().len()).collect();
    assert_eq!(shapes, [6, 4]);
    assert!(states[0].as_array().unwrap().iter().all(|row| row.as_array().unwrap().len() == 16));
}

#[test]
fn a_converted_body_is_the_same_body() {
    for fixture in BODIES {
        let work = with_body(fixture);
        work.ok("convert --from body --to out");
        let config: Value = serde_json::from_slice(&work.read("out/config.json")).unwrap();
        assert_eq!(config["architectures"], json!(["ElectraModel"]), "{fixture}");
        assert_eq!(hidden(&work, "out"), hidden(&work, "body"), "{fixture}");
    }
}

/// A discriminator under the names of a BERT is where pre-training goes on from.
#[test]
fn pre_training_starts_from_a_bert() {
    let work = prepared();
    let sizes = format!("{SMALL} --set embedding_size=32 --steps 4");
    work.ok(&format!("{PRETRAIN} {sizes}"));
    let mut weights = Weights::parse(&work.read("run/discriminator/model.safetensors"));
    let renamed =
        |name: String| name.replace("electra.", "bert.").replace("discriminator_", "cls.");
    weights.header = weights.header.into_iter().map(|(name, v)| (renamed(name), v)).collect();
    let electra = work.read("run/discriminator/model.safetensors");
    work.write("run/discriminator/model.safetensors", weights.to_bytes());
    work.edit_config("run/discriminator", |config| {
        config.insert("model_type".into(), json!("bert"));
        config.insert("architectures".into(), json!(["BertForMaskedLM"]));
    });
    let still = format!("pretrain --data shards --output new {sizes} --learning-rate 1e-30");
    let run = work.run(&format!("{still} --init-from run/discriminator"));
    for words in ["left behind: cls.", "the discriminator's head is fresh"] {
        assert!(run.stderr.contains(&format!("run/discriminator: {words}")), "{}", run.stderr);
    }
    run.results();
    let body = |bytes: &[u8]| {
        let tensors = safetensors::SafeTensors::deserialize(bytes).unwrap();
        let body = tensors.iter().filter(|(name, _)| name.starts_with("electra."));
        let body = body.map(|(name, view)| (name.to_string(), view.data().to_vec()));
        body.collect::<std::collections::BTreeMap<_, _>>()
    };
    assert!(body(&work.read("new/discriminator/model.safetensors")) == body(&electra));
}
