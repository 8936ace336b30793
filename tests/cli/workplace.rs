//! A temporary folder with small models and data in it, where the binary runs.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Map, Value};
use tempfile::TempDir;

/// Settings that make a run of the small model take a few hundredths of a second.
pub const FAST: &str = "--device cpu --epochs 1 --batch-size 8 --max-seq-length 16";

pub struct Workplace {
    folder: TempDir,
}

/// What a run of the binary left.
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Workplace {
    pub fn new() -> Self {
        Workplace { folder: tempfile::tempdir().unwrap() }
    }

    /// With `base`, a small pre-trained one, and `data.csv`.
    pub fn with_model_and_data() -> Self {
        let work = Workplace::new();
        work.model("base", "model_pretraining");
        work.write("data.csv", csv(24));
        work
    }

    /// With `trained`, a small classifier of cats and dogs, and what it was made from.
    pub fn with_classifier() -> Self {
        let work = Workplace::with_model_and_data();
        work.ok(&format!("finetune --model base --train data.csv --output trained {FAST}"));
        work
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A network of the parity fixtures, with a tokenizer.
    pub fn model(&self, name: &str, fixture: &str) {
        let from = root().join("tests/fixtures/parity").join(fixture);
        self.copy(&from, name);
        self.write(&format!("{name}/vocab.txt"), vocabulary());
    }

    /// The model that the page bundles.
    pub fn bundled_model(&self, name: &str) {
        self.copy(&root().join("public/models/electra-tiny"), name);
    }

    pub fn copy(&self, from: &Path, name: &str) {
        std::fs::create_dir(self.path(name)).unwrap();
        for entry in std::fs::read_dir(self.path("").join(from)).unwrap() {
            let from = entry.unwrap().path();
            std::fs::copy(&from, self.path(name).join(from.file_name().unwrap())).unwrap();
        }
    }

    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.path(name)).unwrap();
    }

    pub fn edit_config(&self, model: &str, edit: impl FnOnce(&mut Map<String, Value>)) {
        let name = format!("{model}/config.json");
        let mut config = serde_json::from_slice(&self.read(&name)).unwrap();
        edit(&mut config);
        self.write(&name, serde_json::to_vec(&config).unwrap());
    }

    /// What is in the folder, hidden and temporary files too.
    pub fn listing(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut folders = vec![self.path("")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                }
                found.insert(entry.path());
            }
        }
        found
    }

    /// The binary with its arguments, to be started in the folder.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments.split_whitespace()).current_dir(self.folder.path());
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &str) -> Run {
        finish(self.command(arguments), arguments)
    }

    /// Runs with `input` on standard input.
    pub fn run_on(&self, input: impl AsRef<[u8]>, arguments: &str) -> Run {
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(outside.path(), input).unwrap();
        let mut command = self.command(arguments);
        command.stdin(File::open(outside.path()).unwrap());
        finish(command, arguments)
    }

    /// A run that must succeed: its results.
    pub fn ok(&self, arguments: &str) -> Vec<Value> {
        self.run(arguments).results()
    }

    pub fn ok_on(&self, input: impl AsRef<[u8]>, arguments: &str) -> Vec<Value> {
        self.run_on(input, arguments).results()
    }

    /// A run that must fail with an error that holds all of `words`, and leave nothing behind.
    pub fn fails(&self, arguments: &str, words: &[&str]) -> Run {
        self.fails_on("", arguments, words)
    }

    pub fn fails_on(&self, input: impl AsRef<[u8]>, arguments: &str, words: &[&str]) -> Run {
        let before = self.listing();
        let run = self.run_on(input, arguments);
        run.is_failure(1, arguments, words);
        assert_eq!(self.listing(), before, "electra {arguments} left something behind");
        run
    }

    /// The same for wrong usage, which ends with 2 before anything is done.
    pub fn refuses(&self, arguments: &str, words: &[&str]) {
        let before = self.listing();
        let run = self.run(arguments);
        run.is_failure(2, arguments, words);
        assert_eq!(run.stdout, "", "electra {arguments}");
        assert_eq!(self.listing(), before, "electra {arguments} left something behind");
    }
}

impl Run {
    fn is_failure(&self, code: i32, arguments: &str, words: &[&str]) {
        let stderr = &self.stderr;
        assert_eq!(self.code, Some(code), "electra {arguments}\n{stderr}");
        let error = stderr.find("error: ").unwrap_or_else(|| panic!("no `error:` in {stderr}"));
        for word in words {
            let found = stderr[error..].contains(word);
            assert!(found, "electra {arguments}\nno {word:?} in the error:\n{stderr}");
        }
    }

    pub fn results(&self) -> Vec<Value> {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        self.stdout.lines().map(parse).collect()
    }
}

pub fn finish(mut command: Command, arguments: &str) -> Run {
    let output = command.output().unwrap_or_else(|e| panic!("{}: {e}", binary()));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(!stderr.contains("panicked"), "electra {arguments}\n{stderr}");
    Run { code: output.status.code(), stdout, stderr }
}

/// Cargo says where the binary is; `ELECTRA_BIN` takes another one.
fn binary() -> String {
    let named = std::env::var("ELECTRA_BIN").ok();
    named.or_else(|| option_env!("CARGO_BIN_EXE_electra").map(String::from)).expect("no binary")
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// As many tokens as the fixtures have rows: special ones, words, letters.
fn vocabulary() -> String {
    let special = "[PAD] [UNK] [CLS] [SEP] [MASK]";
    let words = "the cat dog says meow woof big small and it is no yes";
    let letters = ('a'..='z').flat_map(|letter| [letter.to_string(), format!("##{letter}")]);
    let words = special.split(' ').chain(words.split(' ')).map(String::from);
    words.chain(letters).map(|token| token + "\n").collect()
}

/// Rows of cats and dogs, in turn.
pub fn rows(count: usize) -> Vec<(&'static str, String)> {
    let row = |i: usize| {
        let (label, sound) = [("cat", "meow"), ("dog", "woof")][i % 2];
        let letter = char::from(b'a' + (i % 26) as u8);
        (label, format!("the {label} {letter} says {sound}"))
    };
    (0..count).map(row).collect()
}

pub fn csv(count: usize) -> String {
    let lines = rows(count).into_iter().map(|(label, text)| format!("{label},{text}\n"));
    format!("label,text\n{}", lines.collect::<String>())
}
