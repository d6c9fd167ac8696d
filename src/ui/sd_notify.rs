//! What a service manager is told (`sd_notify(3)`): that hotrun is set up, what it is doing, that a
//! reload is over, and that it ends. Whether the app compiles is no part of being set up.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::report::event::Event;
use crate::report::text;

/// How long the printing thread may wait for room in the socket: a service manager that hangs does not read it.
const PATIENCE: Duration = Duration::from_millis(100);

/// The service manager that started hotrun and wants to know.
#[derive(Debug)]
pub(super) struct ServiceManager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// A reload was announced and its end was not.
    reloading: bool,
}

impl ServiceManager {
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

    /// Tells what this event means for the state of the service.
    pub(super) fn tell(&mut self, event: &Event) {
        match event {
            Event::Building { asked: true, .. } => {
                self.reloading = true;
                self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_usec()));
            }
            Event::Quitting { at_once: false } => self.send("STOPPING=1"),
            Event::Building { .. } => {}
            Event::Live { .. }
            | Event::BuildFailed { .. }
            | Event::Unchanged { .. }
            | Event::Ended { .. }
            | Event::Finished { .. }
            | Event::NotReady { .. }
            | Event::JobFailed { .. }
            | Event::CannotStart { .. } => {
                if std::mem::take(&mut self.reloading) {
                    self.send("READY=1");
                }
            }
            _ => return,
        }
        let text = text::of(event).map(|line| line.text);
        // A hint stands on a line of its own, and a line is all there is.
        if let Some(line) = text.as_deref().and_then(|text| text.lines().next()) {
            self.send(&format!("STATUS={line}"));
        }
    }

    /// A service manager that is gone misses nothing.
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
    use crate::report::values::{Millis, Next};
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
        let mut manager = ServiceManager::at(path.as_os_str()).unwrap();
        let generation = Generation(2);
        manager.ready();
        assert_eq!(heard(), "READY=1");
        manager.tell(&Event::Building {
            generation,
            ago_ms: Millis(Duration::ZERO),
            cause: "asked for".into(),
            paths: Vec::new(),
            asked: true,
        });
        assert!(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
        assert_eq!(heard(), "STATUS=building g2 (asked for)");
        manager.tell(&Event::BuildFailed {
            generation,
            reason: "1 error".into(),
            hint: Some("x".into()),
            took_ms: Millis(Duration::from_millis(5)),
            cause: "asked for".into(),
            next: Next::Keeps(Generation(1)),
        });
        assert_eq!(heard(), "READY=1");
        let status = "STATUS=g2 failed to build in 5 ms: 1 error; g1 keeps serving (asked for)";
        assert_eq!(heard(), status);
        manager.tell(&Event::Gone {
            generation,
            exit: None,
        });
        manager.tell(&Event::Quitting { at_once: false });
        assert_eq!(heard(), "STOPPING=1");
    }

    #[test]
    fn nobody_listening_costs_nothing() {
        assert!(ServiceManager::at(OsStr::new("vsock:2:9")).is_none());
        ServiceManager::at(OsStr::new("/no/such/socket"))
            .unwrap()
            .ready();
        // A socket that is not read is full after a while.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let _listener = UnixDatagram::bind(&path).unwrap();
        let manager = ServiceManager::at(path.as_os_str()).unwrap();
        let most = std::fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen").unwrap();
        for _ in 0..most.trim().parse::<u32>().unwrap() + 3 {
            manager.ready();
        }
    }
}
