//! A save does not replace a process that a debugger is attached to.

use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::unistd::Pid;

use crate::common::{ANY, Hotrun, Project, get, say};

/// A debugger that is attached to a process and lets it run; the kernel detaches it when its thread
/// ends.
struct Debugger {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Debugger {
    fn attach(pid: i32) -> Result<Self, Errno> {
        let (end, ended) = channel::<()>();
        let (attached, answer) = channel();
        let thread = thread::spawn(move || {
            let result = ptrace::seize(Pid::from_raw(pid), ptrace::Options::empty());
            attached.send(result).unwrap();
            ended.recv().ok();
        });
        answer.recv().unwrap()?;
        Ok(Self {
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Drop for Debugger {
    fn drop(&mut self) {
        drop(self.end.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn a_version_under_a_debugger_is_replaced_when_that_is_gone_or_on_request() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let pid = hotrun.app(1).pid;
    let debugger = match Debugger::attach(pid) {
        Ok(debugger) => debugger,
        Err(error) => {
            say(&format!("nobody may debug here: {error}"));
            return;
        }
    };
    project.set_version("2");
    let waits = |generation| move |event: &serde_json::Value| event["waits"] == generation;
    let debugged = hotrun.wait_for("debugged", waits(2));
    assert_eq!(debugged["generation"], 1);
    assert_eq!(debugged["pid"], pid);
    assert!(
        hotrun
            .stderr()
            .contains(&format!("`kill -HUP {}`", hotrun.pid()))
    );
    // Only the newest build waits; the one before is never started.
    project.set_version("3");
    hotrun.wait_for("debugged", waits(3));
    assert_eq!(get(hotrun.address()).answer().version, "1");
    drop(debugger);
    hotrun.wait_version("3");
    assert_eq!(hotrun.values("started", "generation"), ["1", "3"]);
    hotrun.wait_for("gone", |event| event["generation"] == 1);

    let debugger = Debugger::attach(hotrun.app(3).pid).unwrap();
    project.set_version("4");
    hotrun.wait_for("debugged", waits(4));
    if !hotrun.ignores_hangup() {
        hotrun.hangup();
        hotrun.wait_live(4);
        // Asking for it did not build again.
        assert_eq!(hotrun.all("building").len(), 4);
    }
    drop(debugger);
    hotrun.wait_version("4");
    hotrun.wait_for("gone", |event| event["generation"] == 3);
    hotrun.interrupt();
    hotrun.wait_exit();
    hotrun.assert_nothing_left();
}
