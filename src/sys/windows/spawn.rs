//! What a keeper starts its child with.

use std::io;

use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};

use super::handles::{Handle, own_stdio};

/// The number of the first socket that a program inherits where one does: not on Windows.
pub const FIRST_SOCKET: i32 = 3;

/// Keeps this process's stdin, stdout and stderr from being inherited by its children, which get their own:
/// they were marked for this process. A handle that was leaked besides can't be told from others, and stays.
pub fn close_inherited() {
    for handle in own_stdio() {
        // SAFETY: numbers only; what is not open is an error.
        unsafe { SetHandleInformation(handle, HANDLE_FLAG_INHERIT, 0) };
    }
}

/// The handles of a child.
#[derive(Debug)]
pub struct Descriptors {
    /// Its stdin; `None`: the null device.
    pub stdin: Option<Handle>,
    /// Its stdout.
    pub stdout: Handle,
    /// Its stderr.
    pub stderr: Handle,
    /// The sockets that it is offered, in this order.
    pub sockets: Vec<Handle>,
    /// It is to run in a terminal of its own.
    pub at_terminal: bool,
}

/// A child that was started.
#[derive(Debug)]
pub struct Spawned {
    /// Its pid.
    pub pid: u32,
    /// What answers its system calls: nothing on Windows.
    pub listener: Option<io::Result<Handle>>,
}
