//! Models by name, from a server that answers as the Hugging Face hub does.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::workplace::{FAST, Run, Workplace, finish};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const NAME: &str = "google/electra-small-discriminator";
const PREDICT: &str = "predict --device cpu --model";

/// A hub with one model, `main` and one more revision of it; it ends with the test.
struct Hub {
    address: String,
    shared: Arc<Shared>,
}

struct Shared {
    files: BTreeMap<String, Vec<u8>>,
    behaviour: Mutex<Behaviour>,
    /// `METHOD path range`, one a request.
    asked: Mutex<Vec<String>>,
}

#[derive(Default, Clone)]
struct Behaviour {
    /// Without the token `secret` its files are not given away.
    is_gated: bool,
    /// So many bytes of a large file, and then the line is dead.
    breaks_after: Option<usize>,
    /// A large file arrives with another byte in it.
    damages: bool,
}

impl Hub {
    /// The files of a fixture with a vocabulary, as google's repository has them: no safetensors.
    fn with(work: &Workplace, fixture: &str) -> Self {
        work.model("uploaded", fixture);
        let files = std::fs::read_dir(work.path("uploaded")).unwrap().map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().into(), std::fs::read(path).unwrap())
        });
        let mut files: BTreeMap<String, Vec<u8>> = files.collect();
        std::fs::remove_dir_all(work.path("uploaded")).unwrap();
        files.remove("expected.safetensors");
        files.insert("tf_model.h5".into(), vec![0; 1000]);
        files.insert("README.md".into(), b"A model.".to_vec());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shared =
            Arc::new(Shared { files, behaviour: Mutex::default(), asked: Mutex::default() });
        let answering = shared.clone();
        // Until the process of the tests ends; nobody waits for it.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = answering.clone();
                std::thread::spawn(move || while shared.answer(&stream).is_some() {});
            }
        });
        Hub { address, shared }
    }

    fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }

    /// What it was asked for since the last time.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.asked.lock().unwrap())
    }

    fn run(&self, work: &Workplace, arguments: &str, variables: &[(&str, &str)]) -> Run {
        let mut command = command(work, arguments);
        command.env("HF_ENDPOINT", &self.address);
        command.envs(variables.iter().copied());
        finish(command, arguments)
    }
}

/// With a cache of its own, and nothing of the user's environment.
fn command(work: &Workplace, arguments: &str) -> Command {
    let mut command = work.command(arguments);
    let input = work.path("texts.txt");
    std::fs::write(&input, "the cat says meow\n").unwrap();
    command.stdin(std::fs::File::open(input).unwrap());
    for (name, _) in std::env::vars() {
        let name_in_capitals = name.to_uppercase();
        if name_in_capitals.starts_with("HF_") || name_in_capitals.ends_with("_PROXY") {
            command.env_remove(name);
        }
    }
    command.env("HF_HOME", work.path("cache"));
    command
}

impl Shared {
    fn answer(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        let (mut range, mut token) = (None, String::new());
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            let header = header.trim_end();
            let Some((name, value)) = header.split_once(": ") else { break };
            match name.to_lowercase().as_str() {
                "range" => range = Some(value.strip_prefix("bytes=")?.to_string()),
                "authorization" => token = value.to_string(),
                _ => {}
            }
        }
        let path = line.split(' ').nth(1)?.to_string();
        let shown = range.clone().unwrap_or_default();
        self.asked.lock().unwrap().push(format!("{path} {shown}").trim_end().to_string());
        self.respond(stream, &path, range.as_deref(), &token)
    }

    fn respond(
        &self,
        stream: &TcpStream,
        path: &str,
        range: Option<&str>,
        token: &str,
    ) -> Option<()> {
        let behaviour = self.behaviour.lock().unwrap().clone();
        if let Some(rest) = path.strip_prefix(&format!("/api/models/{NAME}/revision/")) {
            let names: Vec<Value> = self.files.keys().map(|n| json!({"rfilename": n})).collect();
            let body = json!({"id": NAME, "sha": COMMIT, "siblings": names}).to_string();
            return match ["main", "v1%2Fa", COMMIT].contains(&rest) {
                true => send(stream, "200 OK", &[], body.as_bytes()),
                false => send(stream, "404 Not Found", &[], b"{}"),
            };
        }
        if path == "/api/models/owner/secret/revision/main" {
            return send(stream, "401 Unauthorized", &[], b"{}");
        }
        // What lies elsewhere: the numbers of large files.
        if let Some(name) = path.strip_prefix("/storage/") {
            let mut bytes = self.files.get(name)?.clone();
            if behaviour.damages {
                *bytes.last_mut()? ^= 1;
            }
            return send_part(stream, &bytes, range, &[], behaviour.breaks_after);
        }
        let name = path.strip_prefix(&format!("/{NAME}/resolve/"))?.split_once('/')?.1;
        let Some(bytes) = self.files.get(name) else {
            return send(stream, "404 Not Found", &[], b"");
        };
        if behaviour.is_gated && token != "Bearer secret" {
            return send(stream, "403 Forbidden", &[("x-error-code", "GatedRepo".into())], b"");
        }
        let commit = ("x-repo-commit", COMMIT.to_string());
        if name.ends_with(".bin") {
            let sha256: String =
                Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            let headers = [
                commit,
                ("x-linked-etag", format!("\"{sha256}\"")),
                ("etag", "\"other\"".into()),
                ("location", format!("http://{}/storage/{name}", stream.local_addr().ok()?)),
            ];
            return send(stream, "302 Found", &headers, b"");
        }
        send_part(stream, bytes, range, &[commit, ("etag", format!("\"{name}-etag\""))], None)
    }
}

type Headers<'a> = &'a [(&'a str, String)];

fn send(stream: &TcpStream, status: &str, headers: Headers, body: &[u8]) -> Option<()> {
    let mut head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    let mut stream = stream;
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    stream.write_all(body).ok()
}

fn send_part(
    stream: &TcpStream,
    bytes: &[u8],
    range: Option<&str>,
    headers: Headers,
    breaks_after: Option<usize>,
) -> Option<()> {
    let Some((start, end)) = range.and_then(|range| range.split_once('-')) else {
        return send(stream, "200 OK", headers, bytes);
    };
    let start: usize = start.parse().ok()?;
    if start >= bytes.len() {
        return send(stream, "416 Range Not Satisfiable", headers, b"");
    }
    let end = end.parse().map_or(bytes.len(), |end: usize| (end + 1).min(bytes.len()));
    let span = ("content-range", format!("bytes {start}-{}/{}", end - 1, bytes.len()));
    let headers = [headers, &[span]].concat();
    let part = &bytes[start..end];
    match breaks_after.filter(|most| *most < part.len()) {
        None => send(stream, "206 Partial Content", &headers, part),
        Some(most) => {
            let mut head =
                format!("HTTP/1.1 206 Partial Content\r\ncontent-length: {}\r\n", part.len());
            headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
            let mut stream = stream;
            stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
            stream.write_all(&part[..most]).ok()?;
            stream.shutdown(std::net::Shutdown::Both).ok()?;
            None
        }
    }
}

/// A run that must fail with all of these words in its error.
fn fails(run: &Run, words: &[&str]) {
    let stderr = &run.stderr;
    assert_eq!(run.code, Some(1), "{stderr}");
    let error = stderr.find("error: ").unwrap_or_else(|| panic!("no `error:` in {stderr}"));
    for word in words {
        assert!(stderr[error..].contains(word), "no {word:?} in\n{stderr}");
    }
}

#[test]
fn a_name_is_a_model_and_is_fetched_once() {
    let work = Workplace::with_model_and_data();
    let hub = Hub::with(&work, "format_bin_2020");
    let first = hub.run(&work, &format!("{PREDICT} {NAME}"), &[]).results();
    assert!(hub.asked().iter().all(|request| !request.contains("tf_model")));
    let snapshot =
        format!("cache/hub/models--google--electra-small-discriminator/snapshots/{COMMIT}");
    assert!(work.path(&snapshot).join("pytorch_model.bin").is_file());
    assert!(!work.path(&snapshot).join("README.md").exists());
    // The folder that it lies in is a model as any.
    assert_eq!(work.ok_on("the cat says meow\n", &format!("{PREDICT} {snapshot}")), first);
    assert_eq!(hub.run(&work, &format!("{PREDICT} {NAME}"), &[]).results(), first);
    assert_eq!(hub.asked(), [format!("/api/models/{NAME}/revision/main")]);
    for name in [format!("{NAME}@v1/a"), format!("{NAME}@{COMMIT}")] {
        assert_eq!(hub.run(&work, &format!("{PREDICT} {name}"), &[]).results(), first);
    }
    let train = format!("finetune --model {NAME} --train data.csv --output out {FAST}");
    hub.run(&work, &train, &[]).results();
    hub.run(&work, &format!("convert --from {NAME} --to converted"), &[]).results();
    assert_eq!(work.ok_on("the cat says meow\n", &format!("{PREDICT} converted")), first);
    let asked = hub.asked();
    assert!(asked.iter().all(|request| request.starts_with("/api/")), "{asked:?}");
}

#[test]
fn a_folder_of_that_name_wins() {
    let work = Workplace::with_model_and_data();
    let hub = Hub::with(&work, "format_bin_2020");
    std::fs::create_dir(work.path("google")).unwrap();
    work.model(NAME, "model_pretraining");
    assert_eq!(hub.run(&work, &format!("{PREDICT} {NAME}"), &[]).results().len(), 1);
    // What would lie in a folder that is here is not asked for.
    let run = hub.run(&work, &format!("{PREDICT} google/electra-small-discriminat"), &[]);
    fails(&run, &["cannot be read", &format!("Did you mean {NAME}?")]);
    fails(&hub.run(&work, &format!("{PREDICT} bas"), &[]), &["bas", "Did you mean base?"]);
    assert_eq!(hub.asked(), [""; 0]);
}

#[test]
fn without_the_hub_the_cache_is_enough() {
    let work = Workplace::new();
    let hub = Hub::with(&work, "format_bin_2020");
    let predict = format!("{PREDICT} {NAME}");
    let offline = &[("HF_HUB_OFFLINE", "1")];
    fails(&hub.run(&work, &predict, offline), &[NAME, "not in the cache", "HF_HUB_OFFLINE"]);
    let nowhere = &[("HF_ENDPOINT", "http://127.0.0.1:9")];
    fails(&hub.run(&work, &predict, nowhere), &[NAME, "http://127.0.0.1:9", "cannot be asked"]);
    let online = hub.run(&work, &predict, &[]).results();
    hub.asked();
    assert_eq!(hub.run(&work, &predict, offline).results(), online);
    let unreachable = hub.run(&work, &predict, nowhere);
    assert!(unreachable.stderr.contains("from the cache"), "{}", unreachable.stderr);
    assert_eq!(unreachable.results(), online);
    let elsewhere = work.path("cache/hub");
    let moved = &[("HF_HOME", "/nowhere"), ("HF_HUB_CACHE", elsewhere.to_str().unwrap())];
    let moved = [&moved[..], offline].concat();
    assert_eq!(hub.run(&work, &predict, &moved).results(), online);
    assert_eq!(hub.asked(), [""; 0]);
}

#[test]
fn a_broken_download_goes_on_where_it_was() {
    let work = Workplace::new();
    let hub = Hub::with(&work, "format_bin_2020");
    let predict = format!("{PREDICT} {NAME}");
    hub.behave(Behaviour { breaks_after: Some(9000), ..Behaviour::default() });
    let words = [NAME, "pytorch_model.bin broke off", "goes on where it was"];
    fails(&hub.run(&work, &predict, &[]), &words);
    hub.behave(Behaviour::default());
    hub.asked();
    hub.run(&work, &predict, &[]).results();
    let asked = hub.asked();
    assert!(asked.contains(&"/storage/pytorch_model.bin 9000-".to_string()), "{asked:?}");
}

#[test]
fn what_arrives_damaged_is_not_kept() {
    let work = Workplace::new();
    let hub = Hub::with(&work, "format_bin_2020");
    let predict = format!("{PREDICT} {NAME}");
    hub.behave(Behaviour { damages: true, ..Behaviour::default() });
    fails(&hub.run(&work, &predict, &[]), &[NAME, "pytorch_model.bin arrived damaged"]);
    hub.behave(Behaviour::default());
    hub.run(&work, &predict, &[]).results();
}

#[test]
fn a_model_that_is_not_given_is_said() {
    let work = Workplace::with_model_and_data();
    let hub = Hub::with(&work, "format_bin_2020");
    let fails_with = |name: &str, words: &[&str]| {
        fails(&hub.run(&work, &format!("{PREDICT} {name}"), &[]), words)
    };
    fails_with("owner/secret", &["owner/secret", "no such model", "HF_TOKEN"]);
    fails_with(&format!("{NAME}@gone"), &[&format!("{NAME}@gone"), "no such model or revision"]);
    hub.behave(Behaviour { is_gated: true, ..Behaviour::default() });
    fails_with(NAME, &[NAME, "gated", &format!("{}/{NAME}", hub.address), "HF_TOKEN"]);
    let predict = format!("{PREDICT} {NAME}");
    hub.run(&work, &predict, &[("HF_TOKEN", "secret")]).results();
}

#[test]
fn a_token_of_a_login_counts() {
    let work = Workplace::new();
    let hub = Hub::with(&work, "format_bin_2020");
    hub.behave(Behaviour { is_gated: true, ..Behaviour::default() });
    std::fs::create_dir(work.path("cache")).unwrap();
    work.write("cache/token", "secret\n");
    hub.run(&work, &format!("{PREDICT} {NAME}"), &[]).results();
}
