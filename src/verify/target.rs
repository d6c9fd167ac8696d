//! Whom clients ask, and whether they get anything to read.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::facts::{How, Loaded, Loss};
use super::talk::Talk;
use super::trouble::nothing_to_load;
use crate::defect;
use crate::exit::Failure;
use crate::report::values::HeldAddress;
use crate::sockets::address::reachable;

/// An address with what is asked there.
#[derive(Clone, Debug)]
pub(super) struct Target {
    held: HeldAddress,
    pub(super) at: At,
    pub(super) how: How,
    pub(super) request: Vec<u8>,
}

impl Target {
    /// What there is to say of it.
    pub(super) fn loaded(&self) -> Loaded {
        Loaded {
            address: self.held.address.clone(),
            twins: self.held.twins,
            how: self.how,
        }
    }
}

/// The held addresses that clients can connect to; they will ask for this path.
pub(super) fn all(held: &[HeldAddress], path: &str) -> Result<Vec<Target>, Failure> {
    let targets = held.iter().filter_map(|held| {
        let at = At::of(&held.address)?;
        Some(Target {
            held: held.clone(),
            request: at.request(path),
            at,
            how: How::Ask,
        })
    });
    let targets: Vec<Target> = targets.collect();
    match (targets.is_empty(), held.is_empty()) {
        (false, _) => Ok(targets),
        (true, true) => Err(nothing_to_load()),
        (true, false) => {
            let held: Vec<&str> = held.iter().map(|held| held.address.as_str()).collect();
            let held = held.join(", ");
            Err(Failure::usage(format!(
                "nobody connects to {held}, so there is nothing to load"
            ))
            .hint("add a TCP address or `unix:PATH` with --listen"))
        }
    }
}

/// Asks all of them at once whether they speak HTTP.
pub(super) async fn find_out_how(targets: &mut [Target]) {
    let asked: Vec<_> = targets
        .iter()
        .map(|target| {
            let (at, request) = (target.at.clone(), target.request.clone());
            defect::spawn_blocking("first request", move || {
                defect::point("first request");
                how(&at, &request)
            })
        })
        .collect();
    for (target, mut asked) in targets.iter_mut().zip(asked) {
        target.how = asked.done().await.unwrap_or(How::Ask);
    }
}

/// Where clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl At {
    /// An address of a `held` event, if clients can connect to it.
    pub(super) fn of(held: &str) -> Option<Self> {
        if let Some(path) = held.strip_prefix("unix:") {
            return Some(Self::Unix(path.into())).filter(|_| !path.starts_with('@'));
        }
        held.parse().ok().map(reachable).map(Self::Tcp)
    }

    /// What a client asks here.
    pub(super) fn request(&self, path: &str) -> Vec<u8> {
        let host = match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(_) => "localhost".into(),
        };
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: hotrun\r\nConnection: close\r\n\r\n"
        )
        .into_bytes()
    }
}

/// What clients do at this address: its program speaks HTTP if it has a status line for one of a few
/// questions.
pub(super) fn how(at: &At, request: &[u8]) -> How {
    const QUESTIONS: u32 = 3;
    let mut silent = true;
    for _ in 0..QUESTIONS {
        match Talk::begin(at).and_then(|mut talk| talk.ask(request, || false)) {
            // A refusal does not tell which protocol is spoken.
            Ok(_) | Err(Loss::Refused) => return How::Ask,
            // A silent server is not waited for three times.
            Err(Loss::TimedOut) => break,
            Err(loss) => silent &= !matches!(loss, Loss::Other(_)),
        }
    }
    How::Connect { silent }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn what_takes_connections_is_loaded() {
        let held = |addresses: &[&str]| {
            let socket = |address: &&str| HeldAddress {
                name: None,
                address: (*address).to_owned(),
                twins: true,
            };
            all(&addresses.iter().map(socket).collect::<Vec<_>>(), "/x?y")
        };
        let found = held(&[
            "0.0.0.0:80",
            "udp:[::1]:53",
            "[::]:80",
            "unix:/a/b",
            "unix:@c",
        ])
        .unwrap();
        let at: Vec<&At> = found.iter().map(|target| &target.at).collect();
        let tcp = |text: &str| At::Tcp(text.parse().unwrap());
        let expected = [
            tcp("127.0.0.1:80"),
            tcp("[::1]:80"),
            At::Unix("/a/b".into()),
        ];
        assert_eq!(at, expected.iter().collect::<Vec<_>>());
        assert_eq!(found[0].loaded().address, "0.0.0.0:80");
        let request = String::from_utf8(found[0].request.clone()).unwrap();
        assert!(request.starts_with("GET /x?y HTTP/1.1\r\nHost: 127.0.0.1:80\r\n"));
        assert_eq!(held(&[]).unwrap_err(), nothing_to_load());
        let nobody = held(&["udp:[::1]:53", "unix-dgram:/a"]).unwrap_err();
        assert!(nobody.message.contains("udp:[::1]:53, unix-dgram:/a"));
    }

    #[test]
    fn whether_http_is_spoken_is_heard() {
        for (answer, expected) in [
            (&b"HTTP/1.1 500 \r\nContent-Length: 0\r\n\r\n"[..], How::Ask),
            (b"220 mail", How::Connect { silent: false }),
            (b"", How::Connect { silent: true }),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let at = At::Tcp(listener.local_addr().unwrap());
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut stream = stream.unwrap();
                    stream.read_exact(&mut [0; 4]).unwrap();
                    stream.write_all(answer).unwrap();
                }
            });
            assert_eq!(how(&at, b"GET "), expected);
        }
    }
}
