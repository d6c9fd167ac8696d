//! Processes and their trees: a keeper's job, and a snapshot of all processes.

use std::collections::HashSet;
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::PathBuf;
use std::sync::Arc;

use windows_sys::Win32::Foundation::{FILETIME, HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
};
use windows_sys::Win32::System::Threading::{
    GetProcessTimes, OpenProcess, PROCESS_NAME_WIN32, PROCESS_QUERY_LIMITED_INFORMATION,
    PROCESS_SYNCHRONIZE, PROCESS_TERMINATE, QueryFullProcessImageNameW, TerminateProcess,
};

use super::event::is_set;
use super::job::Job;
use super::{Handle, Readable, readable, unsupported};
use crate::sys::FileId;

pub use crate::sys::facts::Handled;

/// The exit status of a process that hotrun ends (`ERROR_PROCESS_ABORTED`), by which it is told apart.
pub(super) const KILLED: u32 = 1067;

/// The longest path, in UTF-16.
const LONGEST_PATH: usize = 32_768;

/// A process.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    handle: OwnedHandle,
}

/// Opens a process to ask about it and to wait for its end.
pub(super) fn open_process(pid: u32) -> io::Result<OwnedHandle> {
    open(pid, PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE)
}

fn open(pid: u32, rights: u32) -> io::Result<OwnedHandle> {
    // SAFETY: numbers only.
    let handle = unsafe { OpenProcess(rights, 0, pid) };
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just opened it, so nothing else owns it.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Ends a process; an error if it is gone.
pub(super) fn terminate(pid: u32) -> io::Result<()> {
    let process = open(pid, PROCESS_TERMINATE)?;
    // SAFETY: the handle is open through this call.
    if unsafe { TerminateProcess(process.as_raw_handle(), KILLED) } == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

impl Process {
    /// The process with this pid.
    pub fn of(pid: u32) -> Option<Self> {
        let handle = open_process(pid).ok()?;
        Some(Self { pid, handle })
    }

    /// This process.
    pub fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The pid of its parent, which may have ended.
    pub fn parent(&self) -> Option<u32> {
        let mut all = snapshot().into_iter();
        all.find(|(pid, _)| *pid == self.pid)
            .map(|(_, parent)| parent)
    }

    /// `None`: Windows has no process groups that can be asked for.
    pub fn group(&self) -> Option<u32> {
        None
    }

    /// `None`: nor sessions of a terminal.
    pub fn session(&self) -> Option<u32> {
        None
    }

    /// When it was started, in units of 100 ns.
    pub fn started(&self) -> u64 {
        let zero = FILETIME::default();
        let [mut created, mut ended, mut kernel, mut user] = [zero; 4];
        // SAFETY: the handle is open through this call, which writes four structures.
        let read = unsafe {
            GetProcessTimes(
                self.handle.as_raw_handle(),
                &raw mut created,
                &raw mut ended,
                &raw mut kernel,
                &raw mut user,
            )
        };
        if read == 0 {
            return u64::MAX;
        }
        u64::from(created.dwHighDateTime) << 32 | u64::from(created.dwLowDateTime)
    }

    /// The name of its program.
    pub fn name(&self) -> Option<String> {
        let path = self.executable()?;
        Some(path.file_stem()?.to_string_lossy().into_owned())
    }

    /// It has not exited.
    pub fn runs(&self) -> bool {
        !is_set(self.handle.as_handle())
    }

    /// `None`: another process's command line can't be asked for.
    pub fn command(&self) -> Option<String> {
        None
    }

    /// Its executable.
    pub fn executable(&self) -> Option<PathBuf> {
        use std::os::windows::ffi::OsStringExt;
        let mut path = vec![0_u16; LONGEST_PATH];
        let mut length = u32::try_from(path.len()).ok()?;
        let (process, at) = (self.handle.as_raw_handle(), path.as_mut_ptr());
        // SAFETY: the call writes no more than `length` units, which are there, and says how many.
        let read =
            unsafe { QueryFullProcessImageNameW(process, PROCESS_NAME_WIN32, at, &raw mut length) };
        let path = path.get(..length as usize).filter(|_| read != 0)?;
        Some(std::ffi::OsString::from_wide(path).into())
    }

    /// The same: the file of a running program is not replaced.
    pub fn executable_as_started(&self) -> Option<PathBuf> {
        self.executable()
    }

    /// `None`: another process's directory can't be asked for.
    pub fn dir(&self) -> Option<PathBuf> {
        None
    }

    /// `false`: another process's variables can't be asked for.
    pub fn has_variables(&self, _variables: &[(&str, &str)]) -> bool {
        false
    }

    /// None: the sockets of another process can't be asked for.
    pub fn sockets(&self) -> impl Iterator<Item = u64> + use<> {
        std::iter::empty()
    }

    /// None: nor its files.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> + use<> {
        std::iter::empty()
    }

    /// None: nor those that it writes to.
    pub fn written(&self) -> impl Iterator<Item = PathBuf> + use<> {
        std::iter::empty()
    }

    /// None: nor those that it has locked.
    pub fn locked(&self) -> Vec<FileId> {
        Vec::new()
    }

    /// `None`: whether it handles Ctrl-C can't be asked for.
    pub fn handled(&self) -> Option<Handled> {
        None
    }

    /// Readable when it has ended.
    pub fn end(&self) -> Option<Readable<Handle>> {
        let handle = self.handle.try_clone().ok()?;
        readable(Arc::new(Handle::Object(handle))).ok()
    }
}

/// The pids of all processes, with those of their parents.
fn snapshot() -> Vec<(u32, u32)> {
    // SAFETY: numbers only.
    let snapshot: HANDLE = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0) };
    if snapshot == INVALID_HANDLE_VALUE {
        return Vec::new();
    }
    // SAFETY: the call has just made it, so nothing else owns it.
    let snapshot = unsafe { OwnedHandle::from_raw_handle(snapshot) };
    let mut entry = PROCESSENTRY32W {
        dwSize: u32::try_from(size_of::<PROCESSENTRY32W>()).unwrap_or_default(),
        ..PROCESSENTRY32W::default()
    };
    let mut all = Vec::new();
    // SAFETY: the handle is open, and the structure says how long it is.
    let mut more = unsafe { Process32FirstW(snapshot.as_raw_handle(), &raw mut entry) };
    while more != 0 {
        all.push((entry.th32ProcessID, entry.th32ParentProcessID));
        // SAFETY: as above.
        more = unsafe { Process32NextW(snapshot.as_raw_handle(), &raw mut entry) };
    }
    all
}

/// All processes of which something can be asked.
pub fn all() -> impl Iterator<Item = Process> {
    snapshot()
        .into_iter()
        .filter_map(|(pid, _)| Process::of(pid))
}

/// The descendants of this process, without itself. Those of a keeper are all processes of its
/// generation, since they are in its job.
pub fn descendants(pid: u32) -> Vec<Process> {
    let found: Vec<u32> = match Job::of(pid) {
        Some(job) => job.processes(),
        None => below(pid, &snapshot()),
    };
    let found = found.into_iter().filter(|found| *found != pid);
    found.filter_map(Process::of).collect()
}

fn below(pid: u32, all: &[(u32, u32)]) -> Vec<u32> {
    let mut found: Vec<u32> = Vec::new();
    let mut open = vec![pid];
    while let Some(parent) = open.pop() {
        let children = all.iter().filter(|(_, of)| *of == parent);
        for (child, _) in children {
            // Pids are reused, so a parent may be younger than its child, or its own ancestor.
            if *child != pid && !found.contains(child) {
                found.push(*child);
                open.push(*child);
            }
        }
    }
    found
}

/// The pids of the children of this process.
pub fn children(pid: u32) -> Vec<u32> {
    let all = snapshot().into_iter();
    all.filter(|(_, parent)| *parent == pid)
        .map(|(child, _)| child)
        .collect()
}

/// None: the sockets of another process can't be asked for.
pub fn sockets_below(_pid: u32) -> HashSet<u64> {
    HashSet::new()
}

/// An error: Windows reparents no process. A keeper's job stands for that.
pub fn adopt_orphans() -> io::Result<()> {
    unsupported()
}

/// A process that has exited needs no reaping.
pub fn reap() {}

/// `None`: which process has a lock can't be asked for.
pub fn lock_holder(_waiting: &[u32]) -> Option<Process> {
    None
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[tokio::test]
    async fn a_process_is_seen_from_its_start_to_its_end() {
        let mut child = Command::new("cmd")
            .args(["/c", "pause"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let process = Process::of(child.id()).unwrap();
        let own = std::process::id();
        assert!(process.runs() && process.parent() == Some(own));
        assert!(children(own).contains(&child.id()));
        assert!(
            descendants(own)
                .iter()
                .any(|found| found.pid() == child.id())
        );
        assert_eq!(process.name().as_deref(), Some("cmd"));
        assert!(Process::own().unwrap().started() <= process.started());
        let end = process.end().unwrap();
        terminate(child.id()).unwrap();
        end.readable().await.unwrap();
        assert!(!process.runs());
        assert_eq!(child.wait().unwrap().code(), Some(1067));
    }

    #[test]
    fn a_tree_has_no_loops() {
        assert_eq!(below(1, &[(2, 1), (3, 2), (1, 3), (4, 9)]), [2, 3]);
    }
}
