//! What a service manager is told (`sd_notify(3)`): that hotrun is set up, what it is doing, that a
//! reload is over, and that it ends. Whether the app compiles is no part of being set up.

use std::ffi::OsStr;
use std::time::Duration;

use crate::report::event::Event;
use crate::report::text;
use crate::sys::{Notified, signals};

/// How long the printing thread may wait for room in the socket: a service manager that hangs does not read it.
const PATIENCE: Duration = Duration::from_millis(100);

/// The service manager that started hotrun and wants to know.
#[derive(Debug)]
pub(super) struct ServiceManager {
    notified: Notified,
    /// A reload was announced and its end was not.
    reloading: bool,
}

impl ServiceManager {
    /// The one that listens at the value of `NOTIFY_SOCKET`: a path, or `@` and an abstract name.
    pub(super) fn at(name: &OsStr) -> Option<Self> {
        Some(Self {
            notified: Notified::at(name, PATIENCE)?,
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
        self.notified.send(message).ok();
    }
}

/// The kernel's monotonic clock, by which a service manager orders what it is told.
fn monotonic_usec() -> u128 {
    signals::monotonic().as_micros()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::values::{Millis, Next};
    use crate::session::model::Generation;
    use crate::sys::ABLE;
    use crate::sys::NotifySocket;
    use crate::sys::testing::lacks;

    #[test]
    fn what_matters_is_told_in_order() {
        if lacks(ABLE.unix_sockets, "unix sockets") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("own/notify");
        let listener = NotifySocket::bind(&path).unwrap();
        let heard = || String::from_utf8(listener.message().unwrap()).unwrap();
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
        if lacks(ABLE.unix_sockets, "unix sockets") {
            return;
        }
        assert!(ServiceManager::at(OsStr::new("vsock:2:9")).is_none());
        ServiceManager::at(OsStr::new("/no/such/socket"))
            .unwrap()
            .ready();
        // A socket that is not read is full after a while.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("own/notify");
        let _listener = NotifySocket::bind(&path).unwrap();
        let manager = ServiceManager::at(path.as_os_str()).unwrap();
        let most = std::fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen").unwrap();
        for _ in 0..most.trim().parse::<u32>().unwrap() + 3 {
            manager.ready();
        }
    }
}
