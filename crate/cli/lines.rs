//! Lines of a file or a stream, one after the other: a thread reads ahead, but never far.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use electra::error::{Error, Result};

use super::{not_utf8, unreadable};

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Where lines come from.
pub struct Lines {
    /// As errors name it.
    pub source: String,
    /// All of it is there already; of a stream nobody knows when the next line comes.
    is_file: bool,
    lines: Receiver<Result<String>>,
}

impl Lines {
    /// `-` or nothing is standard input; `ahead` lines are read before anybody asks for them.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: Option<&Path>, ahead: usize) -> Result<Self> {
        let (send, lines) = sync_channel(ahead);
        let (source, is_file) = match path.filter(|path| *path != Path::new("-")) {
            Some(path) => {
                let file = File::open(path).map_err(|e| unreadable(path, e))?;
                let about = file.metadata().map_err(|e| unreadable(path, e))?;
                if about.is_dir() {
                    return Err(unreadable(path, std::io::ErrorKind::IsADirectory.into()));
                }
                let source = path.display().to_string();
                read_in_thread(file, source.clone(), send);
                (source, about.is_file())
            }
            None => {
                let source = "standard input".to_string();
                read_in_thread(std::io::stdin(), source.clone(), send);
                (source, stdin_is_file())
            }
        };
        Ok(Lines { source, is_file, lines })
    }

    /// The next lines, at most so many and at least one; none at the end. Of a stream they are
    /// those that have come, so that whoever waits for an answer before the next line gets it. An
    /// error comes last: no line can be read after it.
    pub fn next_batch(&self, most: usize) -> Vec<Result<String>> {
        let mut batch = Vec::new();
        while batch.len() < most {
            let line = match self.is_file || batch.is_empty() {
                true => self.lines.recv().map_err(|_| TryRecvError::Disconnected),
                false => self.lines.try_recv(),
            };
            match line {
                Ok(line) => batch.push(line),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        batch
    }
}

/// Redirected from a file?
fn stdin_is_file() -> bool {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        let own = std::io::stdin().as_fd().try_clone_to_owned();
        own.and_then(|own| File::from(own).metadata()).is_ok_and(|about| about.is_file())
    }
    #[cfg(not(unix))]
    false
}

fn read_in_thread(
    input: impl Read + Send + 'static,
    source: String,
    send: SyncSender<Result<String>>,
) {
    std::thread::spawn(move || {
        let mut reader = Reader { input: BufReader::new(input), source, line: 0, bytes: 0 };
        while let Some(line) = reader.next_line() {
            let is_last = line.is_err();
            // Nobody takes it any more: the run has ended.
            if send.send(line).is_err() || is_last {
                break;
            }
        }
    });
}

struct Reader<R> {
    input: BufReader<R>,
    source: String,
    /// Lines done, and their bytes.
    line: usize,
    bytes: usize,
}

impl<R: Read> Reader<R> {
    /// A line without its end, be it `\n` or `\r\n`. A byte order mark is no part of the text.
    fn next_line(&mut self) -> Option<Result<String>> {
        let mut bytes = Vec::new();
        match self.input.read_until(b'\n', &mut bytes) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(e) => return Some(Err(Error::new(&self.source, e))),
        }
        let start = self.bytes;
        (self.line, self.bytes) = (self.line + 1, start + bytes.len());
        if bytes.ends_with(b"\n") {
            bytes.pop();
            if bytes.ends_with(b"\r") {
                bytes.pop();
            }
        }
        if start == 0 && bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        let text = String::from_utf8(bytes);
        Some(
            text.map_err(|e| {
                not_utf8(&self.source, self.line, start + e.utf8_error().valid_up_to())
            }),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<Result<String>> {
        let source = "a.txt".to_string();
        let mut reader = Reader { input: BufReader::new(bytes), source, line: 0, bytes: 0 };
        std::iter::from_fn(|| reader.next_line()).collect()
    }

    /// As `str::lines` has them.
    #[test]
    fn lines_end_as_files_end_them() {
        for text in ["", "\n", "a", "a\n", "a\r\nb\n\n c\r", "\r\n\r\n", "a\rb\n"] {
            let found: Vec<_> = lines(text.as_bytes()).into_iter().map(Result::unwrap).collect();
            assert_eq!(found, text.lines().collect::<Vec<_>>(), "{text:?}");
        }
        assert_eq!(lines("\u{feff}a\n\u{feff}b".as_bytes())[0].as_deref(), Ok("a"));
        assert_eq!(lines("\u{feff}a\n\u{feff}b".as_bytes())[1].as_deref(), Ok("\u{feff}b"));
    }

    #[test]
    fn bytes_that_are_no_text_are_counted_from_the_start_of_the_file() {
        let error = lines(b"ab\ncaf\xe9\n")[1].as_ref().unwrap_err().to_string();
        assert!(error.contains("a.txt") && error.contains("line 2, byte 6"), "{error}");
    }

    #[test]
    fn a_file_comes_in_whole_batches() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a\n".repeat(7)).unwrap();
        let lines = Lines::open(Some(file.path()), 2).unwrap();
        let sizes = [3, 3, 3, 3].map(|most| lines.next_batch(most).len());
        assert_eq!(sizes, [3, 3, 1, 0]);
    }
}
