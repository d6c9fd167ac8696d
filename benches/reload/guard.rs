//! No process outlives the benchmark, however it ends: a shell has the list of processes and waits for
//! the end of a pipe that only the benchmark holds open.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;

use crate::Result;

/// `+ PID` remembers, `- PID` forgets; a negative number is a process group.
const SCRIPT: &str = r#"
kept=' '
while read -r sign pid; do
    case $sign in
        +) kept="$kept$pid " ;;
        -) kept="${kept%% "$pid" *} ${kept#* "$pid" }" ;;
    esac
done
for pid in $kept; do kill -s KILL -- "$pid" 2>/dev/null; done
# What a hotrun had started ends a moment after it.
[ "$kept" = ' ' ] || sleep 0.3
rm -rf -- "$1"
"#;

/// The handle of the shell. Dropping it ends all processes left and removes the directory.
#[derive(Debug)]
pub(crate) struct Guard {
    shell: Child,
    pipe: Option<Mutex<ChildStdin>>,
}

impl Guard {
    /// Guards `dir`, and processes that are added later.
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "guard"])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Ctrl-C ends the benchmark, not the shell that cleans up after it.
            .process_group(0)
            .spawn()?;
        let pipe = shell.stdin.take().map(Mutex::new);
        Ok(Self { shell, pipe })
    }

    /// Remembers a child that leads a process group of its own.
    pub(crate) fn keep(&self, child: &Child) -> Result<()> {
        self.say('+', child)
    }

    /// Forgets a child that has ended.
    pub(crate) fn forget(&self, child: &Child) -> Result<()> {
        self.say('-', child)
    }

    fn say(&self, sign: char, child: &Child) -> Result<()> {
        let pipe = self.pipe.as_ref().ok_or("the guard has ended")?;
        let mut pipe = pipe.lock().map_err(|_| "the guard is broken")?;
        writeln!(pipe, "{sign} -{}", child.id())?;
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.pipe = None;
        self.shell.wait().ok();
    }
}
