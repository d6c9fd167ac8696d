//! The settings of `hotrun verify` beside those of hotrun. Pure.

use std::path::Path;

use super::value::is_url_path;
use crate::cli::{Stdin, Verify};
use crate::exit::Failure;

/// How many reloads there are by default.
const RELOADS: u32 = 10;

/// How many reloads are tried, and what the clients request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// The number of reloads.
    pub reloads: u32,
    /// The path of the URL, which is to work; without it, `/`, whatever that answers.
    pub path: Option<String>,
    /// Over TLS.
    pub tls: bool,
    /// They open WebSockets there.
    pub websocket: bool,
}

impl Verification {
    /// From the command line; flags that make no sense with a load are refused.
    pub fn of(verify: &Verify) -> Result<Self, Failure> {
        let args = &verify.args;
        if args.once {
            return Err(
                Failure::usage("--once: one version is too few to verify a reload")
                    .hint("leave it out: `hotrun verify` ends by itself, after --reloads"),
            );
        }
        if args.stdin == Some(Stdin::App) {
            return Err(
                Failure::usage("--stdin: nothing that is typed reaches an app under load")
                    .hint("leave it out, and use `[app] tty` if the app wants a terminal"),
            );
        }
        if args.format.is_some() {
            return Err(Failure::usage("--format: the report has one format").hint(
                "leave it out; --events FILE writes what hotrun does meanwhile as JSON objects",
            ));
        }
        if args.events.as_deref() == Some(Path::new("-")) {
            return Err(
                Failure::usage("--events: stdout has the report of `hotrun verify`")
                    .hint("name a file"),
            );
        }
        if let Some(path) = verify.path.as_deref().filter(|path| !is_url_path(path)) {
            return Err(
                Failure::usage(format!("--path: `{path}` is no path of a URL"))
                    .hint("write what follows the host, from the first `/` on: `/health?deep=1`"),
            );
        }
        let reloads = match &verify.reloads {
            None => RELOADS,
            Some(text) => text
                .parse()
                .ok()
                .filter(|reloads| *reloads > 0)
                .ok_or_else(|| {
                    Failure::usage(format!("--reloads: `{text}` is no number of reloads"))
                        .hint(format!("write a number from 1 on: `{RELOADS}`"))
                })?,
        };
        Ok(Self {
            reloads,
            path: verify.path.clone(),
            tls: verify.tls,
            websocket: verify.websocket,
        })
    }
}
