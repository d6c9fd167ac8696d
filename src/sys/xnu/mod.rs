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

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests {
    use std::collections::HashSet;

    use super::arguments::StartedWith;
    use super::process_tree::{Listed, below};
    use super::sockets::{Ends, SocketInfo};
    use super::{files, kqueue, signals, sockets};
    use crate::hostile::Target;

    fn number(bytes: &[u8], at: usize) -> u32 {
        super::u32_at(bytes, at).unwrap()
    }

    pub(crate) fn any_arguments_are_read_or_cut_off() -> Target {
        let corpus = [
            &b"\x03\0\0\0/bin/app\0\0\0\0\0app\0\0-v\0KEY=a b\0EMPTY=\0\0ptr_munge=\0"[..],
            b"\x01\0\0\0/bin/ls\0\0ls\0",
        ];
        Target::bytes(&corpus, 1, |bytes| {
            let Some(found) = StartedWith::read(bytes) else {
                return;
            };
            let all = || found.arguments.iter().chain(&found.variables);
            assert!(all().map(|text| text.len() + 1).sum::<usize>() <= bytes.len());
            assert!(all().all(|text| !text.contains(&0)));
            let count = usize::try_from(number(bytes, 0)).unwrap();
            assert_eq!(count, found.arguments.len());
        })
    }

    pub(crate) fn any_structures_are_read_or_cut_off() -> Target {
        let mut tcp = vec![0; sockets::LENGTH];
        // Its kind, options and family; the version and the length of a path.
        for (at, byte) in [
            (256, 2),
            (188, 2),
            (184, 30),
            (264 + 24, 2),
            (264 + 16, 106),
        ] {
            tcp[at] = byte;
        }
        let mut unix = tcp.clone();
        unix[256] = 3;
        let file = [&[3; 176][..], b"/tmp/a\0", &[b'x'; 1024]].concat();
        let event = [&[0xff; 16][..], &[0; 200]].concat();
        let process = vec![0xff; signals::LENGTH];
        Target::bytes(&[&tcp, &unix, &file, &event, &process], 5, |bytes| {
            let socket = SocketInfo::read(bytes).map(|socket| socket.ends);
            if let Some(Ends::Unix { path, .. }) = socket {
                assert!(path.len() <= 104 && !path.contains(&0));
            }
            if let Some(file) = files::open_file(bytes) {
                assert!(!file.path.is_empty() && file.path.len() <= 1024);
            }
            assert!(kqueue::watched(bytes).count() <= bytes.len() / kqueue::LENGTH);
            let handled = signals::handled(bytes);
            assert_eq!(handled.is_some(), bytes.len() == signals::LENGTH);
        })
    }

    pub(crate) fn any_processes_belong_or_do_not() -> Target {
        let corpus = [
            [
                [12, 11, 11, 10],
                [11, 10, 11, 10],
                [10, 5, 10, 10],
                [0, 0, 0, 10],
            ],
            [
                [11, 12, 11, 11],
                [12, 10, 12, 11],
                [10, 12, 10, 10],
                [1, 0, 1, 1],
            ],
        ];
        let corpus = corpus.map(|all: [[u32; 4]; 4]| {
            let numbers = all.as_flattened().iter();
            numbers
                .flat_map(|number| number.to_ne_bytes())
                .collect::<Vec<u8>>()
        });
        Target::bytes(&[&corpus[0], &corpus[1]], 20, |bytes| {
            let all = bytes.chunks_exact(16).map(|bytes| Listed {
                pid: number(bytes, 0),
                parent: number(bytes, 4),
                group: number(bytes, 8),
                session: number(bytes, 12),
            });
            let all: Vec<Listed> = all.collect();
            let found = below(10, &all);
            let pids: HashSet<u32> = all.iter().map(|process| process.pid).collect();
            let once: HashSet<u32> = found.iter().copied().collect();
            assert_eq!(once.len(), found.len());
            assert!(once.is_subset(&pids) && !once.contains(&10) && !once.contains(&0));
        })
    }
}
