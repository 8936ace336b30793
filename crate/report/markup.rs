//! HTML from values of any shape: escaping, numbers for people, tables and lists.

use serde_json::Value;

/// What a reader sees where there is no number or word.
pub const NOTHING: &str = "–";

/// Text that is nothing but text, in an element and in a quoted attribute.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // HTML has no such characters.
            '\0'..='\x08' | '\x0b' | '\x0e'..='\x1f' | '\x7f' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A piece of data among other words: its writing direction stays inside.
pub fn quoted(text: &str) -> String {
    let text = if text.is_empty() { NOTHING } else { text };
    format!("<bdi>{}</bdi>", escape(text))
}

/// The start of a long text, and how long it is.
pub fn shortened(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => escape(text),
        Some((end, _)) => {
            let length = count(text.chars().count() as f64);
            format!("{} <small>… {length} characters in all</small>", escape(&text[..end]))
        }
    }
}

pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A word as it is; anything else as JSON; nothing for null.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Four digits that count, or a power of ten.
pub fn decimal(number: Option<f64>) -> String {
    let Some(number) = number.filter(|number| number.is_finite()) else { return NOTHING.into() };
    let size = number.abs();
    let words = match size {
        0.0 => "0".to_string(),
        _ if !(0.9995e-3..1e6).contains(&size) => {
            let words = format!("{number:.2e}");
            let (digits, power) = words.split_once('e').unwrap_or((&words, "0"));
            format!("{}e{power}", trimmed(digits))
        }
        _ => {
            let digits = (3 - size.log10().floor() as i32).clamp(0, 6) as usize;
            trimmed(&format!("{number:.digits$}")).to_string()
        }
    };
    words.strip_prefix('-').map_or(words.clone(), |words| format!("−{words}"))
}

fn trimmed(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

/// A share as `12.3 %`; what is far from a share as it is.
pub fn percent(share: Option<f64>) -> String {
    match share {
        Some(share) if share.abs() < 100.0 => {
            format!("{:.1}\u{a0}%", share * 100.0).replace('-', "−")
        }
        other => decimal(other),
    }
}

/// A whole number with its thousands parted.
pub fn count(number: f64) -> String {
    if number.is_nan() || number.abs() >= 1e15 {
        return decimal(Some(number));
    }
    let digits = format!("{:.0}", number.abs());
    let mut words = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            words.push(',');
        }
        words.push(digit);
    }
    if number <= -0.5 { format!("−{words}") } else { words }
}

pub fn count_of(value: &Value) -> String {
    value.as_f64().map_or(NOTHING.into(), count)
}

/// `batchSize`, `batch_size` as words.
pub fn words_of(key: &str) -> String {
    let mut words = String::new();
    for c in key.chars() {
        match c {
            '_' | '-' => words.push(' '),
            c if c.is_uppercase() => words.extend([' '].into_iter().chain(c.to_lowercase())),
            c => words.push(c),
        }
    }
    words.trim().to_string()
}

pub fn capitalized(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// A table whose first column names the line. Heads are text, cells HTML.
pub fn table(class: &str, caption: &str, heads: &[&str], rows: &[Vec<String>]) -> String {
    let heads: String =
        heads.iter().map(|head| format!("<th scope=\"col\">{}</th>", escape(head))).collect();
    let row = |cells: &Vec<String>| {
        let first = cells.first().map(|cell| format!("<th scope=\"row\">{cell}</th>"));
        let rest = cells.iter().skip(1).map(|cell| format!("<td>{cell}</td>"));
        format!("<tr>{}</tr>\n", first.into_iter().chain(rest).collect::<String>())
    };
    let rows: String = rows.iter().map(row).collect();
    let caption = escape(caption);
    format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\">\
         <table class=\"{class}\"><caption>{caption}</caption>\
         <thead><tr>{heads}</tr></thead>\n<tbody>{rows}</tbody></table></div>\n"
    )
}

/// A bar beside a number that says the same.
pub fn bar(share: Option<f64>) -> String {
    let share = share.filter(|share| share.is_finite()).unwrap_or(0.0).clamp(0.0, 1.0);
    format!("<span class=\"bar\" aria-hidden=\"true\" style=\"--share:{share:.4}\"></span>")
}

/// Names and values of an object, or nothing.
pub fn facts(object: &Value) -> String {
    let shown = |value: &Value| match value {
        Value::Bool(true) => "yes".to_string(),
        Value::Bool(false) => "no".to_string(),
        value => quoted(&text(value)),
    };
    let pairs = object.as_object().into_iter().flatten();
    let pairs: String = pairs
        .map(|(key, value)| {
            let (key, value) = (escape(&words_of(key)), shown(value));
            format!("<div><dt>{key}</dt><dd>{value}</dd></div>\n")
        })
        .collect();
    if pairs.is_empty() { pairs } else { format!("<dl class=\"facts\">{pairs}</dl>\n") }
}

/// What opens at a click, without a script.
pub fn details(summary: &str, inside: &str) -> String {
    format!("<details><summary>{}</summary>\n{inside}</details>\n", escape(summary))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn data_cannot_become_markup() {
        assert_eq!(
            escape("<script>\"a\" & 'b'</script>\u{1}"),
            "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/script&gt;\u{fffd}"
        );
        assert!(!shortened(&"<".repeat(9), 4).contains("<<"));
        assert!(!table("", "<b>", &["<i>"], &[]).contains("<b>"));
        assert!(!facts(&json!({"<u>": "<u>", "b": ["<u>"]})).contains("<u>"));
    }

    #[test]
    fn long_texts_are_cut_at_a_character_and_say_so() {
        assert_eq!(shortened("äöü", 3), "äöü");
        assert_eq!(shortened("äöü", 2), "äö <small>… 3 characters in all</small>");
    }

    #[test]
    fn numbers_are_short() {
        let shown = |number: f64| decimal(Some(number));
        assert_eq!(["0", "0.25", "−1.5", "1235"], [0.0, 0.25, -1.5, 1234.6].map(shown));
        assert_eq!(["3e-4", "1.23e7", "0.001"], [3e-4, 12_345_678.0, 0.001].map(shown));
        assert_eq!(["0.3", "100", "0.0999"], [0.1 + 0.2, 100.0, 0.0999].map(shown));
        assert_eq!([decimal(Some(f64::NAN)), decimal(None), percent(None)], [NOTHING; 3]);
        assert_eq!(percent(Some(0.8725)), "87.2\u{a0}%");
        assert_eq!([count(0.0), count(999.0), count(1_234_567.0)], ["0", "999", "1,234,567"]);
        assert_eq!(words_of("maxSeqLength_x"), "max seq length x");
    }
}
