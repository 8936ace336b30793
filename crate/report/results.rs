//! Results of a task. A part of an evaluation that is there is shown; which ones are is the task's
//! matter (`tasks/`).

use std::fmt::Write;

use serde_json::Value;

use super::chart::{LineChart, Point, Series, heat_map, line_chart, scatter};
use super::markup::{
    bar, capitalized, count, count_of, decimal, details, escape, list, percent, quoted, shortened,
    table, text,
};
use super::page::folded;
use super::{classes, matrix};

/// With more labels than this a matrix is a map, not a table.
const CELLS: usize = 14;
/// With more than this it is neither.
const MAP: usize = 120;
/// Confusions listed.
const CONFUSIONS: usize = 20;
/// Worst rows shown at once.
const SHOWN: usize = 6;
/// Of a text, in characters; of a sentence, in words.
const LONG: usize = 1200;
const WORDS: usize = 150;

pub fn results(evaluation: &Value) -> String {
    let classes = classes(evaluation);
    [
        answers(evaluation),
        precision_recall(evaluation),
        correlation(evaluation),
        scores_of(
            "Entities",
            &evaluation["entities"]["per_type"],
            &evaluation["entities"]["micro"],
        ),
        scores_of("Labels", &evaluation["per_label"], &evaluation["micro"]),
        confusion(classes),
        scores_of("Labels", &classes["per_class"], &Value::Null),
        together(evaluation),
    ]
    .concat()
}

/// The numbers that stand alone.
fn together(evaluation: &Value) -> String {
    let (classes, entities) = (classes(evaluation), &evaluation["entities"]);
    let share =
        |name: &str, value: &Value| Some(format!("{name} {}", percent(Some(value.as_f64()?))));
    let plain =
        |name: &str, value: &Value| Some(format!("{name} {}", decimal(Some(value.as_f64()?))));
    let of_words = if entities.is_object() { "accuracy of the tags" } else { "accuracy" };
    let items = [
        share(of_words, &classes["accuracy"]),
        share("all labels of a row right", &evaluation["subset_accuracy"]),
        share("macro F1", &evaluation["macro_f1"]),
        share("macro F1 of the types", &entities["macro_f1"]),
        share("macro F1 of the tags", &evaluation["tags"]["macro_f1"]),
        plain("Matthews correlation", &classes["mcc"]),
        plain("Pearson", &evaluation["pearson"]),
        plain("Spearman", &evaluation["spearman"]),
        plain("mean squared error", &evaluation["mse"]),
        plain("mean absolute error", &evaluation["mae"]),
        plain("loss", &evaluation["loss"]),
    ];
    let items: Vec<String> = items.into_iter().flatten().collect();
    match items.is_empty() {
        true => String::new(),
        false => format!("<p class=\"fineprint\">All together: {}.</p>\n", items.join(", ")),
    }
}

/// Precision, recall and F1 of each label, and of all.
fn scores_of(caption: &str, scores: &Value, micro: &Value) -> String {
    let row = |one: &Value, name: String| {
        let share = |key: &str| percent(one[key].as_f64());
        let shares = [share("precision"), share("recall"), share("f1")];
        let mut row = vec![name];
        row.extend(shares);
        row.extend([bar(one["f1"].as_f64()), count_of(&one["support"])]);
        row
    };
    let mut rows: Vec<_> =
        list(scores).iter().map(|one| row(one, quoted(&text(&one["label"])))).collect();
    if rows.is_empty() {
        return String::new();
    }
    if micro.is_object() {
        rows.push(row(micro, "<b>all (micro)</b>".into()));
    }
    let heads = [caption, "Precision", "Recall", "F1", "", "Count"];
    folded("numeric", &format!("{caption}: precision, recall and F1"), &heads, &rows)
}

// ---- Confusions ----

fn confusion(report: &Value) -> String {
    let (matrix, labels) = (matrix(report), labels(report));
    if matrix.is_empty() || matrix.iter().any(|row| row.len() != matrix.len()) {
        return String::new();
    }
    let name = |place: usize| labels.get(place).cloned().unwrap_or_else(|| format!("{place}"));
    let labels: Vec<String> = (0..matrix.len()).map(name).collect();
    let right: f64 = matrix.iter().enumerate().map(|(place, row)| row[place]).sum();
    let all: f64 = matrix.iter().flatten().sum();
    let words = format!(
        "<p>{} of {} are on the diagonal, where both agree.</p>\n",
        count(right),
        count(all)
    );
    let picture = match labels.len() {
        0..=CELLS => confusion_table(&matrix, &labels),
        _ if labels.len() <= MAP => {
            let map = heat_map("confusion", "Confusion matrix", &matrix, &labels);
            format!(
                "<figure><figcaption>True labels in lines, predicted labels in columns; the \
                 stronger the colour, the larger the share of the line</figcaption>\n\
                 <div class=\"scroll\" role=\"region\" aria-label=\"Confusion matrix\" \
                 tabindex=\"0\">{map}</div></figure>\n"
            )
        }
        _ => format!("<p>{} labels are too many for a picture.</p>\n", count(labels.len() as f64)),
    };
    let list = if labels.len() > CELLS { confusions(&matrix, &labels) } else { String::new() };
    format!("<h3>Confusion matrix</h3>\n{words}{picture}{list}")
}

fn labels(report: &Value) -> Vec<String> {
    list(&report["labels"]).iter().map(text).collect()
}

fn confusion_table(matrix: &[Vec<f64>], labels: &[String]) -> String {
    let heads: Vec<&str> =
        ["true ↓ taken for →"].into_iter().chain(labels.iter().map(String::as_str)).collect();
    let row = |(truth, row): (usize, &Vec<f64>)| {
        let all: f64 = row.iter().sum::<f64>().max(1.0);
        let cell = |(guess, number): (usize, &f64)| {
            let class = if truth == guess { "heat right" } else { "heat" };
            let shown = if *number > 0.0 { count(*number) } else { "·".into() };
            // The root makes small shares visible.
            let share = (number / all).clamp(0.0, 1.0).sqrt();
            format!("<span class=\"{class}\" style=\"--p:{share:.3}\">{shown}</span>")
        };
        let cells = row.iter().enumerate().map(cell);
        [quoted(&labels[truth])].into_iter().chain(cells).collect::<Vec<_>>()
    };
    let rows: Vec<_> = matrix.iter().enumerate().map(row).collect();
    let class = if labels.len() > 4 { "confusion many" } else { "confusion" };
    table(class, "True labels in lines, predicted labels in columns", &heads, &rows)
}

fn confusions(matrix: &[Vec<f64>], labels: &[String]) -> String {
    let cells = matrix.iter().enumerate().flat_map(|(truth, row)| {
        let all: f64 = row.iter().sum();
        row.iter().enumerate().map(move |(guess, number)| (truth, guess, *number, number / all))
    });
    let mut wrong: Vec<_> =
        cells.filter(|(truth, guess, number, _)| truth != guess && *number > 0.0).collect();
    wrong.sort_by(|a, b| b.2.total_cmp(&a.2));
    if wrong.is_empty() {
        return String::new();
    }
    let row = |(truth, guess, number, share): &(usize, usize, f64, f64)| {
        vec![
            quoted(&labels[*truth]),
            quoted(&labels[*guess]),
            count(*number),
            percent(Some(*share)),
        ]
    };
    let rows: Vec<_> = wrong.iter().take(CONFUSIONS).map(row).collect();
    let caption =
        format!("The most frequent confusions: {} of {}", rows.len(), count(wrong.len() as f64));
    table("numeric", &caption, &["True", "Taken for", "Count", "Share of the true"], &rows)
}

// ---- Scores and answers ----

fn correlation(evaluation: &Value) -> String {
    let pair = |pair: &Value| Some((pair[0].as_f64()?, pair[1].as_f64()?));
    let points: Vec<Point> = list(&evaluation["points"]).iter().filter_map(pair).collect();
    let svg = scatter("scatter", "Predicted against true scores", &points);
    match svg.is_empty() {
        true => svg,
        false => format!(
            "<figure class=\"square\"><figcaption><span>Predicted (up) against true scores \
             (across)</span></figcaption>\n{svg}</figure>\n"
        ),
    }
}

/// SQuAD's scores, which are percents.
fn answers(evaluation: &Value) -> String {
    let share = |value: &Value| value.as_f64().map(|percent| percent / 100.0);
    let row = |name: &str, scores: &Value| {
        let f1 = share(&scores["f1"]);
        scores["f1"].is_number().then(|| {
            let name = name.to_string();
            vec![
                name,
                percent(share(&scores["exact"])),
                percent(f1),
                bar(f1),
                count_of(&scores["total"]),
            ]
        })
    };
    let all = if evaluation["all"].is_object() { &evaluation["all"] } else { evaluation };
    let rows = [
        row("All questions", all).filter(|_| all["exact"].is_number()),
        row("With an answer", &evaluation["has_ans"]),
        row("Without an answer", &evaluation["no_ans"]),
    ];
    let rows: Vec<_> = rows.into_iter().flatten().collect();
    if rows.is_empty() {
        return String::new();
    }
    let heads = ["", "Exact match", "F1", "", "Questions"];
    let mut html = table("numeric", "Answers, as SQuAD's scripts score them", &heads, &rows);
    if let Some(threshold) = evaluation["no_answer_threshold"].as_f64() {
        let threshold = decimal(Some(threshold));
        let best = percent(share(&evaluation["best_f1"]));
        let _ = writeln!(
            html,
            "<p>Above a no-answer score of <b>{threshold}</b> the model says that there is no \
             answer: the best threshold on these questions (F1 {best}). It is kept in \
             config.json.</p>"
        );
    }
    if let Some(average) = share(&evaluation["pr_f1_ap"]) {
        let average = percent(Some(average));
        let _ = writeln!(
            html,
            "<p class=\"fineprint\">Average precision of finding the questions with an answer, by \
             F1: {average}.</p>"
        );
    }
    html
}

/// `curve`: points of precision and recall, from 0 to 1.
fn precision_recall(evaluation: &Value) -> String {
    let point = |point: &Value| Some((point["recall"].as_f64()?, point["precision"].as_f64()?));
    let points: Vec<Point> = list(&evaluation["curve"]).iter().filter_map(point).collect();
    let series = vec![Series { class: "gain", points, dots: false }];
    let title = "Precision (up) at each recall (across)";
    let chart = LineChart {
        id: "curve",
        title,
        x_name: "recall",
        series,
        percent: true,
        ..LineChart::default()
    };
    match line_chart(&chart) {
        svg if svg.is_empty() => svg,
        svg => {
            format!("<figure class=\"square\"><figcaption>{title}</figcaption>\n{svg}</figure>\n")
        }
    }
}

// ---- Worst rows ----

pub fn worst(evaluation: &Value) -> String {
    let is_entities = evaluation["entities"].is_object();
    let rows: Vec<String> =
        list(&evaluation["worst"]).iter().map(|row| worst_row(row, is_entities)).collect();
    let items = |rows: &[String]| format!("<ol class=\"worst\">\n{}</ol>\n", rows.concat());
    match rows.len() {
        0 => String::new(),
        more if more > SHOWN => {
            let rest = details(&format!("{} more", more - SHOWN), &items(&rows[SHOWN..]));
            items(&rows[..SHOWN]) + &rest
        }
        _ => items(&rows),
    }
}

fn worst_row(row: &Value, is_entities: bool) -> String {
    let (quote, words) = if row["words"].is_array() {
        (sentence(row, is_entities), tag_words(row))
    } else if row["question"].is_string() {
        (quote(&row["question"], &Value::Null), answer_words(row))
    } else {
        let words = match &row["predicted"] {
            Value::Array(_) => label_words(row),
            Value::Number(_) => score_words(row),
            _ => class_words(row),
        };
        (quote(&row["text"], &row["text_pair"]), words)
    };
    let place = count_of(&row["row"]);
    format!("<li>{quote}<p class=\"fineprint\">Row {place}. {words}</p></li>\n")
}

fn quote(first: &Value, second: &Value) -> String {
    let mut html = format!("<p class=\"quote\" dir=\"auto\">{}</p>", shortened(&text(first), LONG));
    if second.is_string() {
        let second = shortened(&text(second), LONG);
        let _ = write!(html, "<p class=\"quote second\" dir=\"auto\">{second}</p>");
    }
    html
}

fn bold(value: &Value) -> String {
    format!("<b>{}</b>", quoted(&text(value)))
}

fn class_words(row: &Value) -> String {
    let (truth, score) = (bold(&row["label"]), percent(row["score"].as_f64()));
    match row["label"] == row["predicted"] {
        true => format!("It is {truth}, and the model says so with {score}."),
        false => format!(
            "It is {truth}, the model says {} and gives the true label {score}.",
            bold(&row["predicted"])
        ),
    }
}

fn score_words(row: &Value) -> String {
    let (truth, predicted) = (row["score"].as_f64(), row["predicted"].as_f64());
    let off = truth.zip(predicted).map(|(truth, predicted)| (truth - predicted).abs());
    format!(
        "The score is <b>{}</b>, predicted <b>{}</b>, off by {}.",
        decimal(truth),
        decimal(predicted),
        decimal(off)
    )
}

fn label_words(row: &Value) -> String {
    let (truth, predicted) = (list(&row["labels"]), list(&row["predicted"]));
    let without = |labels: &[Value], others: &[Value]| -> Vec<String> {
        labels.iter().filter(|label| !others.contains(label)).map(bold).collect()
    };
    let found: Vec<String> = truth.iter().filter(|l| predicted.contains(l)).map(bold).collect();
    let parts = [
        ("found", found),
        ("missed", without(truth, predicted)),
        ("not its own", without(predicted, truth)),
    ];
    let parts = parts.iter().filter(|(_, labels)| !labels.is_empty());
    let parts: Vec<_> =
        parts.map(|(name, labels)| format!("{name}: {}", labels.join(", "))).collect();
    let loss = decimal(row["loss"].as_f64());
    match parts.is_empty() {
        true => format!("It has no label, and was given none. Loss {loss}."),
        false => capitalized(&format!("{}. Loss {loss}.", parts.join("; "))),
    }
}

fn answer_words(row: &Value) -> String {
    let answer = |words: &Value| match text(words) {
        words if words.is_empty() => "<b>no answer</b>".to_string(),
        words => format!("<b>“<bdi>{}</bdi>”</b>", shortened(&words, LONG)),
    };
    let golds: Vec<String> = list(&row["golds"]).iter().map(answer).collect();
    let golds = if golds.is_empty() { answer(&Value::Null) } else { golds.join(" or ") };
    let f1 = percent(row["f1"].as_f64());
    format!("Right: {golds}. The model says: {}. F1 {f1}.", answer(&row["predicted"]))
}

fn tag_words(row: &Value) -> String {
    let (truth, predicted) = (list(&row["labels"]), list(&row["predicted"]));
    let wrong = truth.iter().zip(predicted).filter(|(truth, predicted)| truth != predicted).count();
    let all = truth.len();
    format!("{wrong} of {all} words are wrong; loss {} a word.", decimal(row["loss"].as_f64()))
}

/// Words with their tags below: what is wrong as true → predicted, and right entities.
fn sentence(row: &Value, is_entities: bool) -> String {
    let (words, truth, predicted) =
        (list(&row["words"]), list(&row["labels"]), list(&row["predicted"]));
    let mut html = String::from("<p class=\"quote tagged\" dir=\"auto\">");
    for (place, word) in words.iter().enumerate().take(WORDS) {
        let tag = |tags: &[Value]| tags.get(place).map_or(String::new(), text);
        let (truth, predicted) = (tag(truth), tag(predicted));
        let word = escape(&text(word));
        let _ = match () {
            _ if truth != predicted => write!(
                html,
                "<span class=\"word wrong\">{word}<small>{} → {}</small></span> ",
                quoted(&truth),
                quoted(&predicted)
            ),
            _ if is_entities && truth != "O" && !truth.is_empty() => write!(
                html,
                "<span class=\"word right\">{word}<small>{}</small></span> ",
                quoted(&truth)
            ),
            _ => write!(html, "<span class=\"word\">{word}</span> "),
        };
    }
    if words.len() > WORDS {
        let _ = write!(html, "<small>… {} words in all</small>", count(words.len() as f64));
    }
    html + "</p>"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SCRIPT: &str = "<script>alert(1)</script>";

    #[test]
    fn rows_of_every_task_are_escaped() {
        let rows = [
            json!({"text": SCRIPT, "text_pair": SCRIPT, "label": SCRIPT, "predicted": SCRIPT}),
            json!({"text": SCRIPT, "labels": [SCRIPT, "a"], "predicted": ["b", SCRIPT]}),
            json!({"text": SCRIPT, "score": 1.0, "predicted": 2.0}),
            json!({"words": [SCRIPT, "b"], "labels": [SCRIPT, SCRIPT], "predicted": [SCRIPT, "O"]}),
            json!({"question": SCRIPT, "golds": [SCRIPT], "predicted": SCRIPT}),
            json!({"text": {SCRIPT: SCRIPT}, "label": [SCRIPT], "predicted": null}),
            json!([SCRIPT]),
            json!(SCRIPT),
            Value::Null,
        ];
        for row in rows {
            let html = worst(&json!({"worst": [row.clone()], "entities": {}}));
            assert!(html.contains("<li>") && !html.contains("<script"), "{row}: {html}");
        }
    }

    #[test]
    fn what_is_missed_and_what_is_too_many_are_told_apart() {
        let words = label_words(&json!({"labels": ["a", "b"], "predicted": ["b", "c"]}));
        let bold = |label: &str| format!("<b><bdi>{label}</bdi></b>");
        let [a, b, c] = ["a", "b", "c"].map(bold);
        assert!(
            words.starts_with(&format!("Found: {b}; missed: {a}; not its own: {c}.")),
            "{words}"
        );
    }

    #[test]
    fn a_matrix_is_a_table_a_map_or_a_list_by_its_size() {
        let of_size = |size: usize| {
            let labels: Vec<String> = (0..size).map(|i| format!("<{i}>")).collect();
            let row = |i: usize| (0..size).map(|j| usize::from(j == (i + 1) % size)).collect();
            let matrix: Vec<Vec<usize>> = (0..size).map(row).collect();
            confusion(&json!({"labels": labels, "confusion_matrix": matrix}))
        };
        let has = |html: &str| {
            [html.contains("class=\"heat"), html.contains("<svg"), html.contains("Taken for")]
        };
        assert_eq!(has(&of_size(1)), [true, false, false]);
        assert_eq!(has(&of_size(14)), [true, false, false]);
        assert_eq!(has(&of_size(50)), [false, true, true]);
        assert_eq!(of_size(50).matches("<rect class=\"wrong\"").count(), 50);
        assert_eq!(has(&of_size(121)), [false, false, true]);
        assert!(of_size(50).contains("20 of 50") && !of_size(50).contains("<49>"));
        assert!(of_size(1).contains("1 of 1"));
    }

    #[test]
    fn a_matrix_that_is_none_is_left_out() {
        for matrix in [json!(null), json!([]), json!([[1, 2], [3]]), json!("x"), json!([1])] {
            assert_eq!(confusion(&json!({"confusion_matrix": matrix})), "");
        }
        let negative = vec![vec![1, -5]; 2].concat().repeat(5);
        let map = confusion(&json!({"confusion_matrix": vec![negative; 20]}));
        assert!(map.contains("<rect class=\"wrong\"") && !map.contains("NaN"), "{map}");
        // Without names, and with a null.
        assert!(confusion(&json!({"confusion_matrix": [[1, null], [0, 1]]})).contains("2 of 2"));
    }
}
