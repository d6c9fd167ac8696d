//! Pins everything that a generation runs in a directory of its own.
//!
//! The directory holds the executable, the siblings that it starts, and the shared objects of the
//! workspace, as this build made them. Everything else in cargo's directory at that time is linked under
//! the same name, so that a program finds beside itself what it finds under `cargo run`. Files that the
//! program writes there are moved to cargo's directory, where they would be under `cargo run`, so that
//! the next generation finds them too.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::artifact::discard;
use super::beside::{Leaves, NOTE, Note, bring_home, others};
use crate::defect::{self, Blocking, spawn_blocking};
use crate::session::model::{Artifact, ArtifactRef, BuildOutcome, Generation, Surroundings};
use crate::sys::ABLE;
use crate::sys::files::FileId;

/// What a build has pinned so far. Dropping it removes the directory, unless it became an artifact.
#[derive(Debug)]
pub(super) struct Pins {
    /// The pinned directory.
    dir: PathBuf,
    /// The directory that cargo built into.
    profile_dir: PathBuf,
    /// The executable, relative to either directory.
    executable: PathBuf,
    /// All pinned files, likewise.
    files: BTreeSet<PathBuf>,
    /// Copies that are not finished yet.
    copies: Vec<Blocking<io::Result<()>>>,
    kept: bool,
}

impl Pins {
    /// Creates the directory `place` for an executable that cargo has just built in `profile_dir`.
    pub(super) fn new(place: PathBuf, profile_dir: &Path, executable: &Path) -> io::Result<Self> {
        fs::remove_dir_all(&place).ok();
        fs::create_dir_all(&place)?;
        let relative = executable.strip_prefix(profile_dir).unwrap_or(executable);
        Ok(Self {
            dir: place,
            profile_dir: profile_dir.to_owned(),
            executable: relative.to_owned(),
            files: BTreeSet::new(),
            copies: Vec::new(),
            kept: false,
        })
    }

    /// Pins a file that cargo has just named, before cargo ends and another cargo may replace it. A file
    /// that cargo keeps elsewhere, such as a dependency's library, is pinned in the directory itself.
    pub(super) fn add(&mut self, file: &Path) -> io::Result<()> {
        let name = file.file_name().map_or(file, Path::new);
        let is_beside = file == self.executable();
        let relative = if is_beside { &self.executable } else { name }.to_owned();
        self.add_as(file, relative)
    }

    /// Pins a file as the executable.
    pub(super) fn add_executable(&mut self, file: &Path) -> io::Result<()> {
        self.add_as(file, self.executable.clone())
    }

    fn add_as(&mut self, file: &Path, relative: PathBuf) -> io::Result<()> {
        let to = self.dir.join(&relative);
        if let Some(dir) = to.parent() {
            fs::create_dir_all(dir)?;
        }
        if !ABLE.overwrite_running || fs::hard_link(file, &to).is_err() {
            // Another file system, or one without hard links; or a link would keep cargo from writing the
            // next build while this one runs. The open file stays what cargo has built,
            // even if the path is replaced; the copy shares blocks (reflink) where the file system can.
            let from = File::open(file)?;
            let copy = move || {
                defect::point("copy");
                copy(from, &to)
            };
            self.copies.push(spawn_blocking("copy", copy));
        }
        self.files.insert(relative);
        Ok(())
    }

    /// The path of the executable in cargo's directory.
    pub(super) fn executable(&self) -> PathBuf {
        self.profile_dir.join(&self.executable)
    }

    /// The executable is the only file.
    pub(super) fn is_alone(&self) -> bool {
        self.files.len() == 1
    }

    /// The directory that cargo builds into.
    pub(super) fn profile_dir(&self) -> &Path {
        &self.profile_dir
    }

    /// Waits until everything is pinned, and links everything else in cargo's directory.
    pub(super) async fn complete(&mut self) -> io::Result<()> {
        for mut copy in self.copies.drain(..) {
            copy.done().await??;
        }
        let mut shown = vec![(self.profile_dir.clone(), self.dir.clone())];
        if let Some(inner) = self
            .executable
            .parent()
            .filter(|inner| *inner != Path::new(""))
        {
            shown.push((self.profile_dir.join(inner), self.dir.join(inner)));
        }
        let mut note = Note::of(self.profile_dir.clone(), self.files.clone());
        let dir = self.dir.clone();
        let work = move || {
            defect::point("pin");
            note.write(&dir)?;
            for other in others(&dir) {
                bring_home(&other, Leaves::Links);
            }
            note.show(&dir, &shown)
        };
        spawn_blocking("pin", work).done().await?
    }

    /// Whether the program equals this artifact; one that can't be read counts as different.
    pub(super) async fn is_same_as(&self, artifact: &Artifact) -> bool {
        if !self.files.is_superset(&artifact.files) {
            return false;
        }
        let (files, known) = (self.files.clone(), artifact.files.clone());
        let (dir, of_artifact) = (self.dir.clone(), artifact.dir.clone());
        let is_same = move |file: &PathBuf| {
            if known.contains(file) {
                same(&of_artifact.join(file), &dir.join(file))
            } else {
                // The file was not pinned for that artifact, which used it from cargo's directory: it is
                // the same unless it was built since.
                is_older(&dir.join(file), &of_artifact.join(NOTE))
            }
        };
        let mut compared = spawn_blocking("compare", move || {
            defect::point("compare");
            files.iter().all(|file| is_same(file).unwrap_or(false))
        });
        compared.done().await.unwrap_or(false)
    }

    /// The outcome of the build that has pinned it: the baseline, if that is the same program.
    pub(super) async fn outcome(
        self,
        generation: Generation,
        bins: &[String],
        baseline: Option<&ArtifactRef>,
        surroundings: Surroundings,
        warnings: u32,
    ) -> BuildOutcome {
        if let Some(baseline) = baseline
            && baseline.surroundings == surroundings
            && self.is_same_as(baseline).await
        {
            return BuildOutcome::Built {
                artifact: baseline.clone(),
                unchanged: true,
                warnings,
            };
        }
        BuildOutcome::Built {
            artifact: Arc::new(self.keep(generation, bins, surroundings)),
            unchanged: false,
            warnings,
        }
    }

    /// Makes it the artifact of a generation, which later ones may run too.
    fn keep(
        mut self,
        built_by: Generation,
        bins: &[String],
        surroundings: Surroundings,
    ) -> Artifact {
        self.kept = true;
        let is_absent = |bin: &&String| !self.profile_dir.join(bin).exists();
        Artifact {
            built_by,
            path: self.dir.join(&self.executable),
            dir: self.dir.clone(),
            libraries: self.files.iter().any(|file| is_shared_object(file)),
            absent: bins.iter().filter(is_absent).cloned().collect(),
            files: std::mem::take(&mut self.files),
            surroundings,
        }
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if !self.kept {
            discard(&self.dir);
        }
    }
}

/// The file is a shared object, by its extension.
pub(super) fn is_shared_object(file: &Path) -> bool {
    file.extension()
        .is_some_and(|ending| ending == std::env::consts::DLL_EXTENSION)
}

fn copy(mut from: File, to: &Path) -> io::Result<()> {
    let mut copy = File::create_new(to)?;
    io::copy(&mut from, &mut copy)?;
    let metadata = from.metadata()?;
    copy.set_modified(metadata.modified()?)?;
    copy.set_permissions(metadata.permissions())
}

fn is_older(file: &Path, than: &Path) -> io::Result<bool> {
    Ok(file.metadata()?.modified()? < than.metadata()?.modified()?)
}

/// Two files have the same content.
fn same(a: &Path, b: &Path) -> io::Result<bool> {
    let (a, b) = (File::open(a)?, File::open(b)?);
    let (of_a, of_b) = (a.metadata()?, b.metadata()?);
    if FileId::of(&a)? == FileId::of(&b)? {
        return Ok(true);
    }
    if of_a.len() != of_b.len() {
        return Ok(false);
    }
    same_bytes(a, b)
}

fn same_bytes(mut a: File, mut b: File) -> io::Result<bool> {
    const BLOCK: u64 = 256 * 1024;
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    loop {
        of_a.clear();
        of_b.clear();
        (&mut a).take(BLOCK).read_to_end(&mut of_a)?;
        (&mut b).take(BLOCK).read_to_end(&mut of_b)?;
        if of_a != of_b {
            return Ok(false);
        }
        if of_a.is_empty() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;
    use crate::sys::testing::{can_link, lacks};

    /// A directory of cargo's with these files; the content of each is its own name.
    fn built(files: &[&str]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join("debug").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        dir
    }

    async fn pin(dir: &TempDir, number: u32, executable: &str, more: &[&str]) -> Pins {
        let profile_dir = dir.path().join("debug");
        let place = dir.path().join(format!("g{number}"));
        let executable = profile_dir.join(executable);
        let mut pins = Pins::new(place, &profile_dir, &executable).unwrap();
        pins.add(&executable).unwrap();
        for file in more {
            pins.add(&profile_dir.join(file)).unwrap();
        }
        pins.complete().await.unwrap();
        pins
    }

    fn replace(dir: &TempDir, file: &str, content: &str) {
        let path = dir.path().join("debug").join(file);
        fs::remove_file(&path).unwrap();
        fs::write(path, content).unwrap();
    }

    #[tokio::test]
    async fn a_generation_keeps_what_it_was_built_with_and_sees_the_rest() {
        let dir = built(&[
            "app",
            "app.d",
            "worker",
            "libgreet.so",
            "deps/libplug.so",
            "data.txt",
        ]);
        let libraries = ["libgreet.so", "deps/libplug.so"];
        let pins = pin(&dir, 1, "app", &libraries).await;
        let artifact = pins.keep(Generation(1), &[], Surroundings::default());
        for file in [
            "app",
            "libgreet.so",
            "deps/libplug.so",
            "data.txt",
            "worker",
        ] {
            replace(&dir, file, "later");
        }
        let pinned = |file: &str| fs::read_to_string(artifact.dir.join(file)).ok();
        for (file, content) in [
            ("app", Some("app")),
            ("libgreet.so", Some("libgreet.so")),
            ("libplug.so", Some("deps/libplug.so")),
            ("app.d", None),
        ] {
            assert_eq!(pinned(file).as_deref(), content, "{file}");
        }
        assert!(artifact.path.ends_with("g1/app"));
        let is_library = is_shared_object(Path::new("libgreet.so"));
        assert_eq!(artifact.libraries, is_library);
        // Later builds change nothing of what has another name there.
        let seen = if can_link() { "later" } else { "worker" };
        assert_eq!(pinned("worker").as_deref(), Some(seen));
        if lacks(can_link(), "links that this user may make") {
            return;
        }
        for file in ["data.txt", "deps/libplug.so"] {
            assert_eq!(pinned(file).as_deref(), Some("later"), "{file}");
        }
    }

    #[tokio::test]
    async fn what_is_built_later_is_not_replaced_by_what_a_program_was_shown() {
        let dir = built(&["app", "worker"]);
        let first = pin(&dir, 1, "app", &[]).await;
        let first = first.keep(Generation(1), &[], Surroundings::default());
        replace(&dir, "worker", "later");
        let _second = pin(&dir, 2, "app", &[]).await;
        let worker = dir.path().join("debug/worker");
        assert_eq!(fs::read_to_string(&worker).unwrap(), "later");
        discard(&first.dir);
        assert_eq!(fs::read_to_string(&worker).unwrap(), "later");
    }

    #[tokio::test]
    async fn an_example_has_its_directory_within() {
        let dir = built(&["app", "examples/demo", "examples/demo.d", "examples/other"]);
        let pins = pin(&dir, 1, "examples/demo", &[]).await;
        let artifact = pins.keep(Generation(1), &[], Surroundings::default());
        let own = artifact.path.parent().unwrap();
        assert_eq!(artifact.path, dir.path().join("g1/examples/demo"));
        assert!(own.join("other").exists() && own.join("../app").exists());
        assert!(!artifact.libraries);
    }

    #[tokio::test]
    async fn all_of_a_program_is_compared() {
        let dir = built(&["app", "worker", "libgreet.so"]);
        let both = ["worker", "libgreet.so"];
        let baseline = pin(&dir, 1, "app", &both).await;
        let baseline = baseline.keep(Generation(1), &[], Surroundings::default());
        // Linked once more, with the same bytes.
        replace(&dir, "app", "app");
        replace(&dir, "libgreet.so", "libgreet.so");
        assert!(pin(&dir, 2, "app", &both).await.is_same_as(&baseline).await);
        // A sibling that is not built with it any more.
        assert!(
            !pin(&dir, 3, "app", &both[1..])
                .await
                .is_same_as(&baseline)
                .await
        );
        for file in ["worker", "libgreet.so", "app"] {
            replace(&dir, file, "other");
            let other = pin(&dir, 4, "app", &both).await;
            assert!(!other.is_same_as(&baseline).await, "{file}");
            replace(&dir, file, file);
        }
        // A sibling that is built with it from now on: the app has started the file in cargo's
        // directory, which a cancelled build may have replaced since.
        let worker = File::open(dir.path().join("debug/worker")).unwrap();
        let earlier = worker.metadata().unwrap().modified().unwrap() - Duration::from_secs(1);
        worker.set_modified(earlier).unwrap();
        let single = pin(&dir, 5, "app", &[]).await;
        let single = single.keep(Generation(5), &[], Surroundings::default());
        let more = pin(&dir, 6, "app", &["worker"]).await;
        assert!(more.is_same_as(&single).await);
        replace(&dir, "worker", "worker");
        let more = pin(&dir, 7, "app", &["worker"]).await;
        assert!(!more.is_same_as(&single).await);
    }

    #[tokio::test]
    async fn what_a_program_writes_beside_itself_is_home_when_it_is_gone() {
        let dir = built(&["app"]);
        let first = pin(&dir, 1, "app", &[]).await;
        let first = first.keep(Generation(1), &[], Surroundings::default());
        fs::write(first.dir.join("data.db"), "1").unwrap();
        fs::create_dir(first.dir.join("logs")).unwrap();
        fs::write(first.dir.join("logs/today"), "1").unwrap();
        let second = pin(&dir, 2, "app", &[]).await;
        for dir in [&first.dir, &second.dir] {
            assert_eq!(fs::read_to_string(dir.join("data.db")).unwrap(), "1");
        }
        assert_eq!(fs::read(first.dir.join("logs/today")).unwrap(), b"1");
        discard(&first.dir);
        assert!(!first.dir.exists());
        let home = dir.path().join("debug");
        for file in ["data.db", "logs/today"] {
            assert_eq!(fs::read_to_string(home.join(file)).unwrap(), "1", "{file}");
        }
    }

    /// A program that keeps its data beside its executable finds it again, as under `cargo run`.
    #[tokio::test]
    async fn what_a_program_writes_beside_itself_outlasts_it() {
        if lacks(can_link(), "links that this user may make") {
            return;
        }
        let dir = built(&["examples/demo", "app"]);
        let first = pin(&dir, 1, "examples/demo", &["app"]).await;
        let first = first.keep(Generation(1), &[], Surroundings::default());
        let written = |file: &str, text: &str| fs::write(first.dir.join(file), text).unwrap();
        written("data.db", "1");
        written("examples/state", "1");
        fs::create_dir(first.dir.join("logs")).unwrap();
        written("logs/today", "1");
        let second = pin(&dir, 2, "examples/demo", &[]).await;
        let home = dir.path().join("debug");
        for (file, text) in [
            ("data.db", "1"),
            ("examples/state", "1"),
            ("logs/today", "1"),
        ] {
            for dir in [&home, &first.dir, &second.dir] {
                assert_eq!(fs::read_to_string(dir.join(file)).unwrap(), text, "{dir:?}");
            }
        }
        // A safe write: the link is replaced.
        written("data.new", "2");
        fs::rename(first.dir.join("data.new"), first.dir.join("data.db")).unwrap();
        written("logs/today", "2");
        discard(&first.dir);
        for (file, text) in [("data.db", "2"), ("logs/today", "2"), ("app", "app")] {
            assert_eq!(fs::read_to_string(home.join(file)).unwrap(), text, "{file}");
        }
        let names: Vec<_> = fs::read_dir(&home).unwrap().flatten().collect();
        assert_eq!(names.len(), 4, "{names:?}");
    }

    #[tokio::test]
    async fn what_becomes_no_artifact_is_removed() {
        let dir = built(&["app"]);
        let pins = pin(&dir, 1, "app", &[]).await;
        assert!(dir.path().join("g1/app").exists());
        drop(pins);
        assert!(!dir.path().join("g1").exists());
        assert!(dir.path().join("debug/app").exists());
    }

    /// The copy is made in another thread, of what cargo had built when the file was pinned.
    #[cfg(unix)]
    #[tokio::test]
    async fn what_cannot_be_linked_is_copied() {
        let dir = built(&[]);
        let other = tempfile::tempdir_in("/dev/shm").unwrap();
        let profile_dir = other.path().join("debug");
        fs::create_dir(&profile_dir).unwrap();
        let executable = profile_dir.join("app");
        let content = vec![7; 3 * 1024 * 1024];
        fs::write(&executable, &content).unwrap();
        fs::set_permissions(&executable, fs::Permissions::from_mode(0o751)).unwrap();
        let link = dir.path().join("link");
        let linked = fs::hard_link(&executable, link);
        assert!(linked.is_err(), "one file system: the test shows nothing");
        defect::arm(Some("copy".into()));
        let mut pins = Pins::new(dir.path().join("g0"), &profile_dir, &executable).unwrap();
        pins.add(&executable).unwrap();
        let error = pins.complete().await.unwrap_err().to_string();
        assert!(error.starts_with("a defect of hotrun ("), "{error}");
        let mut pins = Pins::new(dir.path().join("g1"), &profile_dir, &executable).unwrap();
        pins.add(&executable).unwrap();
        fs::remove_file(&executable).unwrap();
        fs::write(&executable, "later").unwrap();
        pins.complete().await.unwrap();
        let artifact = pins.keep(Generation(1), &[], Surroundings::default());
        assert!(fs::read(&artifact.path).unwrap() == content);
        let mode = fs::metadata(&artifact.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o751);
    }

    #[test]
    fn programs_are_compared_by_content() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let long = vec![7; 600 * 1024];
        let (a, b) = (file("a", &long), file("b", &long));
        let mut changed = long.clone();
        *changed.last_mut().unwrap() = 8;
        let c = file("c", &changed);
        let link = dir.path().join("link");
        fs::hard_link(&a, &link).unwrap();
        assert!(same(&a, &b).unwrap() && same(&a, &link).unwrap());
        assert!(!same(&a, &c).unwrap() && !same(&a, &file("d", b"x")).unwrap());
        assert!(same(&a, &dir.path().join("none")).is_err());
    }
}
