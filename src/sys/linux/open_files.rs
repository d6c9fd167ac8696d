//! How many files a process may have open.

use std::io;
use std::sync::OnceLock;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// What this process was started with, if it has raised that.
static STARTED_WITH: OnceLock<Rlimit> = OnceLock::new();

/// Lets this process have as many files open as it may. What it starts is not to: programs that use
/// `select` must not have more than they expect, see [`restore_open_files`].
pub fn raise_open_files() -> io::Result<()> {
    let limit = *STARTED_WITH.get_or_init(|| getrlimit(Resource::Nofile));
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    Ok(setrlimit(Resource::Nofile, most)?)
}

/// Gives a child of this process what this process was started with.
pub fn restore_open_files(child: u32) -> io::Result<()> {
    let (Some(limit), Some(child)) = (STARTED_WITH.get(), Pid::from_raw(child.cast_signed()))
    else {
        return Ok(());
    };
    prlimit(Some(child), Resource::Nofile, *limit)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn children_have_the_limit_that_was_there_before() {
        let before = getrlimit(Resource::Nofile);
        raise_open_files().unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
        let mut child = Command::new("sh")
            .args(["-c", "read go; ulimit -Sn"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        restore_open_files(child.id()).unwrap();
        drop(child.stdin.take());
        let output = child.wait_with_output().unwrap();
        let started_with = STARTED_WITH.get().unwrap().current.unwrap_or_default();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.trim(), started_with.to_string());
    }
}
