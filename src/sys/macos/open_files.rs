//! How many files a process may have open.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::sysctl;

/// The most that a process may have open: of a limit without end, what the kernel has for each process.
pub(super) fn most(hard: u64) -> u64 {
    let kernel = sysctl::number(c"kern.maxfilesperproc").unwrap_or(OPEN_MAX);
    hard.min(kernel)
}

/// `OPEN_MAX` of `sys/syslimits.h`: more may be refused (setrlimit(2)).
const OPEN_MAX: u64 = 10_240;

/// Lets this process have as many files open as it may. What it starts from then on may too, see
/// [`restore_open_files`].
pub fn raise_open_files() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let most = most(hard);
    if soft >= most {
        return Ok(());
    }
    let raise = |to: u64| setrlimit(Resource::RLIMIT_NOFILE, to.max(soft), hard);
    Ok(raise(most).or_else(|_| raise(most.min(OPEN_MAX)))?)
}

/// An error: no process can set another one's limit.
pub fn restore_open_files(_child: u32) -> io::Result<()> {
    super::unsupported()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_it_goes() {
        raise_open_files().unwrap();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert!(soft >= most(hard).min(OPEN_MAX));
    }
}
