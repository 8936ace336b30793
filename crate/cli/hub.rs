//! Models by their names on the Hugging Face hub. What is fetched lies in the cache that transformers
//! uses, and is fetched once; its environment variables count here, too.

use std::env::var_os;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use electra::corpus::hex;
use electra::error::{Error, Result, nearest};
use electra::pretrained::files_of_model;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};
use sha2::{Digest, Sha256};

use super::say;

/// The folder of a model: the path itself, or where the model of that name on the hub lies.
///
/// # Errors
/// The hub has no such model, does not give it, or cannot be reached, and it is not in the cache.
pub fn find(path: &Path) -> Result<PathBuf> {
    match Name::parse(path) {
        Some(name) => Hub::new(name).folder(),
        None => Ok(path.to_path_buf()),
    }
}

/// What was meant by a path that is not there: a neighbour with a similar name.
pub fn near(path: &Path) -> Option<PathBuf> {
    let folder = electra::files::folder_of(path);
    let entries = std::fs::read_dir(folder).ok()?;
    let names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    let found = nearest(path.file_name()?.to_str()?, &names)?;
    Some(path.with_file_name(found))
}

/// `owner/name`, perhaps with `@revision`.
struct Name {
    repo: String,
    revision: String,
}

impl Name {
    /// What is here is a path, and so is what would lie in a folder that is here.
    fn parse(path: &Path) -> Option<Self> {
        let text = path.to_str().filter(|text| !path.exists() && !text.ends_with(".zip"))?;
        let (repo, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (owner, name) = repo.split_once('/')?;
        let is_word = |word: &str, more: &str| {
            let is_of_name = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
            !word.is_empty() && !word.starts_with(['.', '/']) && word.chars().all(is_of_name)
        };
        let is_name = is_word(owner, "-_.") && is_word(name, "-_.") && is_word(revision, "-_./");
        let named = is_name && !Path::new(owner).exists() && !revision.contains("..");
        named.then(|| Name { repo: repo.to_string(), revision: revision.to_string() })
    }
}

struct Hub {
    name: Name,
    endpoint: String,
    cache: Cache,
}

impl Hub {
    fn new(name: Name) -> Self {
        let endpoint = std::env::var("HF_ENDPOINT").ok().filter(|address| !address.is_empty());
        let endpoint = endpoint.unwrap_or_else(|| "https://huggingface.co".into());
        Hub { name, endpoint: endpoint.trim_end_matches('/').into(), cache: Cache::new(cache()) }
    }

    fn repo(&self) -> Repo {
        Repo::with_revision(self.name.repo.clone(), RepoType::Model, self.name.revision.clone())
    }

    fn folder(&self) -> Result<PathBuf> {
        let kept = self.kept();
        if is_offline() {
            return kept.ok_or_else(|| {
                self.error("is not in the cache, and HF_HUB_OFFLINE is set").fix(format!(
                    "Run once without it; the cache is {}.",
                    self.cache.path().display()
                ))
            });
        }
        let api = ApiBuilder::from_cache(self.cache.clone())
            .with_endpoint(self.endpoint.clone())
            .with_token(token())
            .build()
            .map_err(|e| self.error(e))?;
        let api = api.repo(self.repo());
        let info = match api.info() {
            Ok(info) => info,
            Err(error) => {
                let status = status(&error);
                return match (status, kept) {
                    (Some(400..=499), _) | (_, None) => Err(self.unknown(status, &error)),
                    (_, Some(kept)) => {
                        say(format_args!(
                            "{}: {} does not answer: from the cache",
                            self.name.repo, self.endpoint
                        ));
                        Ok(kept)
                    }
                };
            }
        };
        let there: Vec<String> = info.siblings.into_iter().map(|file| file.rfilename).collect();
        let needed = files_of_model(&there);
        if !needed.contains(&"config.json") {
            return Err(self.error("holds no config.json").fix("Choose a model of transformers."));
        }
        let folder = self.cache.repo(self.repo()).pointer_path(&info.sha);
        for file in needed {
            if !folder.join(file).exists() {
                self.fetch(&api, file)?;
            }
        }
        Ok(folder)
    }

    /// What the cache has of it.
    fn kept(&self) -> Option<PathBuf> {
        let cached: CacheRepo = self.cache.repo(self.repo());
        let by_branch = cached.get("config.json").and_then(|file| Some(file.parent()?.into()));
        // A commit stands for itself.
        by_branch.or_else(|| Some(cached.pointer_path(&self.name.revision)).filter(|f| f.is_dir()))
    }

    fn fetch(&self, api: &ApiRepo, file: &str) -> Result<()> {
        let bar = || indicatif::ProgressBar::new(0);
        let fetched = match api.download_with_progress(file, bar()) {
            // What is left of an earlier download is no beginning of this file.
            Err(error)
                if matches!(error, ApiError::InvalidResume) || status(&error) == Some(416) =>
            {
                let forgotten = self.forget_parts().map_err(ApiError::from);
                forgotten.and_then(|()| api.download_with_progress(file, bar()))
            }
            fetched => fetched,
        };
        let path = fetched.map_err(|error| match status(&error) {
            Some(401 | 403) => {
                let page = format!("{}/{}", self.endpoint, self.name.repo);
                self.error(format!("{file} is not given to everybody: the model is gated")).fix(
                    format!("Accept its terms at {page}, and set HF_TOKEN to a token of yours."),
                )
            }
            _ => self
                .error(format!("the download of {file} broke off ({error})"))
                .fix("Run the command again: it goes on where it was."),
        })?;
        self.check(file, &path)
    }

    fn forget_parts(&self) -> std::io::Result<()> {
        let blobs = self.cache.repo(self.repo()).blob_path("x").with_file_name("");
        for entry in std::fs::read_dir(blobs)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "part") {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Large files are named by their SHA-256 in the cache.
    fn check(&self, file: &str, path: &Path) -> Result<()> {
        let unreadable = |e: std::io::Error| self.error(format!("{file} cannot be read ({e})"));
        let blob = path.canonicalize().map_err(unreadable)?;
        let name = blob.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.len() != 64 {
            return Ok(());
        }
        if sha256(&blob).map_err(unreadable)? == name {
            return Ok(());
        }
        let removed = std::fs::remove_file(path).and_then(|()| std::fs::remove_file(&blob));
        removed.map_err(unreadable)?;
        Err(self.error(format!("{file} arrived damaged")).fix("Run the command again."))
    }

    fn error(&self, problem: impl std::fmt::Display) -> Error {
        let Name { repo, revision } = &self.name;
        let place = if revision == "main" { repo.clone() } else { format!("{repo}@{revision}") };
        Error::new(place, problem)
    }

    fn unknown(&self, status: Option<u16>, error: &ApiError) -> Error {
        let Self { endpoint, .. } = self;
        if !matches!(status, Some(401 | 403 | 404)) {
            return self
                .error(format!("{endpoint} cannot be asked ({error})"))
                .fix("Check the connection and HF_ENDPOINT, or give a folder.");
        }
        let error =
            self.error(format!("is no folder here, and {endpoint} has no such model or revision"));
        match near(Path::new(&self.name.repo)) {
            Some(near) => error.fix(format!("Did you mean {}?", near.display())),
            None => error.fix("Check the name; for a private model set HF_TOKEN."),
        }
    }
}

/// Of a file that may be larger than the memory.
fn sha256(path: &Path) -> std::io::Result<String> {
    let (mut file, mut hash) = (BufReader::new(File::open(path)?), Sha256::new());
    loop {
        let piece = file.fill_buf()?;
        if piece.is_empty() {
            break;
        }
        hash.update(piece);
        let length = piece.len();
        file.consume(length);
    }
    Ok(hex(&hash.finalize()))
}

fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::RequestError(error) => match **error {
            ureq::Error::StatusCode(code) => Some(code),
            _ => None,
        },
        _ => None,
    }
}

fn is_offline() -> bool {
    let set = std::env::var("HF_HUB_OFFLINE").unwrap_or_default().to_uppercase();
    ["1", "ON", "YES", "TRUE"].contains(&set.as_str())
}

/// A folder that a variable names, if it is set.
fn named(variable: &str) -> Option<PathBuf> {
    var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn home() -> PathBuf {
    let in_cache = || {
        let cache = named("XDG_CACHE_HOME");
        cache.or_else(|| Some(std::env::home_dir()?.join(".cache"))).unwrap_or_default()
    };
    named("HF_HOME").unwrap_or_else(|| in_cache().join("huggingface"))
}

fn cache() -> PathBuf {
    let named = named("HF_HUB_CACHE").or_else(|| named("HUGGINGFACE_HUB_CACHE"));
    named.unwrap_or_else(|| home().join("hub"))
}

/// As `hf auth login` leaves it, where HF_TOKEN is not set.
fn token() -> Option<String> {
    let file = || {
        let path = named("HF_TOKEN_PATH").unwrap_or_else(|| home().join("token"));
        std::fs::read_to_string(path).ok()
    };
    let token = std::env::var("HF_TOKEN").ok().or_else(file)?;
    Some(token.trim().to_string()).filter(|token| !token.is_empty())
}
