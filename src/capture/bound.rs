//! The address that a program binds, as held addresses are compared with it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::sockets::address::Address;
use crate::sys::calls::{Bound, Protocol};

/// The address. `None`: it is never held (abstract, in a directory that is missing).
///
/// `dir` is the program's working directory, which a relative path starts from.
pub(super) fn address(protocol: Protocol, bound: Bound, dir: &Path) -> Option<Address> {
    match bound {
        Bound::Internet(at) if protocol.listens() => Some(Address::Tcp(at)),
        Bound::Internet(at) => Some(Address::Udp(at)),
        Bound::Path(path) => Some(Address::Unix(absolute(path.as_os_str(), dir)?)),
        Bound::Abstract(_) => None,
    }
}

/// The absolute path with its directory resolved, so that two spellings of it are equal.
pub(super) fn absolute(path: &OsStr, dir: &Path) -> Option<PathBuf> {
    let path = dir.join(path);
    let parent = dunce::canonicalize(path.parent()?).ok()?;
    Some(parent.join(path.file_name()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(protocol: Protocol, bound: Bound, expected: Option<&str>) {
        let dir = std::env::temp_dir();
        let address = address(protocol, bound, &dir.join("../tmp"));
        let address = address.map(|address| address.to_string());
        assert_eq!(address.as_deref(), expected);
    }

    #[test]
    fn two_spellings_of_an_address_are_equal() {
        let at = Bound::Internet("127.0.0.1:3000".parse().unwrap());
        case(Protocol::Tcp4, at.clone(), Some("127.0.0.1:3000"));
        case(Protocol::Udp4, at, Some("udp:127.0.0.1:3000"));
        let dir = tempfile::tempdir().unwrap();
        let dir = dunce::canonicalize(dir.path()).unwrap();
        let expected = format!("unix:{}", dir.join("a.sock").display());
        let name = dir.file_name().unwrap();
        for path in [
            Path::new("a.sock"),
            Path::new("./a.sock"),
            &Path::new("..").join(name).join("a.sock"),
            &dir.join("a.sock"),
        ] {
            let bound = Bound::Path(path.to_owned());
            let address = address(Protocol::Unix, bound, &dir).unwrap();
            assert_eq!(address.to_string(), expected, "{}", path.display());
        }
        case(
            Protocol::Unix,
            Bound::Path("/no/such/dir/a.sock".into()),
            None,
        );
        case(Protocol::Unix, Bound::Abstract("a".into()), None);
    }
}
