//! The user's own commands, each in a task: hooks, and jobs of rules. Reports their lines and exits;
//! deliberately absent: any decision about when or in which order.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use crate::config::Settings;
use crate::defect;
use crate::helper::{self, After, Stopped};
use crate::keeper::protocol::{Input, Launch};
use crate::session::event::{Event, JobNews};
use crate::session::model::{Job, JobId};
use crate::session::reason::Reason;

/// Runs commands.
#[derive(Debug)]
pub struct Hooks {
    events: UnboundedSender<Event>,
    /// The name of this run (`HOTRUN_SESSION`).
    session: Arc<str>,
    running: HashMap<JobId, watch::Sender<bool>>,
}

impl Hooks {
    /// No command runs yet.
    pub fn new(events: UnboundedSender<Event>, session: Arc<str>) -> Self {
        Self {
            events,
            session,
            running: HashMap::new(),
        }
    }

    /// Starts a command.
    pub fn start(&mut self, id: JobId, job: &Job, settings: &Settings) {
        self.running.retain(|_, cancel| !cancel.is_closed());
        let (cancel, cancelled) = watch::channel(false);
        self.running.insert(id, cancel.clone());
        let launch = launch(job, settings, &self.session);
        let timeout = settings.hook_timeout;
        let events = self.events.clone();
        let running = run(id, launch, timeout, (cancel, cancelled), events.clone());
        defect::spawn("hook", async move {
            if let Err(panic) = defect::guarded("hook", running).await {
                let reason = defect::reason("its exit status is unknown", &panic);
                events
                    .send(Event::Job(id, JobNews::Ended(Err(reason))))
                    .ok();
            }
        });
    }

    /// Ends a command and its processes.
    pub fn end(&self, id: JobId) {
        if let Some(cancel) = self.running.get(&id) {
            cancel.send_replace(true);
        }
    }
}

async fn run(
    id: JobId,
    launch: Launch,
    timeout: Duration,
    (cancel, mut cancelled): (watch::Sender<bool>, watch::Receiver<bool>),
    events: UnboundedSender<Event>,
) {
    defect::point("hook");
    let tell = |news| {
        events.send(Event::Job(id, news)).ok();
    };
    let asks = AtomicBool::new(false);
    let running = helper::run(launch, &mut cancelled, |_, line| {
        asks.fetch_or(line.contains("/dev/tty"), Ordering::Relaxed);
        tell(JobNews::Line(line.with(line.trim_end())));
        After::GoOn
    });
    tokio::pin!(running);
    let mut late = false;
    let ended = loop {
        tokio::select! {
            // Both may have happened while hotrun itself was stopped: then the exit counts.
            biased;
            ended = &mut running => break ended,
            () = tokio::time::sleep(timeout), if !late => {
                late = true;
                cancel.send_replace(true);
            }
        }
    };
    let timeout = humantime::format_duration(timeout);
    tell(JobNews::Ended(match ended {
        Ok(exit) if exit.success() => Ok(()),
        Ok(exit) if asks.load(Ordering::Relaxed) => Err(Reason::new(
            exit.to_string(),
            "a hook has no terminal, but what it prints goes to yours, a bell (`printf '\\a'`) too",
        )),
        Ok(exit) => Err(exit.to_string().into()),
        Err(Stopped::Cancelled) if late => Err(Reason::new(
            format!("it did not end within {timeout}"),
            "start what is to stay with `setsid` or by a service manager, or raise `hooks.timeout`",
        )),
        Err(Stopped::Cancelled) => Err("it was ended".into()),
        Err(Stopped::Failed(what)) => Err(what),
    }));
}

fn launch(job: &Job, settings: &Settings, session: &str) -> Launch {
    let mut words = job.command.iter().map(OsString::from);
    let program = words.next().unwrap_or_default();
    let mut env = settings.build.env.clone();
    env.extend(settings.app.from_files.iter().cloned());
    let mut tell = |name: &str, value: String| env.push((name.into(), value.into()));
    tell("HOTRUN_HOOK", job.occasion.to_string());
    tell("HOTRUN_SESSION", session.to_owned());
    if let Some(generation) = job.generation {
        tell("HOTRUN_GENERATION", generation.0.to_string());
    }
    if let Some(error) = &job.error {
        tell("HOTRUN_ERROR", error.clone());
    }
    let dir: PathBuf = settings.app.dir.clone();
    Launch {
        argv0: program.clone(),
        program,
        args: words.collect(),
        env,
        dir: dir.into_os_string(),
        notify: None,
        must_notify: false,
        input: Input::Nothing,
        filter: Vec::new(),
    }
}
