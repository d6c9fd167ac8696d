//! Programs are linked by the fastest linker that is installed, and by whoever was chosen otherwise.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::common::{ANY, Hotrun, Project, Run};

use super::project_of;
use super::tree::Tree;

/// A project whose search path has a slow C compiler, linkers that fail, and one that is fast.
struct Installed {
    project: Project,
    path: String,
    tree: Tree,
}

impl Installed {
    fn new() -> Self {
        let tree = Tree {
            bare: true,
            ..Tree::default()
        };
        let project = project_of(&tree);
        let path = std::env::var("PATH").unwrap();
        let bin = project.root().join("bin");
        fs::create_dir(&bin).unwrap();
        let real = |name| {
            let mut found = std::env::split_paths(&path).map(|dir| dir.join(name));
            found.find(|file| file.is_file()).unwrap()
        };
        let (cc, ld) = (real("cc"), real("ld"));
        let log = bin.join("log");
        let (cc, ld, log) = (cc.display(), ld.display(), log.display());
        // What is slow is everything but what links with the linker of hotrun's choice.
        let slow = format!(
            "case \"$*\" in *-B*hotrun*) ;; *) sleep 1; echo slow >> {log};; esac\nexec {cc} \"$@\""
        );
        let fast = format!("echo fast >> {log}\nexec {ld} \"$@\"");
        for (name, text) in [
            ("cc", &*slow),
            ("wild", "exit 1"),
            ("ld.lld", "exit 1"),
            ("mold", &fast),
        ] {
            let file = bin.join(name);
            fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
        }
        Self {
            path: format!("{}:{path}", bin.display()),
            project,
            tree,
        }
    }

    fn start(&self, variables: &[(&str, &str)]) -> Hotrun {
        let args = [&["--fast"], &ANY[..]].concat();
        let run = Run::new(&self.project, &args).env("PATH", &self.path);
        let run = variables
            .iter()
            .fold(run, |run, (key, value)| run.env(key, value));
        run.start()
    }

    fn bump(&mut self) {
        self.tree.main += 1;
        self.project
            .save("src/main.rs", &self.tree.files()["src/main.rs"]);
    }

    /// Saves something new; returns how it was compiled.
    fn save(&mut self, hotrun: &Hotrun) -> String {
        let start = hotrun.here();
        self.bump();
        hotrun.wait_next_live(start);
        let commands = hotrun.events_after(start);
        let command = commands.iter().find(|event| event["event"] == "command");
        command.unwrap()["command"].as_str().unwrap().to_owned()
    }

    /// Who has linked since this was asked last.
    fn linked(&self) -> Vec<String> {
        let log = self.project.root().join("bin/log");
        let text = fs::read_to_string(&log).unwrap_or_default();
        fs::remove_file(log).ok();
        text.lines().map(str::to_owned).collect()
    }
}

fn end(hotrun: &Hotrun) {
    hotrun.interrupt();
    hotrun.wait_exit();
    hotrun.assert_nothing_left();
}

#[test]
fn the_fastest_one_is_chosen_once() {
    let mut installed = Installed::new();
    let hotrun = installed.start(&[]);
    hotrun.wait_live(1);
    let tried = installed.linked();
    assert!(tried.contains(&"slow".into()) && tried.contains(&"fast".into()));
    let how = installed.save(&hotrun);
    assert!(how.ends_with(", and linked by mold)"), "{how}");
    assert_eq!(installed.linked(), ["fast"]);
    end(&hotrun);

    // It is remembered, and cargo's builds are linked by it too.
    installed.bump();
    let hotrun = installed.start(&[]);
    hotrun.wait_live(1);
    assert_eq!(installed.linked(), ["fast"]);

    // What was chosen is gone: the next build is cargo's, which is linked as it would be without hotrun.
    for name in ["mold", "wild"] {
        fs::remove_file(installed.project.root().join("bin").join(name)).unwrap();
    }
    let how = installed.save(&hotrun);
    assert!(how.starts_with("cargo "), "{how}");
    end(&hotrun);
}

#[test]
fn a_linker_that_was_chosen_is_kept() {
    let mut installed = Installed::new();
    let hotrun = installed.start(&[("RUSTFLAGS", "-Clink-arg=-Wl,--as-needed")]);
    hotrun.wait_live(1);
    let how = installed.save(&hotrun);
    assert!(how.ends_with("as cargo called it)"), "{how}");
    assert!(!installed.linked().contains(&"fast".into()));
    end(&hotrun);
}
