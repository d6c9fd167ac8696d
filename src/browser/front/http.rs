//! A client that speaks HTTP/1: each request goes to the app as it is, and so does the answer, but for the
//! script in pages. A client has one connection to the app at a time, like without hotrun in between.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::{Either, Empty};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1 as client;
use hyper::client::conn::http1::SendRequest;
use hyper::header::UPGRADE;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::answer::{Asked, Body, own_path};
use super::client::App;
use super::stream::{Answering, AppEnd, Content, End, InFlight, Sending};
use super::{Subscription, Way};
use crate::defect;

/// More header fields than any client sends.
const MOST_FIELDS: usize = 256;

/// The largest head of a request or an answer, in bytes.
const LARGEST_HEAD: usize = 1 << 20;

/// So often a request is sent if the app closes each connection before it has come.
const MOST_TRIES: u32 = 5;

/// One client.
struct Client {
    way: Arc<Way>,
    peer: SocketAddr,
    /// The connection to the app, between two requests.
    app: Mutex<Option<Sender>>,
    in_flight: InFlight,
}

/// A connection to the app that can take a request.
struct Sender {
    requests: SendRequest<Sending>,
    end: AppEnd,
    /// It has carried a request before.
    is_used: bool,
    /// How many switches there had been when it was opened.
    since: u64,
}

/// Serves the client to its end; `read` are its first bytes.
pub(super) async fn serve(
    way: Arc<Way>,
    stream: TcpStream,
    peer: SocketAddr,
    read: Vec<u8>,
    app: Option<App>,
    mut switches: Subscription,
) -> io::Result<()> {
    let sender = match app {
        Some(app) => Some(talk(app).await?),
        None => None,
    };
    let (in_flight, sent) = InFlight::new();
    let client = Arc::new(Client {
        way,
        peer,
        app: Mutex::new(sender),
        in_flight,
    });
    let end = End::new(stream);
    let stream = tokio::io::join(io::Cursor::new(read).chain(end.clone()), end.clone());
    let answer = |request| client.clone().answer(request);
    let connection = server::Builder::new()
        .preserve_header_case(true)
        // A client that sends no more may still read.
        .half_close(true)
        .auto_date_header(false)
        .max_headers(MOST_FIELDS)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .with_upgrades();
    let ends = sent.pass_ends_on(&end);
    tokio::pin!(connection, ends);
    loop {
        tokio::select! {
            ended = &mut connection => return ended.map_err(io::Error::other),
            () = &mut ends => return Ok(()),
            // The old generation ends sooner without a connection that is not in use.
            () = switches.next() => if let Ok(mut app) = client.app.try_lock() {
                *app = None;
            },
        }
    }
}

impl Client {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let (mut parts, body) = request.into_parts();
        let own = own_uri(&parts.uri);
        let asked = match &own {
            Some(_) => Asked::default(),
            None => Asked::read(&mut parts),
        };
        let mut request = Request::from_parts(parts, body);
        let is_tunnel = request.method() == Method::CONNECT;
        let upgrade = upgrade(&mut request);
        let (mut answer, answering) = match own {
            Some(uri) => {
                *request.uri_mut() = uri;
                self.ask_hotrun(request).await?
            }
            None => self.ask_app(request).await?,
        };
        if let Some(client) = upgrade
            && is_upgraded(is_tunnel, &answer)
        {
            let app = hyper::upgrade::on(&mut answer);
            defect::spawn("front client", join(client, app));
            return Ok(answer.map(|_| Body::default()));
        }
        Ok(asked.answer(answer, answering, &self.way.shared.nonce))
    }

    /// Sends a request to the app. By a connection that was used before it may not get there, since apps
    /// close those when they like to: then it is sent again by a new one. The same if nothing of it was sent.
    async fn ask_app(
        &self,
        request: Request<Incoming>,
    ) -> io::Result<(Response<Incoming>, Answering)> {
        let mut request = request.map(Either::Left);
        let mut kept = self.app.lock().await;
        let mut tries = 0;
        loop {
            tries += 1;
            let now = self.way.shared.switches.now();
            let mut usable = kept.take().filter(|kept| kept.since == now);
            if let Some(sender) = &mut usable
                && sender.requests.ready().await.is_err()
            {
                usable = None;
            }
            let mut sender = match usable {
                Some(sender) => sender,
                None => talk(self.way.connect(self.peer).await?).await?,
            };
            let is_used = std::mem::replace(&mut sender.is_used, true);
            let again = again(&request).filter(|_| is_used);
            let (sending, answering) = self.in_flight.begin(sender.end.clone(), request);
            match sender.requests.try_send_request(sending).await {
                Ok(answer) => {
                    let is_current = sender.since == self.way.shared.switches.now();
                    *kept = is_current.then_some(sender);
                    return Ok((answer, answering));
                }
                Err(mut error) => match error.take_message().map(Sending::back).or(again) {
                    Some(unsent) if tries < MOST_TRIES => request = unsent,
                    _ => return Err(io::Error::other(error.into_error())),
                },
            }
        }
    }

    /// Sends a request to hotrun's own server.
    async fn ask_hotrun(
        &self,
        request: Request<Incoming>,
    ) -> io::Result<(Response<Incoming>, Answering)> {
        let port = self.way.shared.livereload();
        let port = port.ok_or(io::ErrorKind::ConnectionRefused)?;
        let stream = TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).await?;
        let end = AppEnd::new(End::new(stream));
        let (mut requests, connection) = shake_hands(end.clone()).await?;
        defect::spawn("front client", connection.with_upgrades());
        let request = request.map(Either::Left);
        let (request, answering) = self.in_flight.begin(end, request);
        let answer = requests.send_request(request).await;
        Ok((answer.map_err(io::Error::other)?, answering))
    }
}

/// The request once more, if the app may get it twice and it has no body (RFC 9110, 9.2.2).
fn again(request: &Request<Content>) -> Option<Request<Content>> {
    let is_safe = request.method().is_safe() && request.body().is_end_stream();
    is_safe.then(|| {
        let mut again = Request::new(Either::Right(Empty::new()));
        again.method_mut().clone_from(request.method());
        again.uri_mut().clone_from(request.uri());
        again.headers_mut().clone_from(request.headers());
        *again.version_mut() = request.version();
        again
    })
}

type Connection = client::Connection<TokioIo<AppEnd>, Sending>;

async fn shake_hands(end: AppEnd) -> io::Result<(SendRequest<Sending>, Connection)> {
    let shaken = client::Builder::new()
        .preserve_header_case(true)
        .max_headers(MOST_FIELDS)
        .max_buf_size(LARGEST_HEAD)
        // Browsers read those too.
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .ignore_invalid_headers_in_responses(true)
        .handshake(TokioIo::new(end))
        .await;
    shaken.map_err(io::Error::other)
}

/// Has a connection to the app carry requests, until either end closes it.
async fn talk(app: App) -> io::Result<Sender> {
    let end = AppEnd::new(app.stream);
    let (requests, connection) = shake_hands(end.clone()).await?;
    let known = app.known;
    defect::spawn("front client", async move {
        // What went wrong is seen by the request that it happened to.
        connection.with_upgrades().await.ok();
        drop(known);
    });
    Ok(Sender {
        requests,
        end,
        is_used: false,
        since: app.since,
    })
}

/// The same at hotrun's own server; `None`: it is for the app.
fn own_uri(uri: &Uri) -> Option<Uri> {
    let whole = uri.path_and_query()?;
    own_path(whole.as_str())?.parse().ok()
}

/// What the client's connection becomes if the app agrees.
fn upgrade(request: &mut Request<Incoming>) -> Option<OnUpgrade> {
    let wants = request.headers().contains_key(UPGRADE) || request.method() == Method::CONNECT;
    wants.then(|| hyper::upgrade::on(request))
}

/// The connection carries something else from now on.
fn is_upgraded(is_tunnel: bool, answer: &Response<Incoming>) -> bool {
    answer.status() == StatusCode::SWITCHING_PROTOCOLS || is_tunnel && answer.status().is_success()
}

/// Carries all bytes both ways.
async fn join(client: OnUpgrade, app: OnUpgrade) -> Option<()> {
    let (client, app): (Upgraded, Upgraded) = (client.await.ok()?, app.await.ok()?);
    let (mut client, mut app) = (TokioIo::new(client), TokioIo::new(app));
    copy_bidirectional(&mut client, &mut app).await.ok()?;
    Some(())
}
