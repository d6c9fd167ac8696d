//! What a service manager is told (`sd_notify(3)`): that hotrun is set up, what it is doing, that a
//! reload is over, and that it ends. Whether the app compiles is no part of being set up.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::text::{self, Context};
use crate::session::action::View;
use crate::session::model::Cause;

/// How long the printing thread may wait for room in the socket: nobody may read it.
const PATIENCE: Duration = Duration::from_millis(100);

/// Whoever started hotrun and wants to know.
#[derive(Debug)]
pub(super) struct Supervisor {
    socket: UnixDatagram,
    address: SocketAddr,
    /// A reload was announced and its end was not.
    reloading: bool,
}

impl Supervisor {
    /// The one that listens at the value of `NOTIFY_SOCKET`: a path, or `@` and an abstract name.
    pub(super) fn at(name: &OsStr) -> Option<Self> {
        let address = match name.as_bytes() {
            #[cfg(target_os = "linux")]
            [b'@', name @ ..] => {
                use std::os::linux::net::SocketAddrExt;
                SocketAddr::from_abstract_name(name)
            }
            [b'/', ..] => SocketAddr::from_pathname(name),
            _ => return None,
        };
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_write_timeout(Some(PATIENCE)).ok()?;
        Some(Self {
            socket,
            address: address.ok()?,
            reloading: false,
        })
    }

    /// Addresses are held and files are watched.
    pub(super) fn ready(&self) {
        self.send("READY=1");
    }

    /// Tells what this view means for whoever asks for the state of the service.
    pub(super) fn tell(&mut self, view: &View, context: &Context) {
        match view {
            View::Building {
                cause: Cause::Asked,
                ..
            } => {
                self.reloading = true;
                self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_usec()));
            }
            View::Quitting { now: false } => self.send("STOPPING=1"),
            View::Building { .. } => {}
            View::Live { .. }
            | View::BuildFailed { .. }
            | View::Unchanged { .. }
            | View::Ended { .. }
            | View::Finished { .. }
            | View::NotReady { .. }
            | View::JobFailed { .. }
            | View::CannotStart { .. } => {
                if std::mem::take(&mut self.reloading) {
                    self.send("READY=1");
                }
            }
            _ => return,
        }
        let text = text::of(view, context).map(|line| line.text);
        // A hint stands on a line of its own, and a line is all there is.
        if let Some(line) = text.as_deref().and_then(|text| text.lines().next()) {
            self.send(&format!("STATUS={line}"));
        }
    }

    /// Nobody there is nobody to tell.
    fn send(&self, message: &str) {
        self.socket
            .send_to_addr(message.as_bytes(), &self.address)
            .ok();
    }
}

/// The kernel's monotonic clock, by which a service manager orders what it is told.
fn monotonic_usec() -> i64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC);
    now.map_or(0, |now| now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::model::Generation;

    #[test]
    fn what_matters_is_told_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let heard = || {
            let mut buffer = [0; 512];
            let count = listener.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..count]).into_owned()
        };
        let mut supervisor = Supervisor::at(path.as_os_str()).unwrap();
        let generation = Generation(2);
        supervisor.ready();
        assert_eq!(heard(), "READY=1");
        let cause = Cause::Asked;
        supervisor.tell(&View::Building { generation, cause }, &Context::default());
        assert!(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
        assert_eq!(heard(), "STATUS=building g2 (asked for)");
        let failed = View::BuildFailed {
            generation,
            reason: crate::session::reason::Reason::new("1 error", "x"),
            took: Duration::from_millis(5),
            cause: Cause::Asked,
            next: crate::session::action::Next::Keeps(Generation(1)),
        };
        supervisor.tell(&failed, &Context::default());
        assert_eq!(heard(), "READY=1");
        let status = "STATUS=g2 failed to build in 5 ms: 1 error; g1 keeps serving (asked for)";
        assert_eq!(heard(), status);
        supervisor.tell(&View::Gone(generation, None), &Context::default());
        supervisor.tell(&View::Quitting { now: false }, &Context::default());
        assert_eq!(heard(), "STOPPING=1");
    }

    #[test]
    fn nobody_listening_costs_nothing() {
        assert!(Supervisor::at(OsStr::new("vsock:2:9")).is_none());
        Supervisor::at(OsStr::new("/no/such/socket"))
            .unwrap()
            .ready();
        // A socket that nobody reads is full after a while.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let _listener = UnixDatagram::bind(&path).unwrap();
        let supervisor = Supervisor::at(path.as_os_str()).unwrap();
        let most = std::fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen").unwrap();
        for _ in 0..most.trim().parse::<u32>().unwrap() + 3 {
            supervisor.ready();
        }
    }
}
