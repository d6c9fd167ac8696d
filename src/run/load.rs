//! `hotrun verify`: a hotrun with clients, and the report.

use std::ffi::OsString;

use tokio::sync::mpsc;

use super::listen_for_signals;
use crate::config::verification::Verification;
use crate::config::{Settings, Verbosity};
use crate::exit::{ExitKind, Failure};
use crate::sockets::activation;
use crate::sockets::held::HeldSet;
use crate::sys::{self, signals};
use crate::ui;
use crate::ui::style::Style;
use crate::verify::{self, Outcome};

/// Runs the verification.
pub(super) async fn load(
    verification: Verification,
    settings: Settings,
    held: HeldSet,
    words: Vec<OsString>,
    style: Style,
) -> Result<ExitKind, Failure> {
    let (urgent, signals) = mpsc::unbounded_channel();
    listen_for_signals(&urgent)?;
    let names: Vec<Option<&str>> = held.iter().map(|held| held.name.as_deref()).collect();
    let ours = |key: &OsString| activation::SCRUBBED.iter().any(|name| key == name);
    // Which version answers is seen by the process that has the client's connection: with `--inject` that
    // would be hotrun.
    let directly = ["HOTRUN_CFG_LIVERELOAD_INJECT", "false"].map(OsString::from);
    let is_ours = |key: &OsString| ours(key) || *key == directly[0];
    let inherited = sys::variables().filter(|(key, _)| !is_ours(key));
    let plan = verify::Plan {
        reloads: verification.reloads,
        path: verification.path,
        kind: verify::Kind {
            tls: verification.tls,
            websocket: verification.websocket,
        },
        // An app that ends by the other signal has caught it, and tells its supervisor so.
        stop_signal: settings.app.stop_signal.unwrap_or(signals::TERMINATE),
        words: words.into_iter().skip(1).collect(),
        env: inherited
            .chain(activation::variables(&names))
            .chain([directly.clone().into()])
            .collect(),
        dir: settings.build.dir.into_os_string(),
        sockets: held.share(held.active()),
        signals,
    };
    let quiet = settings.output.verbosity == Verbosity::Quiet;
    let tell = |progress| {
        if !quiet {
            ui::command::say(&ui::verdict::step(&progress), style);
        }
    };
    match verify::run(plan, tell).await {
        Outcome::Done(facts) => {
            let style = Style {
                color: settings.output.report_color,
            };
            ui::command::report(&ui::verdict::report(&facts), style);
            let kind = if facts.is_good() {
                ExitKind::Ok
            } else {
                ExitKind::Failed
            };
            Ok(kind)
        }
        Outcome::Failed(said, failure) => {
            ui::command::pass_on(&said);
            Err(failure)
        }
        Outcome::Signal(number) => Ok(ExitKind::Signal(number)),
    }
}
