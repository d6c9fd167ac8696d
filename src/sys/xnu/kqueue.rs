//! What a kqueue of a process watches, from its `struct kevent_extinfo`s (`PROC_PIDFDKQUEUE_EXTINFO`, of
//! `sys/proc_info_private.h`): the kernel has it for `lsof` and the like, and promises nothing.

use super::{bytes_at, u16_at, u32_at, u64_at};

/// The length of one structure: a `struct kevent_qos_s`, and what the kernel keeps beside it.
pub(in crate::sys) const LENGTH: usize = 104;

/// `ident`, `filter` and `flags` of the event, and `kqext_status`.
const IDENT: usize = 0;
const FILTER: usize = 8;
const FLAGS: usize = 10;
const STATUS: usize = 80;
/// `EVFILT_READ` and `EV_DISABLE` (`sys/event.h`), and `KN_DISABLED` (`sys/eventvar.h`).
const READ: i16 = -1;
const DISABLE: u16 = 0x8;
const DISABLED: u32 = 0x4;

/// The descriptors that it watches for something to read, or to accept.
pub(in crate::sys) fn watched(bytes: &[u8]) -> impl Iterator<Item = i32> {
    bytes.chunks_exact(LENGTH).filter_map(|event| {
        let filter = bytes_at(event, FILTER).map(i16::from_ne_bytes)?;
        let is_disabled =
            u16_at(event, FLAGS)? & DISABLE != 0 || u32_at(event, STATUS)? & DISABLED != 0;
        let number = i32::try_from(u64_at(event, IDENT)?).ok()?;
        (filter == READ && !is_disabled).then_some(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(ident: u64, filter: i16, flags: u16, status: u32) -> Vec<u8> {
        let mut event = vec![0; LENGTH];
        event[IDENT..][..8].copy_from_slice(&ident.to_ne_bytes());
        event[FILTER..][..2].copy_from_slice(&filter.to_ne_bytes());
        event[FLAGS..][..2].copy_from_slice(&flags.to_ne_bytes());
        event[STATUS..][..4].copy_from_slice(&status.to_ne_bytes());
        event
    }

    #[test]
    fn only_what_is_watched_for_reading_counts() {
        let all = [
            event(3, READ, 0x21, 0x3),
            // For writing, as mio does it beside.
            event(4, -2, 0x21, 0),
            event(5, READ, DISABLE, 0),
            event(6, READ, 0, DISABLED),
            event(7, READ, 0, 0),
            event(u64::MAX, READ, 0, 0),
        ];
        let mut bytes = all.concat();
        assert_eq!(watched(&bytes).collect::<Vec<_>>(), [3, 7]);
        bytes.truncate(LENGTH * 4 + 10);
        assert_eq!(watched(&bytes).collect::<Vec<_>>(), [3]);
        assert_eq!(watched(&[]).count(), 0);
    }
}
