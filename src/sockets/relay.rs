//! Carries stragglers to live: connections that complete on the standby slot when its process is gone or
//! draining. A handshake that began before the switch completes there whenever its client sends the last
//! segment. The bytes are copied both ways, so that no such connection hangs or is reset.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::address::Address;
use crate::defect;
use crate::sys;
use crate::sys::sockets::{has_input, is_nonblocking, listens};

/// Pause after a failure that may pass: live does not accept, or hotrun can't open another descriptor.
const WAIT: Duration = Duration::from_millis(50);

/// One socket of the standby slot.
#[derive(Debug)]
pub struct Standby {
    /// The standby slot's socket.
    pub socket: Arc<Socket>,
    /// The active slot's socket.
    pub live: Arc<Socket>,
    /// The address of both.
    pub address: Address,
    /// The source port of a readiness probe: connections from there must not be answered by live.
    pub probe_port: Option<u16>,
    /// The address at which live is reached, where it is not this one.
    pub forward: Option<SocketAddr>,
}

/// Accepts what arrives on the standby slot, and costs nothing while nothing does. Dropped, it accepts
/// no more; connections already accepted are still carried.
#[derive(Debug)]
pub struct Relay {
    tasks: Vec<JoinHandle<Result<(), String>>>,
}

impl Relay {
    /// Starts to accept on these sockets. `unowned`: no process has them, so that no other accepts there.
    pub fn start(standbys: Vec<Standby>, unowned: bool) -> Self {
        let start = |standby| {
            let take = defect::again("relay", async move || take(&standby, unowned).await);
            defect::spawn("relay", take)
        };
        Self {
            tasks: standbys.into_iter().map(start).collect(),
        }
    }
}

impl Relay {
    /// The relay of a socket has ended, because an app shut the socket down. It may be repaired by now.
    pub fn has_ended(&self) -> bool {
        self.tasks.iter().any(JoinHandle::is_finished)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Carries what is queued on sockets that are being released; later connects are refused.
pub fn take_last(standbys: Vec<Standby>) {
    let take = async move || {
        defect::point("last connections");
        for standby in &standbys {
            while let Ok(Some((client, _))) = accept(&standby.socket, &standby.live, true) {
                start_to_carry(client, standby);
            }
        }
    };
    defect::spawn("last connections", defect::again("last connections", take));
}

/// Runs until the socket does not listen any more, because an app shut it down.
async fn take(standby: &Standby, unowned: bool) {
    defect::point("relay");
    let Ok(socket) = sys::readable(standby.socket.clone()) else {
        return;
    };
    loop {
        let accept = |socket: &Arc<Socket>| accept(socket, &standby.live, unowned);
        match socket.async_io(Interest::READABLE, accept).await {
            // A probe: dropped, and the prober tries again.
            Ok(Some((_, Some(from)))) if standby.probe_port == Some(from.port()) => {}
            Ok(Some((client, _))) => {
                start_to_carry(client, standby);
            }
            Err(error) if sys::is_not_listening(&error) => return,
            // The client is gone, or there are too many descriptors: the next try may succeed.
            Ok(None) | Err(_) => tokio::time::sleep(WAIT).await,
        }
    }
}

/// Accepts the next queued connection, and returns its client's address. `None`: it has to stay queued,
/// because live does not listen, and a connection to live would arrive here again.
///
/// `None` as well where the socket is blocking and a process may accept first: then `accept` would
/// block.
fn accept(
    socket: &Arc<Socket>,
    live: &Arc<Socket>,
    unowned: bool,
) -> io::Result<Option<(Socket, Option<SocketAddr>)>> {
    if !has_input(socket, Duration::ZERO)? {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let returns = unowned || is_nonblocking(socket)?;
    if !returns || !listens(live)? {
        return Ok(None);
    }
    let (client, from) = socket.accept()?;
    Ok(Some((client, from.as_socket())))
}

fn start_to_carry(client: Socket, standby: &Standby) {
    let carried = carry(client, standby.address.clone(), standby.forward);
    defect::spawn("carry", carried);
}

/// Runs until both ends have sent all, or one has reset the connection.
async fn carry(client: Socket, to: Address, forward: Option<SocketAddr>) -> io::Result<()> {
    defect::point("carry");
    client.set_nonblocking(true)?;
    if let Some(path) = to.path() {
        return join(sys::local(client)?, sys::connect_to_any(path).await?).await;
    }
    let client = TcpStream::from_std(client.into())?;
    // The address it came to, which names the interface and family at which live is reached.
    let to = forward.map_or_else(|| client.local_addr(), Ok)?;
    let live = TcpStream::connect(to).await?;
    join(client, live).await
}

async fn join<S: AsyncRead + AsyncWrite + Unpin>(mut client: S, mut live: S) -> io::Result<()> {
    tokio::io::copy_bidirectional(&mut client, &mut live).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::held::HeldSet;
    use super::super::spec;
    use super::super::steering::Steering;
    use super::*;
    use crate::session::slots::Slot;
    use crate::sys::ABLE;
    use crate::sys::testing::{emulation_lacks, lacks};

    /// A set with one address, and that address.
    fn switched(blocking: bool) -> (HeldSet, SocketAddr) {
        let mut set = HeldSet::default();
        let mut spec = spec::parse("127.0.0.1:0", std::path::Path::new("/")).unwrap();
        spec.nonblocking = !blocking;
        set.adapt(&[spec], Steering::Kernel).unwrap();
        let address = set.iter().next().unwrap().address.tcp().unwrap();
        (set, address)
    }

    fn socket(set: &HeldSet, slot: Slot) -> Arc<Socket> {
        set.share(slot).remove(0)
    }

    async fn accept(set: &HeldSet, slot: Slot) -> TcpStream {
        let socket = socket(set, slot);
        socket.set_nonblocking(true).unwrap();
        let socket = sys::readable(socket).unwrap();
        let accept = |socket: &Arc<Socket>| socket.accept();
        let (client, _) = socket.async_io(Interest::READABLE, accept).await.unwrap();
        client.set_nonblocking(true).unwrap();
        TcpStream::from_std(client.into()).unwrap()
    }

    #[tokio::test]
    async fn what_reaches_the_standby_slot_is_carried_to_live() {
        if lacks(ABLE.twins, "two sockets at one address") {
            return;
        }
        for blocking in [false, true] {
            let (mut set, at) = switched(blocking);
            let mut client = TcpStream::connect(at).await.unwrap();
            set.switch(Slot::Second).unwrap();
            let relay = Relay::start(set.standby(Slot::First), true);
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            let mut server = accept(&set, Slot::Second).await;
            // A connection already accepted is still carried.
            drop(relay);
            let mut said = String::new();
            server.read_to_string(&mut said).await.unwrap();
            assert_eq!(said, "question");
            server.write_all(b"answer").await.unwrap();
            drop(server);
            said.clear();
            client.read_to_string(&mut said).await.unwrap();
            assert_eq!(said, "answer");
        }
    }

    /// Only then a new relay accepts on the socket after its repair.
    #[tokio::test]
    async fn a_relay_has_ended_when_its_socket_was_shut_down() {
        if emulation_lacks("choice between two sockets at one address") {
            return;
        }
        if lacks(ABLE.twins, "two sockets at one address") {
            return;
        }
        let (mut set, _) = switched(false);
        set.switch(Slot::Second).unwrap();
        let relay = Relay::start(set.standby(Slot::First), true);
        tokio::task::yield_now().await;
        assert!(!relay.has_ended());
        let idle = socket(&set, Slot::First);
        idle.shutdown(Shutdown::Both).unwrap();
        let ended = async {
            while !relay.has_ended() {
                tokio::task::yield_now().await;
            }
        };
        let limit = Duration::from_secs(10);
        tokio::time::timeout(limit, ended).await.unwrap();
    }

    /// Live would answer the probe in the candidate's place.
    #[tokio::test]
    async fn a_probe_is_not_carried() {
        if emulation_lacks("choice between two sockets at one address") {
            return;
        }
        if lacks(ABLE.twins, "two sockets at one address") {
            return;
        }
        let (mut set, at) = switched(false);
        let from = set.begin_probe(Slot::Second).unwrap();
        let _relay = Relay::start(set.standby(Slot::Second), false);
        let probe_port = tokio::net::TcpSocket::new_v4().unwrap();
        probe_port.set_reuseaddr(true).unwrap();
        probe_port.bind(([0, 0, 0, 0], from).into()).unwrap();
        let mut probe_port = probe_port.connect(at).await.unwrap();
        tokio::select! {
            read = probe_port.read_u8() => assert!(read.is_err(), "{read:?}"),
            _ = accept(&set, Slot::First) => panic!("it was carried to live"),
        }
    }

    /// Live has shut its listener down, so the kernel delivers every connection to the other slot.
    #[tokio::test(start_paused = true)]
    async fn nothing_is_carried_in_a_circle() {
        if emulation_lacks("choice between two sockets at one address") {
            return;
        }
        if lacks(ABLE.twins, "two sockets at one address") {
            return;
        }
        let (mut set, at) = switched(false);
        set.switch(Slot::Second).unwrap();
        let _relay = Relay::start(set.standby(Slot::First), true);
        let live = socket(&set, Slot::Second);
        live.shutdown(Shutdown::Both).unwrap();
        let mut client = TcpStream::connect(at).await.unwrap();
        // The clock is paused, and advances when every task is idle.
        tokio::time::sleep(WAIT * 3).await;
        let idle = socket(&set, Slot::First);
        assert!(
            has_input(&idle, Duration::ZERO).unwrap(),
            "it is not waiting"
        );
        set.repair().unwrap();
        client.write_all(b"question").await.unwrap();
        let mut server = accept(&set, Slot::Second).await;
        let mut said = [0; 8];
        server.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"question");
    }
}
