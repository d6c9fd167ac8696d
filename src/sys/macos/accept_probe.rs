//! Whether a process accepts connections, as far as the kernel shows it: a socket that a kqueue watches, as
//! all asynchronous runtimes do it. A thread that is blocked in `accept`, `poll` or `select` can't be seen, so
//! a process with a socket that no kqueue watches may accept.

use std::collections::{HashMap, HashSet};
use std::io;

use super::proc_info::{self, Kind};
use super::processes::{Process, below};

pub use crate::sys::facts::{Accepts, Seen};

/// `PROC_FLAG_TRACED` of `sys/proc_info.h`.
const TRACED: u32 = 2;

/// Whether one of these processes accepts on one of these sockets.
pub(crate) fn probe(tree: &[Process], ids: &HashSet<u64>) -> Seen {
    let mut found = Seen::default();
    for process in tree {
        probe_process(process.pid(), ids, &mut found);
    }
    found
}

fn probe_process(pid: u32, ids: &HashSet<u64>, found: &mut Seen) {
    let open = match proc_info::descriptors(pid) {
        Ok(open) => open,
        Err(error) => {
            found.unseen |= error.kind() == io::ErrorKind::PermissionDenied;
            return;
        }
    };
    let mut sockets: HashMap<i32, u64> = HashMap::new();
    for open in open.iter().filter(|open| open.kind == Kind::Socket) {
        let Ok(socket) = proc_info::socket(pid, open.number) else {
            continue;
        };
        if ids.contains(&socket.id) {
            sockets.insert(open.number, socket.id);
        }
    }
    if sockets.is_empty() {
        return;
    }
    let queues = open.iter().filter(|open| open.kind == Kind::Kqueue);
    let watched = queues.filter_map(|queue| proc_info::watched(pid, queue.number));
    let watched: HashSet<i32> = watched.flatten().collect();
    for (number, id) in sockets {
        if watched.contains(&number) {
            found.accepting.insert(id);
        } else {
            found.unseen = true;
        }
    }
    found.busy |= proc_info::running_threads(pid) > 0;
}

/// The process of this keeper that a debugger traces. A tracer of the generation's own (a runner that
/// traces the app) does not count.
pub fn traced(keeper: u32) -> Option<i32> {
    let tree = below(keeper);
    tree.iter().copied().find_map(|pid| {
        let process = proc_info::process(pid)?;
        // A debugger is the parent of what it traces.
        let is_own = process.pbi_ppid == keeper || tree.contains(&process.pbi_ppid);
        (process.pbi_flags & TRACED != 0 && !is_own).then_some(pid.cast_signed())
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::sys::sockets::id;

    #[tokio::test]
    async fn a_socket_in_a_kqueue_is_accepted_on() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ids = HashSet::from([id(&listener).unwrap()]);
        let own = [Process::own().unwrap()];
        assert_eq!(probe(&own, &HashSet::new()).accepts(), Accepts::NotYet);
        // A thread may be blocked in `accept`.
        assert_eq!(probe(&own, &ids).accepts(), Accepts::Unseen);
        listener.set_nonblocking(true).unwrap();
        let _listener = tokio::net::TcpListener::from_std(listener).unwrap();
        assert_eq!(probe(&own, &ids).accepting, ids);
    }
}
