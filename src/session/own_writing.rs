//! Telling the user's saves from own writing: what builds and the app write themselves.
//!
//! A path counts as own writing by what was seen to happen, never by its name alone: it changed in
//! several builds in a row while nothing else did, or at the start of a generation whose build was made
//! only for such a path, or it is among what has caused builds faster than people save. Until then every
//! change counts, so that no save is lost; and own writing is limited to the occasion on which it was
//! seen: what a build writes still is a change at all other times.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::model::{Change, Content, Moment, Writer};

/// A source that so many builds in a row write, with the same bytes each time, is the builds' own
/// writing.
const SAME: u32 = 2;
/// The same with other bytes each time, if a build script was running each time, about as long after its
/// start.
const SCRIPTED: u32 = 3;
/// The same where nothing is known of the writer.
const ALWAYS: u32 = 8;
/// From so many builds in a row on, a change of the source does not cancel the build any more.
const PATIENT: u32 = 2;
/// From so many builds in a row on, the next build for the source waits, longer each time.
const SLOWER: u32 = 4;
/// A source that a build script seems to have written waits so long for a build of its own: there is no
/// hurry until the writer is known.
const SUSPECT: Duration = Duration::from_secs(2);
/// How much the time from a build script's start to its write may differ between runs.
const JITTER: Duration = Duration::from_millis(100);

/// After so many builds in a row for guesses that changed during a build or a start, whatever changes
/// meanwhile is own writing. Before that, the user may have saved another file just then.
const CERTAIN: usize = 2;
/// More than so many builds for guesses alone within this time are not caused by people.
const HASTY: usize = 3;
/// After so many, it does not matter any more for which.
const OVERHASTY: usize = 6;
const HASTE: Duration = Duration::from_secs(8);
/// After a guess was written at two starts in a row, a further write within this time shows that the app
/// writes it all the time.
const GOES_ON: Duration = Duration::from_secs(2);
/// A place that the app writes to all the time is quiet until it was not written to for so long.
const QUIET: Duration = Duration::from_secs(10);

/// A guess that changed during a build or a start.
#[derive(Clone, Debug)]
struct Held {
    /// What would be silent for it.
    place: PathBuf,
    /// It was not there before.
    is_new: bool,
}

/// How many builds in a row wrote a source.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Streak {
    times: u32,
    /// The content in the end.
    content: Content,
    /// How many of them in a row, at the end, left the same bytes.
    same: u32,
    /// How many of them in a row, at the end, wrote while a build script ran, and how long after its
    /// start.
    scripted: Option<(u32, Duration)>,
}

impl Streak {
    /// The streak after one more write.
    fn next(known: Option<Self>, written: &Written) -> Self {
        let content = written.now;
        let (times, before, scripted) = match known {
            Some(known) => (known.times, (known.same, known.content), known.scripted),
            None => (0, (0, content), None),
        };
        let same = match (written.start == Some(content), before) {
            (true, (times, before)) if before == content => times + 1,
            (same, _) => u32::from(same),
        };
        let scripted = written.script.map(|at| match scripted {
            Some((times, before)) if is_about(at, before) => (times + 1, at),
            _ => (1, at),
        });
        Self {
            times: times + 1,
            content,
            same,
            scripted,
        }
    }
}

/// A file or directory that is quiet for a while: the app writes to it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Quiet {
    place: PathBuf,
    until: Moment,
}

/// A source that was written during a build.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    /// The content with which the build began; `None`: unknown.
    start: Option<Content>,
    now: Content,
    script: Option<Duration>,
}

impl Written {
    fn is_new(&self) -> bool {
        matches!(self.start, None | Some(Content::Missing))
    }
}

/// What a finished build has written to its own sources.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Sources that have the same bytes as before the build, and may have had others in between.
    pub(super) rewritten: Vec<(PathBuf, Content)>,
    /// Sources that have other bytes than before: which of them the build has read is not known.
    pub(super) changed: Vec<PathBuf>,
    /// Sources that are known to be the builds' own writing.
    pub(super) own: Vec<PathBuf>,
    /// How long the next build waits, if it is for such sources alone.
    pub(super) wait: Duration,
}

/// What was learned so far.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnWriting {
    /// Sources that changed during the running build.
    during: BTreeMap<PathBuf, Written>,
    /// Sources that changed during each of the last builds.
    streaks: BTreeMap<PathBuf, Streak>,
    /// Sources that are the builds' own writing.
    of_builds: BTreeSet<PathBuf>,
    /// Those of which the next build has to show it once more: the user may have saved them at just the
    /// moments at which a build would have written them.
    unproved: BTreeSet<PathBuf>,
    /// Guesses that changed during a build or a start, and the place that would be silent for each.
    held: BTreeMap<PathBuf, Held>,
    /// Places that generations write to when they start.
    of_starts: BTreeSet<PathBuf>,
    /// Paths to be built for once, though they may be own writing.
    once: BTreeSet<PathBuf>,
    /// What the last builds were for, in a row, each for such paths alone.
    suspects: Vec<Vec<PathBuf>>,
    /// When the last builds for guesses alone began, and for which.
    hasty: VecDeque<(Moment, Vec<PathBuf>)>,
    quiet: Vec<Quiet>,
    told: BTreeSet<PathBuf>,
    news: Vec<(PathBuf, Writer)>,
}

impl OwnWriting {
    // ---- sources

    /// A source was written during a build. Returns whether the build is to be cancelled if the content
    /// differs.
    pub(super) fn source_during_build(&mut self, change: &Change) -> bool {
        let path = &change.path;
        let written = self.during.entry(path.clone()).or_insert(Written {
            start: change.before,
            now: change.now,
            script: None,
        });
        written.now = change.now;
        written.script = change.script.or(written.script);
        let times = self.streaks.get(path).map_or(0, |streak| streak.times);
        let is_scripted = written.script.is_some() && (times > 0 || written.is_new());
        // If the content at the beginning is unknown, the build may well have begun with this one.
        written.start.is_some() && times < PATIENT && !is_scripted && !self.of_builds.contains(path)
    }

    /// The running build is over: judges all that was written during it.
    pub(super) fn build_is_over(&mut self, cancelled: bool) -> Verdict {
        let during = std::mem::take(&mut self.during);
        let mut verdict = Verdict::default();
        // A cancelled build may not have come far enough to write.
        self.streaks
            .retain(|path, _| cancelled || during.contains_key(path));
        if !cancelled {
            for path in std::mem::take(&mut self.unproved) {
                if during.contains_key(&path) {
                    self.tell(path, Writer::Build);
                } else {
                    self.of_builds.remove(&path);
                }
            }
        }
        for (path, written) in during {
            if self.of_builds.contains(&path) {
                verdict.own.push(path);
                continue;
            }
            if !cancelled && written.start != Some(written.now) {
                verdict.changed.push(path.clone());
            }
            let streak = Streak::next(self.streaks.remove(&path), &written);
            let scripted = streak.scripted.map_or(0, |(times, _)| times);
            if streak.times >= ALWAYS || scripted >= SCRIPTED {
                verdict.wait = verdict.wait.max(SUSPECT);
                self.once.insert(path.clone());
                self.unproved.insert(path.clone());
                self.of_builds.insert(path);
                continue;
            }
            if !cancelled && streak.same < SAME {
                let suspect = written.script.is_some() && (streak.times > 1 || written.is_new());
                let wait = if suspect { SUSPECT } else { Duration::ZERO };
                verdict.wait = verdict.wait.max(slow_down(streak.times)).max(wait);
                self.once.insert(path.clone());
                if written.start == Some(written.now) {
                    verdict.rewritten.push((path.clone(), written.now));
                }
            }
            self.streaks.insert(path, streak);
        }
        verdict
    }

    /// A source changed while no build ran: the user, or git, has written it.
    pub(super) fn source_changed(&mut self, path: &Path) {
        self.of_builds.remove(path);
        self.once.remove(path);
    }

    // ---- guesses

    /// A guess changed during a build or a start.
    pub(super) fn guess_meanwhile(&mut self, change: &Change) {
        let place = place(change);
        let known = [&change.path, &place].map(|at| self.of_starts.contains(at));
        if !known.contains(&true) {
            let is_new = is_new(change);
            self.held
                .insert(change.path.clone(), Held { place, is_new });
        }
    }

    /// A guess changed while nothing was built or started. Returns whether that is a reason to build.
    pub(super) fn guess_changed(&mut self, now: Moment, change: &Change) -> bool {
        let place = place(change);
        self.of_starts
            .retain(|place| !change.path.starts_with(place));
        self.quiet.retain(|quiet| quiet.until > now);
        let covers = |quiet: &&mut Quiet| change.path.starts_with(&quiet.place);
        if let Some(quiet) = self.quiet.iter_mut().find(covers) {
            quiet.until = quiet.until.max(now + QUIET);
            return false;
        }
        let is_recent = |at: Moment| now.saturating_sub(at) < HASTE;
        let recent = self.hasty.iter().filter(|(at, _)| is_recent(*at));
        let mut causes = recent.clone().flat_map(|(_, paths)| paths);
        let builds = recent.count();
        let is_among =
            builds >= HASTY && causes.any(|cause| is_alike(&change.path, is_new(change), cause));
        if is_among || builds >= OVERHASTY {
            self.quiet.push(Quiet {
                place: place.clone(),
                until: now + QUIET,
            });
            self.tell(place, Writer::App);
            return false;
        }
        true
    }

    /// A process of the app has this path open for writing.
    pub(super) fn app_writes(&mut self, path: &Path) {
        self.quiet.push(Quiet {
            place: path.to_owned(),
            until: Moment::MAX,
        });
        self.tell(path.to_owned(), Writer::App);
    }

    /// Changes of this guess are no reason to build at present.
    pub(super) fn is_silent(&self, now: Moment, path: &Path) -> bool {
        let quiet = |quiet: &Quiet| path.starts_with(&quiet.place) && quiet.until > now;
        let started = |place: &PathBuf| path.starts_with(place);
        self.held.contains_key(path)
            || self.quiet.iter().any(quiet)
            || self.of_starts.iter().any(started)
    }

    /// Nothing is built or started any more: what changed meanwhile is built for once. Returns whether
    /// there is anything to build.
    pub(super) fn settle(&mut self, now: Moment) -> bool {
        let held = std::mem::take(&mut self.held);
        if held.is_empty() {
            return false;
        }
        let is_sure = self.suspects.len() >= CERTAIN;
        for (path, Held { place, is_new }) in held {
            let again = |suspect: &PathBuf| is_alike(&path, is_new, suspect);
            if !is_sure && !self.suspects.iter().flatten().any(again) {
                self.once.insert(path);
                continue;
            }
            self.of_starts.insert(place.clone());
            // A write that follows soon shows that the app writes there all the time.
            self.quiet.push(Quiet {
                place: place.clone(),
                until: now + GOES_ON,
            });
            self.tell(place, Writer::Start);
        }
        !self.once.is_empty()
    }

    // ---- both

    /// A build begins, with these changed paths. `asked`: there is another reason as well; `guesses`:
    /// all paths are guesses.
    pub(super) fn build_begins(
        &mut self,
        now: Moment,
        paths: &[PathBuf],
        asked: bool,
        guesses: bool,
    ) {
        self.during.clear();
        let is_for_own = !asked && self.is_for_own(paths);
        if !is_for_own {
            self.suspects.clear();
        } else if guesses {
            // One for a source says nothing of guesses: the user may have touched it during the last build.
            self.suspects.push(paths.to_vec());
        }
        self.once.clear();
        if guesses && !asked && !is_for_own {
            self.hasty.push_back((now, paths.to_vec()));
            if self.hasty.len() > OVERHASTY {
                self.hasty.pop_front();
            }
        }
    }

    /// All of these paths are to be built for once, though they may be own writing.
    pub(super) fn is_for_own(&self, paths: &[PathBuf]) -> bool {
        !paths.is_empty() && paths.iter().all(|path| self.once.contains(path))
    }

    /// The user asks for a build: what was quiet counts again.
    pub(super) fn forget(&mut self) {
        let told = std::mem::take(&mut self.told);
        *self = Self {
            told,
            during: std::mem::take(&mut self.during),
            ..Self::default()
        };
    }

    fn tell(&mut self, place: PathBuf, writer: Writer) {
        if self.told.insert(place.clone()) {
            self.news.push((place, writer));
        }
    }

    /// The places found to be own writing since the last call, each place once.
    pub(super) fn news(&mut self) -> Vec<(PathBuf, Writer)> {
        std::mem::take(&mut self.news)
    }
}

/// The program that has written the other path may have written this one too: it is the same, or a new one
/// in the same directory at the top, in which names are given by a program.
fn is_alike(path: &Path, is_new: bool, other: &Path) -> bool {
    let top = |path: &Path| {
        let mut parts = path.components();
        let first = parts.next().map(|first| first.as_os_str().to_owned());
        parts.next().and(first)
    };
    path == other || is_new && top(path) == top(other)
}

fn is_new(change: &Change) -> bool {
    matches!(change.before, None | Some(Content::Missing))
}

/// The place that would be silent for this change: the path, or its directory where the file is new.
fn place(change: &Change) -> PathBuf {
    match change.path.parent() {
        Some(dir) if is_new(change) && !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => change.path.clone(),
    }
}

fn is_about(at: Duration, before: Duration) -> bool {
    at.abs_diff(before) <= JITTER.max(before / 10)
}

fn slow_down(times: u32) -> Duration {
    match times.checked_sub(SLOWER) {
        Some(more) => Duration::from_secs(1 << more.min(5)),
        None => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{ChangeKind, Save};
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const S: fn(u64) -> Duration = Duration::from_secs;

    /// These bytes take the place of those before; 0: there is no file.
    fn change(path: &str, before: u64, now: u64) -> Change {
        let content = |number| match number {
            0 => Content::Missing,
            number => Content::Digest(number),
        };
        Change {
            path: path.into(),
            kind: ChangeKind::Guess,
            before: Some(content(before)),
            now: content(now),
            save: Save::Unknown,
            script: None,
        }
    }

    /// A build that writes `src/gen.rs`, perhaps from a build script, so long after its start.
    fn build(own: &mut OwnWriting, before: u64, now: u64, script: Option<u64>) -> Verdict {
        own.build_begins(Moment::ZERO, &[], false, false);
        own.source_during_build(&Change {
            script: script.map(MS),
            ..change("src/gen.rs", before, now)
        });
        own.build_is_over(false)
    }

    #[test]
    fn the_same_bytes_as_before_are_no_sign_if_they_were_others_each_time() {
        let mut own = OwnWriting::default();
        for bytes in 1..4 {
            let verdict = build(&mut own, bytes, bytes, None);
            let path = PathBuf::from("src/gen.rs");
            let rewritten = vec![(path, Content::Digest(bytes))];
            let expected = Verdict {
                rewritten,
                ..Verdict::default()
            };
            assert_eq!(verdict, expected);
        }
        let verdict = build(&mut own, 3, 3, None);
        assert_eq!(verdict, Verdict::default());
    }

    #[test]
    fn what_a_cancelled_build_wrote_has_not_changed_what_it_was_built_from() {
        let mut own = OwnWriting::default();
        own.source_during_build(&change("src/gen.rs", 1, 2));
        assert_eq!(own.build_is_over(true), Verdict::default());
    }

    #[test]
    fn a_script_writes_about_as_long_after_its_start_each_time() {
        let path = vec![PathBuf::from("src/gen.rs")];
        let mut own = OwnWriting::default();
        for (bytes, at) in (1..).zip([20, 1000, 20, 1000]) {
            let verdict = build(&mut own, bytes, bytes + 1, Some(at));
            assert_eq!((verdict.own, verdict.changed), (Vec::new(), path.clone()));
        }
        let mut own = OwnWriting::default();
        for (bytes, at) in (1..).zip([20, 30, 40]) {
            let verdict = build(&mut own, bytes, bytes + 1, Some(at));
            // Once may be a save of the user.
            let wait = if bytes == 1 { Duration::ZERO } else { SUSPECT };
            assert_eq!((verdict.own, verdict.wait), (Vec::new(), wait));
        }
        assert_eq!(build(&mut own, 4, 5, Some(30)).own, path);
        assert!(is_about(MS(120), MS(20)) && !is_about(MS(121), MS(20)));
        assert!(!is_about(MS(220), MS(20)) && !is_about(MS(20), MS(220)));
        assert!(is_about(MS(2200), MS(2000)) && !is_about(MS(2201), MS(2000)));
    }

    #[test]
    fn a_place_is_quiet_until_its_time_is_over() {
        let mut own = OwnWriting::default();
        own.quiet.push(Quiet {
            place: "data".into(),
            until: S(10),
        });
        let path = Path::new("data/a.db");
        assert!(own.is_silent(S(9), path) && !own.is_silent(S(10), path));
        assert!(own.guess_changed(S(10), &change("data/a.db", 1, 2)));
    }

    #[test]
    fn builds_for_guesses_alone_are_hasty_when_they_follow_each_other_closely() {
        let again = |asked, guesses, now| {
            let mut own = OwnWriting::default();
            for _ in 0..HASTY {
                own.build_begins(Moment::ZERO, &["a.db".into()], asked, guesses);
            }
            own.guess_changed(now, &change("a.db", 1, 2))
        };
        assert!(!again(false, true, MS(7999)));
        assert!(again(false, true, HASTE));
        assert!(again(true, true, S(1)) && again(false, false, S(1)));
        // Of so many, each may be for another file.
        let mut own = OwnWriting::default();
        let files = ["a/1", "b/1", "c/1", "d/1", "e/1", "f/1"];
        for (at, file) in (0..).zip(files) {
            assert!(own.guess_changed(S(at), &change(file, 1, 2)));
            own.build_begins(S(at), &[file.into()], false, true);
        }
        assert!(!own.guess_changed(S(6), &change("g/1", 1, 2)));
        own.build_begins(S(6), &["g/1".into()], false, true);
        assert_eq!(own.hasty.len(), OVERHASTY);
    }

    /// Two builds in a row for guesses show that something writes whenever it is built. One for a source that was
    /// touched during a build does not.
    #[test]
    fn a_source_that_was_touched_during_a_build_is_no_sign_of_guesses() {
        let silenced = |second: &str, guesses: bool| {
            let mut own = OwnWriting::default();
            own.once.insert("openapi.json".into());
            own.build_begins(Moment::ZERO, &["openapi.json".into()], false, true);
            own.once.insert(second.into());
            own.build_begins(S(1), &[second.into()], false, guesses);
            own.guess_meanwhile(&change("page.html", 1, 2));
            own.settle(S(2));
            own.of_starts.contains(Path::new("page.html"))
        };
        assert!(silenced("openapi.json", true));
        assert!(!silenced("src/lib.rs", false));
    }

    #[test]
    fn who_asks_for_a_build_does_not_undo_what_was_written_during_this_one() {
        let mut own = OwnWriting::default();
        own.source_during_build(&change("src/a.rs", 1, 2));
        own.forget();
        let verdict = own.build_is_over(false);
        assert_eq!(verdict.changed, [PathBuf::from("src/a.rs")]);
    }

    #[test]
    fn a_program_gives_names_below_one_directory() {
        let is_alike = |path, is_new, other| is_alike(Path::new(path), is_new, Path::new(other));
        assert!(is_alike("data/a", false, "data/a"));
        assert!(is_alike("data/b/c", true, "data/a"));
        assert!(!is_alike("data/b", false, "data/a"));
        assert!(!is_alike("docs/b", true, "data/a"));
        assert_eq!(place(&change("data/a", 0, 1)), Path::new("data"));
        assert_eq!(place(&change("data/a", 1, 2)), Path::new("data/a"));
        assert_eq!(place(&change("a", 0, 1)), Path::new("a"));
    }
}
