//! What a process does with signals, from `struct kinfo_proc` (`sysctl` `KERN_PROC_PID`).

use super::u32_at;
use crate::sys::facts::Handled;

/// The length of the structure.
pub(in crate::sys) const LENGTH: usize = 648;

/// `p_sigignore` and `p_sigcatch` of its `struct extern_proc`.
const IGNORED: usize = 232;
const CAUGHT: usize = 236;

/// Reads the structure; `None`: there is no such process.
pub(in crate::sys) fn handled(bytes: &[u8]) -> Option<Handled> {
    if bytes.len() != LENGTH {
        return None;
    }
    Some(Handled {
        caught: u32_at(bytes, CAUGHT)?.into(),
        ignored: u32_at(bytes, IGNORED)?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_bits_from_the_first_on() {
        let mut bytes = vec![0; LENGTH];
        bytes[IGNORED + 1] = 0x10;
        bytes[CAUGHT..][..4].copy_from_slice(&(1_u32 << 14).to_ne_bytes());
        let found = handled(&bytes).unwrap();
        // SIGPIPE and SIGTERM.
        assert!(found.ignores(13) && found.catches(15) && found.is_ended_by(2));
        assert!(handled(&[]).is_none() && handled(&bytes[1..]).is_none());
    }
}
