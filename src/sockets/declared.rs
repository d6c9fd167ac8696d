//! How the held set follows the declared addresses: at the start, and when the configuration changes.

use std::io;
use std::sync::Arc;

use super::address::Address;
use super::captured::Captured;
use super::held::{Declared, Held, HeldSet, Released};
use super::open::{How, NotHeld, open};
use super::spec::Spec;
use super::steering::Steering;
use super::twins::Sockets;
use super::unix_twins::Paths;
use crate::session::slots::Slot;
use crate::sys;
use crate::sys::sockets::{share_address, shares_address};

/// How often to choose another port when one that was free for IPv4 is taken for IPv6.
const TRIES: usize = 16;

/// A socket that a declaration asks for.
#[derive(Debug)]
struct Wanted {
    name: Option<String>,
    declared: Declared,
    /// The inode of the open socket that serves it.
    kept: Option<u64>,
}

impl HeldSet {
    /// Holds what is declared, and tells whether that changed anything. A socket whose declaration is
    /// still there stays open, with the port that was chosen for it; others are opened or released.
    /// Inherited sockets stay, and come first.
    ///
    /// On failure the set is as before. `steering`: how clients are sent to one slot alone from now on.
    pub fn adapt(&mut self, specs: &[Spec], steering: Steering) -> Result<bool, NotHeld> {
        let steered = self.active;
        let mut groups: Vec<Vec<Wanted>> =
            specs.iter().map(|spec| self.wanted(spec, specs)).collect();
        let returning: Vec<Held> = self.released.iter().filter_map(Released::held).collect();
        let there: Vec<&Held> = self.iter().chain(&returning).collect();
        keep(&there, &mut groups, steering);
        let kept: Vec<u64> = groups.iter().flatten().filter_map(|one| one.kept).collect();
        // Captured addresses stay, unless they overlap with a declared one.
        let is_captured = |held: &&Held| self.captured.iter().any(|one| id(&one.held) == id(held));
        let is_outgoing = |held: &&Held| {
            let stays =
                held.declared.is_none() || (is_captured(held) && !overlaps_wanted(held, &groups));
            !stays && !kept.contains(&id(held))
        };
        let outgoing: Vec<&Held> = there.iter().copied().filter(is_outgoing).collect();
        let opened: Result<Vec<_>, NotHeld> = beside(&outgoing, || {
            let groups = groups.iter();
            groups
                .map(|group| self.open_group(group, &there, &outgoing, steering))
                .collect()
        });
        let published = opened.and_then(|mut opened| {
            for held in opened.iter_mut().flatten().flatten() {
                held.publish(steered)
                    .map_err(|error| NotHeld::new(&held.address, error))?;
            }
            Ok(opened)
        });
        // One that was published before another one failed has replaced a held path.
        let published = published.inspect_err(|_| self.restore_paths());
        let opened = published.map_err(|refusal| {
            let stays = self.iter().filter(|held| !is_outgoing(held));
            let mut crossed = stays.filter(|held| held.overlaps_with(&refusal.address));
            let beside = crossed.next().map(|held| held.address.clone());
            NotHeld { beside, ..refusal }
        })?;
        // Nothing below can fail: before this, nothing has changed.
        let changed = self.replace(groups, opened, returning);
        self.steering = steering;
        if steering == Steering::Kernel {
            self.pair_inherited();
        }
        self.change_fronts();
        // A socket that was released and comes back may be steered to the slot active back then.
        self.steer().ok();
        Ok(changed)
    }

    /// Opens a second slot's socket for the inherited addresses, where possible.
    fn pair_inherited(&mut self) {
        for held in &mut self.sockets {
            if held.address.tcp().is_some()
                && let Sockets::Shared(socket, None) = &held.sockets
                && held.declared.is_none()
                // Its creator may have other sockets in its `SO_REUSEPORT` group.
                && !shares_address(socket).unwrap_or(true)
            {
                // An error leaves it as it is.
                held.adopt(Sockets::pair(socket.clone(), self.active)).ok();
            }
        }
    }

    /// The sockets that a declaration asks for, without those that hotrun has inherited.
    fn wanted(&self, spec: &Spec, all: &[Spec]) -> Vec<Wanted> {
        let is_inherited = |address: &Address| {
            self.given()
                .any(|held| held.declared.is_none() && held.address == *address)
        };
        let spans_another = |address: &Address| {
            let mut others = all.iter().flat_map(|spec| &spec.addresses);
            others.any(|other| address.spans(other))
        };
        let wanted = |address: &Address| Wanted {
            name: spec.name.clone(),
            declared: Declared {
                address: address.clone(),
                only_v6: spans_another(address),
                nonblocking: spec.nonblocking,
            },
            kept: None,
        };
        let addresses = spec.addresses.iter();
        addresses
            .filter(|address| !is_inherited(address))
            .map(wanted)
            .collect()
    }

    /// Replaces the old set with the new one; whether they differ.
    fn replace(
        &mut self,
        groups: Vec<Vec<Wanted>>,
        opened: Vec<Vec<Option<Held>>>,
        returning: Vec<Held>,
    ) -> bool {
        let now = |set: &Self| -> Vec<_> {
            let nonblocking = |held: &Held| held.declared.as_ref().map(|own| own.nonblocking);
            set.iter()
                .map(|held| (id(held), held.name.clone(), nonblocking(held)))
                .collect()
        };
        let before = now(self);
        let (inherited, mut old): (Vec<_>, Vec<_>) = std::mem::take(&mut self.sockets)
            .into_iter()
            .partition(|held| held.declared.is_none());
        self.sockets = inherited;
        old.extend(returning);
        let stays = |one: &Captured| {
            let wanted = groups.iter().flatten();
            let is_kept = wanted
                .filter_map(|wanted| wanted.kept)
                .any(|kept| kept == id(&one.held));
            !is_kept && !overlaps_wanted(&one.held, &groups)
        };
        let (stay, declared) = std::mem::take(&mut self.captured)
            .into_iter()
            .partition(stays);
        self.captured = stay;
        old.extend(declared.into_iter().map(|one: Captured| one.held));
        let opened = opened.into_iter().flatten();
        for (wanted, opened) in groups.into_iter().flatten().zip(opened) {
            let kept = old.iter().position(|held| Some(id(held)) == wanted.kept);
            let Some(mut held) = kept.map(|at| old.swap_remove(at)).or(opened) else {
                continue;
            };
            let nonblocking = wanted.declared.nonblocking;
            if held
                .declared
                .is_some_and(|own| own.nonblocking != nonblocking)
            {
                for socket in held.sockets.each() {
                    socket.set_nonblocking(nonblocking).ok();
                }
            }
            held.name = wanted.name;
            held.declared = Some(wanted.declared);
            self.sockets.push(held);
        }
        let released = old.into_iter().filter_map(Held::release);
        self.released = released.collect();
        now(self) != before
    }

    /// Opens the sockets of a declaration that are not kept. Those with port 0 all get the same port.
    fn open_group(
        &self,
        group: &[Wanted],
        there: &[&Held],
        outgoing: &[&Held],
        steering: Steering,
    ) -> Result<Vec<Option<Held>>, NotHeld> {
        let mut result = self.try_open_group(group, there, outgoing, steering);
        for _ in 0..TRIES {
            match &result {
                Err(NotHeld { address, error, .. })
                    if address.is_open() && error.kind() == io::ErrorKind::AddrInUse =>
                {
                    result = self.try_open_group(group, there, outgoing, steering);
                }
                _ => break,
            }
        }
        result
    }

    fn try_open_group(
        &self,
        group: &[Wanted],
        there: &[&Held],
        outgoing: &[&Held],
        steering: Steering,
    ) -> Result<Vec<Option<Held>>, NotHeld> {
        let mut opened: Vec<Option<Held>> = Vec::new();
        let mut port = None;
        for wanted in group {
            if wanted.kept.is_some() {
                let kept = there.iter().find(|held| Some(id(held)) == wanted.kept);
                port = port.or(kept.and_then(|held| held.address.internet()));
                opened.push(None);
                continue;
            }
            let chosen = port.map(|address| address.port());
            match self.open_one(wanted, chosen, outgoing, steering) {
                Ok(held) => {
                    port = port.or(held.address.internet());
                    opened.push(Some(held));
                }
                // A machine without IPv6: hold the first address only.
                Err(error) if !opened.is_empty() && is_no_family(&error) => opened.push(None),
                Err(error) => return Err(NotHeld::new(&wanted.declared.address, error)),
            }
        }
        Ok(opened)
    }

    /// Opens a socket, on this port if its own is 0.
    fn open_one(
        &self,
        wanted: &Wanted,
        port: Option<u16>,
        outgoing: &[&Held],
        steering: Steering,
    ) -> io::Result<Held> {
        let declared = &wanted.declared;
        let address = match port {
            Some(port) if declared.address.is_open() => declared.address.with_port(port),
            _ => declared.address.clone(),
        };
        let how = How {
            nonblocking: declared.nonblocking,
            only_v6: declared.only_v6,
            beside: outgoing.iter().any(|old| old.overlaps_with(&address)),
            paired: steering == Steering::Kernel && address.tcp().is_some(),
        };
        let (name, all) = (wanted.name.clone(), Some(declared.clone()));
        let mut reason = None;
        if let (Steering::Kernel | Steering::Relay, Address::Unix(path)) = (steering, &address) {
            match Paths::open(path, how, self.active) {
                Ok(paths) => return Held::new(name, address, all, Sockets::Paths(paths), None),
                Err(error) => reason = Some(error.to_string()),
            }
        }
        let (socket, file) = open(&address, how)?;
        let address = match socket.local_addr()?.as_socket() {
            Some(chosen) => address.with_port(chosen.port()),
            None => address,
        };
        let (front, sockets) = self.behind(Arc::new(socket), &address, how, reason, steering)?;
        Ok(Held::new(name, address, all, sockets, file)?.with_front(front))
    }
}

/// Finds the open socket that serves each wanted one, preferring one of the same name.
fn keep(there: &[&Held], groups: &mut [Vec<Wanted>], steering: Steering) {
    let mut free = there.to_vec();
    for any_name in [false, true] {
        for wanted in groups.iter_mut().flatten() {
            let fits = |held: &&Held| {
                held.serves(&wanted.declared)
                    && !held.differs_from(steering)
                    && (any_name || held.name == wanted.name)
            };
            if wanted.kept.is_none()
                && let Some(found) = free.iter().position(fits)
            {
                wanted.kept = Some(id(free.remove(found)));
            }
        }
    }
}

/// The socket overlaps with a wanted address.
fn overlaps_wanted(held: &Held, groups: &[Vec<Wanted>]) -> bool {
    let mut wanted = groups.iter().flatten();
    wanted.any(|wanted| held.overlaps_with(&wanted.declared.address))
}

/// Identifies a held address.
fn id(held: &Held) -> u64 {
    held.inode(Slot::First)
}

/// Does something that would fail with `EADDRINUSE` while these sockets don't share their ports.
pub(super) fn beside<T>(sockets: &[&Held], act: impl FnOnce() -> T) -> T {
    share_ports(sockets, true);
    let done = act();
    share_ports(sockets, false);
    done
}

/// Sets `SO_REUSEPORT` on these sockets, so that others may bind overlapping addresses if they set it
/// too. Closing a socket does not free its address, since an app keeps its copies until it ends.
fn share_ports(sockets: &[&Held], share: bool) {
    for held in sockets {
        let socket = match (&held.front, &held.sockets) {
            (Some(front), _) => &front.public,
            (None, Sockets::Shared(socket, _)) if held.address.internet().is_some() => socket,
            // The sockets of two slots have it anyway.
            _ => continue,
        };
        share_address(socket, share).ok();
    }
}

fn is_no_family(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || sys::is_unknown_family(error)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
    use std::path::Path;

    use super::*;
    use crate::exit::{ExitKind, Failure};
    use crate::sockets::spec;
    use crate::sys::ABLE;
    use crate::sys::sockets::is_nonblocking;
    use crate::sys::testing::{is_wine, lacks};

    fn specs(texts: &[&str], base: &Path) -> Vec<Spec> {
        let spec = |text: &&str| spec::parse(text, base).unwrap();
        texts.iter().map(spec).collect()
    }

    fn open(texts: &[&str]) -> Result<HeldSet, Failure> {
        let mut set = HeldSet::default();
        set.adapt(&specs(texts, Path::new("/nowhere")), Steering::best())?;
        Ok(set)
    }

    fn ports(set: &HeldSet) -> Vec<u16> {
        let ports = set.iter().filter_map(|held| held.address.internet());
        ports.map(|address| address.port()).collect()
    }

    fn inodes(set: &HeldSet) -> Vec<u64> {
        set.iter().map(id).collect()
    }

    #[test]
    fn both_families_get_the_same_port_and_answer_at_once() {
        let set = open(&["web=:0"]).unwrap();
        let ports = ports(&set);
        assert!(
            ports.iter().all(|port| *port == ports[0] && *port != 0),
            "{ports:?}"
        );
        for held in set.iter() {
            assert_eq!(held.name.as_deref(), Some("web"));
            TcpStream::connect(held.address.tcp().unwrap()).unwrap();
        }
        assert_eq!(set.share(Slot::First).len(), ports.len());
    }

    #[test]
    fn the_process_with_an_address_is_named() {
        if lacks(!is_wine(), "pids in its tables of sockets") {
            return;
        }
        for kind in ["", "udp:"] {
            let first = open(&[&format!("{kind}127.0.0.1:0")]).unwrap();
            let address = first.iter().next().unwrap().address.to_string();
            let failure = open(&[&address]).unwrap_err();
            assert_eq!(failure.kind, ExitKind::InUse);
            let own = format!("{address} is in use by pid {} (", std::process::id());
            assert!(failure.message.starts_with(&own), "{}", failure.message);
        }
    }

    #[test]
    fn every_interface_of_ipv6_serves_ipv4_unless_another_socket_does() {
        let dual = open(&["[::]:0"]).unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, ports(&dual)[0])).unwrap();
        let address = format!("[::]:{}", ports(&dual)[0]);
        drop(dual);
        let both = open(&[&address, &address.replace("[::]", "0.0.0.0")]).unwrap();
        assert_eq!(both.iter().count(), 2);
    }

    #[test]
    fn datagrams_are_held_too() {
        let set = open(&["udp:127.0.0.1:0"]).unwrap();
        let sockets = set.share(Slot::First);
        let mut buffer = [0; 8];
        let udp = UdpSocket::from(sockets[0].try_clone().unwrap());
        // Nonblocking is the default.
        let empty = udp.recv(&mut buffer).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        let to = set.iter().next().unwrap().address.internet().unwrap();
        UdpSocket::bind("127.0.0.1:0")
            .and_then(|client| client.send_to(b"one", to))
            .unwrap();
        assert_eq!(udp.recv(&mut buffer).unwrap(), 3);
    }

    #[test]
    fn what_is_still_declared_stays_the_very_same() {
        let nowhere = Path::new("/nowhere");
        let mut set = open(&["web=127.0.0.1:0", "admin=127.0.0.1:0", "udp::0"]).unwrap();
        let before = inodes(&set);
        let unchanged = specs(&["web=127.0.0.1:0", "admin=127.0.0.1:0", "udp::0"], nowhere);
        assert!(!set.adapt(&unchanged, Steering::best()).unwrap());
        assert_eq!(inodes(&set), before);
        // In another order, each is found by its name; one is new and one is gone.
        let other = specs(
            &["127.0.0.1:0", "admin=127.0.0.1:0", "web=127.0.0.1:0"],
            nowhere,
        );
        assert!(set.adapt(&other, Steering::best()).unwrap());
        assert_eq!(inodes(&set)[1..], [before[1], before[0]]);
        assert!(!before.contains(&inodes(&set)[0]));
        // The port that was chosen is the same address when written down; a new name is a change, but
        // opens no socket.
        let address = set.iter().nth(2).unwrap().address.to_string();
        assert!(
            set.adapt(
                &specs(&[&format!("new={address}")], nowhere),
                Steering::best()
            )
            .unwrap()
        );
        assert_eq!(inodes(&set), [before[0]]);
        let mut blocking = specs(&[&format!("new={address}")], nowhere);
        blocking[0].nonblocking = false;
        assert!(set.adapt(&blocking, Steering::best()).unwrap());
        assert_eq!(inodes(&set), [before[0]]);
        let socket = set.sockets[0].sockets.of(Slot::First);
        assert!(!is_nonblocking(socket).unwrap());
        assert!(set.adapt(&[], Steering::best()).unwrap());
        assert!(set.is_empty());
    }

    #[test]
    fn a_set_that_can_not_be_changed_is_as_it_was() {
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        let taken = format!("udp:{}", other.local_addr().unwrap());
        let mut set = open(&["a=127.0.0.1:0", "udp:127.0.0.1:0"]).unwrap();
        let before = inodes(&set);
        let nowhere = Path::new("/nowhere");
        let broken = specs(&["b=127.0.0.1:0", &taken], nowhere);
        let refused = set.adapt(&broken, Steering::best()).unwrap_err();
        assert_eq!(Failure::from(refused).kind, ExitKind::InUse);
        assert_eq!(inodes(&set), before);
        assert_eq!(set.iter().next().unwrap().name.as_deref(), Some("a"));
    }

    #[test]
    fn what_hotrun_was_started_with_is_named_where_it_is_in_the_way() {
        let mut set = open(&["127.0.0.1:0"]).unwrap();
        set.sockets[0].declared = None;
        let (held, port) = (set.sockets[0].address.to_string(), ports(&set)[0]);
        let wide = specs(&[&format!("0.0.0.0:{port}")], Path::new("/nowhere"));
        let refused = set.adapt(&wide, Steering::best()).unwrap_err();
        let failure = Failure::from(refused);
        assert_eq!(failure.kind, ExitKind::Usage);
        let both = format!("`0.0.0.0:{port}` and `{held}` exclude each other, ");
        assert!(failure.message.starts_with(&both), "{}", failure.message);
        assert_eq!(set.iter().count(), 1);
    }

    /// An app has copies of a released socket until it ends; the address declared in its place may be
    /// narrower or wider.
    #[test]
    fn an_address_can_be_widened_and_narrowed() {
        if lacks(ABLE.twins, "two sockets at one address") {
            return;
        }
        let nowhere = Path::new("/nowhere");
        let all = [Steering::Kernel, Steering::Relay, Steering::None];
        let all = all.map(|steering| ("", steering)).into_iter();
        for (kind, steering) in all.chain([("udp:", Steering::Kernel)]) {
            let mut set = HeldSet::default();
            let first = specs(&[&format!("{kind}127.0.0.1:0")], nowhere);
            set.adapt(&first, steering).unwrap();
            let port = ports(&set)[0];
            for ip in ["0.0.0.0", "[::]", "127.0.0.1"] {
                let _of_app = set.share(Slot::First);
                let other = specs(&[&format!("{kind}{ip}:{port}")], nowhere);
                assert!(set.adapt(&other, steering).unwrap());
            }
            // Then the address is exclusive again.
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let failure = open(&[&format!("{kind}{address}")]).unwrap_err();
            assert_eq!(failure.kind, ExitKind::InUse);
        }
    }

    /// A generation that is still running has the released socket: declared anew, the address gets that
    /// same socket, even if an overlapping one was held in between.
    #[test]
    fn a_released_address_comes_back_as_long_as_a_process_has_it() {
        let nowhere = Path::new("/nowhere");
        for kind in ["", "udp:"] {
            let mut set = open(&[&format!("{kind}127.0.0.1:0")]).unwrap();
            let before = (inodes(&set), ports(&set));
            let of_app = set.share(Slot::First);
            let narrow = specs(&[&format!("{kind}127.0.0.1:{}", before.1[0])], nowhere);
            let wide = specs(&[&format!("{kind}0.0.0.0:{}", before.1[0])], nowhere);
            // Nothing can be bound beside the narrow one where there are no two sockets at one address.
            let between = [&[][..], &wide];
            for between in between.into_iter().take(1 + usize::from(ABLE.twins)) {
                assert!(set.adapt(between, Steering::best()).unwrap());
                assert_ne!(inodes(&set), before.0);
                assert!(set.adapt(&narrow, Steering::best()).unwrap());
                assert_eq!((inodes(&set), ports(&set)), before);
            }
            assert!(set.adapt(&[], Steering::best()).unwrap());
            let old = Arc::downgrade(&of_app[0]);
            drop(of_app);
            // No process has the socket any more, so the address gets a new one.
            assert!(old.upgrade().is_none());
            assert!(set.adapt(&narrow, Steering::best()).unwrap());
            assert_eq!(ports(&set), before.1);
        }
    }
}
