//! Both ends of a client's way to the app. A client that sends no more while it waits for its answer gets that
//! from some apps, and is gone for others: so the app sees what the client has done, and decides.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use http_body_util::{Either, Empty};
use hyper::Request;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use crate::sockets::front::Entered;

/// A connection; clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct End(Arc<Counted>);

/// A connection, and where hotrun writes down what goes over it, if it does.
#[derive(Debug)]
struct Counted {
    stream: TcpStream,
    entered: Option<Entered>,
}

/// A connection to the app; clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct AppEnd {
    end: End,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The app takes nothing more.
    refuses: AtomicBool,
    /// Something is yet to be written.
    is_writing: AtomicBool,
    /// The client sends nothing more, and so the app is to see an end behind what is written.
    is_last: AtomicBool,
}

/// The requests of a client, one after the other.
#[derive(Debug)]
pub(super) struct InFlight(mpsc::UnboundedSender<Sent>);

/// What [`InFlight`] tells of.
#[derive(Debug)]
pub(super) struct Requests(mpsc::UnboundedReceiver<Sent>);

/// A request that is sent to the app.
#[derive(Debug)]
struct Sent {
    app: AppEnd,
    /// Ends when the app's connection has taken all of the request.
    is_taken: oneshot::Receiver<()>,
    /// Ends when it is answered.
    is_answered: oneshot::Receiver<()>,
}

/// What a request has as its body.
pub(super) type Content = Either<Incoming, Empty<Bytes>>;

/// The body of a request on its way to the app.
#[derive(Debug)]
pub(super) struct Sending {
    body: Content,
    _taken: oneshot::Sender<()>,
}

/// Until this is dropped, a request is being answered.
#[derive(Debug)]
pub(super) struct Answering(#[expect(dead_code, reason = "dropped")] oneshot::Sender<()>);

impl InFlight {
    pub(super) fn new() -> (Self, Requests) {
        let (sent, requests) = mpsc::unbounded_channel();
        (Self(sent), Requests(requests))
    }

    /// A request is sent to the app.
    pub(super) fn begin(
        &self,
        app: AppEnd,
        request: Request<Content>,
    ) -> (Request<Sending>, Answering) {
        let (taken, is_taken) = oneshot::channel();
        let (answered, is_answered) = oneshot::channel();
        let sent = Sent {
            app,
            is_taken,
            is_answered,
        };
        // If the receiver is gone, the client is no longer served.
        self.0.send(sent).ok();
        let sending = |body| Sending {
            body,
            _taken: taken,
        };
        (request.map(sending), Answering(answered))
    }
}

impl Requests {
    /// Has the app see when the client has ended. Runs for ever.
    pub(super) async fn pass_ends_on(mut self, client: &End) {
        while let Some(mut sent) = self.0.recv().await {
            let ended = async {
                // What comes before that is the request.
                (&mut sent.is_taken).await.ok();
                // A client that has sent its next request already is read when it is that one's turn.
                !matches!(client.peek().await, Ok(1..))
            };
            tokio::select! {
                biased;
                _ = &mut sent.is_answered => continue,
                ended = ended => if ended {
                    sent.app.end_writing().ok();
                },
            }
            sent.is_answered.await.ok();
        }
    }
}

impl Sending {
    /// The request, to be sent by another connection.
    pub(super) fn back(request: Request<Self>) -> Request<Content> {
        request.map(|sending| sending.body)
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = <Content as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl End {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(Arc::new(Counted {
            stream,
            entered: None,
        }))
    }

    /// One to the app.
    pub(super) fn to_app(stream: TcpStream, entered: Entered) -> Self {
        let entered = Some(entered);
        Self(Arc::new(Counted { stream, entered }))
    }

    /// Its socket.
    pub(super) fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.0.stream)
    }

    /// Waits until there is something to read, or its end, which is 0.
    pub(super) async fn peek(&self) -> io::Result<usize> {
        self.0.stream.peek(&mut [0]).await
    }

    fn end_writing(&self) -> io::Result<()> {
        self.note(Entered::ended);
        self.socket().shutdown(Shutdown::Write)
    }

    fn note(&self, what: impl FnOnce(&Entered)) {
        if let Some(entered) = &self.0.entered {
            what(entered);
        }
    }
}

impl AppEnd {
    pub(super) fn new(end: End) -> Self {
        Self {
            end,
            state: Arc::default(),
        }
    }

    /// The app sees an end, once all that was written has gone out.
    fn end_writing(&self) -> io::Result<()> {
        self.state.is_last.store(true, Ordering::Relaxed);
        if self.state.is_writing.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.end.end_writing()
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.stream.poll_read_ready(context))?;
            match self.0.stream.try_read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    self.note(Entered::answered);
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.stream.poll_write_ready(context))?;
            match self.0.stream.try_write_vectored(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => {
                    self.note(Entered::asked);
                    return Poll::Ready(written);
                }
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.end_writing())
    }
}

impl AsyncRead for AppEnd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.end).poll_read(context, buffer))?;
        // The error was told to the writing half.
        if buffer.filled().len() == before && self.state.refuses.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

/// An app may answer without reading all of the request, and close. Its answer is there to be read then, and
/// so what it does not take is no failure.
impl AsyncWrite for AppEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.state.is_writing.store(true, Ordering::Relaxed);
        if !self.state.refuses.load(Ordering::Relaxed) {
            let written = ready!(Pin::new(&mut self.end).poll_write_vectored(context, bytes));
            if written.is_ok() {
                return Poll::Ready(written);
            }
            self.state.refuses.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(bytes.iter().map(|slice| slice.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.is_writing.store(false, Ordering::Relaxed);
        if self.state.is_last.load(Ordering::Relaxed) {
            self.end.end_writing().ok();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.end).poll_shutdown(context)
    }
}
