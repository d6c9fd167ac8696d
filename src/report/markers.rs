//! The lines around each build that editors look for: with rust-analyzer's `$rustc-watch` matcher they
//! say where the messages of a build begin and end. Pure.

use super::event::Event;
use crate::session::model::Exit;

/// Which of them is due.
#[derive(Debug, Default)]
pub struct Markers {
    /// A build is announced and its end is not.
    running: bool,
}

impl Markers {
    /// The line for an event, if it has one.
    pub fn of(&mut self, event: &Event) -> Option<String> {
        let status = match event {
            Event::Command { command, .. } => {
                self.running = true;
                return Some(format!("[Running '{command}']"));
            }
            Event::BuildEnded {
                exit: Exit::Status(code),
                ..
            } => code.to_string(),
            Event::BuildEnded { exit, .. } => exit.to_string(),
            Event::Cancelled { .. } => "cancelled".into(),
            // Cargo was not run to its end.
            Event::BuildFailed { .. } | Event::Quitting { .. } => "unknown".into(),
            _ => return None,
        };
        // Each `[Running …]` is closed once.
        std::mem::take(&mut self.running)
            .then(|| format!("[Finished running. Exit status: {status}]"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::model::Generation;

    #[test]
    fn each_build_is_opened_and_closed_once() {
        let generation = Generation(1);
        let command = Event::Command {
            generation,
            command: "cargo build".into(),
        };
        let ended = |exit| Event::BuildEnded { generation, exit };
        let quitting = Event::Quitting { at_once: false };
        let mut markers = Markers::default();
        for (event, line) in [
            (&quitting, None),
            (&command, Some("[Running 'cargo build']")),
            (
                &ended(Exit::Status(101)),
                Some("[Finished running. Exit status: 101]"),
            ),
            (&quitting, None),
            (&command, Some("[Running 'cargo build']")),
            (&quitting, Some("[Finished running. Exit status: unknown]")),
        ] {
            assert_eq!(markers.of(event).as_deref(), line);
        }
    }
}
