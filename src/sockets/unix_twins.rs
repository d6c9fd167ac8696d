//! Two unix sockets behind one path: each slot's listens at a path of its own, and the public path is a
//! hard link to the active slot's. A switch renames another link over it, so that the public path leads
//! to a listening socket at any time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{Socket, Type};

use super::address::{aside, bound_name, hidden};
use super::open::{How, unix_at};
use super::socket_file::{SocketFile, is_stale};
use crate::session::slots::Slot;
use crate::sys::files;

/// Two unix sockets, with their files.
#[derive(Debug)]
pub(super) struct Paths {
    sockets: [Arc<Socket>; 2],
    files: [SocketFile; 2],
    public: PathBuf,
}

impl Paths {
    /// Opens both. Unless another socket of hotrun has the path, which is about to be released, it leads
    /// to this `slot` at once.
    pub(super) fn open(public: &Path, how: How, slot: Slot) -> io::Result<Self> {
        let is_there = public.symlink_metadata().is_ok() && !is_stale(public);
        if is_there && !how.beside {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        sweep(public);
        let (first, first_file) = part(public, how, "1")?;
        let (second, second_file) = part(public, how, "2")?;
        let paths = Self {
            sockets: [first, second],
            files: [first_file, second_file],
            public: public.to_owned(),
        };
        if !how.beside {
            paths.claim(slot)?;
        }
        Ok(paths)
    }

    /// The socket of this slot.
    pub(super) fn at(&self, slot: Slot) -> &Arc<Socket> {
        slot.of(&self.sockets)
    }

    fn file(&self, slot: Slot) -> &SocketFile {
        slot.of(&self.files)
    }

    /// Links the public path for the first time: a file that is there stays, unless it is a stale
    /// socket.
    fn claim(&self, slot: Slot) -> io::Result<()> {
        let link = || fs::hard_link(self.file(slot).path(), &self.public);
        match link() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !is_stale(&self.public) {
                    return Err(io::ErrorKind::AddrInUse.into());
                }
                fs::remove_file(&self.public)?;
                link()
            }
            linked => linked,
        }
    }

    /// New connections go to this slot from now on, even if an app has removed the path, as servers do
    /// that think they own it. A file that is no socket stays.
    pub(super) fn steer(&self, slot: Slot) -> io::Result<()> {
        if self.file(slot).is_at(&self.public) {
            return Ok(());
        }
        let there = self.public.symlink_metadata();
        if there.is_ok_and(|there| !files::is_socket(there.file_type())) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        // The permissions of the public path say which users may connect, and a program may have changed them.
        if let Ok(there) = self.public.symlink_metadata() {
            files::take_rights(self.file(slot).path(), &there);
        }
        let new = bound_name(&self.public);
        fs::remove_file(&new).ok();
        fs::hard_link(self.file(slot).path(), &new)?;
        fs::rename(&new, &self.public)
    }
}

impl Drop for Paths {
    fn drop(&mut self) {
        if self.files.iter().any(|file| file.is_at(&self.public)) {
            fs::remove_file(&self.public).ok();
        }
    }
}

/// Removes what a killed hotrun has left beside the path.
fn sweep(public: &Path) {
    let (dir, hidden) = (public.parent(), hidden(public));
    let is_left = |path: &Path| {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        name.starts_with(hidden.as_encoded_bytes()) && is_stale(path)
    };
    for entry in dir
        .into_iter()
        .filter_map(|dir| fs::read_dir(dir).ok())
        .flatten()
        .flatten()
    {
        if is_left(&entry.path()) {
            fs::remove_file(entry.path()).ok();
        }
    }
}

/// Opens one slot's socket. Its bound path is renamed away at once: a server may unlink the path that
/// `getsockname` reports when it ends.
fn part(public: &Path, how: How, name: &str) -> io::Result<(Arc<Socket>, SocketFile)> {
    let (bound, kept) = (bound_name(public), aside(public, name));
    let socket = unix_at(&bound, Type::STREAM, how)?;
    let mut file = SocketFile::made_for(&kept, &bound)?;
    file.publish()?;
    Ok((Arc::new(socket), file))
}

#[cfg(test)]
mod tests {
    use super::super::held::HeldSet;
    use super::super::spec;
    use super::super::steering::Steering;
    use super::*;
    use crate::sys::ABLE;
    use crate::sys::sockets::connect_unix;
    use crate::sys::testing::lacks;

    #[track_caller]
    fn goes_to(set: &HeldSet, path: &Path, slot: Slot) {
        let _clients = [(); 5].map(|()| connect_unix(path).unwrap());
        let taken = |slot| {
            let socket = set.share(slot).remove(0);
            std::iter::from_fn(|| socket.accept().ok()).count()
        };
        assert_eq!((taken(slot.other()), taken(slot)), (0, 5));
    }

    #[test]
    fn the_path_leads_to_the_active_slot_alone() {
        if lacks(ABLE.unix_sockets, "unix sockets") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let mut set = HeldSet::default();
        let spec = spec::parse("unix:s", dir.path()).unwrap();
        set.adapt(&[spec], Steering::Kernel).unwrap();
        assert!(set.has_twins());
        goes_to(&set, &path, Slot::First);
        for slot in [Slot::Second, Slot::First, Slot::Second] {
            set.switch(slot).unwrap();
            goes_to(&set, &path, slot);
        }
        // A server has removed what it takes for its own.
        fs::remove_file(&path).unwrap();
        set.repair().unwrap();
        goes_to(&set, &path, Slot::Second);
        // Another program has put a file there.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        set.switch(Slot::First).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::remove_file(&path).unwrap();
        set.repair().unwrap();
        goes_to(&set, &path, Slot::First);
        drop(set);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
