//! The addresses of the last run, in a file beside what was built: so the next one holds them before
//! its first build has ended.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

/// Writes them down, one on a line.
pub fn write(path: &Path, ports: &[SocketAddr]) -> io::Result<()> {
    if ports.is_empty() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
    }
    let lines: Vec<String> = ports.iter().map(ToString::to_string).collect();
    // Never half a file, whatever happens meanwhile.
    let new = path.with_added_extension("new");
    fs::write(&new, lines.join("\n"))?;
    fs::rename(&new, path)
}

/// Reads them; what can't be read was nothing.
pub fn read(path: &Path) -> Vec<SocketAddr> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
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
        let ports = ["127.0.0.1:3000", "[::1]:3000", "[fe80::1%2]:80"];
        let ports = ports.map(|port| port.parse().unwrap());
        write(&path, &ports).unwrap();
        assert_eq!(read(&path), ports);
        fs::write(&path, "127.0.0.1:3000\nfile\n[::1]:1\nnothing\n").unwrap();
        assert_eq!(read(&path).len(), 2);
        write(&path, &[]).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
