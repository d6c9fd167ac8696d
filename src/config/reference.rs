//! Writes `docs/configuration.md` from the definition of the settings. Pure.

use std::fmt::Write as _;

use super::layer::{Effect, SECTIONS, Section};
use super::variables;

const HEAD: &str = "\
# Configuration

Everything hotrun can be told by a file. None is needed; `hotrun init` writes one with what it finds in
the project.

`.reload.toml` is looked for from the directory of the manifest in use up to the root of its
workspace; `--config FILE` names another one. Later ones win: defaults, the file, the overlay that
`--env NAME` chooses (`[env.NAME.SECTION]`), the environment (`HOTRUN_CFG_SECTION_KEY`), the command
line. A list replaces a list; a table adds to a table.

The file is watched. A valid edit applies at once, and one line says what changed; a bad one is
reported with its place, and the last good settings stay. Unknown keys are errors.

Paths are relative to the directory of the file; in a variable or a flag, to the working directory.
Times are texts with a unit (`\"300ms\"`, `\"5s\"`). A pattern without a slash matches names anywhere
(`*.tmp`); one with a slash is a path (`assets/**`), in which `*` stays within a name. A slash at
the end stands for the directory and all in it (`uploads/`).

In a variable a text is written as it is, without quotes; everything else as in the file
(`HOTRUN_CFG_BUILD_FEATURES=\"['a', 'b']\"`), and a list may be its one element
(`HOTRUN_CFG_APP_ARGS=--verbose`).

`hotrun schema` prints the JSON Schema of the file, by which editors complete and check it.
";

/// The whole reference, as Markdown.
pub fn reference() -> String {
    let mut text = String::from(HEAD);
    for section in SECTIONS.0 {
        part(&mut text, section, false);
    }
    for section in SECTIONS.1 {
        part(&mut text, section, true);
    }
    text
}

fn part(text: &mut String, section: &Section, repeated: bool) {
    let name = section.name;
    let title = if repeated {
        format!("[[{name}]]")
    } else {
        format!("[{name}]")
    };
    let about = sentence(section.about);
    // Writing to a `String` can't fail.
    let _ = write!(
        text,
        "\n## `{title}`\n\n{about}\n\n| Key | Value | Default | A change | Meaning |\n\
         |---|---|---|---|---|\n"
    );
    for key in section.keys {
        let default = (key.default)().map_or_else(|| "–".into(), |default| format!("`{default}`"));
        let effect = match key.effect {
            Effect::Next => "holds from then on",
            Effect::Restart => "restarts the app",
            Effect::Rebuild => "rebuilds",
        };
        let key_name = key.name.trim_start_matches("r#");
        let _ = writeln!(
            text,
            "| `{key_name}` | {} | {default} | {effect} | {} |",
            (key.kind)(),
            sentence(key.about)
        );
    }
    if !repeated && let Some(key) = section.keys.first() {
        let _ = writeln!(
            text,
            "\nIn the environment: `{}`, …",
            variables::name(name, key.name)
        );
    }
}

/// The lines of a doc comment as one, escaped for a table.
fn sentence(lines: &[&str]) -> String {
    let trimmed: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    trimmed.join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// With `BLESS=1` in the environment the file is written anew.
    #[test]
    fn the_reference_is_what_the_definition_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        if written != reference() && std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, reference()).unwrap();
        }
        assert_eq!(written, reference(), "run the test once with BLESS=1");
    }
}
