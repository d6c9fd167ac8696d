//! The directory of this user's control sockets. Only this user may write there, so a program that finds a
//! socket there knows whose it is.

use std::io;
use std::path::{Path, PathBuf};

use crate::exit::Failure;
use crate::sys;

/// How the names of sockets end.
const ENDING: &str = "sock";

/// The path of a unix socket has at most 107 bytes (unix(7)), of which a name takes some 40.
const LONGEST: usize = 64;

/// Where sockets may be, the best place first: `runtime` is this user's own directory
/// (`XDG_RUNTIME_DIR`), `temporary` that of everybody.
pub fn candidates(runtime: Option<PathBuf>, temporary: &Path) -> Vec<PathBuf> {
    let own = temporary.join(format!("hotrun-{}", sys::user()));
    let fits = |dir: &PathBuf| dir.is_absolute() && dir.as_os_str().len() <= LONGEST;
    let runtime = runtime.filter(fits);
    let runtime = runtime.map(|dir| dir.join("hotrun"));
    runtime.into_iter().chain([own]).collect()
}

/// The first of these directories that is or can be made this user's own.
pub fn prepare(candidates: &[PathBuf]) -> Result<PathBuf, Failure> {
    let mut why = Vec::new();
    for dir in candidates {
        match sys::create_private_dir(dir) {
            Ok(()) => return Ok(dir.clone()),
            Err(error) => why.push(format!("`{}`: {error}", dir.display())),
        }
    }
    Err(Failure::failed(format!(
        "no directory for the control socket: {}",
        why.join("; ")
    ))
    .hint("remove what is there, or set XDG_RUNTIME_DIR to a directory of your own"))
}

/// The socket of the run with this name, which no other run has.
pub fn socket(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.{ENDING}"))
}

/// All sockets in those of these directories that are this user's own.
pub fn sockets(candidates: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for dir in candidates.iter().filter(|dir| sys::is_private_dir(dir)) {
        for entry in dir.read_dir()? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == ENDING) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
