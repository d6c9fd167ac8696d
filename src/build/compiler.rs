//! One call of the compiler without cargo, and what comes of it.

use std::path::PathBuf;

use super::messages::{self, Remark, Told};
use crate::helper::{self, After, Cancel, Prepared, Stopped};
use crate::keeper::protocol::Launch;
use crate::lines::Stream;
use crate::session::event::BuildNews;
use crate::session::model::Exit;

/// Errors of the compiler about files that cargo has to mend: crates that it does not find, or that
/// another compiler has made.
const CARGOS_ERRORS: [&str; 9] = [
    "E0460", "E0461", "E0462", "E0463", "E0464", "E0514", "E0519", "E0523", "E0786",
];

/// What one call of the compiler has said.
pub(super) struct Said {
    exit: Exit,
    /// The root file of the crate.
    pub(super) root: PathBuf,
    pub(super) news: Vec<BuildNews>,
    errors: u32,
    pub(super) warnings: u32,
    pub(super) named: Vec<PathBuf>,
    /// An error that cargo has to mend.
    is_cargos: bool,
}

impl Said {
    /// The number of errors in the code. `None`: it has failed for another reason.
    pub(super) fn verdict(&self) -> Option<u32> {
        match self.exit {
            Exit::Status(0) => Some(0),
            Exit::Status(1) if self.errors > 0 && !self.is_cargos => Some(self.errors),
            _ => None,
        }
    }
}

/// Calls the compiler, under a prepared keeper if there is one. `on_metadata` is called once the metadata of the
/// crate is written.
pub(super) async fn run(
    root: PathBuf,
    keeper: Option<Prepared>,
    launch: Launch,
    mut cancel: Cancel,
    on_metadata: impl Fn(),
) -> Result<Said, Stopped> {
    let mut said = Said {
        exit: Exit::Unknown,
        root,
        news: Vec::new(),
        errors: 0,
        warnings: 0,
        named: Vec::new(),
        is_cargos: false,
    };
    let ended = helper::run_until_enough(keeper, launch, &mut cancel, |stream, piece| {
        let told = match stream {
            Stream::Stderr => messages::compiler(piece.trim_end(), &said.root),
            Stream::Stdout => Told::Text(piece.trim_end().to_owned()),
        };
        match told {
            Told::Diagnostic(Remark {
                error,
                counts,
                code,
                rendered,
                named,
                detail,
                ..
            }) => {
                said.errors += u32::from(error && counts);
                said.warnings += u32::from(!error && counts);
                said.named.extend(named);
                said.is_cargos |= code.is_some_and(|code| CARGOS_ERRORS.contains(&&*code));
                said.news.push(BuildNews::Diagnostic {
                    error,
                    counts,
                    detail,
                    // Kept until its unit is compiled.
                    rendered: rendered.into(),
                });
            }
            Told::Metadata => on_metadata(),
            Told::Text(text) if !text.is_empty() => said.news.push(BuildNews::Line(text.into())),
            _ => {}
        }
        After::GoOn
    });
    match ended.await {
        Ok((exit, _)) => said.exit = exit,
        Err(Stopped::Cancelled) => return Err(Stopped::Cancelled),
        // The compiler is not where it was: cargo knows what to say.
        Err(Stopped::Failed(_)) => {}
    }
    Ok(said)
}
