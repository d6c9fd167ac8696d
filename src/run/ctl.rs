//! `hotrun ctl`: asks the run that is meant, and prints what it says.

use tokio::time::timeout;

use super::block_on;
use super::control::places;
use crate::cli;
use crate::config::control::{Ask, Control};
use crate::control::client::{Connection, Reply, Which, connect};
use crate::control::{ClientRequest, answer};
use crate::exit::{ExitKind, Failure};
use crate::lines::strip;
use crate::report::text::{Level, Text};
use crate::session::command::Command;
use crate::ui;
use crate::ui::style::Style;

/// Runs the command.
pub(super) fn ctl(ctl: &cli::Ctl, style: &mut Style) -> Result<ExitKind, Failure> {
    let control = Control::of(ctl)?;
    style.color = control.color;
    block_on(ask(control, *style))?
}

async fn ask(control: Control, style: Style) -> Result<ExitKind, Failure> {
    let which = Which {
        places: places(),
        dir: control.dir,
        package: control.package,
        target: control.target,
        pid: control.pid,
        words: control.words,
    };
    let mut connection = connect(&which).await?;
    match control.ask {
        Ask::Logs { generation, follow } => {
            let request = ClientRequest::Logs { generation, follow };
            let print = |line: &str, text: &str| {
                if control.json {
                    ui::command::pass(line.as_bytes());
                } else {
                    ui::command::pass(format!("{text}\n").as_bytes());
                }
            };
            connection.logs(&request, print).await?;
            Ok(ExitKind::Ok)
        }
        Ask::Command(command, within) => {
            let answered = async {
                let reply = connection.command(&command.to_string()).await;
                if command == Command::Stop && reply.is_ok() {
                    connection.ended().await;
                }
                reply
            };
            let reply = match within {
                None => answered.await?,
                Some(time) => match timeout(time, answered).await {
                    Ok(reply) => reply?,
                    Err(_) => return Err(too_late(&which).await),
                },
            };
            print(command, reply, control.json, style)
        }
    }
}

/// What is going on still, though there was no more time to wait.
async fn too_late(which: &Which) -> Failure {
    let status = async {
        let mut connection: Connection = connect(which).await?;
        connection.command(&Command::Status.to_string()).await
    };
    let now = match status.await {
        Ok(Reply::Answer(answer)) => answer::summary(&answer),
        Ok(Reply::Ended) => "hotrun has ended".into(),
        Err(failure) => failure.message,
    };
    Failure::failed(format!("--timeout: {now}"))
}

fn print(command: Command, reply: Reply, json: bool, style: Style) -> Result<ExitKind, Failure> {
    match reply {
        Reply::Answer(mut answer) => {
            if json || !style.color {
                for rendered in answer.rendered() {
                    *rendered = strip(rendered);
                }
            }
            if json {
                let failed = |error| Failure::failed(format!("cannot print the answer: {error}"));
                let line = serde_json::to_string(&answer).map_err(failed)? + "\n";
                ui::command::pass(line.as_bytes());
            } else if command == Command::Stop {
                ended(style);
            } else {
                ui::command::report(&answer::lines(command, &answer), style);
            }
            Ok(answer::exit(command, &answer))
        }
        Reply::Ended => {
            if !json {
                ended(style);
            }
            // What was asked for was not answered, unless it was just this.
            Ok(if command == Command::Stop {
                ExitKind::Ok
            } else {
                ExitKind::Failed
            })
        }
    }
}

fn ended(style: Style) {
    let line = Text {
        level: Level::Info,
        text: "hotrun has ended".into(),
    };
    ui::command::report(&[line], style);
}
