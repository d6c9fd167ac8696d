//! Both ends of a client's way to the app. A client that sends no more while it waits for its answer gets that
//! from some apps, and is gone for others: so the app sees what the client has done, and decides.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// A connection; clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct End(Arc<TcpStream>);

/// The app's end of the connection that has a request of the client; `None`: there is no request.
#[derive(Debug, Default)]
pub(super) struct InFlight(watch::Sender<Option<End>>);

/// Until this is dropped, a request is being answered.
#[derive(Debug)]
pub(super) struct Answering(watch::Sender<Option<End>>);

impl InFlight {
    /// A request is sent to the app.
    pub(super) fn begin(&self, app: End) -> Answering {
        self.0.send_replace(Some(app));
        Answering(self.0.clone())
    }

    /// Has the app see when the client has ended. Runs for ever.
    pub(super) async fn pass_ends_on(&self, client: &End) {
        let mut in_flight = self.0.subscribe();
        loop {
            let Ok(app) = in_flight
                .wait_for(Option::is_some)
                .await
                .map(|app| app.clone())
            else {
                return;
            };
            let mut next = [0];
            let ended = tokio::select! {
                // A client that has sent its next request already is read when it is that one's turn.
                peeked = client.0.peek(&mut next) => !matches!(peeked, Ok(1..)),
                _ = in_flight.wait_for(Option::is_none) => false,
            };
            if let Some(app) = app.filter(|_| ended) {
                app.end_writing().ok();
            }
            if in_flight.wait_for(Option::is_none).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.send_replace(None);
    }
}

impl End {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(Arc::new(stream))
    }

    fn end_writing(&self) -> io::Result<()> {
        SockRef::from(&*self.0).shutdown(Shutdown::Write)
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(context))?;
            match self.0.try_read(buffer.initialize_unfilled()) {
                Ok(count) => {
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
            ready!(self.0.poll_write_ready(context))?;
            match self.0.try_write_vectored(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
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
