//! Connections that reach a twin when its process has gone, or has been told to go: a handshake that
//! was begun before the switch ends there whenever its client comes to it. They are carried over to
//! live, byte for byte, so that nobody waits for ever or is reset.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{SockRef, Socket};
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

use super::address::Address;
use crate::defect;
use crate::sys;

/// Between two looks at what may be over soon: live can't take a connection, or we can't.
const WAIT: Duration = Duration::from_millis(50);

/// One socket that clients are not sent to.
#[derive(Debug)]
pub struct Standby {
    /// It.
    pub socket: Arc<OwnedFd>,
    /// The one that they are sent to instead.
    pub live: Arc<OwnedFd>,
    /// Where both are.
    pub address: Address,
    /// Who comes from this port asks the version that has the socket, and nobody else may answer.
    pub probe_port: Option<u16>,
    /// Another way to live, where this address does not lead there.
    pub forward: Option<SocketAddr>,
}

/// Takes what comes to a slot that nobody serves, and costs nothing while nothing comes. Dropped, it
/// takes no more; what it has taken goes on.
#[derive(Debug)]
pub struct Relay {
    tasks: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Takes what comes to these sockets, and carries it to live. `alone`: no process has them any
    /// more, so that nobody else takes anything.
    pub fn start(standbys: Vec<Standby>, alone: bool) -> Self {
        let start = |standby| {
            tokio::spawn(
                async move { while defect::guarded(take(&standby, alone)).await.is_err() {} },
            )
        };
        Self {
            tasks: standbys.into_iter().map(start).collect(),
        }
    }
}

impl Relay {
    /// One of its sockets could not be asked any more, since an app had ended the listening. It may be
    /// repaired by now.
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

/// Carries what waits at sockets that are let go of; whoever connects after that is refused.
pub fn take_last(standbys: Vec<Standby>) {
    tokio::spawn(async move {
        for standby in standbys {
            while let Ok(Some((client, _))) = accept(&standby.socket, &standby.live, true) {
                tokio::spawn(carry(client, standby.address.clone(), standby.forward));
            }
        }
    });
}

/// Until the socket can't be asked any more: an app has ended its listening.
async fn take(standby: &Standby, alone: bool) {
    defect::point("relay");
    let Ok(socket) = sys::readable(standby.socket.clone()) else {
        return;
    };
    loop {
        let accept = |socket: &Arc<OwnedFd>| accept(socket, &standby.live, alone);
        match socket.async_io(Interest::READABLE, accept).await {
            // He asks again.
            Ok(Some((_, Some(from)))) if standby.probe_port == Some(from.port()) => {}
            Ok(Some((client, _))) => {
                tokio::spawn(carry(client, standby.address.clone(), standby.forward));
            }
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return,
            // A client that has gone, too many descriptors: nothing that stays.
            Ok(None) | Err(_) => tokio::time::sleep(WAIT).await,
        }
    }
}

/// The next one in the queue, and where he comes from. None where it has to wait there: while live has ended its listening,
/// the kernel would send it here again, and again.
///
/// Where the app wants the socket to block, accepting would wait, if somebody else was faster.
fn accept(
    socket: &Arc<OwnedFd>,
    live: &Arc<OwnedFd>,
    alone: bool,
) -> io::Result<Option<(Socket, Option<SocketAddr>)>> {
    let mut asked = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    if poll(&mut asked, PollTimeout::ZERO)? == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let socket = SockRef::from(socket);
    let returns = alone || socket.nonblocking()?;
    if !returns || !SockRef::from(live).is_listener()? {
        return Ok(None);
    }
    let (client, from) = socket.accept()?;
    Ok(Some((client, from.as_socket())))
}

/// Until both have said all; whoever breaks off ends it.
async fn carry(client: Socket, to: Address, forward: Option<SocketAddr>) -> io::Result<()> {
    client.set_nonblocking(true)?;
    if let Some(path) = to.path() {
        let client = UnixStream::from_std(client.into())?;
        return join(client, UnixStream::connect(path).await?).await;
    }
    let client = TcpStream::from_std(client.into())?;
    // Where it came to: of all interfaces and families, the one that it can reach.
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
    use super::*;
    use crate::session::slots::Slot;

    /// A set whose clients are sent to the second slot, and what comes to the first one all the same.
    fn switched(blocking: bool) -> (HeldSet, SocketAddr) {
        let mut set = HeldSet::default();
        let mut spec = spec::parse("127.0.0.1:0", std::path::Path::new("/")).unwrap();
        spec.nonblocking = !blocking;
        set.adapt(&[spec], true).unwrap();
        let address = set.iter().next().unwrap().address.tcp().unwrap();
        (set, address)
    }

    fn socket(set: &HeldSet, slot: Slot) -> Arc<OwnedFd> {
        set.share(slot).remove(0)
    }

    async fn accept(set: &HeldSet, slot: Slot) -> TcpStream {
        let socket = socket(set, slot);
        SockRef::from(&socket).set_nonblocking(true).unwrap();
        let socket = sys::readable(socket).unwrap();
        let accept = |socket: &Arc<OwnedFd>| SockRef::from(socket).accept();
        let (client, _) = socket.async_io(Interest::READABLE, accept).await.unwrap();
        client.set_nonblocking(true).unwrap();
        TcpStream::from_std(client.into()).unwrap()
    }

    #[tokio::test]
    async fn what_comes_to_one_side_is_carried_to_the_other() {
        for blocking in [false, true] {
            let (mut set, at) = switched(blocking);
            let mut client = TcpStream::connect(at).await.unwrap();
            set.switch(Slot::Second).unwrap();
            let relay = Relay::start(set.standby(Slot::First), true);
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            let mut server = accept(&set, Slot::Second).await;
            // What was taken goes on.
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

    /// Live would answer it for the one that is asked.
    #[tokio::test]
    async fn a_question_is_carried_to_nobody() {
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

    /// Live has ended its listening, so that the kernel sends everybody to the only one that is left.
    #[tokio::test(start_paused = true)]
    async fn nobody_is_carried_in_a_circle() {
        let (mut set, at) = switched(false);
        set.switch(Slot::Second).unwrap();
        let _relay = Relay::start(set.standby(Slot::First), true);
        let live = socket(&set, Slot::Second);
        SockRef::from(&live).shutdown(Shutdown::Both).unwrap();
        let mut client = TcpStream::connect(at).await.unwrap();
        // The clock stands until nobody has anything to do but to wait for it.
        tokio::time::sleep(WAIT * 3).await;
        let idle = socket(&set, Slot::First);
        let mut asked = [PollFd::new(idle.as_fd(), PollFlags::POLLIN)];
        assert_eq!(
            poll(&mut asked, PollTimeout::ZERO),
            Ok(1),
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
