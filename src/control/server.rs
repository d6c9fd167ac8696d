//! Serves the control socket of this run: turns requests into commands of the session and sends its
//! answers back.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;

use super::desk::Desk;
use super::{ASKS, ClientRequest, Greeting, PROTOCOL, Refusal};
use crate::defect;
use crate::report::Record;
use crate::session::command::Command;
use crate::session::event::Event;
use crate::session::model::Generation;
use crate::sink::Chunk;
use crate::sys::{LocalListener, LocalStream};

/// The most clients at a time: more wait to be accepted.
const MOST: usize = 64;
/// The longest request, in bytes.
const LONGEST: u64 = 4096;
/// How long it is waited after an error of `accept`, like too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// What a request needs.
#[derive(Clone, Debug)]
pub struct Server {
    /// What is shared with the main loop.
    pub desk: Desk,
    /// Requests go this way, like changes: what was saved before a request reaches the session before
    /// it.
    pub events: UnboundedSender<Event>,
    /// What comes this way is heard before that, even while the project is read.
    pub urgent: UnboundedSender<Event>,
}

/// The control socket; it is removed when this is dropped.
#[derive(Debug)]
pub struct ControlSocket(PathBuf);

impl Drop for ControlSocket {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

impl Server {
    /// Listens at this path, which no other run has, and serves in the background. Must be called inside
    /// the runtime.
    pub fn start(self, path: PathBuf) -> io::Result<ControlSocket> {
        let listener = LocalListener::bind(&path)?;
        let room = Arc::new(Semaphore::new(MOST));
        let serve = async move || {
            loop {
                let Ok(place) = room.clone().acquire_owned().await else {
                    return;
                };
                match listener.accept().await {
                    Ok(stream) => {
                        let server = self.clone();
                        defect::spawn("control", async move {
                            let talk = server.talk(stream);
                            // A client that has gone is no error.
                            defect::guarded("control", talk).await.ok();
                            drop(place);
                        });
                    }
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        };
        defect::spawn("control", defect::again("control", serve));
        Ok(ControlSocket(path))
    }

    async fn talk(&self, stream: LocalStream) -> io::Result<()> {
        defect::point("control");
        let (read, mut write) = stream.into_split();
        let mut requests = BufReader::new(read);
        let greeting = Greeting {
            protocol: PROTOCOL,
            hotrun: env!("CARGO_PKG_VERSION").into(),
            session: self.desk.session(),
        };
        write.write_all(&line(&greeting)?).await?;
        loop {
            let mut request = String::new();
            let read = (&mut requests)
                .take(LONGEST)
                .read_line(&mut request)
                .await?;
            if read == 0 {
                return Ok(());
            }
            let reply = match serde_json::from_str(&request) {
                Ok(ClientRequest::Command { command }) => {
                    self.command(&command, &mut requests).await?
                }
                Ok(ClientRequest::Logs { generation, follow }) => {
                    // One that is followed may still come.
                    let wanted = generation.filter(|_| !follow);
                    if let Some(error) = wanted.and_then(|wanted| self.desk.unknown(wanted)) {
                        return write.write_all(&refusal(error)?).await;
                    }
                    let logs = self.logs(&mut write, generation, follow);
                    let mut more = [0];
                    return tokio::select! {
                        sent = logs => sent,
                        _ = requests.read(&mut more) => Ok(()),
                    };
                }
                Err(error) => refusal(format!("no request: {error}"))?,
            };
            write.write_all(&reply).await?;
        }
    }

    /// Has the session carry out a command. A client that goes waits no more.
    async fn command(
        &self,
        name: &str,
        requests: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<Vec<u8>> {
        let Ok(command) = name.parse::<Command>() else {
            return refusal(format!("`{name}` is no command"));
        };
        let mut way = &self.events;
        match command {
            Command::Status => {
                if let Some(answer) = self.desk.preparing() {
                    return line(&answer);
                }
            }
            // Whatever it is doing.
            Command::Stop => way = &self.urgent,
            _ => {
                let Ok(watch) = self.desk.watch().await else {
                    return refusal(format!("{ASKS}: answer there first"));
                };
                if let (Some(watch), Command::Wait) = (watch, command)
                    && let Err(reason) = watch.caught_up().await
                {
                    return refusal(reason.text);
                }
            }
        }
        let (client, answer) = self.desk.client();
        way.send(Event::Command(command, Some(client))).ok();
        let mut more = [0];
        tokio::select! {
            answer = answer => match answer {
                Ok(answer) => line(&answer),
                Err(_) => refusal("hotrun ends".into()),
            },
            _ = requests.read(&mut more) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Sends the lines of the app.
    async fn logs(
        &self,
        write: &mut (impl AsyncWriteExt + Unpin),
        generation: Option<Generation>,
        follow: bool,
    ) -> io::Result<()> {
        let mut number = 0;
        loop {
            let (lines, next) = self.desk.lines(number);
            number = next;
            let wanted = lines
                .into_iter()
                .filter(|line| generation.is_none_or(|generation| generation == line.generation));
            for one in wanted {
                let chunk = Chunk {
                    generation: one.generation,
                    stream: one.stream,
                    bytes: one.bytes,
                    room: None,
                };
                for record in Record::output(&chunk) {
                    write.write_all(&line(&record)?).await?;
                }
            }
            if !follow {
                return write.shutdown().await;
            }
            self.desk.more(number).await;
        }
    }
}

fn refusal(error: String) -> io::Result<Vec<u8>> {
    line(&Refusal { error })
}

/// A value as one line of JSON.
fn line(value: &impl serde::Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}
