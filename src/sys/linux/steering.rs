//! The program on the `SO_REUSEPORT` group of an address that steers each new connection to a slot:
//! classic BPF, run by the kernel for the first packet (`SO_ATTACH_REUSEPORT_CBPF` of socket(7)). It
//! returns an index: a socket's place in the group, in order of `listen`.

use std::io;
use std::os::fd::AsFd;

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};

/// One instruction, as the kernel has it.
type Instruction = libc::sock_filter;

// Names and values of linux/filter.h.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// The negative offsets at which the kernel offers the protocol of a packet (`SKF_AD_OFF +
/// SKF_AD_PROTOCOL`) and its network header (`SKF_NET_OFF`).
const PROTOCOL: u32 = 0xffff_f000;
const NETWORK: u32 = 0xfff0_0000;

/// The protocol of an IPv4 packet, also of one that arrives at an IPv6 socket.
const IPV4: u32 = 0x0800;

/// The lengths of the IP headers, after which TCP begins with the source port. IPv4 options and IPv6
/// extension headers are not parsed: a probe has none.
const IPV4_HEADER: u32 = 20;
const IPV6_HEADER: u32 = 40;

/// New connections to the group of this socket go to the one at `index`.
pub fn steer_to(socket: &impl AsFd, index: u32) -> io::Result<()> {
    attach(socket, &mut all_to(index))
}

/// New connections from this source port go to the one at `probed`, all others to the one at `others`.
pub fn steer_port(socket: &impl AsFd, port: u16, probed: u32, others: u32) -> io::Result<()> {
    attach(socket, &mut from_port(port, probed, others))
}

/// Attaches this program to the `SO_REUSEPORT` group of a socket (`SO_ATTACH_REUSEPORT_CBPF` of
/// socket(7)), in place of the one before; it steers new connections from then on. Needs no privilege.
fn attach(socket: &impl AsFd, program: &mut [Instruction]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_mut_ptr(),
    };
    setsockopt(socket, sockopt::AttachReusePortCbpf, &program)?;
    Ok(())
}

/// Every connection goes to the socket at `index`.
fn all_to(index: u32) -> Vec<Instruction> {
    vec![step(RETURN, index)]
}

/// A connection from this source port goes to `probed`, every other one to `others`.
fn from_port(port: u16, probed: u32, others: u32) -> Vec<Instruction> {
    vec![
        step(LOAD_WORD, PROTOCOL),
        choice(IPV4, 0, 2),
        step(LOAD_HALF, NETWORK + IPV4_HEADER),
        choice(u32::from(port), 2, 3),
        step(LOAD_HALF, NETWORK + IPV6_HEADER),
        choice(u32::from(port), 0, 1),
        step(RETURN, probed),
        step(RETURN, others),
    ]
}

fn step(code: u16, k: u32) -> Instruction {
    Instruction {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// Skips `then` instructions if what was loaded is `k`, else `otherwise`.
fn choice(k: u32, then: u8, otherwise: u8) -> Instruction {
    Instruction {
        code: JUMP_IF_EQUAL,
        jt: then,
        jf: otherwise,
        k,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program returns for a packet of this protocol from this port.
    fn run(program: &[Instruction], protocol: u32, port: u16) -> u32 {
        let header = if protocol == IPV4 { 20 } else { 40 };
        let (mut at, mut loaded) = (0, 0);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1;
            match code {
                LOAD_WORD if k == PROTOCOL => loaded = protocol,
                LOAD_HALF if k == NETWORK + header => loaded = u32::from(port),
                LOAD_HALF => loaded = 0xdead,
                JUMP_IF_EQUAL => at += usize::from(if loaded == k { jt } else { jf }),
                RETURN => return k,
                _ => panic!("instruction {code:#x} of {k:#x}"),
            }
        }
    }

    #[test]
    fn one_port_is_told_from_all_others_in_both_families() {
        let program = from_port(4711, 1, 0);
        for protocol in [IPV4, 0x86dd] {
            assert_eq!(run(&program, protocol, 4711), 1);
            for port in [0, 4710, 4712, u16::MAX] {
                assert_eq!(run(&program, protocol, port), 0);
            }
            assert_eq!(run(&all_to(1), protocol, 4711), 1);
        }
    }
}
