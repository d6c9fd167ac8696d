//! A WebSocket from its opening to its end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::messages::{self, Overlay};
use super::route::Route;
use super::serve::Server;
use crate::browser::Picture;

/// The largest message of a client.
const LARGEST: usize = 64 * 1024;

/// How long a client may take to greet, and to read a message.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client from which nothing came for two of these is gone: it answers pings.
const PING: Duration = Duration::from_secs(20);

/// The script of an earlier run is to reload its page, since a generation of this run is live.
const OTHER_RUN: u16 = 4001;

/// `None`: the client has gone, or reads too slowly.
type Sent = Option<()>;

struct Socket(WebSocketStream<TokioIo<Upgraded>>);

impl Socket {
    async fn send(&mut self, message: Message) -> Sent {
        timeout(PATIENCE, self.0.send(message)).await.ok()?.ok()
    }

    async fn say(&mut self, text: &str) -> Sent {
        self.send(Message::text(text)).await
    }

    /// The next message; pings are answered by the library.
    async fn next(&mut self) -> Option<Message> {
        self.0.next().await?.ok()
    }

    async fn greeted(&mut self) -> Sent {
        let greeted = async {
            loop {
                if let Message::Text(text) = self.next().await?
                    && messages::is_hello(&text)
                {
                    return Some(());
                }
            }
        };
        timeout(PATIENCE, greeted).await.ok()?
    }
}

/// Talks with a client until it goes, or the server ends.
pub(super) async fn talk(server: &Server, stream: TokioIo<Upgraded>, route: Route) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(LARGEST))
        .max_frame_size(Some(LARGEST));
    let stream = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let mut socket = Socket(stream);
    let talk = async {
        match route {
            Route::Overlay { is_known: false } => other_run(server, &mut socket).await,
            Route::Overlay { is_known: true } => tell(server, &mut socket, true).await,
            Route::Protocol | Route::Script(_) => tell(server, &mut socket, false).await,
        }
    };
    tokio::select! {
        _ = talk => {}
        () = server.end() => {}
    }
    timeout(PATIENCE, socket.0.close(None)).await.ok();
}

/// Tells what there is to tell. `is_ours`: to our own script.
async fn tell(server: &Server, socket: &mut Socket, is_ours: bool) -> Sent {
    socket.greeted().await?;
    let (past, mut reloads) = server.hub.subscribe();
    let mut board = server.board.subscribe();
    board.mark_changed();
    socket
        .say(&messages::hello(is_ours.then_some(past.count)))
        .await?;
    let mut shown = None;
    let mut pings = pings();
    let mut is_there = true;
    loop {
        tokio::select! {
            biased;
            reload = reloads.recv() => {
                let whole = || [messages::reload_all()].into();
                let (count, all) = match reload {
                    Ok(reload) => reload,
                    Err(RecvError::Lagged(_)) => (server.hub.so_far().count, whole()),
                    Err(RecvError::Closed) => return None,
                };
                if is_ours {
                    socket.say(&messages::counted(count)).await?;
                }
                for message in all.iter() {
                    socket.say(message).await?;
                }
            }
            changed = board.changed(), if is_ours => {
                changed.ok()?;
                let overlay = Overlay::of(&board.borrow_and_update());
                if shown.as_ref() != Some(&overlay) {
                    socket.say(&overlay.message()).await?;
                    shown = Some(overlay);
                }
            }
            message = socket.next() => {
                message?;
                is_there = true;
            }
            _ = pings.tick() => ping(socket, &mut is_there).await?,
        }
    }
}

/// The script is of an earlier run, of which it has the token. It learns nothing of this run but when a
/// page can be loaded.
async fn other_run(server: &Server, socket: &mut Socket) -> Sent {
    socket.greeted().await?;
    let mut board = server.board.subscribe();
    let mut pings = pings();
    let mut is_there = true;
    loop {
        tokio::select! {
            is_live = is_live(&mut board) => {
                is_live?;
                break;
            }
            message = socket.next() => {
                message?;
                is_there = true;
            }
            _ = pings.tick() => ping(socket, &mut is_there).await?,
        }
    }
    let frame = CloseFrame {
        code: CloseCode::from(OTHER_RUN),
        reason: "".into(),
    };
    socket.send(Message::Close(Some(frame))).await
}

async fn is_live(board: &mut watch::Receiver<Arc<Picture>>) -> Sent {
    let live = board.wait_for(|picture| picture.status.live.is_some());
    live.await.is_ok().then_some(())
}

fn pings() -> tokio::time::Interval {
    let mut pings = interval_at(Instant::now() + PING, PING);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings
}

async fn ping(socket: &mut Socket, is_there: &mut bool) -> Sent {
    if !std::mem::take(is_there) {
        return None;
    }
    socket.send(Message::Ping(Bytes::new())).await
}
