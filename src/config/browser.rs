//! What browsers get from hotrun.

use std::time::Duration;

use super::layer::Layer;

/// What browsers get from hotrun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Browser {
    /// How long a client that gets no page waits for the app; `None`: there is no page, and clients stay
    /// queued.
    pub page: Option<Duration>,
    /// Names of hosts whose pages may see the state of the build, beside those that always may.
    pub hosts: Vec<String>,
    /// The port of the LiveReload server; `None`: there is none.
    pub livereload: Option<u16>,
}

/// Under `--once` nobody looks.
pub(super) fn settings(layer: &Layer, once: bool) -> Browser {
    let (page, livereload) = (&layer.page, &layer.livereload);
    let hosts = page.hosts.iter().flatten();
    Browser {
        page: (page.enabled() && !once).then(|| page.hold().0),
        hosts: hosts.map(|host| host.0.clone()).collect(),
        livereload: (livereload.enabled() && !once).then(|| livereload.port().0),
    }
}
