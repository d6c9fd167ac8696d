//! The addresses that the sockets of one generation were bound to, by inode: a socket keeps that in
//! every process and under every descriptor. Pure.

use std::collections::{HashMap, VecDeque};

use crate::sockets::address::Address;
use crate::sockets::captured::Written;

/// The most sockets in the table; then the oldest is forgotten, since programs also bind client sockets
/// that never listen.
const MOST: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct BindTable {
    bound: VecDeque<(u64, Written)>,
    counted: HashMap<String, u32>,
    /// Held sockets that were put into this generation's processes: process, descriptor, inode.
    given: Vec<(i32, i32, u64)>,
}

impl BindTable {
    /// A socket is bound.
    pub(super) fn bind(&mut self, inode: u64, address: Address) {
        let number = if address.is_open() {
            let count = self.counted.entry(address.to_string()).or_default();
            *count += 1;
            *count - 1
        } else {
            0
        };
        // The kernel refuses a second bind, so an inode that is known was reused.
        self.bound.retain(|(known, _)| *known != inode);
        if self.bound.len() == MOST {
            self.bound.pop_front();
        }
        self.bound.push_back((inode, Written { address, number }));
    }

    /// A socket of this generation was bound to this address.
    pub(super) fn has_bound(&self, address: &Address) -> bool {
        self.bound
            .iter()
            .any(|(_, written)| written.address == *address)
    }

    /// The address that a socket was bound to.
    pub(super) fn written(&self, inode: u64) -> Option<&Written> {
        let mut found = self.bound.iter().filter(|(known, _)| *known == inode);
        found.next().map(|(_, written)| written)
    }

    /// A held socket has replaced the one behind this descriptor.
    pub(super) fn give(&mut self, process: i32, descriptor: i32, inode: u64) {
        self.given
            .retain(|(known, number, _)| (*known, *number) != (process, descriptor));
        self.given.push((process, descriptor, inode));
    }

    /// How many of the program's descriptors refer to this held socket, of those that it was put under;
    /// `inode_behind` tells the inode behind a descriptor now.
    pub(super) fn open(
        &mut self,
        inode: u64,
        inode_behind: impl Fn(i32, i32) -> Option<u64>,
    ) -> usize {
        self.given
            .retain(|(process, number, given)| inode_behind(*process, *number) == Some(*given));
        let open = self.given.iter().filter(|(_, _, given)| *given == inode);
        open.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> Address {
        Address::Tcp(text.parse().unwrap())
    }

    #[test]
    fn binds_to_port_0_are_numbered_in_their_order() {
        let mut bind_table = BindTable::default();
        for (inode, text) in [
            (1, "127.0.0.1:0"),
            (2, "[::]:0"),
            (3, "127.0.0.1:0"),
            (4, "127.0.0.1:80"),
            (5, "127.0.0.1:80"),
        ] {
            bind_table.bind(inode, tcp(text));
        }
        let numbers = [1, 2, 3, 4, 5].map(|inode| bind_table.written(inode).unwrap().number);
        assert_eq!(numbers, [0, 0, 1, 0, 0]);
        assert_eq!(bind_table.written(6), None);
        assert!(bind_table.has_bound(&tcp("127.0.0.1:80")));
        assert!(!bind_table.has_bound(&tcp("127.0.0.2:80")));
    }

    #[test]
    fn client_sockets_without_end_are_forgotten() {
        let mut bind_table = BindTable::default();
        for inode in 0..MOST as u64 + 10 {
            bind_table.bind(inode, tcp("127.0.0.2:80"));
        }
        assert_eq!(bind_table.bound.len(), MOST);
        assert_eq!(bind_table.written(9), None);
        assert!(bind_table.written(10).is_some());
    }

    #[test]
    fn what_is_closed_may_be_bound_again() {
        let mut bind_table = BindTable::default();
        bind_table.give(7, 3, 100);
        bind_table.give(7, 4, 100);
        assert_eq!(bind_table.open(100, |_, _| Some(100)), 2);
        assert_eq!(bind_table.open(101, |_, _| Some(100)), 0);
        // Descriptor 4 refers to something else by now.
        let inode_behind = |_, number| (number == 3).then_some(100);
        assert_eq!(bind_table.open(100, inode_behind), 1);
        assert_eq!(bind_table.open(100, |_, _| Some(100)), 1);
    }
}
