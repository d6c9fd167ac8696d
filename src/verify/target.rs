//! Whom clients ask, and whether they get anything to read.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls::ClientConfig;

use super::facts::{How, Loaded, Loss, Note};
use super::talk::Talk;
use super::trouble::nothing_to_load;
use super::websocket::WebSocket;
use super::{Kind, Plan};
use crate::defect;
use crate::exit::Failure;
use crate::report::values::HeldAddress;
use crate::sockets::address::reachable;
use crate::tls;

/// An address with what is asked there.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Its place in the list of all.
    pub(super) number: usize,
    held: HeldAddress,
    pub(super) at: At,
    pub(super) way: Way,
    pub(super) request: Vec<u8>,
    /// For a WebSocket.
    pub(super) url: String,
}

/// What clients do at an address.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) how: How,
    /// Over TLS.
    pub(super) tls: Option<Arc<ClientConfig>>,
    notes: Vec<Note>,
}

impl Way {
    fn new(how: How, tls: Option<Arc<ClientConfig>>) -> Self {
        Self {
            how,
            tls,
            notes: Vec::new(),
        }
    }

    fn noted(mut self, note: Note) -> Self {
        self.notes.push(note);
        self
    }
}

impl Target {
    /// What there is to say of it.
    pub(super) fn loaded(&self) -> Loaded {
        Loaded {
            address: self.held.address.clone(),
            twins: self.held.twins,
            how: self.way.how,
            tls: self.way.tls.is_some(),
            notes: self.way.notes.clone(),
        }
    }

    /// It is one of these.
    pub(super) fn is_among(&self, held: &[HeldAddress]) -> bool {
        held.iter().any(|held| held.address == self.held.address)
    }

    /// Asks it what it speaks; blocking.
    fn find_out(&self, kind: Kind, tls: &Arc<ClientConfig>) -> Way {
        if !kind.websocket {
            return self.find_out_requests(kind, tls);
        }
        // A server of WebSockets need not answer anything else.
        let over = kind.tls.then(|| tls.clone());
        let note = match self.open(over.as_ref()) {
            Ok(()) => return Way::new(How::Open, over),
            Err(Loss::NoTls) if self.open(None).is_ok() => {
                return Way::new(How::Open, None).noted(Note::NoTls);
            }
            Err(Loss::Declined(status)) => Note::NoWebSocket(Some(status)),
            Err(_) => Note::NoWebSocket(None),
        };
        self.find_out_requests(kind, tls).noted(note)
    }

    fn open(&self, tls: Option<&Arc<ClientConfig>>) -> Result<(), Loss> {
        let talk = Talk::begin(&self.at, tls)?;
        talk.open(&self.url).map(WebSocket::close)
    }

    fn find_out_requests(&self, kind: Kind, tls: &Arc<ClientConfig>) -> Way {
        if kind.tls {
            let over_tls = match self.ask(Some(tls)) {
                Ok(()) => return Way::new(How::Ask, Some(tls.clone())),
                Err(note) => note,
            };
            let way = self.find_out_plain();
            return if way.how == How::Ask || over_tls == Note::NoTls {
                way.noted(Note::NoTls)
            } else {
                Way::new(How::Connect, Some(tls.clone())).noted(over_tls)
            };
        }
        let mut way = self.find_out_plain();
        // A server may close a connection without a word that does not begin with TLS.
        if way.how == How::Connect && self.ask(Some(tls)).is_ok() {
            way.notes = vec![Note::SpeaksTls];
        }
        way
    }

    fn find_out_plain(&self) -> Way {
        match self.ask(None) {
            Ok(()) => Way::new(How::Ask, None),
            Err(note) => Way::new(How::Connect, None).noted(note),
        }
    }

    /// Its program speaks HTTP if it has a status line for one of a few questions.
    fn ask(&self, tls: Option<&Arc<ClientConfig>>) -> Result<(), Note> {
        const QUESTIONS: u32 = 3;
        let mut note = Note::Silent;
        for _ in 0..QUESTIONS {
            let talk = Talk::begin(&self.at, tls);
            match talk.and_then(|mut talk| talk.ask(&self.request, || false)) {
                // A refusal does not tell which protocol is spoken.
                Ok(_) | Err(Loss::Refused) => return Ok(()),
                // A silent server is not waited for three times.
                Err(Loss::TimedOut) => break,
                Err(Loss::Tls) => note = Note::SpeaksTls,
                Err(Loss::NoTls) => note = Note::NoTls,
                Err(Loss::Other(_)) => note = Note::NoHttp,
                Err(_) => {}
            }
        }
        Err(note)
    }
}

/// The held addresses that clients can connect to.
pub(super) fn all(held: &[HeldAddress], plan: &Plan) -> Result<Vec<Target>, Failure> {
    let targets = held.iter().filter_map(|held| {
        let at = At::of(&held.address)?;
        let host = at.host();
        let (path, scheme) = (plan.path(), if plan.kind.tls { "wss" } else { "ws" });
        Some(Target {
            number: 0,
            held: held.clone(),
            request: request(&host, path),
            url: format!("{scheme}://{host}{path}"),
            at,
            way: Way::new(How::Ask, None),
        })
    });
    let mut targets: Vec<Target> = targets.collect();
    for (number, target) in targets.iter_mut().enumerate() {
        target.number = number;
    }
    match (targets.is_empty(), held.is_empty()) {
        (false, _) => Ok(targets),
        (true, true) => Err(nothing_to_load()),
        (true, false) => {
            let held: Vec<&str> = held.iter().map(|held| held.address.as_str()).collect();
            let held = held.join(", ");
            Err(Failure::usage(format!(
                "no client connects to {held}, so there is nothing to load"
            ))
            .hint("add a TCP address or `unix:PATH` with --listen"))
        }
    }
}

/// Asks all of them at once what they speak.
pub(super) async fn find_out_how(targets: &mut [Target], kind: Kind) -> Result<(), Failure> {
    let no_tls = |error| Failure::failed(format!("cannot speak TLS: {error}"));
    let tls = tls::client().map_err(no_tls)?;
    let asked: Vec<_> = targets
        .iter()
        .map(|target| {
            let (target, tls) = (target.clone(), tls.clone());
            defect::spawn_blocking("first request", move || {
                defect::point("first request");
                target.find_out(kind, &tls)
            })
        })
        .collect();
    for (target, mut asked) in targets.iter_mut().zip(asked) {
        if let Ok(way) = asked.done().await {
            target.way = way;
        }
    }
    let opens = targets.iter().any(|target| target.way.how == How::Open);
    if opens || !kind.websocket {
        return Ok(());
    }
    let why = targets
        .iter()
        .find_map(|target| match target.way.notes[..] {
            [.., Note::NoWebSocket(Some(status))] => Some(format!(": it answered {status}")),
            [.., Note::SpeaksTls] => Some(": it speaks TLS".into()),
            _ => None,
        });
    let names: Vec<&str> = targets
        .iter()
        .map(|target| target.held.address.as_str())
        .collect();
    let failure = Failure::usage(format!(
        "no WebSocket was opened at {}{}",
        names.join(", "),
        why.unwrap_or_default()
    ));
    Err(failure.hint("name its path with --path, and add --tls if it is behind TLS"))
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

    fn host(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(_) => "localhost".into(),
        }
    }
}

/// What a client asks.
fn request(host: &str, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: hotrun\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::super::tests::plan;
    use super::*;

    const PLAIN: Kind = Kind {
        tls: false,
        websocket: false,
    };

    fn held(addresses: &[&str]) -> Result<Vec<Target>, Failure> {
        let socket = |address: &&str| HeldAddress {
            name: None,
            address: (*address).to_owned(),
            twins: true,
        };
        let mut plan = plan();
        plan.path = Some("/x?y".into());
        all(&addresses.iter().map(socket).collect::<Vec<_>>(), &plan)
    }

    #[test]
    fn what_takes_connections_is_loaded() {
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
        assert_eq!(found[2].url, "ws://localhost/x?y");
        assert_eq!(held(&[]).unwrap_err(), nothing_to_load());
        let nobody = held(&["udp:[::1]:53", "unix-dgram:/a"]).unwrap_err();
        assert!(nobody.message.contains("udp:[::1]:53, unix-dgram:/a"));
    }

    /// What is found out of a server that answers everything like this.
    fn found_out(answer: &'static [u8], kind: Kind) -> (How, bool, Vec<Note>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream.read_exact(&mut [0; 4]).unwrap();
                stream.write_all(answer).unwrap();
            }
        });
        let target = held(&[&address]).unwrap().remove(0);
        let way = target.find_out(kind, &tls::client().unwrap());
        (way.how, way.tls.is_some(), way.notes)
    }

    #[test]
    fn what_is_spoken_is_heard() {
        const ERROR: &[u8] = b"HTTP/1.1 500 \r\nContent-Length: 0\r\n\r\n";
        const ALERT: &[u8] = b"\x15\x03\x03\x00\x02\x02\x32";
        let over_tls = Kind { tls: true, ..PLAIN };
        let websocket = Kind {
            websocket: true,
            ..PLAIN
        };
        for (answer, kind, how, tls, notes) in [
            (ERROR, PLAIN, How::Ask, false, &[][..]),
            (b"220 mail", PLAIN, How::Connect, false, &[Note::NoHttp]),
            (b"", PLAIN, How::Connect, false, &[Note::Silent]),
            (ALERT, PLAIN, How::Connect, false, &[Note::SpeaksTls]),
            (ERROR, over_tls, How::Ask, false, &[Note::NoTls]),
            (ALERT, over_tls, How::Connect, true, &[Note::NoHttp]),
            (
                ERROR,
                websocket,
                How::Ask,
                false,
                &[Note::NoWebSocket(Some(500))],
            ),
        ] {
            let found = found_out(answer, kind);
            assert_eq!(found, (how, tls, notes.to_vec()), "{kind:?}");
        }
    }
}
