//! Connections and requests.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_tungstenite::tungstenite::handshake::server::create_response;

use super::hub::Hub;
use super::route::{Policy, Route, route};
use super::{script, socket};
use crate::browser::Board;
use crate::defect;

/// The most connections at a time; further ones wait to be accepted.
const MOST: usize = 256;

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);

/// The most bytes of it.
const HEAD_SIZE: usize = 16 * 1024;

/// What all connections share; clones are the same server.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) port: u16,
    pub(super) token: Arc<str>,
    pub(super) hub: Arc<Hub>,
    /// The user's own hosts; the server ends when their sender is dropped.
    pub(super) hosts: watch::Receiver<Vec<String>>,
    pub(super) board: Board,
    places: Arc<Semaphore>,
}

impl Server {
    pub(super) fn new(
        port: u16,
        token: String,
        hub: Arc<Hub>,
        hosts: watch::Receiver<Vec<String>>,
        board: Board,
    ) -> Self {
        Self {
            port,
            token: token.into(),
            hub,
            hosts,
            board,
            places: Arc::new(Semaphore::new(MOST)),
        }
    }

    /// Waits until the server is to end.
    pub(super) async fn end(&self) {
        let mut hosts = self.hosts.clone();
        while hosts.changed().await.is_ok() {}
    }

    /// Accepts connections until the server is to end.
    pub(super) async fn accept(&self, listener: &TcpListener) {
        tokio::select! {
            () = self.accept_all(listener) => {}
            () = self.end() => {}
        }
    }

    async fn accept_all(&self, listener: &TcpListener) {
        while let Ok(place) = self.places.clone().acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let answers = self.clone().connected(stream, place);
                    defect::spawn("livereload connection", answers);
                    defect::point("livereload");
                }
                // There are no descriptors left, or the client has gone.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// One connection, for one request.
    async fn connected(self, stream: TcpStream, place: OwnedSemaphorePermit) {
        defect::point("livereload connection");
        let place = Arc::new(place);
        let answer = |request: Request<Incoming>| {
            let (server, place) = (self.clone(), place.clone());
            async move { Ok::<_, Infallible>(server.answer(request, place)) }
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(HEAD_SIZE)
            .serve_connection(TokioIo::new(stream), service_fn(answer))
            .with_upgrades();
        tokio::select! {
            // What went wrong concerns the client alone.
            _ = connection => {}
            () = self.end() => {}
        }
    }

    fn answer(
        self,
        mut request: Request<Incoming>,
        place: Arc<OwnedSemaphorePermit>,
    ) -> Response<Full<Bytes>> {
        let route = route(
            request.method(),
            request.uri(),
            request.headers(),
            &self.hosts.borrow(),
            &self.token,
        );
        let mut answer = match route {
            Err(status) => empty(status),
            Ok(Route::Script(policy)) => {
                let text = script::of(self.port, &self.token, self.hub.so_far());
                let mut answer = Response::new(Full::from(text));
                let javascript = HeaderValue::from_static("text/javascript; charset=utf-8");
                answer.headers_mut().insert(CONTENT_TYPE, javascript);
                let policy = match policy {
                    Policy::SameSite => "same-site",
                    Policy::Any => "cross-origin",
                };
                set(&mut answer, "cross-origin-resource-policy", policy);
                answer
            }
            Ok(route) => match handshake(&request) {
                Ok(answer) => {
                    let upgrade = hyper::upgrade::on(&mut request);
                    let talk = async move {
                        defect::point("livereload socket");
                        if let Ok(stream) = upgrade.await {
                            socket::talk(&self, TokioIo::new(stream), route).await;
                        }
                        drop(place);
                    };
                    defect::spawn("livereload socket", talk);
                    answer
                }
                Err(status) => empty(status),
            },
        };
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            set(&mut answer, "connection", "close");
        }
        answer
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        set(&mut answer, "x-content-type-options", "nosniff");
        answer
    }
}

/// The answer to the opening of a WebSocket.
fn handshake(request: &Request<Incoming>) -> Result<Response<Full<Bytes>>, StatusCode> {
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = request.uri().clone();
    *head.version_mut() = request.version();
    *head.headers_mut() = request.headers().clone();
    let answer = create_response(&head).map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok(answer.map(|()| Full::default()))
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

fn set(answer: &mut Response<Full<Bytes>>, name: &'static str, value: &'static str) {
    let (name, value) = (
        HeaderName::from_static(name),
        HeaderValue::from_static(value),
    );
    answer.headers_mut().insert(name, value);
}
