//! An open file of a process, from `struct vnode_fdinfowithpath` (`PROC_PIDFDVNODEPATHINFO`).

use super::{text, u32_at};

/// The length of the structure.
pub(in crate::sys) const LENGTH: usize = PATH + LONGEST_PATH;

/// `fi_openflags`, and the flag of writing in it (`FWRITE` of `sys/fcntl.h`).
const FLAGS: usize = 0;
const WRITE: u32 = 2;
/// `vip_path`, of `MAXPATHLEN` bytes.
const PATH: usize = 176;
const LONGEST_PATH: usize = 1024;

/// An open file.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::sys) struct OpenFile<'a> {
    /// Its path.
    pub(in crate::sys) path: &'a [u8],
    /// It is open for writing.
    pub(in crate::sys) is_written: bool,
}

/// Reads the structure; `None`: it is cut off, or its path is not known.
pub(in crate::sys) fn open_file(bytes: &[u8]) -> Option<OpenFile<'_>> {
    let path = text(bytes.get(PATH..LENGTH)?);
    let flags = u32_at(bytes, FLAGS)?;
    (!path.is_empty()).then_some(OpenFile {
        path,
        is_written: flags & WRITE != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_path_and_may_be_written() {
        let mut bytes = vec![0; LENGTH];
        assert_eq!(open_file(&bytes), None);
        bytes[PATH..][..10].copy_from_slice(b"/tmp/a b\0x");
        let file = |flags: u32, bytes: &mut Vec<u8>| {
            bytes[..4].copy_from_slice(&flags.to_ne_bytes());
            let found = open_file(bytes).unwrap();
            assert_eq!(found.path, b"/tmp/a b");
            found.is_written
        };
        assert!(!file(1, &mut bytes));
        assert!(file(3, &mut bytes));
        assert_eq!(open_file(&bytes[1..]), None);
    }
}
