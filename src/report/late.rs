//! Lines that wait: what is held is told once the list is the same for a while, since a program may bind
//! one port after the other; that cargo waits for another cargo, when it has waited for long. Pure.

use std::time::Duration;

use super::event::Event;
use super::values::HeldAddress;
use crate::session::model::{Generation, Moment};

/// A list that has not changed for so long is told.
const QUIET: Duration = Duration::from_millis(150);

/// A wait for another cargo that lasts so long is told. What tells of it has waited for the most of it.
const LONG: Duration = Duration::from_millis(500);

/// The lines that wait, and what was told of their kind.
#[derive(Clone, Debug, Default)]
pub struct Late {
    held: Option<(Moment, Event)>,
    blocked: Option<(Moment, Event)>,
    /// The list of addresses that was told last.
    announced: Vec<HeldAddress>,
    /// The last build for which a wait was told; 0: reading the project.
    waited: Option<Generation>,
}

impl Late {
    /// Takes in what happened: the events whose lines are due by that, in order.
    pub fn take(&mut self, now: Moment, event: &Event) -> Vec<Event> {
        let mut due = self.due(now);
        match event {
            Event::Held { sockets } => {
                let is_new = *sockets != self.announced;
                self.held = is_new.then(|| (now + QUIET, event.clone()));
            }
            Event::Blocked {
                generation,
                on: Some(_),
            } => {
                let is_new = self.waited != Some(of_wait(*generation));
                let at = self.blocked.as_ref().map_or(now + LONG, |(at, _)| *at);
                self.blocked = is_new.then(|| (at, event.clone()));
            }
            Event::Blocked { on: None, .. }
            | Event::Session { .. }
            | Event::Cancelled { .. }
            | Event::BuildEnded { .. }
            | Event::BuildFailed { .. } => {
                self.blocked = None;
                due.push(event.clone());
            }
            Event::Building { .. } | Event::Quitting { .. } => {
                self.blocked = None;
                due.extend(self.rest());
                due.push(event.clone());
            }
            _ => due.push(event.clone()),
        }
        due
    }

    /// The events whose lines are due by the time.
    pub fn due(&mut self, now: Moment) -> Vec<Event> {
        let is_due = |(at, _): &mut (Moment, Event)| *at <= now;
        let blocked = self.blocked.take_if(is_due).map(|(_, event)| event);
        if let Some(Event::Blocked { generation, .. }) = &blocked {
            self.waited = Some(of_wait(*generation));
        }
        let held = self.held.take_if(is_due).map(|(_, event)| event);
        let held = held.inspect(|event| self.announce(event));
        blocked.into_iter().chain(held).collect()
    }

    /// When the next line is due by the time.
    pub fn next(&self) -> Option<Moment> {
        let all = [&self.held, &self.blocked].into_iter().flatten();
        all.map(|(at, _)| *at).min()
    }

    /// What would be untold if nothing more came.
    pub fn rest(&mut self) -> Option<Event> {
        let (_, event) = self.held.take()?;
        self.announce(&event);
        Some(event)
    }

    fn announce(&mut self, event: &Event) {
        if let Event::Held { sockets } = event {
            self.announced.clone_from(sockets);
        }
    }
}

fn of_wait(generation: Option<Generation>) -> Generation {
    generation.unwrap_or(Generation(0))
}

#[cfg(test)]
mod tests {
    use super::super::text;
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn held(ports: &[u16]) -> Event {
        let held = |port| HeldAddress {
            name: None,
            address: format!("127.0.0.1:{port}"),
            twins: true,
        };
        Event::Held {
            sockets: ports.iter().map(held).collect(),
        }
    }

    fn blocked(generation: u32, on: Option<&str>) -> Event {
        Event::Blocked {
            generation: Some(Generation(generation)),
            on: on.map(str::to_owned),
        }
    }

    /// Happens at these milliseconds, and tells these lines at those.
    #[track_caller]
    fn case(events: &[(u64, Event)], expected: &[(u64, &str)]) {
        let mut late = Late::default();
        let mut told = Vec::new();
        let mut say = |at: Moment, event: &Event| {
            if let Some(line) = text::of(event) {
                told.push((u64::try_from(at.as_millis()).unwrap(), line.text));
            }
        };
        let end = [(100_000, Event::Unknown)];
        for (at, event) in events.iter().chain(&end) {
            while let Some(due) = late.next().filter(|due| *due <= MS(*at)) {
                for event in late.due(due) {
                    say(due, &event);
                }
            }
            for event in late.take(MS(*at), event) {
                say(MS(*at), &event);
            }
        }
        let told: Vec<(u64, &str)> = told.iter().map(|(at, line)| (*at, &**line)).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_held_is_told_once_for_all_ports() {
        case(
            &[
                (10, held(&[1])),
                (12, held(&[1, 2])),
                (15, Event::Quitting { at_once: false }),
                (20, held(&[1])),
                (21, held(&[1, 2])),
            ],
            &[(15, "holding 127.0.0.1:1, 127.0.0.1:2"), (15, "stopping")],
        );
        case(
            &[(10, held(&[1])), (100, held(&[1, 2])), (900, held(&[]))],
            &[
                (250, "holding 127.0.0.1:1, 127.0.0.1:2"),
                (1050, "no address is held any more"),
            ],
        );
    }

    #[test]
    fn a_wait_for_another_cargo_is_told_once_a_build_and_when_it_is_long() {
        let line = "waiting for another cargo: build directory";
        case(
            &[
                (500, blocked(1, Some("package cache"))),
                (700, blocked(1, None)),
                (1000, blocked(1, Some("package cache"))),
                (1200, blocked(1, Some("build directory"))),
                (1900, blocked(1, None)),
                (2500, blocked(1, Some("build directory"))),
                (3500, blocked(2, Some("build directory"))),
            ],
            &[(1500, line), (4000, line)],
        );
    }
}
