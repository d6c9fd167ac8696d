//! The seccomp filter that the app is started under: classic BPF over the number of each system call
//! (`seccomp(2)`). It notifies hotrun of `bind` and `listen`, and, where unix addresses are held, of
//! calls that remove a path; every other call runs. Pure.

use nix::libc;

/// One instruction, as it is sent to the keeper: code, both jumps, constant.
pub type FilterStep = (u16, u8, u8, u32);

// Names and values of linux/filter.h, seccomp.h and audit.h.
const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// The architecture of this machine's native calls (`AUDIT_ARCH_…`). Calls of another architecture have
/// other numbers, and are not caught.
#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;

/// The calls that remove a path.
#[cfg(target_arch = "x86_64")]
const REMOVING: &[libc::c_long] = &[libc::SYS_unlink, libc::SYS_unlinkat];
#[cfg(target_arch = "aarch64")]
const REMOVING: &[libc::c_long] = &[libc::SYS_unlinkat];

/// The filter; `None` on an architecture whose call numbers are not known.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub fn filter(paths: bool) -> Option<Vec<FilterStep>> {
    let mut calls = vec![libc::SYS_bind, libc::SYS_listen];
    if paths {
        // The notification makes each of them nine times as slow.
        calls.extend(REMOVING);
    }
    let count = u8::try_from(calls.len()).unwrap_or_default();
    let mut program = vec![
        (LOAD, 0, 0, ARCHITECTURE),
        (JUMP_IF_EQUAL, 0, count + 1, NATIVE),
        (LOAD, 0, 0, NUMBER),
    ];
    for (left, call) in (0..count).rev().zip(calls) {
        let number = u32::try_from(call).unwrap_or_default();
        program.push((JUMP_IF_EQUAL, left + 1, 0, number));
    }
    program.extend([(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, NOTIFY)]);
    Some(program)
}

/// The filter; `None` on an architecture whose call numbers are not known.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn filter(_paths: bool) -> Option<Vec<FilterStep>> {
    None
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would do with this system call.
    fn run(program: &[FilterStep], architecture: u32, number: u32) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let (code, then, otherwise, k) = program[at];
            at += 1;
            match (code, k) {
                (LOAD, NUMBER) => loaded = number,
                (LOAD, ARCHITECTURE) => loaded = architecture,
                (JUMP_IF_EQUAL, _) => {
                    at += usize::from(if loaded == k { then } else { otherwise });
                }
                (RETURN, _) => return k,
                _ => panic!("instruction {code:#x} of {k:#x}"),
            }
        }
    }

    #[test]
    fn only_these_calls_are_notified_of() {
        for paths in [false, true] {
            let program = filter(paths).unwrap();
            for number in 0..600 {
                let call = libc::c_long::from(number);
                let always = [libc::SYS_bind, libc::SYS_listen].contains(&call);
                let removes = REMOVING.contains(&call);
                let expected = if always || (paths && removes) {
                    NOTIFY
                } else {
                    ALLOW
                };
                assert_eq!(run(&program, NATIVE, number), expected, "{number}");
                // A 32-bit program, whose numbers mean other calls.
                assert_eq!(run(&program, 0x4000_0003, number), ALLOW, "{number}");
            }
        }
    }
}
