//! What browsers get: what hotrun does, and the server that has them reload.

use std::io;
use std::path::PathBuf;

use crate::browser::front::Front;
use crate::browser::page::HeldPage;
use crate::browser::peers::Peers;
use crate::browser::{Board, LiveReload};
use crate::config::Browser;
use crate::report::Note;
use crate::session::model::Moment;
use crate::sockets::front as held;
use crate::ui::Reporter;

/// What browsers get.
#[derive(Debug)]
pub struct Browsers {
    /// What they are shown.
    pub board: Board,
    /// What accepts their connections while no generation serves.
    pub page: HeldPage,
    /// The settings in use.
    settings: Browser,
    /// Has them reload; `None`: it is off, or has no port.
    livereload: Option<LiveReload>,
    /// Answers at the app's addresses, if that was ever wanted.
    front: Option<Front>,
    /// The clients that it passes on.
    peers: Peers,
}

impl Browsers {
    /// With these settings.
    pub fn start(settings: &Browser, now: Moment, reporter: &Reporter) -> Self {
        let (board, peers) = (Board::new(), Peers::default());
        Self {
            livereload: livereload(settings, &board, now, reporter),
            settings: settings.clone(),
            page: HeldPage::new(&board, settings.clone(), peers.clone()),
            board,
            front: None,
            peers,
        }
    }

    /// Hotrun answers at these addresses now.
    pub fn answer(&mut self, now: Moment, fronts: &[held::Front], reporter: &Reporter) {
        if self.front.is_none() && fronts.is_empty() {
            return;
        }
        let answered = self.answer_at(fronts, reporter);
        if let Err(error) = answered {
            let text = format!("hotrun cannot pass on what clients send: {error}");
            reporter.note(now, Note::Warning(text));
        }
    }

    fn answer_at(&mut self, fronts: &[held::Front], reporter: &Reporter) -> io::Result<()> {
        let port = self.port().filter(|_| self.settings.inject);
        let reporter = reporter.clone();
        let unread = move || {
            let text = "pages by TLS get no script: hotrun cannot read them on their way; let the app speak \
                        plain HTTP while you develop, or put the line into its pages";
            reporter.tell(Note::Warning(text.into()));
        };
        let front = match &mut self.front {
            Some(front) => front,
            none => none.insert(Front::start(self.peers.clone(), unread)?),
        };
        front.livereload(port);
        front.adopt(fronts)
    }

    /// New clients are served by another generation from now on.
    pub fn switched(&self) {
        if let Some(front) = &self.front {
            front.switched();
        }
    }

    /// The port of the server that has them reload.
    pub fn port(&self) -> Option<u16> {
        self.livereload.as_ref().map(LiveReload::port)
    }

    /// Has them load these files anew; whole pages if there is none.
    pub fn reload(&self, now: Moment, paths: Vec<PathBuf>, reporter: &Reporter) {
        let server = self.livereload.as_ref();
        let browsers = server.map_or(0, |server| server.reload(&paths));
        if browsers > 0 {
            reporter.note(now, Note::Reloaded { browsers, paths });
        }
    }

    /// Other settings hold from now on. Another port is another server: the one before tells its browsers
    /// nothing more.
    pub fn adopt(&mut self, now: Moment, settings: &Browser, reporter: &Reporter) {
        if self.settings.livereload != settings.livereload {
            self.livereload = livereload(settings, &self.board, now, reporter);
        } else if let Some(server) = &self.livereload {
            server.allow(&settings.hosts);
        }
        self.page.adopt(settings);
        self.settings = settings.clone();
    }
}

/// Starts the server. Without one everything else goes on.
fn livereload(
    settings: &Browser,
    board: &Board,
    now: Moment,
    reporter: &Reporter,
) -> Option<LiveReload> {
    let wanted = settings.livereload?;
    match LiveReload::start(wanted, settings.hosts.clone(), board.clone()) {
        Ok(server) => {
            let port = server.port();
            if port != wanted {
                let taken = wanted;
                reporter.note(now, Note::Livereload { port, taken });
            }
            Some(server)
        }
        Err(error) => {
            let text = format!("browsers do not reload: cannot listen on port {wanted}: {error}");
            reporter.note(now, Note::Warning(text));
            None
        }
    }
}
