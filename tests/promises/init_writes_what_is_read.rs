//! `hotrun init` writes a configuration file with what is found in the project, where hotrun reads it,
//! and never writes over one.

use std::fs;

use crate::common::{Hotrun, Project, own_address};

/// What `hotrun init` says in a directory of the project, with the code that it must end with.
#[track_caller]
fn init(project: &Project, dir: &str, args: &[&str], code: i32) -> (String, String) {
    let output = project
        .command(env!("CARGO_BIN_EXE_hotrun"))
        .current_dir(project.path(dir))
        .arg("init")
        .args(args)
        .output()
        .unwrap();
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap());
    assert_eq!(output.status.code(), Some(code), "{stdout}{stderr}");
    (stdout, stderr)
}

#[track_caller]
fn read(project: &Project, path: &str) -> String {
    fs::read_to_string(project.path(path)).unwrap()
}

#[test]
fn what_was_found_is_in_the_file() {
    let project = Project::new("listens");
    let address = own_address().to_string();
    let args = ["--", "later", "0", &address];
    let hotrun = Hotrun::start(&project, &args);
    hotrun.wait_live(1);
    hotrun.wait_for("held", |event| event.to_string().contains(&address));
    hotrun.interrupt();
    hotrun.wait_exit();
    project.add("templates/deep/page.html", "");
    project.add("static/README", "");
    project.add(".env", "A=1\n");
    let (said, problems) = init(&project, ".", &["--offline"], 0);
    assert_eq!(problems, "");
    let expected = format!(
        "wrote .reload.toml\n\
         wrote .reload.schema.json\n\
         \x20 {address} was captured in the last run: no line is needed for that\n\
         \x20 `templates` may be read by the app: rules to uncomment are in the file\n\
         \x20 an edit of `.env` restarts the app\n\
         next: hotrun\n"
    );
    assert_eq!(said, expected);
    let text = read(&project, ".reload.toml");
    for line in [
        "#:schema ./.reload.schema.json\n",
        &format!("#address = \"{address}\""),
        "#paths = [\"templates/\"]",
        "#env_files = [\".env\"]",
        "#debounce = \"8ms\"",
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
    // What it points to is there.
    let schema = read(&project, ".reload.schema.json");
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(schema["title"], "hotrun");
    let left = fs::read_dir(project.dir()).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = left.filter(|name| name.starts_with(".hotrun")).collect();
    assert_eq!(left, [""; 0]);
    // It is read, and changes nothing.
    let hotrun = Hotrun::start(&project, &args);
    hotrun.wait_live(1);
    hotrun.interrupt();
    hotrun.wait_exit();
    let (said, problems) = init(&project, ".", &[], 2);
    assert_eq!(said, "");
    assert_eq!(
        problems,
        "error: `.reload.toml` exists, and is read here: nothing was written\n\
         hint: edit it, or move it away to have one written anew\n"
    );
    assert_eq!(read(&project, ".reload.toml"), text);
}

/// A crate of this name compiles a directory in, and cargo is not told of new files there.
#[test]
fn what_is_compiled_in_is_watched() {
    let project = Project::of(&[
        (
            "Cargo.toml",
            "[package]\nname = \"app\"\nversion = \"0.1.0\"\n\
             [dependencies]\nsqlx = { path = \"sqlx\" }\n",
        ),
        ("src/main.rs", "fn main() { loop { std::thread::park(); } }"),
        (
            "sqlx/Cargo.toml",
            "[package]\nname = \"sqlx\"\nversion = \"0.1.0\"\n",
        ),
        ("sqlx/src/lib.rs", ""),
        ("migrations/1_a.sql", ""),
    ]);
    let (said, _) = init(&project, ".", &[], 0);
    let note = "\n  `migrations` is watched, since `sqlx` compiles it in without telling cargo\n";
    assert!(said.contains(note), "{said}");
    let hotrun = Hotrun::start(&project, &[]);
    hotrun.wait_live(1);
    project.save("migrations/2_b.sql", "");
    let building = hotrun.wait_for("building", |event| event["generation"] == 2);
    assert!(
        building["paths"].to_string().contains("migrations/2_b.sql"),
        "{building}"
    );
}

fn workspace() -> Project {
    let package = |name: &str, more: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{more}")
    };
    let main = "fn main() {}";
    Project::of(&[
        (
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"front\", \"back\"]\n",
        ),
        ("front/Cargo.toml", &package("front", "")),
        ("front/src/main.rs", main),
        ("front/src/bin/tool.rs", main),
        ("front/assets/app.css", ""),
        ("back/Cargo.toml", &package("back", "")),
        ("back/src/main.rs", main),
    ])
}

/// With the file of a member alone, and with the one at the root.
#[test]
fn in_a_workspace_the_file_is_where_it_is_read() {
    let project = workspace();
    let (said, _) = init(&project, "back/src", &[], 0);
    let back = project.path("back/.reload.toml");
    assert!(
        said.starts_with(&format!("wrote {}\n", back.display())),
        "{said}"
    );
    assert!(!said.contains("runs "), "{said}");
    // From the root, hotrun does not read the file of a member.
    let (said, _) = init(&project, ".", &["-p", "front"], 0);
    assert!(said.starts_with("wrote .reload.toml\n"), "{said}");
    assert!(
        said.contains("\n  runs `front`; there is also `tool`\n"),
        "{said}"
    );
    assert!(
        said.contains("\n  `front/assets` may be read by the app"),
        "{said}"
    );
    let text = read(&project, ".reload.toml");
    for line in [
        "\npackage = \"front\"\n",
        "\n# One has to be chosen; there is also \"tool\".\nbin = \"front\"\n",
        "\n#paths = [\"front/assets/\"]",
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
    // In a member without a file of its own, that of the root is read.
    let (_, problems) = init(&project, "front", &[], 2);
    let root = project.path(".reload.toml");
    let exists = format!("error: `{}` exists, and is read here", root.display());
    assert!(problems.starts_with(&exists), "{problems}");
    let hotrun = Hotrun::start(&project, &["--once"]);
    hotrun.wait_code(0);
    assert!(
        hotrun.stderr().contains("hotrun: front in "),
        "{}",
        hotrun.stderr()
    );
}

#[test]
fn a_file_of_another_name_is_written_as_well() {
    let project = workspace();
    let args = [
        "--config",
        "ci.toml",
        "--bin",
        "tool",
        "--manifest-path",
        "front/Cargo.toml",
    ];
    let (said, _) = init(&project, ".", &args, 0);
    let next = "\nnext: hotrun --manifest-path front/Cargo.toml --config ci.toml\n";
    assert!(said.ends_with(next), "{said}");
    assert!(read(&project, "ci.toml").contains("\nbin = \"tool\"\n"));
    let (_, problems) = init(&project, ".", &args, 2);
    assert!(
        problems.starts_with("error: `ci.toml` exists"),
        "{problems}"
    );
}

#[test]
fn without_a_project_nothing_is_written() {
    let project = workspace();
    for (args, problem) in [
        (
            &["-p", "frnt"][..],
            "error: --package: this workspace has no package `frnt`\n",
        ),
        (&["--bin", "tol"], "error: --bin: there is no `tol` here\n"),
    ] {
        let (said, problems) = init(&project, ".", args, 2);
        assert_eq!(said, "");
        assert!(problems.starts_with(problem), "{problems}");
    }
    project.save("Cargo.toml", "[workspace\n");
    let (_, problems) = init(&project, ".", &[], 2);
    assert!(
        problems.starts_with("error: cannot read the project: error: "),
        "{problems}"
    );
    assert!(
        problems.ends_with("\nhint: mend what cargo names, and try again\n"),
        "{problems}"
    );
    assert!(!project.path(".reload.toml").exists());
    assert!(!project.path(".reload.schema.json").exists());
}

#[test]
fn no_file_is_written_beside_one_that_exists() {
    let project = workspace();
    for (there, args) in [
        (".vscode/launch.json", &["--vscode"][..]),
        (".zed/tasks.json", &["--zed", "--vscode"]),
        (".reload.schema.json", &[]),
    ] {
        project.add(there, "{}");
        let args = [args, &["-p", "back"]].concat();
        let (said, problems) = init(&project, ".", &args, 2);
        assert_eq!(said, "");
        let expected = format!("error: `{there}` exists: nothing was written\n");
        assert!(problems.starts_with(&expected), "{problems}");
        assert_eq!(read(&project, there), "{}");
        fs::remove_file(project.path(there)).unwrap();
    }
    for path in [
        ".vscode/tasks.json",
        ".vscode/launch.json",
        ".zed/tasks.json",
        ".reload.toml",
    ] {
        assert!(!project.path(path).exists(), "{path}");
    }
}
