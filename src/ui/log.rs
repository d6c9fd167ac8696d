//! The log file: what the app writes, in the order in which it is printed, and a line of ours where
//! a generation becomes live and where it ends. Appended, never colored by us, and never a source of the program.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::exit::Failure;
use crate::report::event::Event;

/// An open log file. What is wrong with it is returned once, and costs nothing else.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    /// The last write failed, and that was said.
    failing: bool,
}

impl Log {
    /// Appends to this file from now on.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let file = append_to(path).map_err(|error| {
            Failure::usage(format!(
                "log.file: cannot write `{}`: {error}",
                path.display()
            ))
            .hint("name a file that is writable")
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
            failing: false,
        })
    }

    /// Goes on in a file of the same name; where that can't be, in the one it has.
    pub(super) fn reopen(&mut self) -> Option<String> {
        match append_to(&self.path) {
            Ok(file) => {
                self.file = file;
                self.failing = false;
                None
            }
            Err(error) => Some(format!(
                "cannot open the log file `{}` again: {error}",
                self.path.display()
            )),
        }
    }

    /// Writes lines of the app.
    pub(super) fn lines(&mut self, lines: &[u8]) -> Option<String> {
        // A last line without an end would be continued by the next generation.
        let result = if lines.ends_with(b"\n") {
            self.file.write_all(lines)
        } else {
            self.file.write_all(&[lines, b"\n"].concat())
        };
        let problem = result.err().map(|error| {
            format!(
                "cannot write to the log file `{}`: {error}",
                self.path.display()
            )
        });
        let said = std::mem::replace(&mut self.failing, problem.is_some());
        problem.filter(|_| !said)
    }

    /// Marks what this event means for a reader of the log.
    pub(super) fn mark(&mut self, event: &Event) -> Option<String> {
        self.lines(mark(event)?.as_bytes())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    // To open a pipe would wait for its reader.
    if path.exists() && !path.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    File::options().append(true).create(true).open(path)
}

fn mark(event: &Event) -> Option<String> {
    let what = match event {
        Event::Live {
            generation, cause, ..
        } => format!("{generation} live ({cause})"),
        Event::Ended {
            generation, exit, ..
        } => format!("{generation} ended: {exit}"),
        Event::Gone { generation, .. } => format!("{generation} gone"),
        _ => return None,
    };
    Some(format!("--- hotrun: {what} ---"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::session::model::Generation;
    use crate::sys::testing::lacks;

    #[test]
    fn lines_are_appended_and_a_moved_file_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        fs::write(&path, "before\n").unwrap();
        let mut log = Log::open(&path).unwrap();
        assert_eq!(log.lines(b"one\ntwo\n"), None);
        assert_eq!(log.lines(b"no end"), None);
        let moved = dir.path().join("app.log.1");
        fs::rename(&path, &moved).unwrap();
        let gone = Event::Gone {
            generation: Generation(7),
            exit: None,
        };
        assert_eq!(log.mark(&gone), None);
        assert_eq!(log.reopen(), None);
        assert_eq!(log.lines(b"three\n"), None);
        let old = "before\none\ntwo\nno end\n--- hotrun: g7 gone ---\n";
        assert_eq!(fs::read_to_string(moved).unwrap(), old);
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        // It can't be opened again: said when that is asked for, and the old file goes on.
        fs::rename(&path, dir.path().join("app.log.2")).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(log.reopen().unwrap().contains("app.log` again: "));
        assert_eq!(log.lines(b"four\n"), None);
    }

    #[test]
    fn a_full_disk_is_said_once() {
        if lacks(Path::new("/dev/full").exists(), "file that is always full") {
            return;
        }
        let mut log = Log {
            path: "/dev/full".into(),
            file: File::options().append(true).open("/dev/full").unwrap(),
            failing: false,
        };
        let said = log.lines(b"one\n").unwrap();
        assert!(said.starts_with("cannot write to the log file `/dev/full`: "));
        assert_eq!(log.lines(b"two\n"), None);
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let refused = Log::open(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("log.file: cannot write `"), "{refused}");
        assert!(refused.contains("`: it is no file"), "{refused}");
    }
}
