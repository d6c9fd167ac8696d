//! The only module that names an operating system, and the only one with `unsafe`: small functions and
//! types over what systems offer. Each system has them under the same names.

use std::ffi::OsString;

mod facts;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(not(target_os = "linux"))]
pub mod no_calls;
#[cfg(any(test, fuzzing))]
pub(crate) mod testing;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;
#[cfg(any(test, fuzzing, target_os = "macos"))]
mod xnu;

/// What a system can do, as the only place that says it: a setting that asks for more is off there.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says what the others do not"
)]
pub struct Able {
    /// To answer system calls of the app, so that what it listens on by itself is held.
    pub capture: bool,
    /// To have two sockets at one address, and to choose which of them gets new connections.
    pub twins: bool,
    /// To hold unix sockets, and to speak over them.
    pub unix_sockets: bool,
    /// To see which sockets and files a process has open.
    pub sight: bool,
    /// To start a program with open sockets at known numbers (`sd_listen_fds(3)`).
    pub inherit: bool,
    /// To write to or replace the file of a program, by any of its names, while that runs.
    pub overwrite_running: bool,
    /// To tell when a file that was written is closed.
    pub tells_of_closes: bool,
    /// Linkers that may be faster than the default one and take the same arguments, by the names of their
    /// programs, most often the fastest first.
    pub linkers: &'static [&'static str],
}

/// The variables of this process. Where case does not tell names apart, the search path has the name by
/// which it is looked for.
pub fn variables() -> impl Iterator<Item = (OsString, OsString)> {
    let named = |(key, value): (OsString, OsString)| {
        let is_path = cfg!(windows) && key.eq_ignore_ascii_case("PATH");
        (if is_path { "PATH".into() } else { key }, value)
    };
    std::env::vars_os().map(named)
}

/// A path as patterns and files for all systems have it: with `/`.
pub fn slashed(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    text.replace(std::path::MAIN_SEPARATOR, "/")
}

#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(target_os = "macos")]
pub use macos::*;
#[cfg(unix)]
pub use unix::*;
#[cfg(windows)]
pub use windows::*;
#[cfg(any(test, fuzzing))]
pub(crate) use xnu::hostile_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_gets_a_line_as_it_was_typed() {
        let mut shell = command(SHELL[0].as_ref(), SHELL[0].as_ref());
        let line = r#"echo "one  two" && echo three"#;
        add_args(&mut shell, &[SHELL[1].into(), line.into()]);
        let said = String::from_utf8(shell.output().unwrap().stdout).unwrap();
        let lines: Vec<&str> = said.lines().map(str::trim).collect();
        assert!(
            lines[0].contains("one  two") && !lines[0].contains('\\'),
            "{said}"
        );
        assert_eq!(lines[1], "three");
    }

    #[test]
    fn paths_for_all_systems_have_slashes() {
        let path = std::path::Path::new("a").join("b").join("c");
        assert_eq!(slashed(&path), "a/b/c");
    }
}
