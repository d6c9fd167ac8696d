//! `[[on]]` maps paths to the cheapest reaction that is enough, and no reaction triggers itself for
//! ever.

use std::fs;

use serde_json::Value;

use crate::common::load::Kind;
use crate::common::{ANY, Hotrun, Load, Project, wait_until};

/// A server with these rules, live.
fn live_with(rules: &str, dirs: &[&str]) -> (Project, Hotrun) {
    let project = Project::new("slow-drain");
    for dir in dirs {
        fs::create_dir_all(project.path(dir)).unwrap();
    }
    project.configure(rules);
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    (project, hotrun)
}

/// Saves a source and waits until it is served: earlier reactions are over by then, and hotrun still
/// watches.
fn fence(project: &Project, hotrun: &Hotrun, version: &str) {
    project.set_version(version);
    hotrun.wait_version(version);
}

#[test]
fn a_restart_needs_no_build() {
    let rules = "[[on]]\npaths = [\"config/*.toml\"]\ndo = \"restart\"\n";
    let (project, hotrun) = live_with(rules, &["config"]);
    let load = Load::start(hotrun.address(), 100, Kind::Get);
    for number in 2..7 {
        let place = hotrun.here();
        project.save("config/app.toml", &format!("number = {number}"));
        let live = hotrun.wait_next_live(place);
        assert_eq!(live["cause"], "config/app.toml");
        assert_eq!(live["phases"]["build_ms"], Value::Null);
    }
    load.stop().assert_none_refused();
    assert_eq!(hotrun.all("building").len(), 1);
    // The rule is for files in the directory, not in directories below it.
    fs::create_dir(project.path("config/old")).unwrap();
    project.save("config/old/app.toml", "");
    fence(&project, &hotrun, "2");
    assert_eq!(hotrun.all("live").len(), 7);
}

/// The first match decides, even for paths that git ignores.
#[test]
fn the_first_rule_that_matches_decides() {
    let rules = "\
        [[on]]\npaths = [\"assets/raw/**\", \"*.md\"]\ndo = \"ignore\"\n\
        [[on]]\npaths = [\"assets/**\"]\ndo = [\"run:cp assets/in.css served.txt\", \"restart\"]\n\
        [[on]]\npaths = [\"served.txt\"]\ndo = \"ignore\"\n";
    let (project, hotrun) = live_with(rules, &["assets/raw"]);
    fs::write(project.path(".gitignore"), "/target\nassets/\n").unwrap();
    fence(&project, &hotrun, "2");
    let builds = hotrun.all("building").len();
    project.save("assets/raw/a.css", "raw");
    project.save("README.md", "read me");
    let place = hotrun.here();
    project.save("assets/in.css", "made");
    let live = hotrun.wait_next_live(place);
    assert_eq!(live["cause"], "assets/in.css");
    assert_eq!(
        fs::read_to_string(project.path("served.txt")).unwrap(),
        "made"
    );
    assert_eq!(hotrun.all("building").len(), builds);
    assert_eq!(hotrun.all("job").len(), 1);
}

/// The directory of a rule may be created later, at a place where nothing else is watched.
#[test]
fn what_a_rule_is_about_may_come_later() {
    let rules = "[[on]]\npaths = [\"dist/**/*.js\"]\ndo = \"restart\"\n";
    let (project, hotrun) = live_with(rules, &[]);
    fs::write(project.path(".gitignore"), "/target\n/dist\n").unwrap();
    fence(&project, &hotrun, "2");
    let place = hotrun.here();
    fs::create_dir_all(project.path("dist/deep")).unwrap();
    fs::write(project.path("dist/deep/app.js"), "1").unwrap();
    let live = hotrun.wait_next_live(place);
    assert_eq!(live["cause"], "dist/deep/app.js");
    let place = hotrun.here();
    project.save("dist/deep/app.js", "2");
    hotrun.wait_next_live(place);
}

/// A bundler removes its output before it writes it anew. The output may be outside of the project, in a
/// directory that git ignores, or below the target directory, and may not exist yet.
#[test]
fn what_a_rule_is_about_may_be_made_anew() {
    let rules = "[[on]]\npaths = [\"../frontend/dist/**\", \"web/dist/**\", \"target/site/**\"]\n\
                 do = \"restart\"\n";
    let (project, hotrun) = live_with(rules, &[]);
    fs::write(project.path(".gitignore"), "/target\n/web\n").unwrap();
    fence(&project, &hotrun, "2");
    for dir in ["../frontend/dist", "web/dist", "target/site"] {
        let file = format!("{dir}/deep/app.js");
        let restarts = |change: &dyn Fn()| {
            let place = hotrun.here();
            change();
            let cause = hotrun.wait_next_live(place)["cause"].to_string();
            assert!(cause.contains(file.trim_start_matches("../")), "{cause}");
        };
        for _ in 0..2 {
            restarts(&|| project.add(&file, "1"));
            restarts(&|| project.save(&file, "2"));
            restarts(&|| fs::remove_dir_all(project.path(dir)).unwrap());
        }
    }
}

#[test]
fn a_signal_reaches_the_app() {
    let rules = "[[on]]\npaths = [\"certificates/**\"]\ndo = \"signal:USR1\"\n";
    let (project, hotrun) = live_with(rules, &["certificates"]);
    project.save("certificates/a.pem", "a");
    let signalled = hotrun.wait_for("signalled", |_| true);
    assert_eq!(
        (&signalled["generation"], &signalled["signal"]),
        (&1.into(), &10.into())
    );
    assert_eq!(signalled["cause"], "certificates/a.pem");
    // This app does not handle the signal, so its end shows that it was sent.
    let ended = hotrun.wait_for("ended", |_| true);
    assert_eq!(ended["exit"]["signal"], 10);
}

/// A restart with stale styles would look as if the command had worked.
#[test]
fn what_follows_a_command_that_fails_is_left_out() {
    let rules = "[[on]]\npaths = [\"styles/**\"]\n\
                 do = [\"run:grep -q good styles/a.sass || { echo no style >&2; exit 3; }\", \
                 \"restart\"]\n";
    let (project, hotrun) = live_with(rules, &["styles"]);
    project.save("styles/a.sass", "bad");
    let failed = hotrun.wait_for("job-failed", |_| true);
    assert_eq!(failed["reason"], "exit status 3");
    assert_eq!(failed["next"]["keeps"], 1);
    assert!(
        hotrun
            .values("job-output", "line")
            .contains(&"no style".to_owned())
    );
    fence(&project, &hotrun, "2");
    assert_eq!(hotrun.all("live").len(), 2);
    let place = hotrun.here();
    project.save("styles/a.sass", "good");
    let live = hotrun.wait_next_live(place);
    assert_eq!(live["cause"], "styles/a.sass");
}

/// A formatter that stamps its output: it must not keep the machine busy, and a line names the file.
#[test]
fn a_command_that_changes_what_it_is_run_for_slows_down() {
    let rules = "[[on]]\npaths = [\"notes/**\"]\ndo = \"run:echo more >> notes/a\"\n";
    let (project, hotrun) = live_with(rules, &["notes"]);
    project.save("notes/a", "");
    let found = hotrun.wait_for("loop", |_| true);
    assert_eq!(found["path"], "notes/a");
    fence(&project, &hotrun, "2");
}

/// A build script that does the same: the build gets live, a line names the file, and from then on a
/// save is one build.
#[test]
fn what_a_build_writes_to_its_own_sources_is_told() {
    let project = Project::new("slow-drain");
    // Other content each time, like a time stamp; the missing file of `rerun-if-changed` has the script
    // run in every build.
    project.save(
        "build.rs",
        "fn main() {\n    let path = \"src/stamp.rs\";\n    \
         let old = std::fs::read_to_string(path).unwrap_or_default();\n    \
         std::fs::write(path, format!(\"{old}// again\\n\")).unwrap();\n    \
         println!(\"cargo::rerun-if-changed=nowhere\");\n}\n",
    );
    project.edit("src/main.rs", "mod http;", "mod http;\nmod stamp;");
    let hotrun = Hotrun::start(&project, &ANY);
    let found = hotrun.wait_for("own-writing", |_| true);
    assert_eq!(found["path"], "src/stamp.rs");
    assert_eq!(found["writer"], "build");
    hotrun.wait_for("live", |_| true);
    let builds = hotrun.all("building").len();
    fence(&project, &hotrun, "2");
    assert_eq!(hotrun.all("building").len(), builds + 1);
}

/// It can't be seen whether the program reads a file, but it is known that no build does.
#[test]
fn a_file_no_dependents_on_gets_one_hint() {
    let (project, hotrun) = live_with("", &["templates"]);
    for content in ["a", "b"] {
        project.save("templates/page.html", content);
        hotrun.wait_for("no-dependents", |_| true);
    }
    fence(&project, &hotrun, "2");
    assert_eq!(hotrun.all("building").len(), 2);
    assert_eq!(
        hotrun.values("no-dependents", "path"),
        ["templates/page.html"]
    );
    assert!(hotrun.stderr().contains("[[on]]"), "{}", hotrun.stderr());
}

/// A pattern starts from the directory of the configuration file, which may not be the workspace: once,
/// the advised pattern matched nothing there.
#[test]
fn what_is_advised_for_a_file_works() {
    let project = Project::new("slow-drain");
    for dir in ["templates", "settings"] {
        fs::create_dir_all(project.path(dir)).unwrap();
    }
    fs::write(project.path("settings/hotrun.toml"), "").unwrap();
    let config = ["--config", "settings/hotrun.toml"];
    let hotrun = Hotrun::start(&project, &[&ANY[..], &config].concat());
    hotrun.wait_live(1);
    project.save("templates/page.html", "a");
    let advice = "`paths = [\"../templates/**/*.html\"]`";
    wait_until(advice, || hotrun.stderr().contains(advice).then_some(()));
    let rule = format!("[[on]]\n{}\ndo = \"restart\"\n", advice.trim_matches('`'));
    project.save("settings/hotrun.toml", &rule);
    hotrun.wait_for("configured", |_| true);
    project.save("templates/page.html", "b");
    hotrun.wait_for("live", |live| live["cause"] == "templates/page.html");
}
