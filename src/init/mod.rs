//! `hotrun init`: writes a commented configuration file for this project, or the files of an editor.
//!
//! What is found becomes text in `reload` and `editors`, which are pure; `look`
//! reads the disk and `write` writes to it. Nothing that exists is ever written over: all files are looked
//! for before the first is written.

mod editors;
mod look;
mod reload;
mod write;

use std::path::{Path, PathBuf};

use crate::build::{self, Survey};
use crate::config::{Build, Settings, schema};
use crate::exit::Failure;
pub use editors::Editor;
use editors::Workplace;

/// A file to write.
#[derive(Debug)]
struct New {
    path: PathBuf,
    text: String,
}

/// What was written.
#[derive(Debug)]
pub struct Report {
    /// The files, as they are shown.
    pub files: Vec<String>,
    /// What was found, and what follows from it.
    pub notes: Vec<String>,
    /// What to do next.
    pub next: String,
}

/// The name of the schema's file, where it can't be fetched.
const SCHEMA: &str = ".reload.schema.json";

/// Writes the configuration file; `named`: with `--config`.
pub async fn reload(settings: &Settings, named: bool) -> Result<Report, Failure> {
    let survey = build::survey(&settings.build).await?;
    let mut found = look::found(settings, &survey);
    let mut files = Vec::new();
    if let Some(url) = schema::url() {
        found.schema = url;
    } else {
        found.schema = format!("./{SCHEMA}");
        files.push(New {
            path: settings.file.with_file_name(SCHEMA),
            text: schema::schema(),
        });
    }
    let notes = found.notes();
    let text = reload::text(&found);
    let path = settings.file.clone();
    files.insert(0, New { path, text });
    Ok(Report {
        files: write_all(&files, &settings.build.dir)?,
        notes,
        next: command(settings, named),
    })
}

/// How hotrun is started with the new file.
fn command(settings: &Settings, named: bool) -> String {
    let build = &settings.build;
    let mut words = vec!["hotrun".to_owned()];
    let mut flag = |name: &str, path: &Path| {
        words.extend([name.to_owned(), write::shown(path, &build.dir)]);
    };
    if build.named_manifest {
        flag("--manifest-path", &build.manifest);
    }
    if named {
        flag("--config", &settings.file);
    }
    words.join(" ")
}

/// Writes the files of these editors; `words` are the flags that choose the target, and `named` says
/// whether the configuration file was named by one as well.
pub async fn editors(
    settings: &Settings,
    editors: &[Editor],
    mut words: Vec<String>,
    named: bool,
) -> Result<Report, Failure> {
    let Survey {
        project,
        build,
        others,
        ..
    } = build::survey(&settings.build).await?;
    let picked = picked(&settings.build, &build);
    let program = look::program(&project, &build);
    let dir = look::directory(&build.manifest);
    if named {
        let inside = editors::relative(dir, &settings.file);
        let file = inside.unwrap_or_else(|| settings.file.clone());
        let file = file.into_os_string().into_string();
        words.extend([
            "--config".into(),
            file.map_err(|file| unnamable(file.as_ref()))?,
        ]);
    }
    let mut files = Vec::new();
    let mut notes = Vec::new();
    if !picked.is_empty() {
        notes.push(reload::runs(&project.target.name, &others));
        words.extend(picked);
    }
    let mut next = Vec::new();
    for editor in editors {
        let place = Workplace {
            editor: *editor,
            words: &words,
            dir,
            workspace: &project.workspace,
            program: &program,
        };
        let (folder, why) = place.folder(&|path: &Path| path.exists());
        let texts = place.texts(&folder).map_err(|path| unnamable(&path))?;
        let inside = editor.directory();
        let new = texts.into_iter().map(|(name, text)| New {
            path: folder.join(inside).join(name),
            text,
        });
        files.extend(new);
        notes.push(editors::note(*editor, &folder, why));
        next.push(editor.next());
    }
    Ok(Report {
        files: write_all(&files, &settings.build.dir)?,
        notes,
        next: next.join("; "),
    })
}

/// The flags for what the survey has chosen.
fn picked(before: &Build, after: &Build) -> Vec<String> {
    let flags = [
        ("--package", &before.package, &after.package),
        ("--bin", &before.bin, &after.bin),
        ("--example", &before.example, &after.example),
    ];
    let new = flags
        .into_iter()
        .filter(|(_, before, after)| before != after);
    let words = new.filter_map(|(flag, _, after)| Some([flag.to_owned(), after.clone()?]));
    words.flatten().collect()
}

fn unnamable(path: &Path) -> Failure {
    let shown = path.display();
    Failure::usage(format!(
        "`{shown}` is no UTF-8, which an editor's file has to be"
    ))
    .hint("start hotrun in a terminal of the editor instead")
}

/// Writes the files, or none if one exists; returns their names as seen from `dir`.
fn write_all(files: &[New], dir: &Path) -> Result<Vec<String>, Failure> {
    for file in files {
        write::check(file, dir)?;
    }
    for file in files {
        write::write(file, dir)?;
    }
    let names = files.iter().map(|file| write::shown(&file.path, dir));
    Ok(names.collect())
}
