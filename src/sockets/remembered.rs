//! The addresses of the last run, in a file beside the artifacts: the next run holds them before its
//! first build has ended.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

/// A port that a program has bound by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its address.
    pub at: SocketAddr,
    /// `IPV6_V6ONLY` is set.
    pub only_v6: bool,
}

/// Follows an address with `IPV6_V6ONLY`.
const ONLY_V6: &str = " IPv6 alone";

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.only_v6 { ONLY_V6 } else { "" };
        write!(f, "{}{kind}", self.at)
    }
}

/// Writes the ports, one a line.
pub fn write(path: &Path, ports: &[Port]) -> io::Result<()> {
    if ports.is_empty() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
    }
    // Renamed, so that the file is never incomplete.
    let new = path.with_added_extension("new");
    fs::write(&new, text(ports))?;
    fs::rename(&new, path)
}

fn text(ports: &[Port]) -> String {
    let lines: Vec<String> = ports.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Reads the ports; lines that don't parse are skipped.
pub fn read(path: &Path) -> Vec<Port> {
    parse(&fs::read_to_string(path).unwrap_or_default())
}

fn parse(text: &str) -> Vec<Port> {
    let port = |line: &str| {
        let alone = line.strip_suffix(ONLY_V6);
        let at = alone.unwrap_or(line).parse().ok()?;
        Some(Port {
            at,
            only_v6: alone.is_some(),
        })
    };
    text.lines().filter_map(port).collect()
}

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests {
    use super::*;
    use crate::hostile::Target;

    pub(crate) fn any_file_is_read_as_far_as_it_has_ports() -> Target {
        let corpus = [
            "127.0.0.1:3000\nfile\n[::1]:1\nnothing\n",
            "[::]:3000 IPv6 alone\r\n[fe80::1%2]:80\n0.0.0.0:0 IPv6 alone",
        ];
        Target::text(&corpus, 2, |content| {
            let ports = parse(content);
            assert!(ports.len() <= content.lines().count());
            assert_eq!(parse(&text(&ports)), ports);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("addresses");
        assert_eq!(read(&path), []);
        write(&path, &[]).unwrap();
        let ports = [
            ("127.0.0.1:3000", false),
            ("[::]:3000", true),
            ("[fe80::1%2]:80", false),
        ];
        let ports = ports.map(|(at, only_v6)| Port {
            at: at.parse().unwrap(),
            only_v6,
        });
        write(&path, &ports).unwrap();
        assert_eq!(read(&path), ports);
        fs::write(&path, "127.0.0.1:3000\nfile\n[::1]:1\nnothing\n").unwrap();
        assert_eq!(read(&path).len(), 2);
        write(&path, &[]).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
