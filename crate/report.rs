//! The report of a fine-tuning run, `report.json` and `report.html`: what a run printed, in one
//! place and to look at.
//!
//! JSON lines in, text out. A field that is missing or of another kind leaves a gap and is no
//! error: a report must not be what a finished run fails at.

use serde_json::{Map, Value, json};

mod page;

/// What there is to report.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Lines as they are printed and logged, in their order: the plan, steps, evaluations, the
    /// result. Of several trials each line says its `trial` and `seed`; a step that does not is
    /// of the trial that was kept.
    pub lines: Vec<Value>,
    /// What was asked: an object, shown in its order. `command` is shown as a whole.
    pub settings: Value,
    /// Programs and libraries: an object of names and versions.
    pub versions: Value,
}

/// `report.json`: all numbers of a run, and no text of its data. Of the worst rows and the
/// skipped ones only the numbers are there.
pub fn report_json(run: &Run) -> Value {
    let log = Log::of(run);
    let (metric, kept) = (log.metric(), log.kept(log.trial));
    let done = log.done;
    let baseline = &log.plan["baseline"];
    let baseline = Some(&baseline["score"]).filter(|_| baseline["metric"] == metric);
    let score = score(kept).or(done[metric].as_f64());
    json!({
        "task": log.plan["task"],
        "metric": metric,
        "score": score,
        "baseline": baseline,
        "collapsed": kept["is_collapsed"] == true,
        "step": kept["step"],
        "epoch": kept["epoch"],
        "median": done["median"],
        "mean": done["mean"],
        "std": done["std"],
        "trials": log.trials(),
        "plan": without_texts(log.plan),
        "evaluation": without_texts(kept),
        "curves": log.curves(),
        "settings": run.settings,
        "versions": run.versions,
    })
}

/// `report.html`: a page that needs nothing beside it, and holds rows of the data.
pub fn report_html(run: &Run) -> String {
    let log = Log::of(run);
    let mut report = report_json(run);
    report["plan"] = log.plan.clone();
    report["evaluation"] = log.kept(log.trial).clone();
    page::page(&report)
}

/// The lines of a run by their kind.
struct Log<'a> {
    plan: &'a Value,
    steps: Vec<&'a Value>,
    evaluations: Vec<&'a Value>,
    done: &'a Value,
    /// The trial that was kept; null where there was only one.
    trial: &'a Value,
    /// The first of the best evaluations counts, not the last one.
    keeps_best: bool,
}

impl<'a> Log<'a> {
    fn of(run: &'a Run) -> Self {
        let lines = |event: &'static str| run.lines.iter().filter(move |l| l["event"] == event);
        let evaluations: Vec<&Value> = lines("evaluation").collect();
        let done = lines("done").next_back().unwrap_or(&Value::Null);
        // A run that was cut off has no result.
        let ended = [done].into_iter().chain(evaluations.last().copied());
        let trial = ended.map(|line| &line["trial"]).find(|trial| !trial.is_null());
        let trial = trial.unwrap_or(&Value::Null);
        let of_trial = |line: &Value| line["trial"].is_null() || &line["trial"] == trial;
        let steps = run.lines.iter().filter(|line| line["losses"].is_array());
        let settings = &run.settings;
        Log {
            plan: lines("plan").find(|line| of_trial(line)).unwrap_or(&Value::Null),
            steps: steps.filter(|line| of_trial(line)).collect(),
            evaluations,
            done,
            trial,
            keeps_best: settings["keepBest"] == true || settings["patience"].is_number(),
        }
    }

    /// What the run is judged by.
    fn metric(&self) -> &'a str {
        let last = self.evaluations.last().copied().unwrap_or(&Value::Null);
        self.done["metric"].as_str().or(last["metric"].as_str()).unwrap_or_default()
    }

    /// The evaluation of the weights that a trial keeps; null where there is none.
    fn kept(&self, trial: &Value) -> &'a Value {
        let own = || self.evaluations.iter().copied().filter(|line| &line["trial"] == trial);
        // Not defined counts as nothing, as in the comparison of runs.
        let score = |line: &Value| score(line).unwrap_or(0.0);
        let best = own().map(score).fold(f64::NEG_INFINITY, f64::max);
        // One of several tasks: the best of all of them together counts, and the line says so.
        let said = own().find(|line| line["kept"] == true);
        let kept = said.or_else(|| match self.keeps_best {
            true => own().find(|line| score(line) == best),
            false => own().next_back(),
        });
        kept.unwrap_or(&Value::Null)
    }

    /// A line each of several trials.
    fn trials(&self) -> Vec<Value> {
        let mut trials: Vec<&Value> = Vec::new();
        for line in self.evaluations.iter().filter(|line| !line["trial"].is_null()) {
            if !trials.contains(&&line["trial"]) {
                trials.push(&line["trial"]);
            }
        }
        let line = |trial: &Value| {
            let kept = self.kept(trial);
            json!({
                "trial": trial,
                "seed": kept["seed"],
                "score": score(kept),
                "loss": loss(kept),
                "step": kept["step"],
                "collapsed": kept["is_collapsed"] == true,
                "kept": trial == self.trial,
            })
        };
        trials.into_iter().map(line).collect()
    }

    /// Points of `[step, value]`; evaluations of all trials.
    fn curves(&self) -> Value {
        let losses = || self.steps.iter().flat_map(|step| list(&step["losses"]));
        let read = |key: &str| -> Vec<Value> {
            losses().map(|read| json!([read["step"], read[key]])).collect()
        };
        let rates = self.steps.iter().map(|step| json!([step["step"], step["learning_rate"]]));
        let evaluation = |line: &&Value| {
            json!({
                "trial": line["trial"],
                "step": line["step"],
                "epoch": line["epoch"],
                "score": score(line),
                "loss": loss(line),
            })
        };
        json!({
            "loss": read("loss"),
            "grad_norm": read("grad_norm"),
            "learning_rate": rates.collect::<Vec<_>>(),
            "evaluations": self.evaluations.iter().map(evaluation).collect::<Vec<_>>(),
        })
    }
}

/// What a line is judged by; None where it is not defined, which counts as 0 among runs.
fn score(evaluation: &Value) -> Option<f64> {
    evaluation["metrics"][evaluation["metric"].as_str()?].as_f64()
}

fn loss(evaluation: &Value) -> Option<f64> {
    evaluation["loss"].as_f64()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A plan or an evaluation with the rows of its lists as numbers alone. Reasons why rows are
/// skipped quote the data.
fn without_texts(line: &Value) -> Value {
    let mut line = line.clone();
    for key in ["worst", "skipped"] {
        for row in line.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
            let fields = row.as_object().into_iter().flatten();
            let numbers = fields.filter(|(_, value)| value.is_number());
            *row = numbers
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect::<Map<_, _>>()
                .into();
        }
    }
    line
}

#[cfg(test)]
mod tests;
