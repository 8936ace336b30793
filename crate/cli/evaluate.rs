//! `electra evaluate`

use std::path::{Path, PathBuf};

use electra::config::ElectraConfig;
use electra::dataset::glue::Split;
use electra::dataset::{Kind, LabelledFile};
use electra::error::{Error, Result};
use electra::finetune::{Source, check_vocabulary};
use electra::pretrained;
use electra::query::Pipeline;
use electra::tasks::question_answering::Windowing;
use electra::tasks::{Examples, Known, Reading, check_pairs, kind_of};
use electra::tokenizer::Tokenizer;
use serde_json::{Value, json};

use super::named::{NameArgs, Named, SplitFile, run_with_bar, write_submission};
use super::{
    ColumnArgs, DeviceArg, at, batch_size, check_file, check_folder, max_seq_length, print_line,
    read_model, read_source, say, within, write_lines,
};

/// Measure a fine-tuned model on labelled text
///
/// Prints one JSON object with the scores of the model's task and the rows that it got most wrong:
/// accuracy, F1, MCC and confusion matrix of a classifier; F1 of several labels; Pearson, Spearman
/// and MSE of scores; entities' precision, recall and F1 of tags; exact match and F1 of answers, as
/// SQuAD's scripts have them. Of a task by name one object for each labelled file.
#[derive(clap::Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "Example:
  electra evaluate --model topic-model --data public/samples/topic.tsv

A task by name brings its files, and `metrics` its metrics:
  electra evaluate --model mnli-model --glue mnli --data-dir glue_data --submission hand-in"
)]
pub struct Args {
    /// A fine-tuned model folder
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The labelled text
    #[arg(long, value_name = "FILE", required_unless_present = "name", conflicts_with = "name")]
    data: Option<PathBuf>,
    #[command(flatten)]
    name: NameArgs,
    /// What the model does; its config.json says so
    #[arg(long, value_name = "TASK", value_parser = super::word::<Kind>, conflicts_with = "name")]
    task: Option<Kind>,
    /// Also write a prediction for every row, one JSON object a line
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Also write the files to hand in: GLUE's for its test files, SQuAD's answers to the
    /// development file
    #[arg(long, value_name = "DIR", requires = "name")]
    submission: Option<PathBuf>,
    #[command(flatten)]
    columns: ColumnArgs,
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = batch_size)]
    batch_size: usize,
    /// Texts are cut to that many tokens; 128 by default (of a task by name as in the paper), less
    /// where the model takes less
    #[arg(long, value_name = "N", value_parser = within(1usize.., "a whole number above 0"))]
    max_seq_length: Option<usize>,
    /// From the start of one window of a long context to the next, in tokens; 128 by default
    #[arg(long, value_name = "N", value_parser = within(1usize.., "a whole number above 0"))]
    doc_stride: Option<usize>,
    #[command(flatten)]
    device: DeviceArg,
}

/// Labelled examples of one file.
struct Set {
    /// Which one of a named task.
    split: Option<Split>,
    examples: Examples,
}

pub fn run(args: Args) -> Result<()> {
    check_file(args.output.as_ref())?;
    // Files of another task may stay beside the new ones.
    args.submission.as_deref().map_or(Ok(()), |folder| check_folder(folder, true))?;
    let files = read_model(&args.model)?;
    let inside = |e| at(&args.model, e);
    let tokenizer = Tokenizer::from_files(&files).map_err(inside)?;
    let config = pretrained::read_config(&files).map_err(inside)?;
    let named = args.name.task();
    let windowing = windowing(&args, named.as_ref(), &config)?;
    check_vocabulary(&tokenizer, &config).map_err(inside)?;
    let kind = task(&config, args.task.or(named.as_ref().map(Named::kind))).map_err(inside)?;
    let (parts, tests) = parts(&args, named.as_ref())?;
    let sets = match &named {
        Some(named) => {
            let known = named.known(&config).map_err(inside)?;
            for part in &tests {
                named.read(part, &Reading::default(), &known)?;
            }
            by_name(named, &parts, &known)?
        }
        None => vec![own_file(&args, kind, &config)?],
    };
    for Set { examples, .. } in &sets {
        check_pairs(examples, &config).map_err(inside)?;
        for note in examples.notes() {
            say(format_args!("note: {note}"));
        }
        for problem in examples.skipped().iter().take(10) {
            say(format_args!("skipped row {}: {}", problem.row, problem.reason));
        }
    }
    let device = args.device.open()?.device;
    let model = pretrained::load(&files, &device).map_err(inside)?.model;
    let pipeline = Pipeline::new(model, config, &tokenizer, args.batch_size, &device);
    let pipeline = pipeline.map_err(inside)?.with_windowing(windowing);
    let (mut lines, mut predictions) = (Vec::new(), Vec::new());
    for set in &sets {
        let (line, rows) = measure(&pipeline, named.as_ref(), set)?;
        lines.push(line);
        predictions.extend(rows);
    }
    if let Some(output) = &args.output {
        write_lines(Some(output), &predictions)?;
    }
    lines.iter().try_for_each(print_line)?;
    match (&named, &args.submission) {
        (Some(named), Some(folder)) => hand_in(named, &pipeline, folder, &parts, &tests),
        _ => Ok(()),
    }
}

fn windowing(args: &Args, named: Option<&Named>, config: &ElectraConfig) -> Result<Windowing> {
    let usual = named.map(|named| named.settings(config).windowing());
    let length = args.max_seq_length.or(usual.map(|usual| usual.max_seq_length));
    let usual = usual.unwrap_or(Windowing { doc_stride: 128, ..Windowing::default() });
    Ok(Windowing {
        max_seq_length: max_seq_length(length, config)?,
        doc_stride: args.doc_stride.unwrap_or(usual.doc_stride),
        ..usual
    })
}

/// The labelled files of a named task, and those to predict.
fn parts(args: &Args, named: Option<&Named>) -> Result<(Vec<SplitFile>, Vec<SplitFile>)> {
    let Some(named) = named else { return Ok((Vec::new(), Vec::new())) };
    let eval = named.eval()?;
    if args.submission.is_none() {
        return Ok((eval, Vec::new()));
    }
    let tests = named.tests()?;
    if tests.is_empty() && named.kind() != Kind::QuestionAnswering {
        let problem = format!("there is no test file of {} to hand in for", named.title());
        return Err(Error::new("--submission", problem)
            .fix("Put it beside the other files, or leave --submission out."));
    }
    Ok((eval, tests))
}

fn by_name(named: &Named, parts: &[SplitFile], known: &Known) -> Result<Vec<Set>> {
    let set = |part: &SplitFile| {
        let examples = named.read(part, &Reading::default(), known)?;
        let examples = examples.labelled(&part.path.display().to_string())?;
        Ok(Set { split: Some(part.split), examples })
    };
    parts.iter().map(set).collect()
}

fn own_file(args: &Args, kind: Kind, config: &ElectraConfig) -> Result<Set> {
    let path = args.data.as_deref().expect("clap asks for it without a name");
    let Source { name, bytes } = read_source(path)?;
    let (reading, known) = (args.columns.reading(), Known::of(config, kind)?);
    let file = LabelledFile::new(&name, &bytes).with_sheet(reading.sheet.as_deref());
    let examples = Examples::read(kind, &file, &reading, &known)?.labelled(&name)?;
    Ok(Set { split: None, examples })
}

/// A line of scores, and one of predictions for each example.
fn measure(pipeline: &Pipeline, named: Option<&Named>, set: &Set) -> Result<(Value, Vec<Value>)> {
    let outputs = run_with_bar(pipeline, &set.examples)?;
    let mut rows = outputs.predictions();
    let (Some(named), Some(split)) = (named, set.split) else {
        return Ok((outputs.measure(None), rows));
    };
    let split = named.split_name(split);
    rows.iter_mut().for_each(|row| row["split"] = json!(split));
    Ok((named.measure(split, &outputs), rows))
}

fn hand_in(
    named: &Named,
    pipeline: &Pipeline,
    folder: &Path,
    parts: &[SplitFile],
    tests: &[SplitFile],
) -> Result<()> {
    let files = named.submission(pipeline, parts, tests, &Reading::default())?;
    write_submission(folder, &files)
}

/// What the model was fine-tuned for.
fn task(config: &ElectraConfig, asked: Option<Kind>) -> Result<Kind> {
    let Some(kind) = kind_of(config)? else {
        return Err(Error::new("config.json", "this model was not fine-tuned for any task")
            .fix("Fine-tune it first: electra finetune."));
    };
    match asked.filter(|asked| *asked != kind) {
        None => Ok(kind),
        Some(asked) => {
            let problem = format!("is for {}, not for {}", kind.name(), asked.name());
            Err(Error::new("config.json", problem).fix("Leave --task out, or give another model."))
        }
    }
}
