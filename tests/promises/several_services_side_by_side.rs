//! Several services of one workspace, each with a hotrun of its own, share cargo's lock and a library,
//! and nothing else.

use std::fs::{self, File};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::project::fixtures;
use crate::common::{ANY, Hotrun, Numbers, Project, say};

const SERVICES: [&str; 3] = ["front", "back", "auth"];

/// The services and the library that they share.
const PACKAGES: [&str; 4] = ["front", "back", "auth", "shared"];

/// How long edits go on, and the longest pause between two, in milliseconds.
const EDITS: u32 = 15;
const PAUSE: u64 = 1000;

/// The state of a package after an edit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct State {
    number: u32,
    broken: bool,
    panics: bool,
}

impl State {
    /// Its source, or one that does not compile; and what it does when a service starts.
    fn source(self, package: &str) -> String {
        let number = self.number;
        let text = if self.broken { "=" } else { "\"" };
        let start = if self.panics {
            "panic!(\"on purpose\")"
        } else {
            ""
        };
        format!(
            "pub const VERSION: &str = {text}{package}-{number}\";\npub fn start() {{ {start} }}\n"
        )
    }
}

/// Three services with their library, and the state last saved of each.
struct Workspace {
    project: Project,
    states: [State; 4],
}

impl Workspace {
    fn new() -> Self {
        let project = Project::of(&[(
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"front\", \"back\", \"auth\", \"shared\"]\n",
        )]);
        let mut workspace = Self {
            project,
            states: [State::default(); 4],
        };
        let from = fixtures().join("slow-drain/src");
        let read = |name: &str| fs::read_to_string(from.join(name)).unwrap();
        // The first word of an answer combines the versions of the service and of the library.
        let texts = "use crate::version::VERSION;\nuse shared::VERSION as SHARED;";
        let http = read("http.rs")
            .replace("use crate::version::VERSION;", texts)
            .replace("\"{VERSION} g", "\"{VERSION}+{SHARED} g");
        let start = "shared::start();\nversion::start();\nlet (term";
        let main = read("main.rs").replacen("let (term", start, 1);
        let listen = read("listen.rs");
        let files = [("main", main), ("http", http), ("listen", listen)];
        for (at, package) in PACKAGES.into_iter().enumerate() {
            for (name, text) in files.iter().filter(|_| package != "shared") {
                workspace
                    .project
                    .add(&format!("{package}/src/{name}.rs"), text);
            }
            workspace.project.add(&source(package), "");
            workspace.save(at, State::default());
            workspace.save_manifest(at, 0);
        }
        workspace
    }

    /// Three hotruns, started at the same time.
    fn start(&self) -> [Hotrun; 3] {
        SERVICES.map(|service| {
            let args = [&ANY[..], &["--package", service]].concat();
            Hotrun::start(&self.project, &args)
        })
    }

    fn save(&mut self, at: usize, state: State) {
        self.states[at] = state;
        let package = PACKAGES[at];
        self.project.save(&source(package), &state.source(package));
    }

    fn save_manifest(&self, at: usize, number: u64) {
        let package = PACKAGES[at];
        let needs = "[dependencies]\nshared = { path = \"../shared\" }\n";
        let needs = if package == "shared" { "" } else { needs };
        let manifest = format!(
            "# {number}\n[package]\nname = \"{package}\"\nversion = \"1.0.0\"\nedition = \"2024\"\n\
             {needs}"
        );
        self.project
            .save(&format!("{package}/Cargo.toml"), &manifest);
    }

    /// Edits one of the packages in some way.
    fn edit(&mut self, numbers: &mut Numbers, number: u32) {
        let at = usize::try_from(numbers.below(4)).unwrap();
        let state = State {
            number,
            broken: false,
            panics: false,
        };
        match numbers.below(8) {
            0 | 1 => self.save(
                at,
                State {
                    broken: true,
                    ..state
                },
            ),
            2 | 3 => self.save(
                at,
                State {
                    panics: true,
                    ..state
                },
            ),
            4 => self.save_manifest(at, u64::from(number)),
            _ => self.save(at, state),
        }
    }

    /// Mends the packages that do not build or do not start.
    fn mend(&mut self) {
        for (at, state) in self.states.into_iter().enumerate() {
            let mended = State {
                broken: false,
                panics: false,
                ..state
            };
            if state != mended {
                self.save(at, mended);
            }
        }
    }

    /// Each service serves the last save of its own package and of the library.
    #[track_caller]
    fn served(&self, hotruns: &[Hotrun; 3]) {
        for (at, hotrun) in hotruns.iter().enumerate() {
            let [own, shared] = [self.states[at].number, self.states[3].number];
            hotrun.wait_version(&format!("{}-{own}+shared-{shared}", PACKAGES[at]));
        }
    }
}

fn source(package: &str) -> String {
    let file = if package == "shared" {
        "lib"
    } else {
        "version"
    };
    format!("{package}/src/{file}.rs")
}

fn end(hotruns: &[Hotrun; 3]) {
    for hotrun in hotruns {
        hotrun.interrupt();
    }
    for hotrun in hotruns {
        hotrun.wait_killed_by(Signal::SIGINT);
    }
    for hotrun in hotruns {
        hotrun.assert_nothing_left();
    }
}

#[test]
fn each_has_its_own_program_and_its_own_changes() {
    let mut workspace = Workspace::new();
    let project = workspace.project.clone();
    // Another cargo holds the lock for as long as the test wants.
    project.add("target/debug/.cargo-lock", "");
    let other = File::open(project.path("target/debug/.cargo-lock")).unwrap();
    other.lock().unwrap();
    let hotruns = workspace.start();
    for hotrun in &hotruns {
        let on = "directory";
        hotrun.wait_for("blocked", |event| {
            event["on"].as_str().is_some_and(|what| what.contains(on))
        });
    }
    drop(other);
    workspace.served(&hotruns);

    let [front, back, auth] = &hotruns;
    let again = Hotrun::start(&project, &["--package", "front"]);
    again.wait_code(3);
    let refusal = again.stderr();
    assert!(
        refusal.contains(&format!("(pid {})", front.pid())),
        "{refusal}"
    );

    let state = State {
        number: 1,
        ..State::default()
    };
    workspace.save(0, state);
    workspace.served(&hotruns);
    workspace.save(3, state);
    workspace.served(&hotruns);
    // The first build, the library's build, and nothing in between.
    for (hotrun, builds) in [(front, 3), (back, 2), (auth, 2)] {
        assert_eq!(hotrun.all("building").len(), builds);
        assert_eq!(hotrun.all("live").len(), builds);
    }
    end(&hotruns);
}

#[test]
fn each_serves_what_was_saved_last() {
    let mut workspace = Workspace::new();
    let hotruns = workspace.start();
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    for number in 1..=EDITS {
        workspace.edit(&mut numbers, number);
        thread::sleep(Duration::from_millis(numbers.below(PAUSE)));
    }
    workspace.mend();
    workspace.served(&hotruns);
    for (service, hotrun) in SERVICES.into_iter().zip(&hotruns) {
        let counts = [
            "building",
            "cancelled",
            "build-failed",
            "unchanged",
            "live",
            "ended",
            "blocked",
        ];
        let counts = counts.map(|name| format!("{} {name}", hotrun.all(name).len()));
        say(&format!("{service}: {EDITS} edits: {}", counts.join(", ")));
    }
    end(&hotruns);
}
