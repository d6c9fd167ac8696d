//! What browsers get from hotrun.

use std::time::Duration;

use super::layer::Layer;
use super::value::EditorUrl;
use crate::cli::Args;
use crate::exit::Failure;

/// What browsers get from hotrun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Browser {
    /// How long a client that gets no page waits for the app; `None`: there is no page, and clients stay
    /// queued.
    pub page: Option<Duration>,
    /// Names of hosts whose pages may see the state of the build, beside those that always may.
    pub hosts: Vec<String>,
    /// The URL that opens a place in the user's editor, with `{path}`, `{line}` and `{column}`.
    pub editor: Option<String>,
    /// The app is opened in a browser when it is live for the first time.
    pub open: bool,
    /// The port of the LiveReload server; `None`: there is none.
    pub livereload: Option<u16>,
    /// Hotrun answers at the app's addresses, and puts the server's script into pages.
    pub inject: bool,
}

/// An error: the settings contradict each other. With `--once` no browser is served. `terminal`: the program
/// in whose terminal hotrun runs (`TERM_PROGRAM`).
pub(super) fn settings(
    layer: &Layer,
    args: &Args,
    terminal: Option<&str>,
) -> Result<Browser, Failure> {
    let (page, livereload) = (&layer.page, &layer.livereload);
    let hosts = page.hosts.iter().flatten();
    let by_terminal = || EditorUrl::of(terminal?);
    let editor = page.editor.clone().or_else(by_terminal);
    if livereload.inject() && !livereload.enabled() {
        let problem = "livereload.inject puts the script of a server into pages that is off";
        return Err(Failure::usage(problem).hint("leave `livereload.enabled = false` out"));
    }
    let livereload_on = livereload.enabled() && !args.once;
    Ok(Browser {
        page: (page.enabled() && !args.once).then(|| page.hold().0),
        hosts: hosts.map(|host| host.0.clone()).collect(),
        editor: editor.map(|editor| editor.0),
        open: args.open,
        livereload: livereload_on.then(|| livereload.port().0),
        inject: livereload_on && livereload.inject(),
    })
}
