//! Several tasks in one run: which files belong together, and what the tasks are called.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap::error::ErrorKind;
use electra::dataset::Kind;
use electra::error::Result;
use electra::finetune::{Source, TaskFiles};
use serde_json::{Value, json};

use super::{Cli, read_source};

/// The log of a run of several tasks lies beside their folders.
pub const LOG: &str = "metrics.jsonl";

/// A task and its files.
pub struct Task {
    /// What its lines and its folder are called.
    pub name: String,
    kind: Option<Kind>,
    train: Source,
    eval: Option<Source>,
}

impl Task {
    pub fn files(&self) -> TaskFiles<'_> {
        TaskFiles { kind: self.kind, train: &self.train, eval: self.eval.as_ref() }
    }

    pub fn train_name(&self) -> &str {
        &self.train.name
    }

    pub fn eval_name(&self) -> Option<&str> {
        self.eval.as_ref().map(|eval| eval.name.as_str())
    }
}

/// Ends the program where the n-th --task or --eval has no n-th --train.
pub fn check_usage(train: &[PathBuf], task: &[Kind], eval: &[PathBuf]) {
    for (option, count) in [("--task", task.len()), ("--eval", eval.len())] {
        if count == 0 || count == train.len() {
            continue;
        }
        let problem = format!(
            "{count} {option} for {} --train: give one for each, in their order, or none",
            train.len()
        );
        Cli::command().error(ErrorKind::WrongNumberOfValues, problem).exit();
    }
}

pub fn read(train: &[PathBuf], task: &[Kind], eval: &[PathBuf]) -> Result<Vec<Task>> {
    let names = names(train).into_iter().zip(train).enumerate();
    let read = |(number, (name, train)): (usize, (String, &PathBuf))| {
        let eval = eval.get(number).map(|path| read_source(path)).transpose()?;
        Ok(Task { name, kind: task.get(number).copied(), train: read_source(train)?, eval })
    };
    names.map(read).collect()
}

/// The names of the files without their endings; those that are taken get a number.
fn names(files: &[PathBuf]) -> Vec<String> {
    let mut taken = BTreeSet::from([LOG.to_string()]);
    let mut name = |path: &PathBuf| {
        let stem = path.file_stem().unwrap_or(Path::new("task").as_os_str()).to_string_lossy();
        let numbered = (2..).map(|number| format!("{stem}-{number}"));
        let mut candidates = [stem.to_string()].into_iter().chain(numbered);
        // Some file systems do not tell a from A.
        candidates.find(|name| taken.insert(name.to_lowercase())).expect("there is no end")
    };
    files.iter().map(&mut name).collect()
}

/// Numbers of tasks in a line become their names.
pub fn name_tasks(line: &mut Value, tasks: &[Task]) {
    let Some(fields) = line.as_object_mut() else { return };
    let name = |number: &Value| json!(tasks[number.as_u64().unwrap_or(0) as usize].name);
    if let Some(Value::Array(numbers)) = fields.shift_remove("jobs") {
        fields.insert("names".into(), numbers.iter().map(name).collect());
    }
    if let Some(number) = fields.shift_remove("job") {
        fields.insert("name".into(), name(&number));
    }
}

/// The lines that are about one of the tasks, or about all.
pub fn of_task(lines: &[Value], name: &str) -> Vec<Value> {
    let own = |line: &&Value| line["name"].is_null() || line["name"] == name;
    lines.iter().filter(own).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_called_as_their_files() {
        let files =
            ["a/train.tsv", "b/train.conll", "Train-2.csv", "metrics.jsonl.csv", "topic.tsv"];
        let expected = ["train", "train-2", "Train-2-2", "metrics.jsonl-2", "topic"];
        assert_eq!(names(&files.map(PathBuf::from)), expected);
    }

    #[test]
    fn lines_name_their_tasks() {
        let source = || Source { name: String::new(), bytes: Vec::new() };
        let task = |name: &str| Task { name: name.into(), kind: None, train: source(), eval: None };
        let tasks = [task("a"), task("b")];
        let mut line = json!({"step": 1, "jobs": [1, 0, 1]});
        name_tasks(&mut line, &tasks);
        let mut evaluation = json!({"task": "tagging", "job": 1});
        name_tasks(&mut evaluation, &tasks);
        assert_eq!(evaluation, json!({"task": "tagging", "name": "b"}));
        assert_eq!(line, json!({"step": 1, "names": ["b", "a", "b"]}));
        let lines = [json!({"name": "a"}), json!({"name": "b"}), line.clone()];
        assert_eq!(of_task(&lines, "b"), [lines[1].clone(), line]);
    }
}
