//! However a file is saved, one save is one build and one restart, and a write that is no edit is none.
//!
//! A table of what editors and tools really do, system call by system call for those that are not on
//! every machine. Each row is followed by a plain edit, the fence: it has to be built and served, so a
//! watcher that lost track fails, and all events of the row come before it in the stream.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::ops::RangeInclusive;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::common::hotrun::Place;
use crate::common::row::{NONE, ONE, Row};
use crate::common::{Hotrun, Project};

/// A way of saving: its name, how it is done, and the builds and restarts that it may cost.
#[derive(Clone)]
struct Way(
    &'static str,
    fn(&Scene),
    RangeInclusive<usize>,
    RangeInclusive<usize>,
);

/// What has pauses in it, or takes several programs or sources, may be seen in the middle on a busy
/// machine.
const A_FEW: RangeInclusive<usize> = 1..=3;

/// The file that is saved, `src/version.rs` unless the row is about other files, and its surroundings.
struct Scene<'a> {
    project: &'a Project,
    hotrun: &'a Hotrun,
    number: usize,
    path: PathBuf,
    /// The content of the file in the end.
    text: String,
    /// Where counting begins.
    start: Cell<Place>,
}

impl<'a> Scene<'a> {
    fn new(project: &'a Project, hotrun: &'a Hotrun, number: usize) -> Self {
        Self {
            project,
            hotrun,
            number,
            path: project.path("src/version.rs"),
            text: file(&format!("row-{number}")),
            start: Cell::new(hotrun.here()),
        }
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }

    /// A path in a directory that has nothing to do with the project.
    fn outside(&self, name: &str) -> PathBuf {
        let dir = self.project.root().join("outside");
        fs::create_dir_all(&dir).unwrap();
        dir.join(format!("{}-{name}", self.number))
    }

    fn old(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }

    /// Truncates and writes, as most editors do that write in place.
    fn write(&self, path: &Path) {
        fs::write(path, &self.text).unwrap();
    }

    /// The same, with fsync.
    fn write_and_sync(&self, path: &Path) {
        let mut file = File::create(path).unwrap();
        file.write_all(self.text.as_bytes()).unwrap();
        file.sync_all().unwrap();
    }

    /// Runs a real program in the project.
    fn run(&self, program: &str, args: &[&str]) {
        let mut command = self.project.command(program);
        let output = command.args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {said}");
    }

    fn git(&self, args: &[&str]) {
        let user = ["-c", "user.name=user", "-c", "user.email=user@localhost"];
        self.run("git", &[&user[..], args].concat());
    }

    /// Commits the work tree without touching it.
    fn commit(&self) {
        self.git(&["commit", "--quiet", "--all", "--message", "fence"]);
    }

    /// Commits this content on a branch of its own, somewhere else.
    fn branch(&self, name: &str, path: &str, text: &str) {
        let tree = self.outside("tree");
        let at = tree.to_str().unwrap();
        self.git(&["worktree", "add", "--quiet", "-b", name, at]);
        fs::write(tree.join(path), text).unwrap();
        self.git(&["-C", at, "add", "--all"]);
        self.git(&["-C", at, "commit", "--quiet", "--message", name]);
        self.git(&["worktree", "remove", at]);
    }

    /// Waits until a save of the row's preparation is served, and counts from here.
    fn prepared(&self, version: &str) {
        self.hotrun.wait_version(version);
        self.start.set(self.hotrun.here());
    }
}

fn file(version: &str) -> String {
    format!("pub const VERSION: &str = \"{version}\";\n")
}

/// Editors that write beside the file, and rename.
const BY_RENAMING: &[Way] = &[
    Way("vim", vim, ONE, ONE),
    Way("neovim", neovim, ONE, ONE),
    Way("emacs, first save", emacs, ONE, ONE),
    Way("JetBrains safe write", jetbrains, ONE, ONE),
    Way("VS Code, atomic", vscode_atomic, ONE, ONE),
    Way("helix", helix, ONE, ONE),
    Way("kate", kate, ONE, ONE),
    Way("gedit", gedit, ONE, ONE),
    Way("sublime, atomic", sublime, ONE, ONE),
    Way("rsync", rsync, ONE, ONE),
    Way("sed -i", sed, ONE, ONE),
    Way("mv from another directory", mv, ONE, ONE),
    Way("removed and made anew", anew, ONE, ONE),
    Way("two files exchanged", exchange, ONE, ONE),
    Way("a hard link broken", break_link, ONE, ONE),
    Way("a link pointed elsewhere", point_elsewhere, ONE, ONE),
];

/// Tools that write in place.
const IN_PLACE: &[Way] = &[
    Way("vim, nobackup", vim_in_place, ONE, ONE),
    Way("vim, backupcopy=yes", vim_copy, ONE, ONE),
    Way("emacs, later save", emacs_again, ONE, ONE),
    Way("VS Code", vscode, ONE, ONE),
    Way("nano", nano, ONE, ONE),
    Way("zed", zed, ONE, ONE),
    Way("perl -i", perl, ONE, ONE),
    Way("dd", dd, ONE, ONE),
    Way("cp over it", cp, ONE, ONE),
    Way("cp -p over it", cp_p, ONE, ONE),
    Way("cp -p of something old", cp_old, ONE, ONE),
    Way("mv of something old", mv_old, ONE, ONE),
    Way("behind a link", behind_a_link, ONE, ONE),
    Way("cat >, slowly", slowly, ONE, ONE),
    // If the file stays empty for long, that is built too.
    Way("cat >, very slowly", very_slowly, 1..=3, ONE),
    Way("rustfmt", rustfmt, ONE, NONE),
    Way("the same bytes", same_bytes, NONE, NONE),
];

/// Rows that touch more than one file, or no content at all.
const OTHERS: &[Way] = &[
    Way("touch", touch, NONE, NONE),
    Way("chmod", chmod, NONE, NONE),
    Way("swap files and backups", droppings, NONE, NONE),
    Way("the app's own socket", own_socket, NONE, NONE),
    Way("README", readme, NONE, NONE),
    Way("a module, then `mod`", module_first, ONE, ONE),
    Way("`mod`, then its module", mod_first, A_FEW, ONE),
    Way("a directory away and back", away_and_back, NONE, NONE),
    Way("a directory made anew", dir_anew, A_FEW, ONE),
    Way("git checkout", checkout, ONE, ONE),
    Way("git stash, git stash pop", stash, A_FEW, A_FEW),
    Way("git rebase", rebase, A_FEW, A_FEW),
];

/// Rows that polling has to see too. Whether it notices a save of the same content depends on the time.
const POLLED: &[&str] = &[
    "vim",
    "JetBrains safe write",
    "sed -i",
    "mv from another directory",
    "two files exchanged",
    "a link pointed elsewhere",
    "VS Code",
    "perl -i",
    "cp -p of something old",
    "behind a link",
    "cat >, slowly",
    "chmod",
    "swap files and backups",
    "a module, then `mod`",
    "a directory made anew",
    "git checkout",
];

// ---- editors that rename

fn vim(scene: &Scene) {
    let [swap, probe] = [".version.rs.swp", ".version.rs.swx"].map(|name| scene.beside(name));
    fs::write(&swap, "b0VIM").unwrap();
    fs::write(&probe, "").unwrap();
    fs::remove_file(&probe).unwrap();
    may_write(scene);
    let backup = scene.beside("version.rs~");
    fs::rename(&scene.path, &backup).unwrap();
    scene.write_and_sync(&scene.path);
    fs::set_permissions(&scene.path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_file(&backup).unwrap();
    fs::remove_file(&swap).unwrap();
}

/// vim creates a file of this name to find out whether it may write to the directory.
fn may_write(scene: &Scene) {
    let probe = scene.beside("4913");
    fs::write(&probe, "").unwrap();
    fs::set_permissions(&probe, fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_file(&probe).unwrap();
}

fn neovim(scene: &Scene) {
    // Its swap files are in another directory.
    may_write(scene);
    let backup = scene.beside("version.rs~");
    fs::rename(&scene.path, &backup).unwrap();
    scene.write_and_sync(&scene.path);
    fs::remove_file(&backup).unwrap();
}

fn emacs(scene: &Scene) {
    let lock = scene.beside(".#version.rs");
    symlink("user@host.4711:1700000000", &lock).unwrap();
    let own = scene.beside("#version.rs#");
    scene.write(&own);
    fs::rename(&scene.path, scene.beside("version.rs~")).unwrap();
    scene.write_and_sync(&scene.path);
    fs::remove_file(&own).unwrap();
    fs::remove_file(&lock).unwrap();
}

fn jetbrains(scene: &Scene) {
    let new = scene.beside("version.rs___jb_tmp___");
    let old = scene.beside("version.rs___jb_old___");
    scene.write_and_sync(&new);
    fs::rename(&scene.path, &old).unwrap();
    fs::rename(&new, &scene.path).unwrap();
    fs::remove_file(&old).unwrap();
}

fn rename_over(scene: &Scene, name: &str) {
    let new = scene.beside(name);
    scene.write_and_sync(&new);
    fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).unwrap();
    fs::rename(&new, &scene.path).unwrap();
}

fn vscode_atomic(scene: &Scene) {
    rename_over(scene, "version.rs.vsctmp");
}

fn helix(scene: &Scene) {
    let backup = scene.beside("version.rsq8Xk2P.bck");
    fs::rename(&scene.path, &backup).unwrap();
    scene.write_and_sync(&scene.path);
    fs::remove_file(&backup).unwrap();
}

fn kate(scene: &Scene) {
    let swap = scene.beside(".version.rs.kate-swp");
    fs::write(&swap, "Kate Swap File 2.0").unwrap();
    rename_over(scene, "version.rs.ufHjXN");
    fs::remove_file(&swap).unwrap();
}

fn gedit(scene: &Scene) {
    let backup = scene.beside("version.rs~");
    fs::remove_file(&backup).ok();
    fs::hard_link(&scene.path, &backup).unwrap();
    rename_over(scene, ".goutputstream-3VJ5Z2");
}

fn sublime(scene: &Scene) {
    rename_over(scene, ".sublb7c.tmp");
}

fn rsync(scene: &Scene) {
    let new = scene.beside(".version.rs.k3zQpB");
    scene.write(&new);
    let file = File::options().append(true).open(&new).unwrap();
    let written = new.metadata().unwrap().modified().unwrap();
    file.set_modified(written - Duration::from_millis(1))
        .unwrap();
    fs::rename(&new, &scene.path).unwrap();
}

fn sed(scene: &Scene) {
    let to = format!("s/\".*\"/\"row-{}\"/", scene.number);
    scene.run("sed", &["-i", &to, "src/version.rs"]);
}

fn mv(scene: &Scene) {
    let new = scene.outside("version.rs");
    scene.write(&new);
    scene.run("mv", &[new.to_str().unwrap(), "src/version.rs"]);
}

fn anew(scene: &Scene) {
    fs::remove_file(&scene.path).unwrap();
    scene.write(&scene.path);
}

fn exchange(scene: &Scene) {
    let new = scene.beside("version.new");
    scene.write(&new);
    let flags = RenameFlags::RENAME_EXCHANGE;
    renameat2(AT_FDCWD, &new, AT_FDCWD, &scene.path, flags).unwrap();
    fs::remove_file(&new).unwrap();
}

fn break_link(scene: &Scene) {
    fs::hard_link(&scene.path, scene.outside("version.rs")).unwrap();
    rename_over(scene, ".version.rs.new");
}

fn point_elsewhere(scene: &Scene) {
    let [first, second] = ["first.rs", "second.rs"].map(|name| scene.outside(name));
    fs::write(&first, file("first")).unwrap();
    scene.write(&second);
    let link = |target: &Path| {
        scene.run("ln", &["-sfn", target.to_str().unwrap(), "src/version.rs"]);
    };
    link(&first);
    scene.prepared("first");
    link(&second);
}

// ---- tools that write in place

fn vim_in_place(scene: &Scene) {
    let swap = scene.beside(".version.rs.swp");
    fs::write(&swap, "b0VIM").unwrap();
    may_write(scene);
    scene.write_and_sync(&scene.path);
    fs::remove_file(&swap).unwrap();
}

fn vim_copy(scene: &Scene) {
    may_write(scene);
    let backup = scene.beside("version.rs~");
    fs::copy(&scene.path, &backup).unwrap();
    scene.write_and_sync(&scene.path);
    fs::remove_file(&backup).unwrap();
}

fn emacs_again(scene: &Scene) {
    let lock = scene.beside(".#version.rs");
    symlink("user@host.4711:1700000000", &lock).unwrap();
    scene.write_and_sync(&scene.path);
    fs::remove_file(&lock).unwrap();
}

fn vscode(scene: &Scene) {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&scene.path)
        .unwrap();
    file.set_len(0).unwrap();
    file.write_all(scene.text.as_bytes()).unwrap();
    file.sync_data().unwrap();
}

fn nano(scene: &Scene) {
    let lock = scene.beside(".version.rs.swp");
    fs::write(&lock, "b0nano").unwrap();
    scene.write(&scene.path);
    fs::remove_file(&lock).unwrap();
}

fn zed(scene: &Scene) {
    let mut file = File::create(&scene.path).unwrap();
    for chunk in scene.text.as_bytes().chunks(7) {
        file.write_all(chunk).unwrap();
    }
}

fn perl(scene: &Scene) {
    let to = format!("s/\".*\"/\"row-{}\"/", scene.number);
    scene.run("perl", &["-i", "-pe", &to, "src/version.rs"]);
}

fn dd(scene: &Scene) {
    let new = scene.outside("version.rs");
    scene.write(&new);
    let from = format!("if={}", new.to_str().unwrap());
    scene.run("dd", &[&from, "of=src/version.rs", "bs=8"]);
}

fn copy(scene: &Scene, options: &[&str]) {
    let new = scene.outside("version.rs");
    scene.write(&new);
    let paths = [new.to_str().unwrap(), "src/version.rs"];
    scene.run("cp", &[options, &paths].concat());
}

fn cp(scene: &Scene) {
    copy(scene, &[]);
}

fn cp_p(scene: &Scene) {
    copy(scene, &["-p"]);
}

/// Creates a file with a time stamp from before the last build.
fn something_old(scene: &Scene) -> String {
    let new = scene.outside("version.rs");
    scene.write(&new);
    let file = File::options().append(true).open(&new).unwrap();
    let written = new.metadata().unwrap().modified().unwrap();
    file.set_modified(written - Duration::from_hours(1))
        .unwrap();
    new.to_str().unwrap().to_owned()
}

fn cp_old(scene: &Scene) {
    scene.run("cp", &["-p", &something_old(scene), "src/version.rs"]);
}

fn mv_old(scene: &Scene) {
    scene.run("mv", &[&something_old(scene), "src/version.rs"]);
}

fn behind_a_link(scene: &Scene) {
    let target = scene.outside("version.rs");
    fs::write(&target, file("behind")).unwrap();
    fs::remove_file(&scene.path).unwrap();
    symlink(&target, &scene.path).unwrap();
    scene.prepared("behind");
    scene.write(&target);
}

fn write_slowly(scene: &Scene, pause: Duration) {
    let mut file = File::create(&scene.path).unwrap();
    let (first, second) = scene.text.as_bytes().split_at(10);
    for part in [first, second] {
        // The pause is what is tested; it does not wait for anything.
        thread::sleep(pause);
        file.write_all(part).unwrap();
    }
}

fn slowly(scene: &Scene) {
    write_slowly(scene, QUIET / 8);
}

fn very_slowly(scene: &Scene) {
    write_slowly(scene, QUIET * 2);
}

fn rustfmt(scene: &Scene) {
    let text = scene.old().replace(';', "\n;\n\n");
    fs::write(&scene.path, text).unwrap();
}

fn same_bytes(scene: &Scene) {
    fs::write(&scene.path, scene.old()).unwrap();
}

// ---- what touches more files, or no content

fn touch(scene: &Scene) {
    scene.run("touch", &["src/version.rs", "src/main.rs"]);
}

fn chmod(scene: &Scene) {
    scene.run("chmod", &["600", "src/version.rs"]);
    scene.run("chmod", &["644", "src/version.rs"]);
}

fn droppings(scene: &Scene) {
    for name in [
        ".version.rs.swp",
        "version.rs~",
        "#version.rs#",
        ".version.rs.kate-swp",
    ] {
        scene.write(&scene.beside(name));
    }
}

/// A socket file that the app creates when it starts, and removes when it ends.
fn own_socket(scene: &Scene) {
    let path = scene.beside("app.sock");
    let _socket = UnixListener::bind(&path).unwrap();
    fs::write(&scene.path, file("bound")).unwrap();
    scene.prepared("bound");
    fs::remove_file(&path).unwrap();
}

fn readme(scene: &Scene) {
    fs::write(scene.project.path("README.md"), &scene.text).unwrap();
}

/// A module with the version, and the line that declares it.
fn module(scene: &Scene) -> (PathBuf, String) {
    let name = format!("part{}", scene.number);
    let path = scene.beside(&format!("{name}.rs"));
    let line = format!("#[path = \"{name}.rs\"]\nmod part;\npub use part::VERSION;\n");
    (path, line)
}

fn module_first(scene: &Scene) {
    let (path, line) = module(scene);
    scene.write(&path);
    fs::write(&scene.path, line).unwrap();
}

fn mod_first(scene: &Scene) {
    let (path, line) = module(scene);
    fs::write(&scene.path, line).unwrap();
    scene.write(&path);
}

fn away_and_back(scene: &Scene) {
    let away = scene.outside("src");
    fs::rename(scene.project.path("src"), &away).unwrap();
    fs::rename(&away, scene.project.path("src")).unwrap();
}

fn dir_anew(scene: &Scene) {
    let src = scene.project.path("src");
    let copy = scene.outside("src");
    let (from, to) = (src.to_str().unwrap(), copy.to_str().unwrap());
    scene.run("cp", &["-r", from, to]);
    fs::remove_dir_all(&src).unwrap();
    scene.run("cp", &["-r", to, from]);
    scene.write(&scene.path);
}

fn checkout(scene: &Scene) {
    scene.commit();
    scene.branch("checkout", "src/version.rs", &scene.text);
    scene.git(&["checkout", "--quiet", "checkout"]);
}

fn stash(scene: &Scene) {
    scene.commit();
    scene.write(&scene.path);
    scene.git(&["stash", "--quiet"]);
    scene.git(&["stash", "pop", "--quiet"]);
}

fn rebase(scene: &Scene) {
    scene.commit();
    scene.branch("upstream", "src/version.rs", &scene.text);
    // The rebase is about another file, which this commit creates.
    fs::write(scene.project.path("notes"), "notes").unwrap();
    scene.git(&["add", "notes"]);
    scene.git(&["commit", "--quiet", "--message", "notes"]);
    scene.git(&["rebase", "--quiet", "upstream"]);
}

// ---- the runner

/// A quiet period in which even a busy machine gets through the steps of one save.
const QUIET: Duration = Duration::from_millis(200);

fn go_through<'a>(ways: impl IntoIterator<Item = &'a Way>, more: &[&str]) {
    let project = Project::new("slow-drain");
    fs::write(project.path(".gitignore"), "/target\n").unwrap();
    let git = |args: &[&str]| {
        let user = ["-c", "user.name=user", "-c", "user.email=user@localhost"];
        let mut git = project.command("git");
        assert!(git.args(user).args(args).status().unwrap().success());
    };
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", "start"]);
    let options = ["--listen", "127.0.0.1:0", "--debounce", "200ms"];
    let hotrun = Hotrun::start(&project, &[&options, more].concat());
    hotrun.wait_live(1);
    let mut wrong = Vec::new();
    for (number, way) in ways.into_iter().enumerate() {
        wrong.extend(try_one(&project, &hotrun, number, way));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Saves in this way, then plainly. Returns the counts if they are not as expected.
fn try_one(project: &Project, hotrun: &Hotrun, number: usize, way: &Way) -> Option<String> {
    let Way(name, how, builds, restarts) = way;
    let scene = Scene::new(project, hotrun, number);
    how(&scene);
    if *restarts.start() > 0 {
        hotrun.wait_version(&format!("row-{number}"));
    }
    let row = Row {
        name,
        number,
        builds,
        restarts,
    };
    row.check(project, hotrun, scene.start.get())
}

#[test]
fn of_editors_that_rename() {
    go_through(BY_RENAMING, &[]);
}

#[test]
fn of_tools_that_write_in_place() {
    go_through(IN_PLACE, &[]);
}

#[test]
fn of_many_files_or_no_content() {
    go_through(OTHERS, &[]);
}

#[test]
fn where_changes_are_looked_for() {
    let all = [BY_RENAMING, IN_PLACE, OTHERS].concat();
    let polled = |name: &&str| all.iter().find(|way| way.0 == *name).unwrap();
    go_through(POLLED.iter().map(polled), &["--poll=100ms"]);
}
