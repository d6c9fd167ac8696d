//! Where the control socket of a run is, for both of its ends.

use std::path::PathBuf;

use crate::control::server::{ControlSocket, Server};
use crate::control::{Identity, place};
use crate::exit::Failure;
use crate::report::values::AnyPath;
use crate::session::model::Program;

/// Where the sockets of `hotrun ctl` may be.
pub(super) fn places() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    place::candidates(runtime, &std::env::temp_dir())
}

/// What this process runs, as far as it is known.
pub(super) fn identity(workspace: PathBuf, program: Option<&Program>) -> Identity {
    Identity {
        pid: std::process::id(),
        workspace: AnyPath(workspace),
        package: program.map(|program| program.package.clone()),
        target: program.map(|program| program.target.clone()),
        profile: program.map(|program| program.profile.clone()),
        platform: program.and_then(|program| program.platform.clone()),
    }
}

/// Listens on the control socket.
pub(super) fn listen(server: Server, name: &str) -> Result<ControlSocket, Failure> {
    let dir = place::prepare(&places())?;
    let path = place::socket(&dir, name);
    let shown = path.display().to_string();
    server.start(path).map_err(|error| {
        Failure::failed(format!(
            "cannot listen on the control socket `{shown}`: {error}"
        ))
        .hint("`hotrun ctl` cannot reach this hotrun; the next start tries again")
    })
}
