//! Under `Type=notify` the service manager learns when hotrun is set up and what it is doing, and
//! hotrun's children never notify in its place.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::sys::signal::Signal;
use procfs::process::Process;

use crate::common::{ANY, Hotrun, LIMIT, Project, Run};

struct Manager(UnixDatagram);

impl Manager {
    fn bind(address: &SocketAddr) -> Self {
        let socket = UnixDatagram::bind_addr(address).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Self(socket)
    }

    /// The next message.
    #[track_caller]
    fn hears(&self) -> String {
        let mut buffer = [0; 4096];
        let count = self.0.recv(&mut buffer).expect("no message in time");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    #[track_caller]
    fn hears_first(&self, start: &str) {
        let said = self.hears();
        assert!(said.starts_with(start), "{said:?} instead of {start:?}");
    }
}

/// Otherwise the service manager would end a service whose code does not compile, after its start
/// timeout.
#[test]
fn hotrun_is_ready_though_the_app_does_not_compile() {
    let project = Project::new("slow-drain");
    project.edit("src/version.rs", "\"1\"", "1");
    let path = project.root().join("manager");
    let manager = Manager::bind(&SocketAddr::from_pathname(&path).unwrap());
    let run = Run::new(&project, &ANY).env("NOTIFY_SOCKET", path.to_str().unwrap());
    let hotrun = run.start();
    manager.hears_first("READY=1");
    manager.hears_first("STATUS=building g1 (first start)");
    manager.hears_first("STATUS=g1 failed to build in ");
    project.set_version("2");
    manager.hears_first("STATUS=building g2 (src/version.rs)");
    manager.hears_first("STATUS=g2 live in ");
    // The app has a notify socket of its own.
    let app = Process::new(hotrun.app(2).pid).unwrap();
    let own = app.environ().unwrap()[OsStr::new("NOTIFY_SOCKET")].clone();
    assert!(own != *path, "{own:?}");
    hotrun.terminate();
    manager.hears_first("STOPPING=1");
    manager.hears_first("STATUS=stopping");
    hotrun.wait_killed_by(Signal::SIGTERM);
    hotrun.assert_nothing_left();
}

/// `systemctl reload`, which waits until the new generation serves; the notify socket is abstract here.
#[test]
fn a_reload_has_a_beginning_and_an_end() {
    let project = Project::new("slow-drain");
    let name = project.root().to_str().unwrap().replace('/', "-");
    let manager = Manager::bind(&SocketAddr::from_abstract_name(&name).unwrap());
    let run = Run::new(&project, &ANY).env("NOTIFY_SOCKET", &format!("@{name}"));
    let hotrun: Hotrun = run.start();
    manager.hears_first("READY=1");
    manager.hears_first("STATUS=building g1");
    manager.hears_first("STATUS=g1 live in ");
    if hotrun.ignores_hangup() {
        return;
    }
    hotrun.hangup();
    manager.hears_first("RELOADING=1\nMONOTONIC_USEC=");
    manager.hears_first("STATUS=building g2 (asked for)");
    manager.hears_first("READY=1");
    manager.hears_first("STATUS=g2 live in ");
}
