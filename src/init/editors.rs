//! The files of editors: a task that runs hotrun, whose errors the editor shows in the sources, and a
//! way to attach a debugger to the live app. Pure.

use std::path::{Component, Path, PathBuf};

use crate::sys;

/// An editor whose files can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Editor {
    /// Visual Studio Code, with the extensions rust-analyzer and, for the debugger, `CodeLLDB`.
    VsCode,
    /// Zed.
    Zed,
}

impl Editor {
    /// The directory in a folder that it reads its files from.
    pub(super) fn directory(self) -> &'static str {
        match self {
            Self::VsCode => ".vscode",
            Self::Zed => ".zed",
        }
    }

    /// How it names the folder that it has opened.
    fn variable(self) -> &'static str {
        match self {
            Self::VsCode => "${workspaceFolder}",
            Self::Zed => "$ZED_WORKTREE_ROOT",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::VsCode => "VS Code",
            Self::Zed => "Zed",
        }
    }

    /// What to do with the files.
    pub(super) fn next(self) -> &'static str {
        match self {
            Self::VsCode => "in VS Code, `Tasks: Run Task`, `hotrun`",
            Self::Zed => "in Zed, `task: spawn`, `hotrun`",
        }
    }
}

/// What an editor's files are about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Workplace<'a> {
    /// The editor.
    pub(super) editor: Editor,
    /// The flags that choose the target.
    pub(super) words: &'a [String],
    /// The directory of the manifest in use, where hotrun is started.
    pub(super) dir: &'a Path,
    /// The root of cargo's workspace: the compiler's messages name files from there.
    pub(super) workspace: &'a Path,
    /// The executable that cargo writes.
    pub(super) program: &'a Path,
}

/// Why a folder is taken for the one that the editor opens.
pub(super) type Why = &'static str;

impl Workplace<'_> {
    /// The folder that the editor opens: the nearest one upward that has its directory, but none above
    /// the repository (`~/.vscode` is none); else the root of the repository or of the workspace.
    pub(super) fn folder(&self, exists: &dyn Fn(&Path) -> bool) -> (PathBuf, Why) {
        let mut above = self.workspace.ancestors();
        let repository = above.find(|dir| exists(&dir.join(".git")));
        let top = repository.unwrap_or(self.workspace);
        let mut dirs = self.dir.ancestors().take_while(|dir| dir.starts_with(top));
        let own = self.editor.directory();
        match dirs.find(|dir| exists(&dir.join(own))) {
            Some(dir) => (dir.to_owned(), "it has the editor's directory"),
            None if repository.is_some() => (top.to_owned(), "the root of the git repository"),
            None => (top.to_owned(), "the root of the cargo workspace"),
        }
    }

    /// The files in the editor's directory of this folder. Fails with a path that can't be written.
    pub(super) fn texts(&self, folder: &Path) -> Result<Vec<(&'static str, String)>, PathBuf> {
        let place = |path: &Path| -> Result<String, PathBuf> {
            let inside = relative(folder, path).unwrap_or_else(|| path.to_owned());
            inside.to_str().ok_or_else(|| path.to_owned())?;
            let is_absolute = inside.is_absolute();
            let inside = sys::slashed(&inside);
            Ok(if inside == "." {
                json(self.editor.variable())
            } else if is_absolute {
                json(&inside)
            } else {
                json(&format!("{}/{inside}", self.editor.variable()))
            })
        };
        let dir = place(self.dir)?;
        match self.editor {
            Editor::VsCode => {
                let program = place(self.program)?;
                let workspace = place(self.workspace)?;
                Ok(vec![
                    ("tasks.json", tasks(&dir, &workspace, self.words)),
                    ("launch.json", launch(&program)),
                ])
            }
            Editor::Zed => Ok(vec![("tasks.json", zed(&dir, self.words))]),
        }
    }
}

/// What is said of the folder that was chosen.
pub(super) fn note(editor: Editor, folder: &Path, why: Why) -> String {
    format!(
        "for {} opened in {} ({why}); to have another folder, make a `{}` directory in it",
        editor.name(),
        folder.display(),
        editor.directory()
    )
}

fn tasks(dir: &str, workspace: &str, words: &[String]) -> String {
    let args = args(&["--format", "plain"], words);
    format!(
        r#"{{
  // Written by `hotrun init --vscode`.
  "version": "2.0.0",
  "tasks": [
    {{
      "label": "hotrun",
      "detail": "Build, run, and take over on every save",
      "type": "process",
      "command": "hotrun",
      "args": {args},
      "options": {{ "cwd": {dir} }},
      "group": "build",
      "isBackground": true,
      "runOptions": {{ "instanceLimit": 1 }},
      "presentation": {{ "panel": "dedicated" }},
      "problemMatcher": {{
        // From the extension rust-analyzer.
        "base": "$rustc-watch",
        // The root of cargo's workspace: the compiler names files from there, and others by whole paths.
        "fileLocation": ["autoDetect", {workspace}]
      }}
    }}
  ]
}}
"#
    )
}

fn launch(program: &str) -> String {
    format!(
        r#"{{
  // Written by `hotrun init --vscode`, for the extension CodeLLDB. If the system refuses to attach, set
  // kernel.yama.ptrace_scope to 0.
  "version": "0.2.0",
  "configurations": [
    {{
      // Finds the process by the name of its program: the live one, whichever pid it has by now. While a
      // debugger is attached to it, hotrun lets it live, and the next version waits.
      "name": "hotrun: attach to the live app",
      "type": "lldb",
      "request": "attach",
      "program": {program},
      "sourceLanguages": ["rust"]
    }},
    {{
      // Where several processes have that name.
      "name": "hotrun: attach to a process of the app",
      "type": "lldb",
      "request": "attach",
      "pid": "${{command:pickMyProcess}}",
      "sourceLanguages": ["rust"]
    }}
  ]
}}
"#
    )
}

fn zed(dir: &str, words: &[String]) -> String {
    let args = args(&[], words);
    format!(
        r#"[
  // Written by `hotrun init --zed`.
  {{
    "label": "hotrun",
    "command": "hotrun",
    "args": {args},
    "cwd": {dir},
    "use_new_terminal": false,
    "allow_concurrent_runs": false,
    "reveal": "always"
  }}
]
"#
    )
}

fn args(first: &[&str], words: &[String]) -> String {
    let words = words.iter().map(String::as_str);
    let words: Vec<String> = first.iter().copied().chain(words).map(json).collect();
    format!("[{}]", words.join(", "))
}

/// A string of JSON.
fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A path from a directory, both being absolute, with `..` where it has to be; `None`: they have nothing
/// in common but the root.
pub(super) fn relative(dir: &Path, path: &Path) -> Option<PathBuf> {
    let common = dir.ancestors().find(|dir| path.starts_with(dir))?;
    let is_root = |part| matches!(part, Component::Prefix(_) | Component::RootDir);
    if common.components().all(is_root) && common != dir {
        return None;
    }
    let up = dir.strip_prefix(common).ok()?.components();
    let mut relative: PathBuf = up.map(|_| Component::ParentDir).collect();
    relative.extend(path.strip_prefix(common).ok()?.components());
    if relative.as_os_str().is_empty() {
        relative.push(".");
    }
    Some(relative)
}

#[cfg(test)]
mod tests {
    use std::path::is_separator;

    use super::*;
    use crate::sys::testing::{absolute, absolute_text};

    #[track_caller]
    fn opens(existing: &[&str], expected: &str, why: Why) {
        let place = Workplace {
            editor: Editor::VsCode,
            words: &[],
            dir: Path::new("/home/me/repo/back/api"),
            workspace: Path::new("/home/me/repo/back"),
            program: Path::new("/t/debug/api"),
        };
        let exists = |path: &Path| existing.iter().any(|one| Path::new(one) == path);
        assert_eq!(place.folder(&exists), (expected.into(), why));
    }

    #[test]
    fn the_folder_is_the_one_that_is_opened() {
        let own = "it has the editor's directory";
        let git = "the root of the git repository";
        opens(&[], "/home/me/repo/back", "the root of the cargo workspace");
        opens(&["/home/me/repo/.git"], "/home/me/repo", git);
        opens(
            &["/home/me/.vscode"],
            "/home/me/repo/back",
            "the root of the cargo workspace",
        );
        opens(
            &["/home/me/.vscode", "/home/me/repo/.git"],
            "/home/me/repo",
            git,
        );
        let both = ["/home/me/repo/.git", "/home/me/repo/back/.vscode"];
        opens(&both, "/home/me/repo/back", own);
        opens(
            &["/home/me/repo/back/api/.vscode"],
            "/home/me/repo/back/api",
            own,
        );
    }

    #[test]
    fn paths_start_from_the_folder() {
        for (dir, path, expected) in [
            ("/a/b", "/a/b", Some(".")),
            ("/a", "/a/b/c", Some("b/c")),
            ("/a/b/c", "/a", Some("../..")),
            ("/a/b", "/a/c", Some("../c")),
            ("/a/b", "/c", None),
            ("/", "/c", Some("c")),
        ] {
            let found = relative(Path::new(dir), Path::new(path));
            assert_eq!(found.as_deref(), expected.map(Path::new), "{dir} {path}");
        }
    }

    /// The text as JSON, without its comments.
    fn parsed(text: &str) -> serde_json::Value {
        let lines = text.lines();
        let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
        serde_json::from_str(&lines.collect::<String>()).unwrap()
    }

    #[test]
    fn files_are_json_whatever_the_names_are() {
        let words = ["--package".to_owned(), "a\"b".to_owned()];
        // A separator is no part of a name.
        let end = if is_separator('\\') { "" } else { "\\" };
        let dir = absolute(&format!("/r/we\"ird{end}"));
        for editor in [Editor::VsCode, Editor::Zed] {
            let place = Workplace {
                editor,
                words: &words,
                dir: &dir,
                workspace: &absolute("/r"),
                program: &absolute("/elsewhere/debug/app"),
            };
            let texts = place.texts(&absolute("/r")).unwrap();
            for (name, text) in &texts {
                let file = parsed(text);
                match (editor, *name) {
                    (Editor::VsCode, "tasks.json") => {
                        let task = &file["tasks"][0];
                        let cwd = format!("${{workspaceFolder}}/we\"ird{end}");
                        assert_eq!(task["options"]["cwd"], cwd);
                        assert_eq!(task["args"][3], "a\"b");
                        let location = &task["problemMatcher"]["fileLocation"];
                        assert_eq!(location[1], "${workspaceFolder}");
                    }
                    (Editor::VsCode, _) => {
                        let program = &file["configurations"][0]["program"];
                        assert_eq!(program, &absolute_text("/elsewhere/debug/app"));
                    }
                    (Editor::Zed, _) => {
                        let cwd = format!("$ZED_WORKTREE_ROOT/we\"ird{end}");
                        assert_eq!(file[0]["cwd"], cwd);
                        assert_eq!(file[0]["args"][1], "a\"b");
                    }
                }
            }
        }
    }
}
