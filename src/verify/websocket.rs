//! A client's WebSocket: opened, and kept until it ends or the client goes.

use std::io::ErrorKind;
use std::time::Duration;

use tokio_tungstenite::tungstenite::client::{IntoClientRequest, client};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::{Error, HandshakeError, Message, protocol};

use super::facts::{End, Loss};
use super::stream::Stream;
use super::talk::loss;

/// An open one.
#[derive(Debug)]
pub(super) struct WebSocket {
    socket: protocol::WebSocket<Stream>,
}

impl WebSocket {
    /// Opens it over this connection.
    pub(super) fn open(stream: Stream, url: &str) -> Result<Self, Loss> {
        let odd = |_| Loss::Other(ErrorKind::InvalidInput);
        let mut request = url.into_client_request().map_err(odd)?;
        // As a page of this server would open it.
        let origin = url.replacen("ws", "http", 1);
        let end = origin.match_indices('/').nth(2);
        let origin = end.map_or(&*origin, |(end, _)| &origin[..end]);
        let origin = HeaderValue::from_str(origin);
        let origin = origin.map_err(|_| Loss::Other(ErrorKind::InvalidInput))?;
        request.headers_mut().insert(header::ORIGIN, origin);
        match client(request, stream) {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(HandshakeError::Interrupted(_)) => Err(Loss::TimedOut),
            Err(HandshakeError::Failure(error)) => Err(not_opened(&error)),
        }
    }

    /// Waits for its end, and reads what else comes; nothing after this time, or sooner.
    pub(super) fn end_within(&mut self, time: Duration) -> Option<End> {
        self.socket.get_mut().wait_at_most(time);
        match self.socket.read() {
            Ok(Message::Close(_)) => {
                // The answer to the frame; it is the server that closes the connection.
                self.socket.flush().ok();
                Some(End::Closed)
            }
            Ok(_) => None,
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => None,
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => Some(End::Closed),
            Err(_) => Some(End::Cut),
        }
    }

    /// Says goodbye.
    pub(super) fn close(mut self) {
        self.socket.close(None).ok();
    }
}

fn not_opened(error: &Error) -> Loss {
    match error {
        Error::Http(answer) => Loss::Declined(answer.status().as_u16()),
        Error::Io(error) => loss(error),
        Error::Protocol(ProtocolError::HandshakeIncomplete) => Loss::Closed,
        _ => Loss::Other(ErrorKind::InvalidData),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
    use tokio_tungstenite::tungstenite::http::StatusCode;
    use tokio_tungstenite::tungstenite::{accept, accept_hdr};

    use super::super::talk::Talk;
    use super::super::target::At;
    use super::*;

    const LONG: Duration = Duration::from_secs(5);

    /// What a client gets from a server that does this with its first connection.
    fn open(
        serve: impl FnOnce(TcpStream) + Send + 'static,
    ) -> (Result<WebSocket, Loss>, thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || serve(listener.accept().unwrap().0));
        let talk = Talk::begin(&At::Tcp(address), None).unwrap();
        (talk.open(&format!("ws://{address}/live")), server)
    }

    #[test]
    fn how_it_ends_is_told() {
        let (socket, server) = open(|stream| {
            let mut socket = accept(stream).unwrap();
            socket.send("news".into()).unwrap();
            socket.close(None).unwrap();
            while socket.read().is_ok() {}
        });
        let mut socket = socket.unwrap();
        assert_eq!(socket.end_within(LONG), None);
        assert_eq!(socket.end_within(LONG), Some(End::Closed));
        drop(socket);
        server.join().unwrap();
        let (socket, server) = open(|stream| drop(accept(stream).unwrap()));
        let mut socket = socket.unwrap();
        server.join().unwrap();
        assert_eq!(socket.end_within(LONG), Some(End::Cut));
    }

    #[test]
    fn it_lasts_until_the_client_goes() {
        let (socket, server) = open(|stream| {
            let mut socket = accept(stream).unwrap();
            assert!(socket.read().unwrap().is_close());
        });
        let mut socket = socket.unwrap();
        assert_eq!(socket.end_within(Duration::from_millis(1)), None);
        socket.close();
        server.join().unwrap();
    }

    #[test]
    fn what_opens_none_is_told() {
        let (socket, server) = open(|stream| {
            #[expect(clippy::result_large_err, reason = "the type of the crate")]
            let refuse = |request: &Request, _: Response| -> Result<Response, ErrorResponse> {
                assert_eq!(request.uri().path(), "/live");
                let origin = request.headers()["origin"].to_str().unwrap();
                let host = request.headers()["host"].to_str().unwrap();
                assert_eq!(origin, format!("http://{host}"));
                let mut answer = ErrorResponse::new(None);
                *answer.status_mut() = StatusCode::NOT_FOUND;
                Err(answer)
            };
            accept_hdr(stream, refuse).unwrap_err();
        });
        assert_eq!(socket.err(), Some(Loss::Declined(404)));
        server.join().unwrap();
        let (socket, server) = open(|stream| {
            stream.peek(&mut [0]).unwrap();
        });
        server.join().unwrap();
        assert!(matches!(socket.err(), Some(Loss::Reset | Loss::Closed)));
    }
}
