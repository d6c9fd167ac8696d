//! The variables of `sd_listen_fds(3)` that tell an app about the sockets it inherits. Pure.
//!
//! `LISTEN_PID` is missing here: only the child knows its own pid, see `sys::spawn`.

use std::ffi::OsString;

use crate::sys::{ABLE, FIRST_SOCKET};

/// The name of a socket without one, by `sd_listen_fds_with_names(3)`.
pub(super) const UNNAMED: &str = "unknown";

/// Variables of a service manager or socket holder that no child may inherit: they describe descriptors
/// and a pid that are not the child's.
pub const SCRUBBED: [&str; 8] = [
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDNAMES",
    "LISTEN_FDS_FIRST_FD",
    "NOTIFY_SOCKET",
    "SYSTEMFD_SOCKET_SERVER",
    "SYSTEMFD_SOCKET_SECRET",
];

/// The variables for sockets with these names, in the order of their descriptors; none where a program
/// can't inherit sockets, and asks its keeper for them.
pub fn variables(names: &[Option<&str>]) -> Vec<(OsString, OsString)> {
    if names.is_empty() || !ABLE.inherit {
        return Vec::new();
    }
    let joined: Vec<&str> = names.iter().map(|name| name.unwrap_or(UNNAMED)).collect();
    [
        ("LISTEN_FDS", names.len().to_string()),
        ("LISTEN_FDNAMES", joined.join(":")),
        ("LISTEN_FDS_FIRST_FD", FIRST_SOCKET.to_string()),
    ]
    .map(|(key, value)| (key.into(), value.into()))
    .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::lacks;

    #[test]
    fn every_socket_has_a_name() {
        if lacks(ABLE.inherit, "sockets that a program inherits") {
            return;
        }
        let found = variables(&[Some("web"), None]);
        let expected = [
            ("LISTEN_FDS", "2"),
            ("LISTEN_FDNAMES", "web:unknown"),
            ("LISTEN_FDS_FIRST_FD", "3"),
        ];
        assert_eq!(
            found,
            expected.map(|(key, value)| (key.into(), value.into()))
        );
        assert!(variables(&[]).is_empty());
    }
}
