//! What `pretrain` cannot work with: every error names the thing and the remedy, and costs nothing
//! that was there before.

use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::pretrain::{
    PRETRAIN, SMALL, checkpoints, lines, prepare, prepared, start, text, tokenizer, wait_until,
    words,
};
use crate::workplace::{Run, Workplace};

const RESUME: &str = "pretrain --output run --device cpu --resume";

/// A run that must end with an error that holds all of `words`; it may have begun.
fn says(work: &Workplace, arguments: &str, words: &[&str]) -> Run {
    let run = work.run(arguments);
    assert_eq!(run.code, Some(1), "electra {arguments}\n{}", run.stderr);
    let error = run.stderr.find("error: ").map(|start| &run.stderr[start..]).unwrap_or_default();
    for word in words {
        assert!(error.contains(word), "electra {arguments}\nno {word:?} in the error:\n{error}");
    }
    run
}

/// A finished run of twelve steps with three checkpoints.
fn with_run() -> Workplace {
    let work = prepared();
    work.ok(&format!("{PRETRAIN} {SMALL} --steps 12 --save-every 4 --set keep_checkpoints=0"));
    work
}

fn edit(work: &Workplace, name: &str, change: impl FnOnce(&mut Value)) {
    let mut content = serde_json::from_slice(&work.read(name)).unwrap();
    change(&mut content);
    work.write(name, serde_json::to_vec(&content).unwrap());
}

fn cut(work: &Workplace, name: &str, bytes: usize) {
    let whole = work.read(name);
    work.write(name, &whole[..whole.len() - bytes]);
}

#[test]
fn a_wrong_setting_is_named() {
    let work = prepared();
    let fails = |options: &str, words: &[&str]| {
        work.fails(&format!("{PRETRAIN} {SMALL} {options}"), words);
    };
    fails("--set learning_rte=1", &["learning_rte", "nearest", "\"learning_rate\""]);
    fails("--set hidden_size=many", &["hidden_size", "\"many\"", "Give a value like"]);
    fails("--set mask_prob=1.5", &["mask_prob", "above 0 and at most 1"]);
    fails("--set log_every=0", &["log_every", "at least 1"]);
    fails("--set objective=gpt", &["objective", "gpt", "electric"]);
    fails("--set num_attention_heads=5", &["hidden_size", "5 heads"]);
    fails("--set untied_generator=false --set two_tower_generator=true", &["untied_generator"]);
    fails("--steps 0", &["num_train_steps", "at least 1"]);
    fails("--preset tinny", &["--preset", "tinny", "tiny, small, small-plus, base, large"]);
    fails("--config none.json", &["none.json", "cannot be read"]);
    work.write("half.json", "{\"hidden_size\": 32");
    work.write("list.json", "[]");
    work.write("other.json", "{\"hiden_size\": 32}");
    fails("--config half.json", &["half.json", "no JSON object of settings"]);
    fails("--config list.json", &["list.json", "no JSON object of settings"]);
    fails("--config other.json", &["other.json", "hiden_size", "\"hidden_size\""]);
}

#[test]
fn wrong_usage_is_refused() {
    let work = prepared();
    for (options, word) in [
        ("--set hidden_size", "KEY=VALUE"),
        ("--batch-size 0", "--batch-size"),
        ("--learning-rate 0", "--learning-rate"),
        ("--stop-after 1", "--stop-after"),
        ("--stop-after soon", "--stop-after"),
        ("--seed -1", "--seed"),
        ("--objective gpt", "--objective"),
        ("--resume --overwrite", "--overwrite"),
        ("--resume --preset small", "--preset"),
        ("--resume --init-from a", "--init-from"),
        ("--init-from", "--init-from"),
    ] {
        work.refuses(&format!("{PRETRAIN} {options}"), &[word]);
    }
}

#[test]
fn data_that_is_none_is_named() {
    let work = prepared();
    let data = |folder: &str, words: &[&str]| {
        let line = format!("pretrain --data {folder} --output run --overwrite {SMALL}");
        says(&work, &line, words);
    };
    data("none", &["none", "index.json", "electra prepare"]);
    data("tok", &["tok", "index.json", "electra prepare"]);
    data("a.txt", &["a.txt", "electra prepare"]);
}

#[test]
fn damaged_data_is_named() {
    let shard = "bad/train-00000.safetensors";
    let data = |words: &[&str], damage: &dyn Fn(&Workplace)| {
        let work = prepared();
        prepare(&work, "tok", "bad");
        damage(&work);
        says(&work, &format!("pretrain --data bad --output run {SMALL} --steps 200"), words);
    };
    let again = "electra prepare --overwrite";
    let index = "bad/index.json";
    data(&[shard, again], &|work| cut(work, shard, 3));
    data(&[shard, again], &|work| work.write(shard, ""));
    data(&[shard, again], &|work| work.remove(shard));
    data(&["bad/eval-00000.safetensors", again], &|work| work.remove("bad/eval-00000.safetensors"));
    data(&[index, again], &|work| work.write(index, "{"));
    data(&[index, "missing field"], &|work| work.write(index, "{\"format_version\": 1}"));
    data(&[index, "version 9"], &|work| {
        edit(work, index, |index| index["format_version"] = json!(9))
    });
    // Another word, which nothing but the checksum can tell from the right one.
    data(&[shard, "SHA-256", again], &|work| set_first_word(work, shard, 6));
    data(&["vocabulary has 8", again], &|work| {
        edit(work, index, |index| index["vocab_size"] = json!(8));
    });
}

/// The first token after [CLS] of the first example.
fn set_first_word(work: &Workplace, shard: &str, id: u16) {
    let mut bytes = work.read(shard);
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let word = &mut bytes[data + 2..data + 4];
    assert_ne!(word, id.to_le_bytes());
    word.copy_from_slice(&id.to_le_bytes());
    work.write(shard, bytes);
}

/// Not looked at beforehand, what cannot be a text is still found when it is read.
#[test]
fn data_that_is_not_verified_is_checked_as_it_is_read() {
    let (work, shard) = (prepared(), "shards/train-00000.safetensors");
    let unverified = format!("{PRETRAIN} {SMALL} --steps 200 --no-verify");
    set_first_word(&work, shard, 6);
    work.ok(&unverified);
    set_first_word(&work, shard, 60000);
    says(&work, &format!("{unverified} --overwrite"), &[shard, "row 0", "60000"]);
}

/// The text may have changed since the run began.
#[test]
fn a_resume_verifies_the_data_too() {
    let (work, shard) = (with_run(), "shards/eval-00000.safetensors");
    set_first_word(&work, shard, 6);
    let resume = format!("{RESUME} --data shards --steps 16");
    work.fails(&resume, &[shard, "SHA-256", "electra prepare --overwrite"]);
    work.ok(&format!("{resume} --no-verify"));
}

#[test]
fn data_that_does_not_fit_the_run_is_told() {
    let work = prepared();
    let fails = |options: &str, words: &[&str]| {
        says(&work, &format!("{PRETRAIN} --overwrite {SMALL} {options}"), words);
    };
    let long = ["32 tokens", "16 positions", "max_position_embeddings=32"];
    fails("--set max_position_embeddings=16", &long);
    fails("--set batch_size=65536", &["fewer than one update's 65536", "--batch-size"]);
    fails("--accumulate 60000", &["fewer than one update's 240000"]);
}

#[test]
fn outputs_in_use_are_kept() {
    let work = with_run();
    work.fails(&format!("{PRETRAIN} {SMALL}"), &["run", "not empty", "--overwrite"]);
    let to = |folder: &str| format!("pretrain --data shards --output {folder} {SMALL}");
    work.fails(&to("tok"), &["tok", "not empty"]);
    work.fails(&to("a.txt"), &["a.txt", "is no folder"]);
    work.fails(&format!("{} --overwrite", to("a.txt/run")), &["a.txt/run", "cannot be written"]);
}

#[test]
fn there_must_be_something_to_resume() {
    let work = prepared();
    let resume = "pretrain --data shards --device cpu --resume --output";
    let words = ["there is no checkpoint", "--resume"];
    work.fails(&format!("{resume} none"), &["none", words[0], words[1]]);
    work.fails(&format!("{resume} tok"), &["tok", words[0], words[1]]);
}

#[test]
fn a_run_goes_on_with_its_own_text_and_network_only() {
    let work = with_run();
    work.write("a.txt", text().replace("cat", "fox"));
    prepare(&work, "tok", "other");
    let before = work.read("run/metrics.jsonl");
    let more = format!("{RESUME} --steps 20");
    work.fails(&format!("{more} --data other"), &["step-12", "another text", "--data"]);
    let own = format!("{more} --data shards");
    let network = |set: &str, words: &str| {
        work.fails(&format!("{own} --set {set}"), &["--resume", "step-12", words]);
    };
    network("hidden_size=64", "hidden_size is 32 there, not 64");
    network("uniform_generator=true", "uniform_generator is false there, not true");
    // It would fit the weights, but be another network.
    network("num_attention_heads=4", "num_attention_heads is 2 there, not 4");
    network("objective=electric", "objective is \"electra\" there, not \"electric\"");
    let both = "--set hidden_size=64 --set embedding_size=8";
    work.fails(
        &format!("{own} {both}"),
        &["embedding_size is 16 there, not 8; hidden_size is 32 there, not 64"],
    );
    work.fails(&format!("{own} --set batch_size=0"), &["batch_size"]);
    assert_eq!(work.read("run/metrics.jsonl"), before);
}

const NEWEST: &str = "run/checkpoints/step-12";

/// Does that to the newest checkpoint: what is wrong must be said, the run must go on from the
/// one before, and with no other one it must fail and leave all as it is.
fn damaged(words: &[&str], damage: &dyn Fn(&Workplace)) {
    let work = with_run();
    damage(&work);
    let resume = format!("{RESUME} --data shards --steps 16");
    let alone = with_run();
    for step in [4, 8] {
        std::fs::remove_dir_all(alone.path(&format!("run/checkpoints/step-{step}"))).unwrap();
    }
    damage(&alone);
    alone.fails(&resume, &[words, &["No other checkpoint of the run is whole"]].concat());
    let run = work.run(&resume);
    let said = ["run/checkpoints/step-12.damaged", "resuming from run/checkpoints/step-8\n"];
    for word in words.iter().chain(&said) {
        assert!(run.stderr.contains(word), "no {word:?} in {}", run.stderr);
    }
    assert_eq!(run.results().last().unwrap()["step"], 16);
    assert_eq!(checkpoints(&work, "run"), [4, 8, 12, 16].into());
    assert!(work.path("run/checkpoints/step-12.damaged").exists());
    // It may happen twice.
    damage(&work);
    std::fs::remove_dir_all(work.path("run/checkpoints/step-16")).unwrap();
    assert_eq!(work.ok(&resume).last().unwrap()["step"], 16);
}

#[test]
fn a_damaged_checkpoint_is_named() {
    let (tensors, state) =
        (format!("{NEWEST}/training.safetensors"), format!("{NEWEST}/state.json"));
    damaged(&["training.safetensors", "damaged"], &|work| cut(work, &tensors, 1));
    damaged(&["training.safetensors", "damaged"], &|work| work.write(&tensors, ""));
    damaged(&["training.safetensors", "cannot be read"], &|work| work.remove(&tensors));
    damaged(&["state.json"], &|work| work.write(&state, "{"));
    damaged(&["state.json"], &|work| work.remove(&state));
}

#[test]
fn a_state_that_no_run_has_written_is_named() {
    let state = format!("{NEWEST}/state.json");
    let edited = |words: &[&str], change: &dyn Fn(&mut Value)| {
        damaged(words, &|work| edit(work, &state, change));
    };
    edited(&["state.json", "counts to"], &|state| state["examples"] = json!(u64::MAX));
    edited(&["state.json", "it says step 11"], &|state| state["step"] = json!(11));
    edited(&["state.json", "cannot be 12 steps"], &|state| state["examples"] = json!(3));
    edited(&["state.json", "cannot be 12 steps"], &|state| state["tokens"] = json!(0));
    edited(&["state.json", "batch_size"], &|state| state["config"]["batch_size"] = json!(0));
    edited(&["training.safetensors", "has shape"], &|state| {
        state["config"]["hidden_size"] = json!(64);
    });
}

/// Only so many checkpoints are kept, and a damaged one is none of them.
#[test]
fn a_damaged_checkpoint_does_not_cost_a_whole_one() {
    let work = prepared();
    let run = format!("{PRETRAIN} {SMALL} --steps 12 --save-every 4 --set keep_checkpoints=2");
    work.ok(&run);
    cut(&work, &format!("{NEWEST}/training.safetensors"), 1);
    work.ok(&format!("{RESUME} --data shards --save-every 1 --stop-after 0s"));
    assert_eq!(checkpoints(&work, "run"), [8, 9].into());
}

#[test]
fn fewer_steps_than_are_done_are_refused() {
    let work = with_run();
    let words = ["--steps 5", "step-12 is further already: 12 steps", "at least as many"];
    work.fails(&format!("{RESUME} --data shards --steps 5"), &words);
}

/// Writes the tensors of the newest checkpoint again, with some left out.
fn keep_tensors(work: &Workplace, kept: impl Fn(&str) -> bool) {
    let name = format!("{NEWEST}/training.safetensors");
    let bytes = work.read(&name);
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let left = tensors.iter().filter(|(name, _)| kept(name)).collect::<Vec<_>>();
    assert!(left.len() < tensors.len());
    work.write(&name, safetensors::serialize(left, None).unwrap());
}

#[test]
fn a_checkpoint_without_a_weight_is_named() {
    let weight = "electra.embeddings.word_embeddings.weight";
    damaged(&["training.safetensors", weight], &|work| keep_tensors(work, |name| name != weight));
}

/// Without its moments the run would go on, but not as the same run.
#[test]
fn a_checkpoint_without_a_moment_is_named() {
    let moment = "second.electra.embeddings.word_embeddings.weight";
    damaged(&["training.safetensors", moment], &|work| keep_tensors(work, |name| name != moment));
}

#[test]
fn weights_to_start_from_must_fit() {
    let work = with_run();
    let from = |folders: &str, options: &str, words: &[&str]| {
        let line = format!("pretrain --data shards --output new --overwrite {SMALL} {options}");
        says(&work, &format!("{line} --init-from {folders}"), words);
    };
    let both = "run/discriminator,run/generator";
    from(
        both,
        "--set intermediate_size=64",
        &["intermediate.dense.weight", "[128, 32], expected [64, 32]"],
    );
    from("run/generator", "", &["--init-from", "embeddings_project"]);
    from("run/generator,run/discriminator", "", &["--init-from", "embeddings_project"]);
    from("none", "", &["none", "cannot be read"]);
    from("tok", "", &["tok", "model.safetensors", "is missing"]);
    from(&format!("{both},{both}"), "", &["--init-from", "no more"]);
    cut(&work, "run/discriminator/model.safetensors", 1);
    from(both, "", &["run/discriminator", "model.safetensors", "damaged"]);
}

/// The rows of the table would be those of other words.
#[test]
fn weights_to_start_from_must_be_of_the_same_vocabulary() {
    let work = with_run();
    tokenizer(&work, "turned", words().rev());
    prepare(&work, "turned", "other");
    let line = format!("pretrain --data other --output new {SMALL} --steps 1");
    let both = "run/discriminator,run/generator";
    says(&work, &format!("{line} --init-from {both}"), &["--init-from", "vocabulary"]);
}

/// Whether they are the same words cannot be told then.
#[test]
fn weights_to_start_from_must_come_with_their_vocabulary() {
    let work = with_run();
    for name in ["vocab.txt", "tokenizer.json"] {
        let _ = std::fs::remove_file(work.path(&format!("run/generator/{name}")));
    }
    let line = format!("pretrain --data shards --output new {SMALL} --steps 1");
    let words = ["--init-from, run/generator", "cannot be compared", "tokenizer's files"];
    work.fails(&format!("{line} --init-from run/discriminator,run/generator"), &words);
}

/// A window of the moment that somebody else writes in the same folder.
#[test]
fn two_runs_in_one_folder_are_one_too_many() {
    let work = prepared();
    let mut first =
        start(&work, &format!("{PRETRAIN} {SMALL} --steps 1000000 --save-every 5 --eval-every 0"));
    wait_until("a checkpoint", || !checkpoints(&work, "run").is_empty());
    let words = ["run: another run is at work", "choose another --output"];
    says(&work, &format!("{RESUME} --data shards"), &words);
    says(&work, &format!("{PRETRAIN} {SMALL} --overwrite"), &words);
    says(&work, &format!("pretrain --output run {SMALL} --overwrite"), &words);
    assert!(first.try_wait().unwrap().is_none(), "the first run has ended");
    assert!(!checkpoints(&work, "run").is_empty());
    first.kill().unwrap();
    first.wait().unwrap();
    work.ok(&format!("{RESUME} --data shards --stop-after 0s"));
}

#[test]
fn settings_may_begin_with_a_byte_order_mark() {
    let work = prepared();
    work.write("settings.json", "\u{feff}{\"num_train_steps\": 3}");
    let printed = work.ok(&format!("{PRETRAIN} {SMALL} --config settings.json"));
    assert_eq!(printed.last().unwrap()["step"], 3);
}

/// So heavy a decay makes every weight infinite within some steps.
const EXPLODE: &str = "--data shards --set learning_rate=1 --set weight_decay=1e30";

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_spares_its_checkpoint() {
    let work = with_run();
    let line = format!("{RESUME} {EXPLODE} --steps 40 --save-every 1 --set log_every=3");
    says(&work, &line, &["step 1", "not a number", "--resume --set learning_rate"]);
    let newest = *checkpoints(&work, "run").last().unwrap();
    assert!(newest < 18, "{newest}");
    let calm = "--set learning_rate=1e-3 --set weight_decay=0.01";
    std::fs::remove_dir_all(work.path(&format!("run/checkpoints/step-{newest}"))).unwrap();
    work.ok(&format!("{RESUME} --data shards {calm} --steps 20"));
    let fresh = format!("pretrain --data shards --output new {SMALL} --set initializer_range=1e30");
    let words = ["step 1:", "not a number", "there is no checkpoint yet"];
    let run = says(&work, &format!("{fresh} --learning-rate 1"), &words);
    assert!(!run.stderr.contains("--resume"), "{}", run.stderr);
    assert!(checkpoints(&work, "new").is_empty());
}

#[test]
fn no_score_of_the_log_is_no_number() {
    let work = with_run();
    let line = format!("{RESUME} {EXPLODE} --steps 40 --eval-every 1 --set log_every=20");
    says(&work, &line, &["not a number"]);
    let log = lines(&work, "run/metrics.jsonl");
    let scores: Vec<_> = log.iter().filter(|line| line["event"] == "evaluation").collect();
    assert!(scores.iter().all(|line| line["gen_loss"].is_number()), "{:?}", scores.last());
}

/// The run as a child of a shell that limits it first.
#[cfg(unix)]
fn limited(work: &Workplace, limit: &str, arguments: &str) -> (Option<i32>, String) {
    let plain = work.command(arguments);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &format!("{limit}; exec \"$0\" \"$@\"")]).arg(plain.get_program());
    shell.args(plain.get_args()).current_dir(work.path(""));
    let output = shell.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[cfg(unix)]
#[test]
fn a_full_disk_spares_the_last_checkpoint() {
    let work = prepared();
    work.ok(&format!("{PRETRAIN} {SMALL} --steps 8 --save-every 4 --set log_every=2"));
    let tensors = "run/checkpoints/step-8/training.safetensors";
    let whole = work.read(tensors);
    // In blocks of 512 bytes; half of what the tensors need. Without the trap a signal would
    // come in place of the error that a full disk gives.
    let limit = format!("trap '' XFSZ; ulimit -f {}", whole.len() / 1024);
    let resume = format!("{RESUME} --data shards --steps 16");
    let (code, said) = limited(&work, &limit, &resume);
    assert_eq!(code, Some(1), "{said}");
    for word in ["error: run/checkpoints/step-12", "cannot be written", "Make room", "--resume"] {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
    assert_eq!(checkpoints(&work, "run"), [4, 8].into());
    assert!(work.read(tensors) == whole);
    let left = std::fs::read_dir(work.path("run/checkpoints")).unwrap().count();
    assert_eq!(left, 2, "half a checkpoint was left");
    work.ok(&resume);
}

#[test]
fn a_run_that_cannot_start_costs_nothing() {
    let work = with_run();
    for options in ["--data none", "--data shards --set max_position_embeddings=16"] {
        let line = format!("pretrain {options} {SMALL}");
        work.fails(&format!("{line} --output new"), &[]);
        // The old run goes when the new one is known to start.
        work.fails(&format!("{line} --output run --overwrite"), &[]);
    }
    let big = "--set intermediate_size=64 --init-from run/discriminator,run/generator";
    work.fails(&format!("{PRETRAIN} {SMALL} --overwrite {big}"), &["expected [64, 32]"]);
}

#[test]
fn prepare_that_cannot_end_costs_nothing() {
    let work = prepared();
    work.write("bad.jsonl", "{\"text\": \"red\"}\n{");
    let line = "prepare --tokenizer tok --max-seq-length 32 --output shards --overwrite";
    work.fails(&format!("{line} --input bad.jsonl"), &["bad.jsonl, line 2"]);
}

#[test]
fn a_run_of_other_text_is_not_resumed_on_the_built_in_one() {
    let work = with_run();
    work.fails(&format!("{RESUME} --steps 16"), &["--data"]);
}

/// Not at the first checkpoint, which may be hours away.
#[test]
fn data_without_its_tokenizer_is_refused_at_once() {
    let work = prepared();
    std::fs::remove_dir_all(work.path("shards/tokenizer")).unwrap();
    let run = says(&work, &format!("{PRETRAIN} {SMALL} --steps 5"), &["shards", "tokenizer"]);
    assert_eq!(run.stdout, "");
}

#[test]
fn special_tokens_beyond_the_vocabulary_are_named() {
    let work = prepared();
    edit(&work, "shards/index.json", |index| index["special"]["mask"] = json!(5000));
    says(&work, &format!("{PRETRAIN} {SMALL} --steps 5"), &["index.json", "5000"]);
}

#[test]
fn one_segment_type_is_too_few_for_two_segments() {
    let work = prepared();
    let line = format!("{PRETRAIN} {SMALL} --steps 60 --set type_vocab_size=1");
    says(&work, &line, &["type_vocab_size"]);
}

/// With a limit: the run took all memory of the machine.
#[cfg(unix)]
#[test]
fn an_update_beyond_all_numbers_is_refused() {
    let work = prepared();
    for (batch_size, accumulate) in [(1 << 63, 2), (u64::MAX, u64::MAX)] {
        let huge = format!("--set batch_size={batch_size} --set accumulate={accumulate}");
        let line = format!("{PRETRAIN} --overwrite {SMALL} --steps 1 {huge}");
        let (code, said) = limited(&work, "ulimit -v 1000000; ulimit -c 0", &line);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("batch"), "{said}");
    }
}

/// What an earlier run of another preset left is of another length.
#[test]
fn the_built_in_text_is_prepared_for_the_preset_at_hand() {
    let work = prepared();
    let line = format!("pretrain --output run --steps 1 --set eval_batches=1 {SMALL}");
    work.ok(&line);
    work.ok(&format!("{line} --preset base --overwrite"));
    let index = std::fs::read_to_string(work.path("run/corpus/index.json")).unwrap();
    let index: Value = serde_json::from_str(&index).unwrap();
    assert_eq!(index["max_seq_length"], 512, "{index}");
}
