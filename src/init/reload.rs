//! The text of a new configuration file: what was found in the project, and every other setting as a
//! comment with its default or an example, from the definition of the settings. Pure.

use std::fmt::Write as _;

use crate::config::layer::{Key, SECTIONS, Section};
use crate::config::value::Shape;
use crate::session::model::Cure;

/// What was found in a project.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// What follows `#:schema`.
    pub(super) schema: String,
    /// The package to run, if something has to say it.
    pub(super) package: Option<String>,
    /// The binary to run, likewise.
    pub(super) bin: Option<String>,
    /// The example to run, likewise.
    pub(super) example: Option<String>,
    /// What could be run instead.
    pub(super) others: Vec<String>,
    /// Addresses that were captured in the last run.
    pub(super) addresses: Vec<String>,
    /// Directories with files that look like inputs of the program.
    pub(super) inputs: Vec<Input>,
    /// Files that the program may read its environment from.
    pub(super) env_files: Vec<String>,
}

/// A directory with files that look like inputs.
#[derive(Clone, Debug)]
pub(super) struct Input {
    /// From the configuration file.
    pub(super) dir: String,
    /// What makes changes of them count.
    pub(super) cure: Cure,
}

/// How long a line of a comment is at most.
const WIDTH: usize = 100;

const HEAD: &str = "\
# Settings of hotrun for this project, written by `hotrun init`. None is needed: what is commented out
# is as it is without this file.
#
# A `#` with no blank behind it hides a setting, with its default or with an example where it has none.
# Take the `#` away to use it. The file is read again at every save, and a change applies at once.
";

impl Found {
    fn compiled_in(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.inputs.iter().filter_map(|input| match input.cure {
            Cure::CompiledIn(name) => Some((&*input.dir, name)),
            Cure::Restart => None,
        })
    }

    fn read(&self) -> impl Iterator<Item = &str> {
        let read = self.inputs.iter();
        let read = read.filter(|input| input.cure == Cure::Restart);
        read.map(|input| &*input.dir)
    }

    /// A line for each thing that was found.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let chosen = self.bin.as_ref().or(self.example.as_ref());
        if let Some(name) = chosen {
            notes.push(runs(name, &self.others));
        }
        if !self.addresses.is_empty() {
            let addresses = self.addresses.join(", ");
            notes.push(format!(
                "{addresses} was captured in the last run: no line is needed for that"
            ));
        }
        let compiled = self.compiled_in();
        notes.extend(compiled.map(|(dir, name)| {
            format!("`{dir}` is watched, since `{name}` compiles it in without telling cargo")
        }));
        let read: Vec<String> = self.read().map(str::to_owned).collect();
        if !read.is_empty() {
            notes.push(format!(
                "{} may be read by the app: rules to uncomment are in the file",
                list(&read)
            ));
        }
        if !self.env_files.is_empty() {
            let files = list(&self.env_files);
            notes.push(format!("an edit of {files} restarts the app"));
        }
        notes
    }

    /// What takes the place of a key's example: comments, and an active line.
    fn lines(&self, section: &str, key: &str) -> Option<Vec<String>> {
        let chosen = |value: &Option<String>| {
            let value = value.as_ref()?;
            Some(vec![format!("{key} = {}", quoted(value))])
        };
        match (section, key) {
            ("build", "package") => chosen(&self.package),
            ("build", "bin" | "example") => {
                let (own, other) = match key {
                    "bin" => (&self.bin, &self.example),
                    _ => (&self.example, &self.bin),
                };
                // The two exclude each other.
                if other.is_some() {
                    return Some(Vec::new());
                }
                let Some(mut lines) = chosen(own) else {
                    let default = key == "bin" && !self.others.is_empty();
                    let (others, first) = (list(&self.others), self.others.first()?);
                    return default.then(|| {
                        let mut lines = comment(&format!("Instead of `default-run`: {others}."));
                        lines.push(format!("#bin = {}", quoted(first)));
                        lines
                    });
                };
                if !self.others.is_empty() {
                    let others: Vec<String> = self.others.iter().map(|name| quoted(name)).collect();
                    let text =
                        format!("One has to be chosen; there is also {}.", others.join(", "));
                    lines.splice(0..0, comment(&text));
                }
                Some(lines)
            }
            ("app", "env_files") if !self.env_files.is_empty() => {
                let names = list(&self.env_files);
                let mut lines = comment(&format!(
                    "An edit of {names} restarts the app, which reads it by itself. With this, an app \
                     that does not gets it too, and so do hooks:"
                ));
                let files: Vec<String> = self.env_files.iter().map(|file| quoted(file)).collect();
                lines.push(format!("#env_files = [{}]", files.join(", ")));
                Some(lines)
            }
            ("watch", "paths") => {
                let mut lines = Vec::new();
                let mut paths = Vec::new();
                for (dir, name) in self.compiled_in() {
                    paths.push(quoted(dir));
                    lines.extend(comment(&format!(
                        "`{name}` compiles `{dir}` in, without telling cargo of every file there."
                    )));
                }
                lines.push(format!("paths = [{}]", paths.join(", ")));
                (!paths.is_empty()).then_some(lines)
            }
            _ => None,
        }
    }
}

/// The whole file.
pub(super) fn text(found: &Found) -> String {
    let mut text = format!("#:schema {}\n{HEAD}", found.schema);
    let mut add = |lines: &[String]| {
        // Writing to a `String` can't fail.
        let _ = write!(text, "\n{}\n", lines.join("\n"));
    };
    for section in SECTIONS.1 {
        let mut about = first_sentence(section.about);
        about.push('.');
        match section.name {
            "listen" => {
                about.push(' ');
                about += &addresses(&found.addresses);
                let own = found.addresses.iter().take(1);
                let own: Vec<_> = own.map(|address| ("address", quoted(address))).collect();
                add(&hidden(section, &about, &own));
            }
            "on" => {
                let dirs: Vec<&str> = found.read().collect();
                if !dirs.is_empty() {
                    about += " Whether the app reads these when it starts, only you know; then \
                              `restart` is enough. For what it reads for each request, browsers \
                              reload by `reload-browser`. What is compiled in needs no rule.";
                }
                let paths = |dir: &str| format!("[{}]", quoted(&format!("{dir}/")));
                let own = dirs.iter().take(1);
                let own =
                    own.flat_map(|dir| [("paths", paths(dir)), ("r#do", quoted(reaction(dir)))]);
                add(&hidden(section, &about, &own.collect::<Vec<_>>()));
                for dir in dirs.iter().skip(1) {
                    let paths = format!("#paths = {}", paths(dir));
                    let reaction = format!("#do = {}", quoted(reaction(dir)));
                    add(&["#[[on]]".into(), paths, reaction]);
                }
            }
            _ => add(&hidden(section, &about, &[])),
        }
    }
    for section in SECTIONS.0 {
        let mut lines = comment(&format!("{}.", first_sentence(section.about)));
        lines.push(format!("[{}]", section.name));
        for key in section.keys {
            let own = found.lines(section.name, key.name);
            lines.extend(own.unwrap_or_else(|| setting(key, None)));
        }
        add(&lines);
    }
    let overlay = "What `--env NAME` lays over the rest: sections like those above.";
    let mut lines = comment(overlay);
    lines.push("#[env.staging.app]".into());
    let mut sections = SECTIONS.0.iter().filter(|section| section.name == "app");
    let app = sections.next().into_iter().flat_map(|section| section.keys);
    let env = app.filter(|key| key.name == "env");
    lines.extend(env.flat_map(|key| setting(key, None)));
    add(&lines);
    text
}

/// What is said of captured addresses.
fn addresses(captured: &[String]) -> String {
    let by_itself = "What the app listens on by itself is captured, with no line here";
    let declared = "A declared one is held from the first moment, and handed over by \
                    `sd_listen_fds(3)` to an app that takes it.";
    if captured.is_empty() {
        return format!("{by_itself}. {declared}");
    }
    format!(
        "{by_itself}: in the last run {}. {declared}",
        captured.join(", ")
    )
}

/// What an edit below a directory most likely calls for, by its name: browsers load some, and the app reads
/// the others.
fn reaction(dir: &str) -> &'static str {
    const LOADED: [&str; 4] = ["assets", "public", "static", "web"];
    let name = dir.rsplit('/').next().unwrap_or(dir);
    if LOADED.contains(&name) {
        "reload-browser"
    } else {
        "restart"
    }
}

/// An entry of a section that can be repeated, as comments; `own` has the values of some keys.
fn hidden(section: &Section, about: &str, own: &[(&str, String)]) -> Vec<String> {
    let mut lines = comment(about);
    lines.push(format!("#[[{}]]", section.name));
    for key in section.keys {
        let own = own.iter().find(|(name, _)| *name == key.name);
        lines.extend(setting(key, own.map(|(_, value)| &**value)));
    }
    lines
}

/// A setting as a comment, with what it means behind it or, if that is long, above it.
fn setting(key: &Key, value: Option<&str>) -> Vec<String> {
    let name = key.name.trim_start_matches("r#");
    let value = value.map_or_else(|| example(key), str::to_owned);
    let line = format!("#{name} = {value}");
    let about = first_sentence(key.about);
    let whole = format!("{line}  # {about}");
    if whole.chars().count() <= WIDTH {
        return vec![whole];
    }
    let mut lines = comment(&format!("{about}."));
    lines.push(line);
    lines
}

/// The default as it is written in the file, or an example.
fn example(key: &Key) -> String {
    match ((key.default)(), key.shape) {
        (Some(default), Shape::Text) => quoted(&default),
        (Some(default), _) => default,
        (None, _) => key.example.unwrap_or("''").replace('\'', "\""),
    }
}

/// A string of TOML: one of JSON, in which one more character has to be escaped.
fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json.replace('\u{7f}', "\\u007f")
}

/// The first sentence of a doc comment, without its period.
fn first_sentence(lines: &[&str]) -> String {
    let trimmed: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    let text = trimmed.join(" ");
    let first = text.split_once(". ").map_or(&*text, |(first, _)| first);
    first.trim_end_matches('.').to_owned()
}

/// Lines of a comment.
fn comment(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("# {word}")),
        }
    }
    lines
}

/// What is run, and what could be.
pub(super) fn runs(name: &str, others: &[String]) -> String {
    if others.is_empty() {
        return format!("runs `{name}`");
    }
    format!("runs `{name}`; there is also {}", list(others))
}

/// Names in backticks.
fn list(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::file;
    use crate::config::layer::Layer;

    fn read(text: &str) -> Layer {
        file::parse(Path::new(".reload.toml"), text).unwrap_or_else(|error| {
            panic!("{error}\n{text}");
        })
    }

    /// The places of hidden settings: each by itself, and of a section its whole block.
    fn hidden_parts(lines: &[&str]) -> Vec<std::ops::Range<usize>> {
        let is_hidden = |at: usize| {
            let rest = lines[at].strip_prefix('#').unwrap_or(" ");
            !rest.is_empty() && !rest.starts_with([' ', ':'])
        };
        let mut parts = Vec::new();
        let mut at = 0;
        while at < lines.len() {
            if lines[at].starts_with("#[") {
                let block = lines[at..].iter().take_while(|line| !line.is_empty());
                let end = at + block.count();
                parts.push(at..end);
                at = end;
            } else {
                parts.extend(is_hidden(at).then_some(at..at + 1));
                at += 1;
            }
        }
        parts
    }

    /// The text is read, as it is and with each of its settings uncommented.
    fn all_is_read(found: &Found) -> Layer {
        let text = text(found);
        let lines: Vec<&str> = text.lines().collect();
        let parts = hidden_parts(&lines);
        let keys = SECTIONS.0.iter().map(|section| section.keys.len());
        assert!(parts.len() >= keys.sum::<usize>() - 3, "{text}");
        let before = read(&text);
        for part in parts {
            let shown = |(at, line): (usize, &&str)| {
                let setting = line.strip_prefix('#').filter(|rest| !rest.starts_with(' '));
                let shown = setting.filter(|_| part.contains(&at)).unwrap_or(line);
                shown.to_owned()
            };
            let lines: Vec<String> = lines.iter().enumerate().map(shown).collect();
            let changed = read(&lines.join("\n"));
            assert!(lines[part.start].contains(['=', '[']));
            // What was a default is none any more, or an entry was added.
            assert_ne!(changed, before, "{}", lines[part.start]);
        }
        before
    }

    #[test]
    fn nothing_found_is_no_setting() {
        let found = Found::default();
        assert_eq!(all_is_read(&found), Layer::default());
        assert_eq!(found.notes(), [""; 0]);
    }

    #[test]
    fn what_was_found_is_written() {
        let input = |dir: &str, cure| Input {
            dir: dir.into(),
            cure,
        };
        let found = Found {
            schema: "./x.json".into(),
            package: Some("back".into()),
            bin: Some("od\"d".into()),
            example: None,
            others: vec!["worker".into()],
            addresses: vec!["127.0.0.1:4000".into()],
            inputs: vec![
                input("migrations", Cure::CompiledIn("sqlx")),
                input("../static", Cure::Restart),
                input("templates", Cure::Restart),
            ],
            env_files: vec![".env".into()],
        };
        let layer = all_is_read(&found);
        assert_eq!(layer.build.package.as_deref(), Some("back"));
        assert_eq!(layer.build.bin.as_deref(), Some("od\"d"));
        assert_eq!(layer.watch.paths.map(|paths| paths.len()), Some(1));
        assert_eq!((layer.listen, layer.on), (None, None));
        let text = text(&found);
        assert!(text.starts_with("#:schema ./x.json\n# "));
        for line in [
            "# One has to be chosen; there is also \"worker\".\nbin = ",
            "#[[listen]]\n#address = \"127.0.0.1:4000\"",
            "#[[on]]\n#paths = [\"../static/\"]",
            "#do = \"reload-browser\"",
            "#[[on]]\n#paths = [\"templates/\"]\n#do = \"restart\"\n\n",
            "#env_files = [\".env\"]",
        ] {
            assert!(text.contains(line), "no {line} in {text}");
        }
        assert_eq!(found.notes().len(), 5);
    }

    #[test]
    fn a_default_program_is_only_replaced() {
        let found = Found {
            others: vec!["worker".into(), "admin".into()],
            ..Found::default()
        };
        assert_eq!(all_is_read(&found), Layer::default());
        let example = Found {
            example: Some("demo".into()),
            ..Found::default()
        };
        let build = all_is_read(&example).build;
        assert_eq!((build.bin, build.example.as_deref()), (None, Some("demo")));
    }
}
