//! What hotrun has told so far, event by event: what it is doing, which generation serves, and which
//! builds it began for which reason.

use serde_json::Value;

use super::tree::OWN;
use crate::common::Hotrun;
use crate::common::hotrun::Place;

/// What became of the last build that was not cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    Failed,
    Unchanged,
    Started,
}

/// A build that was begun.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub(super) generation: u64,
    pub(super) cause: String,
}

impl Begun {
    /// The paths that its cause names, as far as it names paths.
    pub(super) fn paths(&self) -> Vec<&str> {
        let named = self.cause.split(" and ").next().unwrap_or_default();
        named.split(", ").collect()
    }

    /// It is for nothing but what the app or the build script has written.
    pub(super) fn is_for_own(&self) -> bool {
        !self.cause.contains(" more") && self.paths().iter().all(|path| OWN.contains(path))
    }
}

/// What is known of a hotrun by its events.
pub(super) struct Told {
    next: Place,
    /// The build that runs.
    building: Option<u64>,
    /// The build that has ended, and its cause: what it has built was not started yet.
    built: Option<(u64, String)>,
    candidate: Option<u64>,
    /// Something was announced that has not begun: another build, or another start.
    announced: bool,
    pub(super) live: Option<u64>,
    pub(super) last: Option<Last>,
    pub(super) builds: Vec<Begun>,
    pub(super) cancelled: usize,
    pub(super) failed: usize,
    pub(super) unchanged: usize,
    pub(super) restarts: usize,
    /// When live ended by itself, in milliseconds since hotrun was started.
    pub(super) crashes: Vec<f64>,
    /// What was told to be written by the app or the build, and so to be no reason for a build.
    pub(super) own_writing: Vec<String>,
}

impl Told {
    pub(super) fn new() -> Self {
        Self {
            next: Place(0),
            building: None,
            built: None,
            candidate: None,
            announced: true,
            live: None,
            last: None,
            builds: Vec::new(),
            cancelled: 0,
            failed: 0,
            unchanged: 0,
            restarts: 0,
            crashes: Vec::new(),
            own_writing: Vec::new(),
        }
    }

    /// Takes in what was told since the last time.
    pub(super) fn hear(&mut self, hotrun: &Hotrun) {
        let events = hotrun.events_after(self.next);
        self.next.0 += events.len();
        for event in events {
            self.add(&event);
        }
    }

    fn add(&mut self, event: &Value) {
        let generation = event["generation"].as_u64();
        match event["event"].as_str().unwrap_or_default() {
            "building" => {
                self.building = generation;
                self.announced = false;
                self.builds.push(Begun {
                    generation: generation.unwrap(),
                    cause: event["cause"].as_str().unwrap().to_owned(),
                });
            }
            "build-ended" => {
                let begun = self.builds.last().filter(|_| self.building == generation);
                self.built = begun.map(|build| (build.generation, build.cause.clone()));
            }
            "cancelled" => {
                self.cancelled += 1;
                self.building = None;
                self.announced = true;
            }
            "nothing-to-build" => self.announced = false,
            "build-failed" => {
                self.failed += 1;
                self.building = None;
                self.last = Some(Last::Failed);
            }
            "unchanged" => {
                self.unchanged += 1;
                self.building = None;
                self.last = Some(Last::Unchanged);
            }
            "starting" => {
                // It has another number than its build where something else was started meanwhile.
                let of_build = |(built, why): &mut (u64, String)| {
                    Some(*built) == generation || event["cause"] == **why
                };
                if let Some((built, _)) = self.built.take_if(of_build) {
                    self.building.take_if(|building| *building == built);
                    self.last = Some(Last::Started);
                }
                self.candidate = generation;
                self.announced = false;
            }
            "live" => {
                self.restarts += 1;
                self.live = generation;
                self.candidate
                    .take_if(|candidate| Some(*candidate) == generation);
            }
            "ended" | "not-ready" | "cannot-start" => {
                self.candidate
                    .take_if(|candidate| Some(*candidate) == generation);
                if self.live == generation {
                    self.live = None;
                    self.crashes.push(event["ms"].as_f64().unwrap());
                }
                let next = &event["next"];
                let starts = ["restart_ms", "rollback"]
                    .iter()
                    .any(|key| next.get(key).is_some());
                self.announced |= starts || next == "alone";
            }
            "own-writing" => self
                .own_writing
                .push(event["path"].as_str().unwrap().to_owned()),
            _ => {}
        }
    }

    /// Something is built or started, or was announced to be.
    pub(super) fn is_busy(&self) -> bool {
        self.building.is_some() || self.candidate.is_some() || self.announced
    }

    /// What it is doing, for messages.
    pub(super) fn state(&self) -> String {
        format!(
            "it builds {:?}, starts {:?}, has announced something: {}; live is {:?}, the last build: {:?}",
            self.building, self.candidate, self.announced, self.live, self.last
        )
    }
}
