//! Wrong usage, and devices.

use crate::workplace::{FAST, Workplace};

#[test]
fn help_and_version_are_results() {
    let work = Workplace::new();
    for arguments in ["--help", "--version", "finetune --help", "help predict"] {
        let run = work.run(arguments);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{arguments}");
        assert!(!run.stdout.is_empty());
    }
    let run = work.run("");
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""));
    assert!(run.stderr.contains("Usage"));
}

#[test]
fn what_the_parser_does_not_know_is_wrong_usage() {
    let work = Workplace::with_model_and_data();
    work.refuses("frob", &["frob"]);
    work.refuses("finetune --model base", &["--train", "--output"]);
    work.refuses("predict --model base --devise cpu", &["--devise", "--device"]);
    work.refuses("predict --model base --device gpu", &["--device", "wgpu"]);
    let train = "finetune --model base --train data.csv --output out";
    for (option, word) in [
        ("--batch-size many", "--batch-size"),
        ("--batch-size -1", "-1"),
        ("--epochs soon", "--epochs"),
        ("--seed 1.5", "--seed"),
        ("--trials 0", "--trials"),
        ("--freeze half", "--freeze"),
        ("--task juggling", "--task"),
    ] {
        work.refuses(&format!("{train} --device cpu {option}"), &[word]);
    }
}

#[test]
fn a_number_out_of_range_is_wrong_usage_and_the_option_is_named() {
    let work = Workplace::with_classifier();
    let train = "finetune --model base --train data.csv --output out --device cpu";
    for option in [
        "--batch-size 0",
        "--accumulate 0",
        "--epochs 0",
        "--epochs nan",
        "--epochs inf",
        "--learning-rate 0",
        "--learning-rate nan",
        "--warmup 5",
        "--weight-decay inf",
        "--layerwise-decay 2",
        "--dropout 1",
        "--max-seq-length 2",
        "--eval-every 0",
    ] {
        let name = option.split(' ').next().unwrap();
        work.refuses(&format!("{train} {option}"), &[name]);
    }
    work.refuses("predict --model trained --device cpu --batch-size 0", &["--batch-size"]);
    work.refuses("evaluate --model trained --data data.csv --batch-size 0", &["--batch-size"]);
    work.refuses("bench --preset tiny --device cpu --seq 0", &["--seq"]);
}

#[test]
fn no_number_is_large_enough_to_panic() {
    let work = Workplace::with_classifier();
    let half = 1u64 << 63;
    let train = format!("finetune --model base --train data.csv --output out {FAST}");
    work.run(&train.replace("--batch-size 8", &format!("--batch-size {half} --accumulate 2")));
    work.run_on("the cat\n", &format!("predict --model trained --device cpu --batch-size {half}"));
    work.run_on("the cat\n", &format!("predict --model trained --device cpu --top-k {half}"));
    let evaluate = "evaluate --model trained --data data.csv --device cpu --max-seq-length 16";
    work.run(&format!("{evaluate} --batch-size {}", u64::MAX));
    work.run(&format!("bench --preset tiny --device cpu --steps {}", u64::MAX - 1));
}

#[test]
fn texts_longer_than_the_model_are_refused() {
    let work = Workplace::with_classifier();
    let words = ["41", "40", "Choose 40 or less"];
    let train = "finetune --model base --train data.csv --output out --device cpu";
    work.fails(&format!("{train} --max-seq-length 41"), &words);
    let evaluate = "evaluate --model trained --data data.csv --device cpu";
    work.fails(&format!("{evaluate} --max-seq-length 41"), &words);
    work.fails(&format!("{evaluate} --max-seq-length 1"), &["leaves no room for text"]);
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_device_that_is_not_built_in_says_how_to_build_it() {
    let work = Workplace::with_classifier();
    let predict = "predict --model trained --device cuda";
    work.fails(predict, &["--device", "cuda", "./build.sh native"]);
}

/// What a step costs a GPU before it has computed anything; the same whatever its rows and lengths are.
#[test]
#[ignore = "needs a GPU, or lavapipe"]
fn steps_of_small_take_few_launches() {
    let work = Workplace::new();
    for (mode, most) in [("infer", 92), ("finetune", 270), ("pretrain", 600)] {
        let options = "--preset small --batch-size 1 --seq 16 --steps 1 --device wgpu";
        let line = &work.ok(&format!("bench {options} --mode {mode}"))[0];
        let launches = line["launches"].as_u64().expect("a number");
        assert!((50..=most).contains(&launches), "{mode}: {launches}");
    }
}

#[test]
fn bench_prints_one_line() {
    let work = Workplace::new();
    for mode in ["infer", "finetune"] {
        let options = "--preset tiny --batch-size 1 --seq 8 --steps 1 --device cpu";
        let lines = work.ok(&format!("bench {options} --mode {mode}"));
        assert_eq!(lines.len(), 1);
        assert!(lines[0]["median_ms"].as_f64() > Some(0.0) && lines[0]["mode"] == mode);
    }
    work.fails(
        "bench --preset gigantic --device cpu",
        &["gigantic", "tiny, small, small-plus, base, large"],
    );
}
