//! Which processes belong together, from a list of all.
//!
//! Orphans are reparented to launchd, not to a keeper: they still belong to their process group and their
//! session, whose ids the kernel gives to no other process before both are empty. A process that has begun
//! a session of its own and lost its parent (a double fork) can't be told from any other.

use std::collections::HashSet;

/// A process in the list. One that was not reaped yet is there too, since others may be known by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sys) struct Listed {
    /// Its pid.
    pub(in crate::sys) pid: u32,
    /// Its parent's; a debugger's while that traces it.
    pub(in crate::sys) parent: u32,
    /// Its process group; zero: none any more.
    pub(in crate::sys) group: u32,
    /// Its session; zero: none any more.
    pub(in crate::sys) session: u32,
}

/// The kernel's own pid, which belongs to nothing.
pub(in crate::sys) const KERNEL: u32 = 0;

/// The pids of the processes below this one, without itself; each is listed after one that it was found by.
pub(in crate::sys) fn below(root: u32, all: &[Listed]) -> Vec<u32> {
    let mut found = Vec::new();
    let mut known = HashSet::from([root]);
    loop {
        let before = found.len();
        for process in all.iter().filter(|process| process.pid != KERNEL) {
            // A process of another one's group may be its sibling, as in a pipe of the shell.
            let is_grouped = process.group != root && known.contains(&process.group);
            let belongs =
                known.contains(&process.parent) || known.contains(&process.session) || is_grouped;
            if belongs && known.insert(process.pid) {
                found.push(process.pid);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

/// The pids of those that launchd has taken over.
pub(in crate::sys) fn orphans(all: &[Listed]) -> impl Iterator<Item = u32> {
    const LAUNCHD: u32 = 1;
    let orphans = all.iter().filter(|process| process.parent == LAUNCHD);
    orphans.map(|process| process.pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pid, parent, group and session of each.
    fn list<const N: usize>(all: [[u32; 4]; N]) -> Vec<Listed> {
        let listed = |[pid, parent, group, session]: [u32; 4]| Listed {
            pid,
            parent,
            group,
            session,
        };
        all.map(listed).to_vec()
    }

    #[track_caller]
    fn case<const N: usize>(all: [[u32; 4]; N], expected: &[u32]) {
        assert_eq!(below(10, &list(all)), expected);
    }

    #[test]
    fn children_of_children_belong() {
        case(
            [[12, 11, 11, 10], [11, 10, 11, 10], [10, 5, 10, 10]],
            &[12, 11],
        );
        case(
            [[30, 20, 30, 3], [20, 10, 20, 3], [21, 9, 21, 3]],
            &[20, 30],
        );
    }

    #[test]
    fn an_orphan_is_known_by_its_session() {
        case([[10, 5, 10, 10], [12, 1, 12, 10]], &[12]);
    }

    /// The app has a terminal, and its first process, which was not reaped, has left another behind.
    #[test]
    fn an_orphan_is_known_by_a_session_or_a_group_that_was_begun_below() {
        case([[11, 10, 0, 0], [12, 1, 14, 11]], &[11, 12]);
        case([[11, 10, 0, 0], [12, 1, 11, 9]], &[11, 12]);
    }

    #[test]
    fn others_do_not_belong() {
        // A double fork into a session of its own.
        case([[10, 5, 10, 10], [12, 1, 12, 12]], &[]);
        // `hotrun | tee`: both are in the group of the first.
        case([[10, 5, 10, 5], [11, 5, 10, 5]], &[]);
        case([[10, 5, 10, 5], [5, 1, 5, 5]], &[]);
        // The kernel, which has the session of the process that asks.
        case([[0, 0, 0, 10], [1, 0, 1, 1]], &[]);
    }

    #[test]
    fn a_loop_ends() {
        case(
            [[11, 12, 11, 11], [12, 10, 12, 11], [10, 12, 10, 10]],
            &[12, 11],
        );
    }

    #[test]
    fn orphans_are_those_of_launchd() {
        let all = list([[1, 0, 1, 1], [12, 1, 12, 12], [13, 12, 12, 12]]);
        assert_eq!(orphans(&all).collect::<Vec<_>>(), [12]);
    }
}
