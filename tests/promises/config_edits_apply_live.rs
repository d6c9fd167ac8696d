//! The configuration is edited like the code: an edit takes effect at once, with no more disturbance
//! than it calls for, and an invalid one changes nothing.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::thread;
use std::time::Duration;

use crate::common::hotrun::Place;
use crate::common::load::Kind;
use crate::common::{ANY, Hotrun, Load, Outcome, Project, get, wait_until};

/// What the `surroundings` fixture has printed in this generation.
fn started_with(hotrun: &Hotrun, generation: u64) -> Vec<String> {
    let own = format!("env HOTRUN_GENERATION={generation}\n");
    wait_until("what the app was started with", || {
        let text = hotrun.stdout();
        let mut blocks = text.split("begin surroundings\n").skip(1);
        let block = blocks.find_map(|block| {
            let (block, _) = block.split_once("end surroundings\n")?;
            block.contains(&own).then_some(block)
        });
        block.map(|block| block.lines().map(str::to_owned).collect())
    })
}

#[track_caller]
fn assert_has(hotrun: &Hotrun, generation: u64, lines: &[&str]) {
    let all = started_with(hotrun, generation);
    for line in lines {
        assert!(all.iter().any(|own| own == line), "no `{line}` in {all:#?}");
    }
}

/// Saves the configuration and waits until it applies; `changed`: the settings that the one line about
/// it names.
#[track_caller]
fn save(hotrun: &Hotrun, project: &Project, text: &str, changed: &[&str]) -> Place {
    let here = hotrun.here();
    project.save(".reload.toml", text);
    let configured = hotrun.wait_after(here, "configured", |_| true);
    assert_eq!(configured["changed"], serde_json::json!(changed));
    here
}

/// A project with this configuration, and its hotrun, which serves.
fn start(fixture: &str, text: &str, args: &[&str]) -> (Project, Hotrun) {
    let project = Project::new(fixture);
    project.configure(text);
    let hotrun = Hotrun::start(&project, args);
    hotrun.wait_live(1);
    (project, hotrun)
}

#[test]
fn what_the_app_is_started_with_restarts_it() {
    let (project, hotrun) = start("surroundings", "[app]\nargs = [\"one\"]\n", &ANY);
    assert_has(&hotrun, 1, &["arg 1 one"]);
    fs::create_dir(project.path("data")).unwrap();
    let dir = format!("dir {}", project.path("data").display());
    let args = "[app]\nargs = [\"two\"]\n".to_owned();
    let env = args.clone() + "env = { COLOR = \"red\" }\n";
    let all = env.replace("env", "dir = \"data\"\nenv");
    for (generation, text, changed, line) in [
        (2, &args, "app.args", "arg 1 two"),
        (3, &env, "app.env", "env COLOR=red"),
        (4, &all, "app.dir", &*dir),
    ] {
        save(&hotrun, &project, text, &[changed]);
        let live = hotrun.wait_live(generation);
        assert_eq!(live["cause"], "configuration");
        assert_has(&hotrun, generation, &["arg 1 two", line]);
    }
    // Nothing was built.
    assert_eq!(hotrun.all("building").len(), 1);
}

#[test]
fn what_is_built_is_built_again() {
    let project = Project::new("surroundings");
    let manifest = fs::read_to_string(project.path("Cargo.toml")).unwrap();
    project.save_in_place(
        "Cargo.toml",
        &format!("{manifest}\n[features]\nshiny = []\n"),
    );
    let version =
        "pub const VERSION: &str = if cfg!(feature = \"shiny\") { \"shiny\" } else { \"dull\" };";
    project.save_in_place("src/version.rs", version);
    fs::create_dir(project.path("src/bin")).unwrap();
    let other = "#[path = \"../http.rs\"] mod http; #[path = \"../listen.rs\"] mod listen;\n\
                 mod version { pub const VERSION: &str = \"other\"; }\n\
                 fn main() { for s in listen::listen().unwrap().incoming() { http::serve(s.unwrap()) } }";
    project.save_in_place("src/bin/other.rs", other);
    project.configure("[build]\nbin = \"surroundings\"\n");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_version("dull");
    let shiny = "[build]\nbin = \"surroundings\"\nfeatures = [\"shiny\"]\n";
    save(&hotrun, &project, shiny, &["build.features"]);
    hotrun.wait_version("shiny");
    let other = "[build]\nbin = \"other\"\nfeatures = [\"shiny\"]\n";
    save(&hotrun, &project, other, &["build.bin"]);
    hotrun.wait_version("other");
    let causes = ["first start", "configuration", "configuration"];
    assert_eq!(hotrun.values("building", "cause"), causes);
    // A missing directory leaves live running.
    let here = save(
        &hotrun,
        &project,
        "[build]\nbin = \"nowhere\"\n",
        &["build.bin", "build.features"],
    );
    let failed = hotrun.wait_after(here, "build-failed", |_| true);
    assert!(
        failed["reason"].as_str().unwrap().contains("nowhere"),
        "{failed}"
    );
    let here = save(&hotrun, &project, shiny, &["build.bin", "build.features"]);
    hotrun.wait_next_live(here);
    hotrun.wait_version("shiny");
}

#[test]
fn the_rest_holds_from_then_on() {
    let (project, hotrun) = start("slow-drain", "", &ANY);
    let text = "[watch]\ndebounce = \"5ms\"\nignore = [\"*.md\"]\n[app]\nstop_timeout = \"2s\"\n\
                [hooks]\nafter_live = \"true\"\n";
    let changed = [
        "app.stop_timeout",
        "watch.debounce",
        "watch.ignore",
        "hooks.after_live",
    ];
    save(&hotrun, &project, text, &changed);
    // A comment changes nothing and is not worth a line.
    let here = hotrun.here();
    project.save(".reload.toml", &format!("# mine\n{text}"));
    project.set_version("2");
    assert_eq!(hotrun.wait_next_live(here)["generation"], 2);
    assert_eq!(hotrun.all("starting").len(), 2);
    assert_eq!(hotrun.all("configured").len(), 1);
    let said = hotrun.stderr();
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("config"))
        .collect();
    let line = format!("hotrun: configuration: {} changed", changed.join(", "));
    assert_eq!(lines, [line]);
    hotrun.wait_for("job", |job| {
        job["occasion"] == "after_live" && job["generation"] == 2
    });
}

fn listen(entries: &[(&str, &str)]) -> String {
    let entry = |(name, address): &(&str, &str)| {
        format!("[[listen]]\nname = \"{name}\"\naddress = \"{address}\"\n")
    };
    entries.iter().map(entry).collect()
}

/// The names and addresses of the last `held` event after this place.
#[track_caller]
fn held_after(hotrun: &Hotrun, here: Place) -> Vec<(String, String)> {
    let held = hotrun.wait_after(here, "held", |_| true);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let sockets = held["sockets"].as_array().unwrap().iter();
    sockets
        .map(|socket| (text(&socket["name"]), text(&socket["address"])))
        .collect()
}

#[test]
fn addresses_come_and_go_while_others_serve() {
    let any = "127.0.0.1:0";
    let (project, hotrun) = start("sockets", &listen(&[("web", any)]), &[]);
    let web = hotrun.address();
    let load = Load::start(web, 100, Kind::Get);

    let here = save(
        &hotrun,
        &project,
        &listen(&[("admin", any), ("web", any)]),
        &["listen"],
    );
    let both = held_after(&hotrun, here);
    assert_eq!(both[1], ("web".to_owned(), web.to_string()));
    let admin: SocketAddr = both[0].1.parse().unwrap();
    hotrun.wait_live(2);
    hotrun.wait_for("gone", |event| event["generation"] == 1);
    assert_eq!(get(admin).answer().generation, 2);

    let here = save(
        &hotrun,
        &project,
        &listen(&[("ops", any), ("web", any)]),
        &["listen"],
    );
    let renamed = held_after(&hotrun, here);
    assert_eq!(renamed[0], ("ops".to_owned(), admin.to_string()));
    hotrun.wait_live(3);
    hotrun.wait_line(|line| line == "socket 0 name=ops kind=Tcp");

    let here = save(&hotrun, &project, &listen(&[("web", any)]), &["listen"]);
    assert_eq!(held_after(&hotrun, here).len(), 1);
    hotrun.wait_live(4);
    hotrun.wait_for("gone", |event| event["generation"] == 3);
    assert_eq!(get(admin), Outcome::Refused);

    load.wait_more(10);
    load.stop().assert_none_refused();
    assert_eq!(hotrun.all("building").len(), 1);
}

#[test]
fn an_address_that_cannot_be_held_changes_nothing() {
    let any = ("web", "127.0.0.1:0");
    let (project, hotrun) = start("sockets", &listen(&[any]), &[]);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let here = hotrun.here();
    project.save(".reload.toml", &listen(&[any, ("more", &taken)]));
    let wrong = hotrun.wait_after(here, "misconfigured", |_| true);
    let text = wrong["text"].as_str().unwrap();
    assert!(
        text.contains(&format!("{taken} is in use by pid")),
        "{text}"
    );
    let hint = wrong["hint"].as_str().unwrap();
    assert!(
        hint.starts_with("end that program and rebuild (`r`, "),
        "{hint}"
    );
    assert_eq!(get(hotrun.address()).answer().generation, 1);
    // As the hint says: no file tells that the address is free.
    drop(other);
    let here = hotrun.here();
    hotrun.hangup();
    let configured = hotrun.wait_after(here, "configured", |_| true);
    assert_eq!(configured["changed"], serde_json::json!(["listen"]));
    assert!(hotrun.held().contains(&taken));
}

#[test]
fn a_bad_edit_costs_nothing() {
    let good = "[app]\nargs = [\"one\"]\n";
    let (project, hotrun) = start("surroundings", good, &ANY);
    for (text, place) in [
        (
            "[app]\nargs = [\"one\"",
            ".reload.toml:2:14: unclosed array",
        ),
        ("[app]\nargs = [1]\n", ".reload.toml:2:9: `1` is a number"),
        ("[ap]\n", ".reload.toml:1:2: there is no section `ap`"),
        (
            "[app]\ndir = \"nowhere\"\n",
            "app.dir: there is no directory",
        ),
    ] {
        let here = hotrun.here();
        project.save(".reload.toml", text);
        let wrong = hotrun.wait_after(here, "misconfigured", |_| true);
        let said = wrong["text"].as_str().unwrap();
        assert!(said.starts_with(place), "{said}");
        assert!(wrong["hint"].is_string(), "{wrong}");
    }
    let said = hotrun.stderr();
    let line = "hotrun: .reload.toml:1:2: there is no section `ap`; the last good settings stay";
    assert!(said.contains(line), "{said}");
    assert_eq!(get(hotrun.address()).answer().generation, 1);
    // The last valid settings stayed in force: saving them again is no change.
    project.save(".reload.toml", good);
    save(
        &hotrun,
        &project,
        "[app]\nargs = [\"two\"]\n",
        &["app.args"],
    );
    hotrun.wait_live(2);
    assert_has(&hotrun, 2, &["arg 1 two"]);
    // Without the file the defaults apply; then the file is back.
    let here = hotrun.here();
    fs::remove_file(project.path(".reload.toml")).unwrap();
    hotrun.wait_after(here, "configured", |_| true);
    hotrun.wait_live(3);
    assert!(
        !started_with(&hotrun, 3)
            .iter()
            .any(|line| line.starts_with("arg 1"))
    );
    save(&hotrun, &project, good, &["app.args"]);
    hotrun.wait_live(4);
    assert_has(&hotrun, 4, &["arg 1 one"]);
}

/// With `http:` readiness on one shared socket, a candidate can't run beside live; that is also said at
/// the edit.
#[test]
fn another_proof_of_readiness_is_asked_of_the_next() {
    let shared = "[handover]\nsteering = \"none\"\n";
    let (project, hotrun) = start("slow-drain", shared, &ANY);
    let asked = &format!("{shared}[app]\nready = \"http:/\"\n");
    let here = save(&hotrun, &project, asked, &["app.ready"]);
    hotrun.wait_after(here, "warning", |_| true);
    project.set_version("2");
    assert_eq!(hotrun.wait_live(2)["proof"], "answered");
    let candidate = hotrun.wait_for("starting", |event| event["generation"] == 2);
    assert!(candidate["beside"].is_null(), "{candidate}");
    // It is said only once.
    let text = format!("{asked}settle = \"1ms\"\n");
    save(&hotrun, &project, &text, &["app.settle"]);
    assert_eq!(hotrun.all("warning").len(), 1);
    save(&hotrun, &project, shared, &["app.ready", "app.settle"]);
    project.set_version("3");
    assert_eq!(hotrun.wait_live(3)["proof"], "accepting");
}

/// Many editors truncate a file before they write it. The state in between is not applied.
#[test]
fn an_edit_in_two_steps_does_not_flicker() {
    // A long pause for a program; the quiet period is longer.
    const PAUSE: Duration = Duration::from_millis(10);
    let text = |settle: u32| {
        format!("[watch]\ndebounce = \"400ms\"\n[app]\nargs = [\"one\"]\nsettle = \"{settle}ms\"\n")
    };
    let (project, hotrun) = start("surroundings", &text(1), &ANY);
    for settle in 2..6 {
        let here = hotrun.here();
        project.save_in_place(".reload.toml", "");
        thread::sleep(PAUSE);
        project.save_in_place(".reload.toml", &text(settle));
        let configured = hotrun.wait_after(here, "configured", |_| true);
        assert_eq!(configured["changed"], serde_json::json!(["app.settle"]));
    }
    assert_eq!(hotrun.all("starting").len(), 1);
}

#[test]
fn the_file_that_was_named_is_the_one_that_counts() {
    let project = Project::new("surroundings");
    fs::create_dir(project.path("etc")).unwrap();
    project.save("etc/dev.toml", "[app]\nargs = [\"one\"]\ndir = \".\"\n");
    project.configure("[app]\nargs = [\"not this\"]\n");
    let hotrun = Hotrun::start(
        &project,
        &[&ANY[..], &["--config", "etc/dev.toml"]].concat(),
    );
    hotrun.wait_live(1);
    let dir = format!("dir {}", project.path("etc").display());
    assert_has(&hotrun, 1, &["arg 1 one", &dir]);
    project.save(".reload.toml", "[app]\nargs = [\"nor this\"]\n");
    project.save("etc/dev.toml", "[app]\nargs = [\"two\"]\ndir = \".\"\n");
    hotrun.wait_live(2);
    assert_has(&hotrun, 2, &["arg 1 two", &dir]);
    assert_eq!(hotrun.all("configured").len(), 1);
}

#[test]
fn a_linked_file_is_edited_where_it_is() {
    let project = Project::new("surroundings");
    let shared = project.root().join("shared.toml");
    fs::write(&shared, "[app]\nargs = [\"one\"]\n").unwrap();
    symlink(&shared, project.path(".reload.toml")).unwrap();
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    project.save("../shared.toml", "[app]\nargs = [\"two\"]\n");
    hotrun.wait_live(2);
    assert_has(&hotrun, 2, &["arg 1 two"]);
    assert_eq!(hotrun.all("building").len(), 1);
}

#[test]
fn the_overlay_that_was_chosen_counts() {
    let text = |ci: &str, other: &str| {
        format!(
            "[app]\nargs = [\"base\"]\n[env.ci.app]\nargs = [\"{ci}\"]\n[env.other.app]\nargs = [\"{other}\"]\n"
        )
    };
    let args = [&ANY[..], &["--env", "ci"]].concat();
    let (project, hotrun) = start("surroundings", &text("one", "x"), &args);
    assert_has(&hotrun, 1, &["arg 1 one"]);
    project.save(".reload.toml", &text("one", "y"));
    save(&hotrun, &project, &text("two", "y"), &["app.args"]);
    hotrun.wait_live(2);
    assert_has(&hotrun, 2, &["arg 1 two"]);
    let here = hotrun.here();
    project.save(".reload.toml", "[app]\nargs = [\"base\"]\n");
    let wrong = hotrun.wait_after(here, "misconfigured", |_| true);
    let text = wrong["text"].as_str().unwrap();
    assert!(text.starts_with("--env: there is no `[env.ci]`"), "{text}");
}

#[test]
fn environment_files_reach_app_and_hooks() {
    let project = Project::new("surroundings");
    project.save("a.env", "COLOR=red\nTASTE='sweet and $OUR'\n");
    project.save("b.env", "COLOR=blue\n");
    project.save(".env", "FROM_DOT_ENV=1\n");
    project
        .configure("[hooks]\nafter_live = \"echo hook $COLOR\"\n[app]\nenv_files = [\"b.env\"]\n");
    let hotrun = Hotrun::start(&project, &[&ANY[..], &["--env-file", "a.env"]].concat());
    hotrun.wait_live(1);
    // A flag replaces the list of the file.
    assert_has(&hotrun, 1, &["env COLOR=red", "env TASTE=sweet and $OUR"]);
    let own = started_with(&hotrun, 1);
    assert!(
        !own.iter().any(|line| line.contains("FROM_DOT_ENV")),
        "hotrun read .env"
    );
    hotrun.wait_for("job-output", |output| output["line"] == "hook red");

    project.save("a.env", "COLOR=green\n");
    hotrun.wait_live(2);
    assert_has(&hotrun, 2, &["env COLOR=green"]);
    hotrun.wait_for("job-output", |output| output["line"] == "hook green");
    assert_eq!(
        hotrun.values("configured", "changed"),
        ["[\"the environment files\"]"]
    );

    let here = hotrun.here();
    project.save("a.env", "nonsense\n");
    let wrong = hotrun.wait_after(here, "misconfigured", |_| true);
    let text = wrong["text"].as_str().unwrap();
    assert!(
        text.contains("a.env:1: this is no `KEY=value` line"),
        "{text}"
    );

    let here = hotrun.here();
    project.save(".env", "FROM_DOT_ENV=2\n");
    let live = hotrun.wait_next_live(here);
    assert_eq!(
        (&live["generation"], &live["cause"]),
        (&3.into(), &".env".into())
    );
    assert_eq!(hotrun.all("building").len(), 1);
}

#[test]
fn the_root_of_a_workspace_speaks_for_its_members() {
    let project = Project::empty();
    project.save(
        "Cargo.toml",
        "[workspace]\nmembers = [\"member\"]\nresolver = \"3\"\n",
    );
    fs::create_dir_all(project.path("member/src")).unwrap();
    let manifest = "[package]\nname = \"member\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    project.save("member/Cargo.toml", manifest);
    let main = "fn main() {\n    println!(\"{:?}\", std::env::args().nth(1));\n    \
                loop { std::thread::park(); }\n}\n";
    project.save("member/src/main.rs", main);
    project.configure("[app]\nargs = [\"root\"]\nsettle = \"1ms\"\n");
    let hotrun = Hotrun::start(&project, &["--manifest-path", "member/Cargo.toml"]);
    hotrun.wait_line(|line| line == "Some(\"root\")");
    hotrun.wait_live(1);
    // Only the nearest configuration file is read.
    project.save("member/.reload.toml", "[app]\nargs = [\"member\"]\n");
    hotrun.wait_line(|line| line == "Some(\"member\")");
    hotrun.wait_live(2);
    fs::remove_file(project.path("member/.reload.toml")).unwrap();
    wait_until("the root's again", || {
        let said = hotrun.stdout();
        (said.matches("Some(\"root\")").count() == 2).then_some(())
    });
    assert_eq!(hotrun.all("building").len(), 1);
}
