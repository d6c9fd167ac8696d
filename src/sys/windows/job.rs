//! The job that a keeper puts itself into before it starts anything: every process below it is in the job,
//! whatever its parent, and the system ends them all when the keeper has ended.

use std::collections::HashSet;
use std::io;
use std::mem::offset_of;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::sync::OnceLock;

use windows_sys::Win32::Foundation::{ERROR_ALREADY_EXISTS, ERROR_MORE_DATA, GetLastError};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_BASIC_PROCESS_ID_LIST, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
    JobObjectBasicProcessIdList, JobObjectExtendedLimitInformation, OpenJobObjectW,
    QueryInformationJobObject, SetInformationJobObject,
};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

/// The right to ask a job about its processes (`JOB_OBJECT_QUERY`).
const QUERY: u32 = 4;

/// A job.
#[derive(Debug)]
pub(super) struct Job(OwnedHandle);

/// The job of this process, if it is a keeper.
static OWN: OnceLock<Job> = OnceLock::new();

/// The name by which processes of this session find the job of a keeper, ending with a zero.
fn name(keeper: u32) -> Vec<u16> {
    let name = format!("Local\\hotrun-keeper-{keeper}\0");
    name.encode_utf16().collect()
}

impl Job {
    /// A new job that ends its processes when its last handle is closed.
    fn new(name: Option<&[u16]>) -> io::Result<Self> {
        let at = name.map_or(std::ptr::null(), <[u16]>::as_ptr);
        // SAFETY: the name is null or ends with a zero; null security is allowed.
        let handle = unsafe { CreateJobObjectW(std::ptr::null(), at) };
        // SAFETY: reads a value of this thread.
        let error = unsafe { GetLastError() };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just made it, so nothing else owns it.
        let job = Self(unsafe { OwnedHandle::from_raw_handle(handle) });
        if error == ERROR_ALREADY_EXISTS {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        let size = u32::try_from(size_of_val(&limits)).map_err(io::Error::other)?;
        // SAFETY: the call reads `size` bytes of a structure of the kind that the class names.
        let set = unsafe {
            SetInformationJobObject(
                job.0.as_raw_handle(),
                JobObjectExtendedLimitInformation,
                (&raw const limits).cast(),
                size,
            )
        };
        if set == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(job)
    }

    /// The job of this keeper; `None`: it has none, or has ended.
    pub(super) fn of(keeper: u32) -> Option<Self> {
        // SAFETY: the name ends with a zero.
        let handle = unsafe { OpenJobObjectW(QUERY, 0, name(keeper).as_ptr()) };
        if handle.is_null() {
            return None;
        }
        // SAFETY: the call has just opened it, so nothing else owns it.
        Some(Self(unsafe { OwnedHandle::from_raw_handle(handle) }))
    }

    /// The pids of its processes.
    pub(super) fn processes(&self) -> Vec<u32> {
        let mut room = 64;
        loop {
            // As words, which have the alignment of the structure.
            let first = offset_of!(JOBOBJECT_BASIC_PROCESS_ID_LIST, ProcessIdList);
            let words = first / size_of::<usize>() + room;
            let mut buffer = vec![0_usize; words];
            let size = u32::try_from(words * size_of::<usize>()).unwrap_or(u32::MAX);
            let at = buffer.as_mut_ptr();
            // SAFETY: the call writes no more than `size` bytes, which are there.
            let read = unsafe {
                QueryInformationJobObject(
                    self.0.as_raw_handle(),
                    JobObjectBasicProcessIdList,
                    at.cast(),
                    size,
                    std::ptr::null_mut(),
                )
            };
            // SAFETY: reads a value of this thread.
            if read == 0 && unsafe { GetLastError() } == ERROR_MORE_DATA && room < 1 << 20 {
                room *= 4;
                continue;
            }
            // SAFETY: the buffer begins with the structure, aligned as it, and was zeroed.
            let count =
                unsafe { (*at.cast::<JOBOBJECT_BASIC_PROCESS_ID_LIST>()).NumberOfProcessIdsInList };
            let pids = buffer.iter().skip(first / size_of::<usize>());
            let pids = pids.take(count as usize);
            return pids.filter_map(|pid| u32::try_from(*pid).ok()).collect();
        }
    }

    /// This process is in it.
    pub(super) fn has(&self, pid: u32) -> bool {
        self.processes().contains(&pid)
    }
}

/// Puts this process into a job of its own, which it is in until its end.
pub(super) fn join() -> io::Result<()> {
    let name = name(std::process::id());
    // Without the name, which another program may have taken, hotrun sees less of the tree.
    let job = Job::new(Some(&name)).or_else(|_| Job::new(None))?;
    // SAFETY: both handles are open through this call; the second stands for this process.
    let joined = unsafe { AssignProcessToJobObject(job.0.as_raw_handle(), GetCurrentProcess()) };
    if joined == 0 {
        return Err(io::Error::last_os_error());
    }
    // Kept until the end of the process, since closing it would end the process itself.
    OWN.set(job)
        .map_err(|_| io::Error::other("this process has joined its job already"))
}

/// The job of this process, if it is a keeper.
pub(super) fn own() -> Option<&'static Job> {
    OWN.get()
}

/// The processes in the job of this process, without itself; none if it is no keeper.
pub(super) fn others() -> Vec<u32> {
    let own = std::process::id();
    let all = OWN.get().map(Job::processes).unwrap_or_default();
    let all: HashSet<u32> = all.into_iter().filter(|pid| *pid != own).collect();
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_job_knows_its_processes_and_ends_them_when_it_is_closed() {
        let job = Job::new(None).unwrap();
        assert!(job.processes().is_empty() && !job.has(std::process::id()));
        let mut child = Command::new("cmd")
            .args(["/c", "pause"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // SAFETY: both handles are open.
        let added =
            unsafe { AssignProcessToJobObject(job.0.as_raw_handle(), child.as_raw_handle()) };
        assert!(added != 0);
        assert!(job.has(child.id()) && job.processes().contains(&child.id()));
        drop(job);
        child.wait().unwrap();
    }

    #[test]
    fn a_job_is_found_by_its_keeper() {
        let keeper = 0xffff_fff0;
        assert!(Job::of(keeper).is_none());
        let _job = Job::new(Some(&name(keeper))).unwrap();
        assert!(Job::of(keeper).unwrap().processes().is_empty());
        Job::new(Some(&name(keeper))).unwrap_err();
    }
}
