//! `report.html`: the data of a run and the page's own modules that draw them, in one file.
//!
//! A browser loads no module beside a file, so all of them stand in one script, each in a function
//! of its own.

use std::fmt::Write;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::Value;
use sha2::{Digest, Sha256};

macro_rules! modules {
    ($($path:literal),* $(,)?) => { [$(($path, include_str!(concat!("../../", $path)))),*] };
}

/// Each imports only those above it; the last one draws the report.
const MODULES: [(&str, &str); 14] = modules![
    "web/app/format.js",
    "web/app/dom.js",
    "web/app/chart.js",
    "web/app/marks.js",
    "web/app/tasks.js",
    "web/app/results/parts.js",
    "web/app/results/curves.js",
    "web/app/results/classification.js",
    "web/app/results/multi-label.js",
    "web/app/results/question-answering.js",
    "web/app/results/regression.js",
    "web/app/results/tagging.js",
    "web/app/results.js",
    "crate/report/report.js",
];

const STYLE: &str = include_str!("../../web/style.css");

/// The file. No script runs in it but its own, whatever a row holds, and nothing is fetched.
pub fn page(report: &Value) -> String {
    let (style, script) = (one_line_end(STYLE), script());
    // In JSON a `<` stands only in strings. So nothing in them ends the element or opens a comment.
    let data = report.to_string().replace('<', "\\u003c");
    let word = |key: &str| escape(report[key].as_str().unwrap_or_default());
    let score = match &report["score"] {
        Value::Null => String::new(),
        score => format!("<p>{}: {}</p>", word("metric"), escape(&score.to_string())),
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         script-src {script_hash}; style-src {style_hash}; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>Run report</title>\n<style>{style}</style>\n</head>\n<body>\n\
         <main id=\"main\"><h1>Run report {task}</h1>{score}\
         <p>The charts and tables of this report are drawn by the script in this file, which does \
         not run here. All numbers are in report.json.</p></main>\n\
         <footer class=\"bottom\"><p>Made by electra. The same numbers, without any row of the \
         data, are in report.json.</p></footer>\n\
         <script type=\"application/json\" id=\"data\">{data}</script>\n\
         <script type=\"module\">{script}</script>\n</body>\n</html>\n",
        script_hash = hash(&script),
        style_hash = hash(&style),
        task = word("task"),
    )
}

/// All modules as one script.
fn script() -> String {
    let modules = MODULES.iter().map(|(path, code)| wrapped(path, code));
    format!("const modules = {{}}\n{}", modules.collect::<String>())
}

/// A module as a function that gives what it exports. Its lines are taken as they stand, except
/// that imports become places in `modules`.
fn wrapped(path: &str, code: &str) -> String {
    let (mut body, mut exports) = (String::new(), Vec::new());
    for line in code.lines() {
        let _ = match (line.strip_prefix("import "), line.strip_prefix("export ")) {
            (Some(import), _) => writeln!(body, "{}", constant_of(import)),
            (_, Some(declaration)) => {
                exports.push(name_of(declaration));
                writeln!(body, "{declaration}")
            }
            _ => writeln!(body, "{line}"),
        };
    }
    let exports = exports.join(", ");
    format!("modules['{}'] = (() => {{\n{body}return {{ {exports} }}\n}})()\n", stem(path))
}

/// `{ a, b as c } from './d.js'` as a constant.
fn constant_of(import: &str) -> String {
    let (names, path) = import.split_once(" from ").unwrap_or((import, ""));
    format!("const {} = modules['{}']", names.replace(" as ", ": "), stem(path.trim_matches('\'')))
}

/// Of `function a()`, `async function a()`, `const a =`.
fn name_of(declaration: &str) -> &str {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let mut words = declaration.split(|c| !is_word(c)).filter(|word| !word.is_empty());
    words.find(|word| !["async", "function", "const", "class"].contains(word)).unwrap_or("")
}

fn stem(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.strip_suffix(".js").unwrap_or(file)
}

/// A browser reads every line's end as one character, and takes the hash of that.
fn one_line_end(text: &str) -> String {
    text.replace("\r\n", "\n")
}

fn hash(text: &str) -> String {
    format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_module_becomes_a_function_that_gives_its_exports() {
        let code = "// a\nimport { a, b as c } from '../d/e-f.js'\n\nexport const G = 1\n\
                    export async function h() {}\nfunction own() {}\r\n";
        assert_eq!(
            wrapped("i/j.js", code),
            "modules['j'] = (() => {\n// a\nconst { a, b: c } = modules['e-f']\n\nconst G = 1\n\
             async function h() {}\nfunction own() {}\nreturn { G, h }\n})()\n"
        );
    }

    /// The bundler knows one form of import and export; a module that has another one is found here.
    #[test]
    fn every_import_is_there_before_it_is_used() {
        let mut exported: BTreeSet<(String, String)> = BTreeSet::new();
        let mut stems = BTreeSet::new();
        for (path, code) in MODULES {
            for line in code.lines().filter(|line| line.starts_with("import")) {
                let (names, from) = line
                    .strip_prefix("import { ")
                    .and_then(|rest| rest.split_once(" } from '"))
                    .unwrap_or_else(|| panic!("{path}: {line}"));
                let from = stem(from.strip_suffix('\'').unwrap());
                for name in names.split(", ") {
                    let name = name.split(" as ").next().unwrap().to_string();
                    assert!(exported.contains(&(from.into(), name)), "{path}: {line}");
                }
            }
            let exports = code.lines().filter_map(|line| line.strip_prefix("export "));
            for declaration in exports {
                let first = declaration.split(' ').next().unwrap();
                assert!(["async", "function", "const"].contains(&first), "{path}: {declaration}");
                exported.insert((stem(path).into(), name_of(declaration).into()));
            }
            assert!(!code.contains("import("), "{path}");
            assert!(stems.insert(stem(path)), "two modules are called as {path}");
        }
        let script = script();
        assert!(!script.contains("</script") && !script.contains("<!--") && !script.contains('\r'));
        assert!(!STYLE.contains("</style") && !STYLE.contains("url("));
    }
}
