//! What unit tests ask of the system that they run on, so that they say the same on all.

use std::io::{self, Write};
use std::path::{MAIN_SEPARATOR_STR, Path, PathBuf};

/// The system has nothing for what a test is about, so that it can't go on: says so on stderr.
pub(crate) fn lacks(able: bool, what: &str) -> bool {
    if !able {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        // Not by `eprintln!`: what that prints is not shown of a test that passes.
        writeln!(io::stderr(), "{test} ends early: this system has no {what}").ok();
    }
    !able
}

/// An absolute path, from one that starts with `/`: that alone is none where paths start with a drive.
pub(crate) fn absolute(path: &str) -> PathBuf {
    let drive = if cfg!(windows) { "C:" } else { "" };
    format!("{drive}{path}").into()
}

/// The same as text.
pub(crate) fn absolute_text(path: &str) -> String {
    absolute(path).display().to_string()
}

/// A text with `/` in its paths, with the separator of this system.
pub(crate) fn native(text: &str) -> String {
    text.replace('/', MAIN_SEPARATOR_STR)
}

/// Bytes of a name that is no text: some file has it, and no `str` can.
pub(crate) const ODD: &[u8] = if cfg!(windows) {
    b"\xed\xa0\x80"
} else {
    b"\xe9"
};

/// Bytes as text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap();
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(digit).collect()
}

/// This process may make symbolic links.
pub(crate) fn can_link() -> bool {
    let dir = tempfile::tempdir().unwrap();
    super::files::symlink("nowhere", dir.path().join("link")).is_ok()
}

/// Wine stands in for Windows. It has neither all calls nor the file system.
pub(crate) fn is_wine() -> bool {
    cfg!(windows) && Path::new(r"C:\windows\system32\winecfg.exe").exists()
}

/// QEMU emulates this process, and has nothing for what a test is about: says so as [`lacks`] does.
pub(crate) fn emulation_lacks(what: &str) -> bool {
    // QEMU answers for `/proc/self`; this is the same file, and the kernel's answer.
    let program = std::fs::read_link("/proc/thread-self/exe");
    let name = program.as_deref().ok().and_then(Path::file_name);
    let is_emulated = name.is_some_and(|name| name.as_encoded_bytes().starts_with(b"qemu-"));
    lacks(!is_emulated, &format!("{what}, since QEMU emulates it"))
}
