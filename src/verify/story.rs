//! What the hotrun under load did, and when: which versions had processes, what it was busy with, and
//! what its clients' times mean. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::facts::{Advice, Phase};
use crate::report::Record;
use crate::report::event::Event;
use crate::report::values::HeldAddress;
use crate::session::action::Evidence;
use crate::session::model::{Exit, Generation, Moment};

/// A start that takes longer than this is worth a word.
const LONG_START: Duration = Duration::from_secs(1);

/// One version, by hotrun's clock.
#[derive(Debug, Default)]
struct Version {
    building: Option<Moment>,
    built: Option<Moment>,
    starting: Option<Moment>,
    started: Option<Moment>,
    /// It was started while no other version had a process.
    alone: bool,
    live: Option<Live>,
    gone: Option<Moment>,
}

/// How a version became live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Live {
    at: Moment,
    /// From what it was built for until it served.
    pub(super) took: Duration,
    pub(super) build: Option<Duration>,
    start: Duration,
    /// From when it could have been started; the old version had to end first.
    swap: Duration,
}

/// Everything that was told.
#[derive(Debug, Default)]
pub(super) struct Story {
    /// The held sockets.
    pub(super) held: Vec<HeldAddress>,
    /// The file that the app begins in.
    pub(super) source: Option<PathBuf>,
    versions: BTreeMap<Generation, Version>,
    /// What our clock showed when hotrun's began: the least that was between an event and its
    /// being heard.
    offset: Option<Duration>,
    /// How the versions that were asked to end did so.
    ends: Vec<Exit>,
    cuts: Vec<(usize, Duration)>,
    learned: Option<Evidence>,
    unclaimed: Vec<String>,
    warnings: Vec<String>,
}

impl Story {
    /// Takes in what was heard at this time of our clock.
    pub(super) fn hear(&mut self, heard: Moment, told: &Record) {
        // Output of the app has no time.
        let Some(at) = told.ms else {
            return;
        };
        let at = at.0;
        let offset = heard.saturating_sub(at);
        self.offset = Some(self.offset.map_or(offset, |known| known.min(offset)));
        match &told.event {
            Event::Held { sockets } => self.held.clone_from(sockets),
            Event::Session { source, .. } => self.source = Some(source.0.clone()),
            Event::Warning { text, hint } => {
                let warning = match hint {
                    Some(hint) => format!("{text}; {hint}"),
                    None => text.clone(),
                };
                if !self.warnings.contains(&warning) {
                    self.warnings.push(warning);
                }
            }
            Event::Building {
                generation, ago_ms, ..
            } => self.version(*generation).building = Some(at.saturating_sub(ago_ms.0)),
            Event::BuildEnded { generation, .. } => self.version(*generation).built = Some(at),
            Event::Starting {
                generation, beside, ..
            } => {
                let version = self.version(*generation);
                version.starting = Some(at);
                version.alone = beside.is_none();
            }
            Event::Started { generation, .. } => self.version(*generation).started = Some(at),
            Event::Live {
                generation,
                total_ms,
                phases,
                ..
            } => {
                self.version(*generation).live = Some(Live {
                    at,
                    took: total_ms.0,
                    build: phases.build_ms.map(|time| time.0),
                    start: phases.start_ms.0,
                    swap: phases.swap_ms.0,
                });
            }
            Event::Learned { because } => self.learned = Some(because.clone()),
            Event::Unclaimed { addresses, .. } => self.unclaimed.clone_from(addresses),
            Event::Cut {
                connections,
                after_ms,
                ..
            } => self.cuts.push((*connections, after_ms.0)),
            Event::Gone { generation, exit } => {
                self.version(*generation).gone = Some(at);
                self.ends.extend(*exit);
            }
            _ => {}
        }
    }

    fn version(&mut self, generation: Generation) -> &mut Version {
        self.versions.entry(generation).or_default()
    }

    /// The newest version that became live.
    pub(super) fn live(&self) -> Option<(Generation, Live)> {
        let mut lives = self.versions.iter().rev();
        lives.find_map(|(generation, version)| Some((*generation, version.live?)))
    }

    /// The newest version that became live after this one, once nothing is left of those before it.
    pub(super) fn settled(&self, after: Generation) -> Option<(Generation, Live)> {
        let (newest, live) = self.live()?;
        (newest > after && self.left(newest).is_some()).then_some((newest, live))
    }

    /// When the last of the versions before this one was gone; zero where there was none.
    fn left(&self, newest: Generation) -> Option<Moment> {
        let older = self.versions.range(..newest).map(|(_, version)| version);
        let older = older.filter(|version| version.starting.is_some());
        older
            .map(|version| version.gone)
            .try_fold(Moment::ZERO, |last, gone| Some(last.max(gone?)))
    }

    /// What hotrun did at some time between these two of our clock. A swap counts before a build.
    pub(super) fn phase(&self, from: Moment, to: Moment) -> Phase {
        let (from, to) = (self.theirs(from), self.theirs(to));
        let overlaps =
            |begin: Moment, end: Option<Moment>| begin <= to && end.is_none_or(|end| from <= end);
        let mut phase = Phase::Calm;
        for (generation, version) in &self.versions {
            let later = || {
                self.versions
                    .range(generation..)
                    .skip(1)
                    .map(|(_, later)| later)
            };
            if let Some(building) = version.building {
                // One that was cancelled ends where the next one begins.
                let end = version.built.or(later().find_map(|next| next.building));
                if overlaps(building, end) {
                    phase = phase.max(Phase::Building(*generation));
                }
            }
            if let Some(starting) = version.starting {
                let end = match version.live {
                    Some(live) => self.left(*generation).map(|left| left.max(live.at)),
                    // It failed, and another one takes its place.
                    None => later().find_map(|next| next.starting).or(version.gone),
                };
                if overlaps(version.built.unwrap_or(starting), end) {
                    phase = phase.max(Phase::Swap(*generation));
                }
            }
        }
        phase
    }

    /// The versions that had processes at some time between these two of our clock.
    pub(super) fn running(&self, from: Moment, to: Moment) -> Vec<Generation> {
        let (from, to) = (self.theirs(from), self.theirs(to));
        let ran = |version: &Version| {
            let started = version.started.is_some_and(|started| started <= to);
            started && version.gone.is_none_or(|gone| from <= gone)
        };
        let running = self.versions.iter().filter(|(_, version)| ran(version));
        running.map(|(generation, _)| *generation).collect()
    }

    /// A time of our clock by hotrun's.
    fn theirs(&self, ours: Moment) -> Moment {
        ours.saturating_sub(self.offset.unwrap_or_default())
    }

    /// What can be done about what happened; the app is asked to end by this signal.
    pub(super) fn advice(&self, stop_signal: i32) -> Vec<Advice> {
        let mut advice: Vec<Advice> = Vec::new();
        let killed = Exit::Signal(stop_signal);
        let versions = self.ends.iter().filter(|exit| **exit == killed).count();
        if versions > 0 {
            advice.push(Advice::DiesOfSignal {
                number: stop_signal,
                versions,
            });
        }
        if let Some(after) = self.cuts.iter().map(|(_, after)| *after).max() {
            advice.push(Advice::Cut {
                versions: self.cuts.len(),
                connections: self.cuts.iter().map(|(connections, _)| connections).sum(),
                after,
            });
        }
        // The first generation has no live one beside it.
        let reloads = || {
            self.versions
                .values()
                .filter(|version| version.live.is_some())
                .skip(1)
        };
        let longest = |alone: bool, of: fn(Live) -> Duration| {
            let these = reloads().filter(move |version| version.alone == alone);
            these.filter_map(|version| version.live.map(of)).max()
        };
        if let Some(wait) = longest(true, |live| live.swap + live.start) {
            advice.push(Advice::StoppedFirst {
                because: self.learned.clone(),
                wait,
            });
        }
        let long = longest(false, |live| live.start).filter(|start| *start > LONG_START);
        advice.extend(long.map(Advice::SlowStart));
        if !self.unclaimed.is_empty() {
            advice.push(Advice::Unclaimed(self.unclaimed.clone()));
        }
        advice.extend(self.warnings.iter().cloned().map(Advice::Warning));
        advice
    }

    /// What hotrun warned of.
    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::report::values::{Millis, Phases};
    use crate::session::model::Proof;

    const FIRST: Generation = Generation(1);
    const SECOND: Generation = Generation(2);

    /// A time of our clock, which was 50 ms when hotrun's began.
    pub(in super::super) fn at(ms: u64) -> Moment {
        Moment::from_millis(50 + ms)
    }

    fn hear(story: &mut Story, ms: u64, late: u64, event: Event) {
        let record = Record::at(Moment::from_millis(ms), event);
        story.hear(at(ms + late), &record);
    }

    /// A story of these events, some heard at once and the others a little later.
    fn story(events: Vec<(u64, Event)>) -> Story {
        let mut story = Story::default();
        for ((ms, event), late) in events.into_iter().zip([2, 0, 1].into_iter().cycle()) {
            hear(&mut story, ms, late, event);
        }
        story
    }

    fn building(generation: Generation) -> Event {
        Event::Building {
            generation,
            ago_ms: Millis(Duration::ZERO),
            cause: String::new(),
            paths: Vec::new(),
            asked: false,
        }
    }

    fn build_ended(generation: Generation) -> Event {
        Event::BuildEnded {
            generation,
            exit: Exit::Status(0),
        }
    }

    fn starting(generation: Generation, beside: Option<Generation>) -> Event {
        Event::Starting {
            generation,
            beside,
            cause: String::new(),
            hint: None,
        }
    }

    fn live(generation: Generation) -> Event {
        let ms = |ms| Millis(Duration::from_millis(ms));
        Event::Live {
            generation,
            total_ms: ms(400),
            phases: Phases {
                build_ms: Some(ms(390)),
                start_ms: ms(10),
                swap_ms: ms(5),
                ..Phases::default()
            },
            proof: Proof::Accepting,
            cause: String::new(),
        }
    }

    fn gone(generation: Generation, exit: Exit) -> Event {
        let exit = Some(exit);
        Event::Gone { generation, exit }
    }

    /// A second version beside the first one, and then its end.
    pub(in super::super) fn a_reload() -> Story {
        let started = |generation, pid| Event::Started { generation, pid };
        story(vec![
            (0, building(FIRST)),
            (80, build_ended(FIRST)),
            (90, starting(FIRST, None)),
            (91, started(FIRST, 100)),
            (100, live(FIRST)),
            (1000, building(SECOND)),
            (1400, build_ended(SECOND)),
            (1405, starting(SECOND, Some(FIRST))),
            (1410, started(SECOND, 200)),
            (1420, live(SECOND)),
            (1500, gone(FIRST, Exit::Signal(15))),
        ])
    }

    #[test]
    fn a_request_falls_into_what_hotrun_did() {
        let story = a_reload();
        let (build, swap) = (Phase::Building(SECOND), Phase::Swap(SECOND));
        for (from, to, phase) in [
            (200, 900, Phase::Calm),
            (990, 1000, build),
            (1100, 1399, build),
            (1390, 1400, swap),
            (500, 2000, swap),
            (1500, 1510, swap),
            (1501, 1510, Phase::Calm),
        ] {
            assert_eq!(story.phase(at(from), at(to)), phase, "{from} to {to}");
        }
        assert_eq!(story.running(at(200), at(1409)), [FIRST]);
        assert_eq!(story.running(at(200), at(1410)), [FIRST, SECOND]);
        assert_eq!(story.running(at(1500), at(1600)), [FIRST, SECOND]);
        assert_eq!(story.running(at(1501), at(1600)), [SECOND]);
    }

    #[test]
    fn a_reload_is_over_when_nothing_is_left_of_the_old_version() {
        let mut story = a_reload();
        assert_eq!(story.settled(FIRST).unwrap().0, SECOND);
        assert_eq!(story.settled(SECOND), None);
        story.version(FIRST).gone = None;
        assert_eq!(story.settled(FIRST), None);
        assert_eq!(story.phase(at(9000), at(9001)), Phase::Swap(SECOND));
    }

    #[test]
    fn a_version_that_cannot_run_beside_live_is_tried_alone() {
        let mut story = a_reload();
        let (third, fourth) = (Generation(3), Generation(4));
        let because = Evidence::Line("database is locked".into());
        let learned = Event::Learned {
            because: because.clone(),
        };
        for (ms, event) in [
            (2000, building(third)),
            (2300, build_ended(third)),
            (2310, starting(third, Some(SECOND))),
            (2400, learned),
            (2410, gone(third, Exit::Status(1))),
            (2500, gone(SECOND, Exit::Status(0))),
            (2510, starting(fourth, None)),
            (2520, live(fourth)),
        ] {
            hear(&mut story, ms, 0, event);
        }
        assert_eq!(story.settled(SECOND).unwrap().0, fourth);
        assert_eq!(story.phase(at(2450), at(2460)), Phase::Swap(third));
        assert_eq!(story.phase(at(2515), at(2516)), Phase::Swap(fourth));
        assert_eq!(story.phase(at(2600), at(2601)), Phase::Calm);
        assert!(story.advice(15).contains(&Advice::StoppedFirst {
            because: Some(because),
            wait: Duration::from_millis(15)
        }));
    }

    #[test]
    fn advice_has_something_that_shows_it() {
        let dies = Advice::DiesOfSignal {
            number: 15,
            versions: 1,
        };
        assert_eq!(a_reload().advice(15), [dies]);
        assert_eq!(a_reload().advice(2), []);
        let mut slow = a_reload();
        slow.version(SECOND).live.as_mut().unwrap().start = Duration::from_millis(1500);
        assert_eq!(
            slow.advice(2),
            [Advice::SlowStart(Duration::from_millis(1500))]
        );
        let warning = |hint: Option<&str>| Event::Warning {
            text: "a".into(),
            hint: hint.map(Into::into),
        };
        let odd = story(vec![
            (1, warning(None)),
            (2, warning(None)),
            (2, warning(Some("do it"))),
            (
                3,
                Event::Unclaimed {
                    generation: FIRST,
                    addresses: vec!["b".into()],
                    hint: None,
                },
            ),
            (
                4,
                Event::Cut {
                    generation: FIRST,
                    connections: 2,
                    after_ms: Millis(Duration::from_secs(5)),
                    for_next: false,
                },
            ),
        ]);
        let cut = Advice::Cut {
            versions: 1,
            connections: 2,
            after: Duration::from_secs(5),
        };
        let others = [
            Advice::Unclaimed(vec!["b".into()]),
            Advice::Warning("a".into()),
            Advice::Warning("a; do it".into()),
        ];
        assert_eq!(odd.advice(15), [vec![cut], others.to_vec()].concat());
    }
}
