//! What the kernel of macOS tells of processes and sockets, read from its bytes: the structures of
//! `sys/proc_info.h` and `sys/sysctl.h`, which no crate has whole. Pure, so that it is tested on every
//! system.

pub(in crate::sys) mod arguments;
pub(in crate::sys) mod files;
pub(in crate::sys) mod kqueue;
pub(in crate::sys) mod process_tree;
pub(in crate::sys) mod signals;
pub(in crate::sys) mod sockets;

/// The bytes of a number at this offset.
fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes_at(bytes, at).map(u64::from_ne_bytes)
}

/// The bytes before the first zero.
fn text(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0);
    &bytes[..end.unwrap_or(bytes.len())]
}
