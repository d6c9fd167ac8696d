//! The manual page and the completions of every shell are made from the command line itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use regex::Regex;

use crate::common::Project;

/// What hotrun prints, with the code that it must end with.
#[track_caller]
fn printed(args: &[&str], code: i32) -> (String, String) {
    let project = Project::empty();
    let output = project
        .command(env!("CARGO_BIN_EXE_hotrun"))
        .args(args)
        .output()
        .unwrap();
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap());
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    (stdout, stderr)
}

/// The long flags that the help names.
fn flags(help: &str) -> BTreeSet<String> {
    let flag = Regex::new(r"(?m)^ +(?:-\w, )?(--[a-z][a-z-]+)").unwrap();
    flag.captures_iter(help)
        .map(|found| found[1].to_owned())
        .collect()
}

#[test]
fn each_flag_has_its_place() {
    for (command, least) in [
        (None, 20),
        (Some("verify"), 20),
        (Some("doctor"), 20),
        (Some("init"), 10),
    ] {
        let words: Vec<&str> = command.into_iter().collect();
        let (help, _) = printed(&[&words[..], &["--help"]].concat(), 0);
        let flags = flags(&help);
        assert!(flags.len() > least, "{flags:?}");
        let (page, said) = printed(&[&["man"], &words[..]].concat(), 0);
        assert_eq!(said, "");
        let page = page.replace("\\-", "-");
        for flag in &flags {
            assert!(page.contains(flag), "no {flag} in the page of {command:?}");
        }
        for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
            let (script, said) = printed(&["completions", shell], 0);
            assert_eq!(said, "");
            for flag in &flags {
                // fish names a flag without its hyphens.
                let found = script.contains(flag) || script.contains(&format!("-l {}", &flag[2..]));
                assert!(found, "no {flag} for {shell}");
            }
        }
    }
}

/// The schema that is in the repository, for which there is a unit test.
#[test]
fn the_schema_is_printed() {
    let (schema, said) = printed(&["schema"], 0);
    assert_eq!(said, "");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reload.schema.json");
    assert!(fs::read_to_string(path).unwrap() == schema);
}

#[test]
fn what_there_is_not_is_said() {
    let (_, said) = printed(&["man", "nothing"], 2);
    assert_eq!(
        said,
        "error: there is no such command\nhint: `hotrun -h` names all\n"
    );
    let (_, said) = printed(&["completions", "nosh"], 2);
    assert!(
        said.contains("[possible values: bash, elvish, fish, powershell, zsh]"),
        "{said}"
    );
}
