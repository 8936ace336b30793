//! The page around the results: what came out, how it got there, and what it was made with.

use std::fmt::Write;

use serde_json::Value;

use super::chart::{LineChart, Point, Series, line_chart, smoothed, thinned};
use super::markup::{
    bar, capitalized, count, count_of, decimal, details, escape, facts, list, percent, quoted,
    table, text, words_of,
};
use super::results;

const STYLE: &str = include_str!("style.css");

/// No script runs here, whatever a row holds, and nothing is fetched.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                      form-action 'none'";

/// `plan` and `evaluation` are as they were printed, with texts; the report has none.
pub fn page(report: &Value, plan: &Value, evaluation: &Value) -> String {
    let metric = text(&report["metric"]);
    let title = format!("{}: {}", subject(report), score_words(&metric, &report["score"]));
    let sections = [
        section("How it learned", &(trials(report, &metric) + &curves(report, &metric))),
        section("Results", &results::results(evaluation)),
        section("What it gets most wrong", &results::worst(evaluation)),
        section("The data", &data(plan)),
        section("Settings", &settings(&report["settings"])),
        section("Versions", &facts(&report["versions"])),
        section("All numbers", &numbers(report, &metric)),
    ];
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{}{}</main>\n\
         <footer><p>Made by electra. The same numbers, without any row of the data, are in \
         report.json.</p></footer>\n</body>\n</html>\n",
        escape(&title),
        head(report, plan, &metric),
        sections.concat()
    )
}

fn section(heading: &str, inside: &str) -> String {
    if inside.is_empty() {
        return String::new();
    }
    format!("<section>\n<h2>{heading}</h2>\n{inside}</section>\n")
}

// ---- What came out ----

fn subject(report: &Value) -> String {
    match report["task"].as_str() {
        None | Some("") => "Fine-tuning".into(),
        Some("multi-label") => "Multi-label classification".into(),
        Some(task) => capitalized(&words_of(task)),
    }
}

/// Correlations are no shares.
fn is_share(metric: &str) -> bool {
    !matches!(metric, "pearson" | "spearman" | "mcc" | "mse" | "mae" | "loss")
}

fn metric_name(metric: &str) -> String {
    match metric {
        "micro_f1" => "micro F1".into(),
        "macro_f1" => "macro F1".into(),
        "f1" => "F1".into(),
        "exact" => "exact match".into(),
        "pearson" | "spearman" => capitalized(metric) + " correlation",
        "mcc" => "Matthews correlation".into(),
        other => words_of(other),
    }
}

fn shown(metric: &str, score: Option<f64>) -> String {
    if is_share(metric) { percent(score) } else { decimal(score) }
}

fn score_words(metric: &str, score: &Value) -> String {
    format!("{} {}", metric_name(metric), shown(metric, score.as_f64()))
}

fn head(report: &Value, plan: &Value, metric: &str) -> String {
    let score = report["score"].as_f64();
    let mut head = format!(
        "<header>\n<p class=\"eyebrow\">Run report{}</p>\n<h1>{}</h1>\n\
         <div class=\"score\"><p class=\"big\">{}<small>{}</small></p>\n\
         <p class=\"line\">{}</p></div>\n{}",
        source(report),
        escape(&subject(report)),
        shown(metric, score),
        escape(&metric_name(metric)),
        verdict(report, metric, score),
        stats(report, plan),
    );
    head += "<p class=\"notice\">This file holds rows of your data: look through it before you \
             pass it on.</p>\n";
    if report["collapsed"] == true {
        head += "<p class=\"notice problem\"><strong>The model gives every example the same \
                 label.</strong> Lower the learning rate, train longer, or try another seed.</p>\n";
    }
    head + "</header>\n"
}

/// The training file, where the settings name one.
fn source(report: &Value) -> String {
    let file = report["settings"]["train"].as_str();
    file.map_or(String::new(), |file| format!(" · {}", quoted(file)))
}

/// Beside the score: what it is to be compared with.
fn verdict(report: &Value, metric: &str, score: Option<f64>) -> String {
    let trials = list(&report["trials"]).len();
    let mut words = Vec::new();
    if let (Some(baseline), Some(score)) = (report["baseline"].as_f64(), score) {
        let than = match score - baseline {
            gain if gain.abs() < 5e-4 => "That is as much as",
            gain if gain > 0.0 => "That is more than",
            _ => "That is less than",
        };
        words.push(format!(
            "{than} the {} of always giving the most frequent label.",
            percent(Some(baseline))
        ));
    }
    if trials > 1 {
        words.push(format!(
            "The best of {trials} trials, whose median is {}.",
            shown(metric, report["median"].as_f64())
        ));
    }
    if score.is_none() && report["evaluation"].is_object() {
        words
            .push("It is not defined here: all predictions, or all true values, are equal.".into());
    }
    words.join(" ")
}

fn stats(report: &Value, plan: &Value) -> String {
    let unit = match plan["task"].as_str() {
        Some("tagging") => "sentences",
        Some("question-answering") => "questions",
        _ => "rows",
    };
    let measured = match plan["eval_source"].as_str() {
        Some("held-out") => format!("held-out {unit}"),
        Some("file") => format!("{unit} of a file"),
        _ => unit.to_string(),
    };
    let of = match plan["steps"].as_f64() {
        Some(steps) if report["step"].is_number() => format!(" of {}", count(steps)),
        _ => String::new(),
    };
    let items = [
        ("Learned from", format!("{} {unit}", count_of(&plan["train_rows"]))),
        ("Measured on", format!("{} {measured}", count_of(&plan["eval_rows"]))),
        ("Updates", format!("{}{of}", count_of(&report["step"]))),
        ("Epochs", decimal(report["epoch"].as_f64())),
        ("Batch size", count_of(&plan["batch_size"])),
        ("Learning rate", decimal(plan["learning_rate"].as_f64())),
    ];
    let items = items.map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n"));
    format!("<dl class=\"stats\">{}</dl>\n", items.concat())
}

// ---- How it got there ----

fn trials(report: &Value, metric: &str) -> String {
    let trials = list(&report["trials"]);
    if trials.is_empty() {
        return String::new();
    }
    let row = |trial: &Value| {
        let score = trial["score"].as_f64();
        let kept = if trial["kept"] == true { " <b>kept</b>" } else { "" };
        let collapsed =
            if trial["collapsed"] == true { " <small>one label for all</small>" } else { "" };
        vec![
            quoted(&text(&trial["trial"])) + kept + collapsed,
            quoted(&text(&trial["seed"])),
            shown(metric, score),
            bar(score),
            decimal(trial["loss"].as_f64()),
        ]
    };
    let rows: Vec<_> = trials.iter().map(row).collect();
    let name = capitalized(&metric_name(metric));
    let heads = ["Trial", "Seed", &name, "", "Loss"];
    let of = |key: &str| shown(metric, report[key].as_f64());
    let words = format!(
        "<p>Median <b>{}</b>, mean <b>{}</b>, standard deviation <b>{}</b>.</p>\n",
        of("median"),
        of("mean"),
        of("std")
    );
    table("numeric", &format!("{} trials", trials.len()), &heads, &rows) + &words
}

/// Pairs of numbers; what is no number is left out.
fn points(value: &Value) -> Vec<Point> {
    let pair = |pair: &Value| Some((pair[0].as_f64()?, pair[1].as_f64()?));
    list(value).iter().filter_map(pair).collect()
}

fn curves(report: &Value, metric: &str) -> String {
    let curves = &report["curves"];
    let single = |key: &str, id: &str, title: &str, class| {
        let series = vec![Series { class, points: points(&curves[key]), dots: false }];
        let chart = LineChart { id, title, x_name: "updates", series, ..LineChart::default() };
        figure(title, &[], &line_chart(&chart))
    };
    let charts = [
        losses(report),
        scores(report, metric),
        single("learning_rate", "rate", "Learning rate", "quiet"),
        single("grad_norm", "norm", "Gradient norm, before the clip", "quiet"),
    ];
    let charts = charts.concat();
    if charts.is_empty() { charts } else { format!("<div class=\"charts\">{charts}</div>\n") }
}

fn losses(report: &Value) -> String {
    let curves = &report["curves"];
    let raw = points(&curves["loss"]);
    let smooth = smoothed(&raw);
    let measured = evaluation_points(curves, kept_trial(report), "loss");
    let mut keys = Vec::new();
    if !raw.is_empty() {
        keys.push(("loss", "training"));
    }
    if !measured.is_empty() {
        keys.push(("gain", "evaluation"));
    }
    let series = vec![
        Series { class: "raw", points: raw, dots: false },
        Series { class: "loss", points: smooth, dots: false },
        Series { class: "gain", points: measured, dots: true },
    ];
    let chart =
        LineChart { id: "loss", title: "Loss", x_name: "updates", series, ..LineChart::default() };
    figure("Loss", &keys, &line_chart(&chart))
}

/// The name of the trial that was kept; null where there was only one.
fn kept_trial(report: &Value) -> &Value {
    let kept = list(&report["trials"]).iter().find(|trial| trial["kept"] == true);
    kept.map_or(&Value::Null, |trial| &trial["trial"])
}

fn evaluation_points(curves: &Value, trial: &Value, key: &str) -> Vec<Point> {
    let lines = list(&curves["evaluations"]).iter().filter(|line| &line["trial"] == trial);
    lines.filter_map(|line| Some((line["step"].as_f64()?, line[key].as_f64()?))).collect()
}

fn scores(report: &Value, metric: &str) -> String {
    let (curves, trials) = (&report["curves"], list(&report["trials"]));
    let points = |trial: &Value| evaluation_points(curves, trial, "score");
    let others = trials.iter().filter(|trial| trial["kept"] != true);
    let mut series: Vec<_> = others
        .map(|trial| Series { class: "other", points: points(&trial["trial"]), dots: false })
        .collect();
    series.push(Series { class: "gain", points: points(kept_trial(report)), dots: true });
    let keys: &[_] =
        if series.len() > 1 { &[("gain", "kept trial"), ("other", "others")] } else { &[] };
    let title = capitalized(&metric_name(metric));
    let baseline = report["baseline"].as_f64().map(|level| (level, "most frequent label"));
    let chart = LineChart {
        id: "score",
        title: &title,
        x_name: "updates",
        series,
        baseline,
        percent: is_share(metric),
    };
    figure(&title, keys, &line_chart(&chart))
}

/// A chart under its name; `keys` are looks and what they mean.
fn figure(title: &str, keys: &[(&str, &str)], svg: &str) -> String {
    if svg.is_empty() {
        return String::new();
    }
    let keys: String = keys
        .iter()
        .map(|(class, words)| format!("<span class=\"key {class}\">{words}</span> "))
        .collect();
    let title = escape(title);
    format!(
        "<figure><figcaption><span>{title}</span><span>{keys}</span></figcaption>\n{svg}</figure>\n"
    )
}

// ---- What it was made with ----

fn data(plan: &Value) -> String {
    let mut html = String::new();
    for note in list(&plan["notes"]) {
        let _ = writeln!(html, "<p>{}</p>", escape(&capitalized(&text(note))));
    }
    let labels = list(&plan["labels"]);
    let most = labels.iter().filter_map(|label| label["count"].as_f64()).fold(1.0, f64::max);
    let row = |label: &Value| {
        let share = label["count"].as_f64().map(|count| count / most);
        vec![quoted(&text(&label["label"])), bar(share), count_of(&label["count"])]
    };
    if !labels.is_empty() {
        let rows: Vec<_> = labels.iter().map(row).collect();
        let heads = ["Label", "", "Count"];
        html += &folded("bars", "Labels of the training data", &heads, &rows);
    }
    html + &skipped(plan)
}

fn skipped(plan: &Value) -> String {
    let skipped = list(&plan["skipped"]);
    let all = plan["skipped_count"].as_f64().unwrap_or(0.0).max(skipped.len() as f64);
    if all == 0.0 {
        return String::new();
    }
    let row = |problem: &Value| {
        vec![
            count_of(&problem["row"]),
            format!("<span dir=\"auto\">{}</span>", escape(&text(&problem["reason"]))),
        ]
    };
    let rows: Vec<_> = skipped.iter().map(row).collect();
    let caption = format!("{} of {} skipped rows", rows.len(), count(all));
    let summary = format!("{} rows were skipped", count(all));
    details(&summary, &table("rows", &caption, &["Row", "Reason"], &rows))
}

/// A table that opens at a click where it is long.
pub fn folded(class: &str, caption: &str, heads: &[&str], rows: &[Vec<String>]) -> String {
    let table = table(class, caption, heads, rows);
    if rows.len() > 20 {
        details(&format!("{caption} ({} lines)", rows.len()), &table)
    } else {
        table
    }
}

fn settings(settings: &Value) -> String {
    let mut rest = settings.clone();
    let command = rest.as_object_mut().and_then(|fields| fields.shift_remove("command"));
    let command = command.map(|command| text(&command)).filter(|command| !command.is_empty());
    let command = command.map(|words| format!("<pre><code>{}</code></pre>\n", escape(&words)));
    command.unwrap_or_default() + &facts(&rest)
}

/// The charts as tables.
fn numbers(report: &Value, metric: &str) -> String {
    let curves = &report["curves"];
    let name = metric_name(metric);
    let several = !list(&report["trials"]).is_empty();
    let evaluation = |line: &Value| {
        let mut row = vec![
            count_of(&line["step"]),
            decimal(line["epoch"].as_f64()),
            shown(metric, line["score"].as_f64()),
            decimal(line["loss"].as_f64()),
        ];
        if several {
            row.push(quoted(&text(&line["trial"])));
        }
        row
    };
    let rows: Vec<_> = list(&curves["evaluations"]).iter().map(evaluation).collect();
    let mut heads = vec!["Updates", "Epoch", &name, "Loss"];
    if several {
        heads.push("Trial");
    }
    let mut html = String::new();
    if !rows.is_empty() {
        html += &details("Evaluations", &table("numeric", "Evaluations", &heads, &rows));
    }
    let losses = points(&curves["loss"]);
    let thin = thinned(&losses);
    let rows: Vec<_> =
        thin.iter().map(|(step, loss)| vec![count(*step), decimal(Some(*loss))]).collect();
    if !rows.is_empty() {
        let caption = match thin.len() < losses.len() {
            true => "Training loss, neighbours averaged; report.json has every update",
            false => "Training loss",
        };
        html += &details("Training loss", &table("numeric", caption, &["Updates", "Loss"], &rows));
    }
    html
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::markup::NOTHING;
    use super::*;

    #[test]
    fn a_metric_of_any_name_can_be_shown() {
        assert_eq!(score_words("pearson", &json!(0.5)), "Pearson correlation 0.5");
        assert_eq!(score_words("micro_f1", &json!(0.5)), "micro F1 50.0\u{a0}%");
        assert_eq!(score_words("", &Value::Null), format!(" {NOTHING}"));
        assert_eq!(scores(&json!({"trials": []}), ""), "");
    }
}
