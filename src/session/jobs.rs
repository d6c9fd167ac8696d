//! The user's commands, of hooks and of rules: starting and numbering them, and what follows from their
//! ends.

use super::Session;
use super::action::{Action, Next, View};
use super::event::JobNews;
use super::model::{Ending, Generation, Job, JobId, Moment, Occasion};
use super::reason::Reason;

impl Session {
    /// Runs a command of the user.
    pub(super) fn run(&mut self, job: Job) -> JobId {
        self.numbered_jobs += 1;
        let id = JobId(self.numbered_jobs);
        self.jobs.push((id, job.occasion));
        self.show(View::JobStarted(job.clone()));
        self.out.push(Action::Run(id, job));
        id
    }

    /// Runs a hook that nothing waits for, if the user has one.
    pub(super) fn hook(
        &mut self,
        occasion: Occasion,
        generation: Option<Generation>,
        error: Option<String>,
    ) {
        if matches!(self.ending, Some(Ending::Quit | Ending::Signal(_))) {
            return;
        }
        let hooks = &self.policy.hooks;
        let command = match occasion {
            Occasion::AfterLive => hooks.after_live.clone(),
            Occasion::OnError => hooks.on_error.clone(),
            _ => None,
        };
        if let Some(command) = command {
            self.run(Job {
                occasion,
                command,
                generation,
                error,
            });
        }
    }

    pub(super) fn job_news(&mut self, now: Moment, id: JobId, news: JobNews) {
        let result = match news {
            JobNews::Line(line) => return self.show(View::JobLine(line)),
            JobNews::Ended(result) => result,
        };
        let Some(at) = self.jobs.iter().position(|(job, _)| *job == id) else {
            return;
        };
        let (_, occasion) = self.jobs.remove(at);
        // A job that hotrun ended has not failed.
        let ours = matches!(self.ending, Some(Ending::Quit | Ending::Signal(_)));
        let failed = result.err().filter(|_| !ours);
        match occasion {
            Occasion::BeforeBuild => self.prepared_to_build(now, failed),
            Occasion::BeforeStart => self.prepared_to_start(now, id, failed),
            Occasion::Rule | Occasion::AfterLive | Occasion::OnError => {
                self.reactions.ended(id, failed.is_some());
                if let Some(reason) = failed {
                    self.job_failed(occasion, reason);
                }
            }
        }
    }

    /// Shows that a command failed, and runs the user's `on_error`.
    pub(super) fn job_failed(&mut self, occasion: Occasion, reason: Reason) {
        // Without what has to come before it, there is no build or start.
        let next = if self.policy.once && occasion.is_waited_for() {
            Next::End
        } else {
            self.next_step()
        };
        let told = Some(format!("{occasion}: {reason}"));
        self.show(View::JobFailed {
            occasion,
            reason,
            next,
        });
        if occasion != Occasion::OnError {
            self.hook(Occasion::OnError, None, told);
        }
    }
}
