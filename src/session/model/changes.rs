//! Paths that have changed. A checkout changes thousands of them at once, so none is searched for.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

use super::{Change, ChangeKind, Content};

/// Paths whose content differs from what a build last used, in the order of their first events.
#[derive(Clone, Default)]
pub struct Changes {
    /// By their places in that order.
    changed: BTreeMap<usize, Changed>,
    /// The place of each path.
    places: HashMap<PathBuf, usize>,
}

/// One path of a [`Changes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The path as shown.
    pub path: PathBuf,
    /// What the path is to the program.
    pub kind: ChangeKind,
    /// The content that was used; `None`: unknown.
    pub used: Option<Content>,
    /// The content now.
    pub now: Content,
}

impl Changed {
    /// The content now is not known to be the one that was used.
    pub fn differs(&self) -> bool {
        self.now == Content::Unreadable || self.used != Some(self.now)
    }
}

impl Changes {
    /// Takes in one change. A path that has the used content again is removed.
    pub fn add(&mut self, change: &Change) {
        self.merge(Changed {
            path: change.path.clone(),
            kind: change.kind,
            used: change.before,
            now: change.now,
        });
    }

    /// Takes in a path of which it is not known that the content now was used.
    pub fn add_unused(&mut self, change: &Change) {
        self.merge(Changed {
            path: change.path.clone(),
            kind: change.kind,
            used: None,
            now: change.now,
        });
        self.forget_used(&change.path);
    }

    /// Merges what changed `later`; for a path that is in both, the content used by `self` stays.
    pub fn extend(&mut self, later: Self) {
        for more in later.changed.into_values() {
            self.merge(more);
        }
    }

    fn merge(&mut self, more: Changed) {
        let differs = match self.get_mut(&more.path) {
            Some(known) => {
                known.now = more.now;
                known.kind = more.kind;
                known.differs()
            }
            None if more.differs() => {
                let last = self.changed.last_key_value();
                let place = last.map_or(0, |(place, _)| place + 1);
                self.places.insert(more.path.clone(), place);
                self.changed.insert(place, more);
                return;
            }
            None => return,
        };
        if !differs {
            self.remove(&more.path);
        }
    }

    /// What used this path may have read any of the bytes that it has had since: whatever is there from now
    /// on is a change.
    pub fn forget_used(&mut self, path: &Path) {
        if let Some(known) = self.get_mut(path) {
            known.used = None;
        }
    }

    /// The same for all paths.
    pub fn forget_all_used(&mut self) {
        for known in self.changed.values_mut() {
            known.used = None;
        }
    }

    /// The paths that have another content by now than these say; what was used is not known then.
    #[must_use]
    pub fn taken_back(&self, now: impl Fn(&Path) -> Content) -> Self {
        let mut back = self.clone();
        for known in back.changed.values_mut() {
            known.used = Some(known.now);
            known.now = now(&known.path);
        }
        back.retain(Changed::differs);
        back.forget_all_used();
        back
    }

    /// All paths, with their contents.
    pub fn iter(&self) -> impl Iterator<Item = &Changed> {
        self.changed.values()
    }

    /// There is no path.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }

    /// Removes this path.
    pub fn remove(&mut self, path: &Path) {
        if let Some(place) = self.places.remove(path) {
            self.changed.remove(&place);
        }
    }

    /// Removes the paths that `keep` refuses.
    pub fn retain(&mut self, mut keep: impl FnMut(&Changed) -> bool) {
        self.changed.retain(|_, changed| {
            let stays = keep(changed);
            if !stays {
                self.places.remove(&changed.path);
            }
            stays
        });
    }

    /// The paths without their contents.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.iter().map(|changed| changed.path.clone()).collect()
    }

    /// The entry of this path, if there is one.
    pub fn get(&self, path: &Path) -> Option<&Changed> {
        self.changed.get(self.places.get(path)?)
    }

    fn get_mut(&mut self, path: &Path) -> Option<&mut Changed> {
        self.changed.get_mut(self.places.get(path)?)
    }
}

/// Places don't count, only their order.
impl PartialEq for Changes {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Changes {}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Save;
    use super::*;

    fn changed(path: &str, used: Option<u64>, now: u64) -> Changed {
        Changed {
            path: path.into(),
            kind: ChangeKind::Source,
            used: used.map(Content::Digest),
            now: Content::Digest(now),
        }
    }

    fn changes<const COUNT: usize>(all: [Changed; COUNT]) -> Changes {
        let mut changes = Changes::default();
        for one in all {
            changes.merge(one);
        }
        changes
    }

    #[test]
    fn what_was_used_can_be_forgotten() {
        let mut known = changes([changed("a", Some(1), 2), changed("b", Some(1), 3)]);
        known.forget_used(Path::new("b"));
        known.forget_used(Path::new("c"));
        assert_eq!(
            known,
            changes([changed("a", Some(1), 2), changed("b", None, 3)])
        );
        known.forget_all_used();
        assert_eq!(
            known,
            changes([changed("a", None, 2), changed("b", None, 3)])
        );
    }

    #[test]
    fn what_is_taken_back_has_other_bytes_by_now() {
        let known = changes([changed("a", Some(1), 2), changed("b", Some(1), 3)]);
        let back = known.taken_back(|path| {
            let is_a = path == Path::new("a");
            Content::Digest(if is_a { 1 } else { 3 })
        });
        assert_eq!(back, changes([changed("a", None, 1)]));
    }

    #[test]
    fn paths_stay_in_the_order_of_their_first_events() {
        let mut known = Changes::default();
        let mut take = |path: &str, before, now| {
            known.add(&Change {
                path: path.into(),
                kind: ChangeKind::Source,
                before: Some(Content::Digest(before)),
                now: Content::Digest(now),
                save: Save::Unknown,
                script: None,
            });
            known.paths()
        };
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        take("c", 1, 2);
        take("a", 1, 2);
        take("b", 1, 2);
        assert_eq!(take("c", 2, 3), paths(&["c", "a", "b"]));
        // The same content as the one that was used; then another one anew.
        assert_eq!(take("b", 2, 1), paths(&["c", "a"]));
        assert_eq!(take("c", 3, 1), paths(&["a"]));
        assert_eq!(take("d", 1, 1), paths(&["a"]));
        assert_eq!(take("b", 1, 2), paths(&["a", "b"]));
        assert_eq!(take("c", 1, 4), paths(&["a", "b", "c"]));

        let later = changes([
            changed("d", Some(1), 2),
            changed("b", Some(2), 1),
            changed("a", Some(2), 3),
        ]);
        known.extend(later);
        let all = [
            changed("a", Some(1), 3),
            changed("c", Some(1), 4),
            changed("d", Some(1), 2),
        ];
        assert_eq!(known, changes(all));
        known.retain(|one| one.path != Path::new("c"));
        known.remove(Path::new("a"));
        known.remove(Path::new("a"));
        assert_eq!(known.paths(), paths(&["d"]));
        assert_eq!(known.get(Path::new("c")), None);
        assert_eq!(known.get(Path::new("d")), Some(&changed("d", Some(1), 2)));
    }
}
