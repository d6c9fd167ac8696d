//! The search: from every beginning all steps, breadth first, each state once; and each story brought to
//! its end.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use super::super::command::Command;
use super::super::event::{AppNews, BuildNews, Event, JobNews};
use super::super::model::{BuildOutcome, Change, ChangeKind, Content, Ending};
use super::kinds::kind;
use super::play::{Broken, Play, Step};
use super::policies::Setup;
use super::promises::{ENDS, STUCK};
use super::same::Reader;
use super::steps::{Manner, answer, possible};

/// More steps than any story needs to come to its end.
const LONGEST_END: usize = 200;
/// The steps of a random story.
const LONG: usize = 200;

/// Where a search begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// The first build has not begun.
    Start,
    /// One generation is live, in its probation.
    Live,
    /// It has passed that.
    Proved,
}

/// The first steps of a story, without a failure.
pub(super) fn beginning(setup: &Setup, from: From) -> Vec<Step> {
    let mut play = Play::new(setup);
    let mut steps = Vec::new();
    let mut go = |play: &mut Play, step: Step| {
        steps.push(step.clone());
        if let Err(broken) = play.happen(step) {
            fail(setup, &steps, &broken);
        }
    };
    go(&mut play, Step::Event(Event::Begin));
    let is_there = |play: &Play| match from {
        From::Start => true,
        From::Live => play.world.live().is_some() && !play.world.answers(),
        From::Proved => play.world.proved.is_some() && !play.world.answers(),
    };
    while !is_there(&play) && !play.world.ended {
        match answer(&play, Manner::Willing) {
            Some(step) => go(&mut play, step),
            None => break,
        }
    }
    steps
}

/// Shows the story that ends in something broken.
pub(super) fn fail(setup: &Setup, steps: &[Step], broken: &Broken) -> ! {
    let mut play = Play::new(setup);
    play.tell();
    for step in steps {
        if play.happen(step.clone()).is_err() {
            break;
        }
    }
    panic!(
        "BROKEN `{}`: {}\n{:#?}\n{}\n{:#?}\n{:#?}",
        broken.invariant,
        broken.what,
        setup,
        play.told(),
        play.session.swap,
        play.world,
    );
}

/// Brings stories to their ends, and remembers which states are known to end well.
#[derive(Debug, Default)]
pub(super) struct Endings {
    reader: Reader,
    known: [HashSet<u64>; 2],
}

impl Endings {
    /// Both ends of a story that has come so far: everything is answered well; and hotrun is asked to
    /// end while nothing ends by itself. Returns the steps to a failure.
    pub(super) fn try_both(&mut self, play: &Play) -> Result<(), (Vec<Step>, Broken)> {
        if play.world.ended {
            return Ok(());
        }
        self.come_to_rest(play.clone(), Manner::Willing, Vec::new())?;
        let mut play = play.clone();
        let quit = Step::Event(Event::Quit(Ending::Quit));
        let steps = vec![quit.clone()];
        match play.happen(quit) {
            Ok(()) => self.come_to_rest(play, Manner::Stubborn, steps),
            Err(broken) => Err((steps, broken)),
        }
    }

    fn come_to_rest(
        &mut self,
        mut play: Play,
        manner: Manner,
        mut steps: Vec<Step>,
    ) -> Result<(), (Vec<Step>, Broken)> {
        let known = usize::from(manner == Manner::Stubborn);
        let broken = |invariant, what| Broken { invariant, what };
        while !play.world.ended {
            // To read a state takes as long as many steps.
            let looks = steps.len() % 5 == 2;
            if looks && !self.known[known].insert(self.reader.read(&play)) {
                return Ok(());
            }
            let Some(step) = answer(&play, manner) else {
                let end = match manner {
                    Manner::Willing => play.is_at_rest(),
                    Manner::Stubborn => Err(broken(ENDS, "what runs is not made to end")),
                };
                return end.map_err(|broken| (steps, broken));
            };
            steps.push(step.clone());
            if let Err(broken) = play.happen(step) {
                return Err((steps, broken));
            }
            if steps.len() > LONGEST_END {
                return Err((steps, broken(STUCK, "there is no end to it")));
            }
        }
        Ok(())
    }
}

/// How far a search goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) depth: usize,
    pub(super) time: Option<Duration>,
}

/// What a search has seen.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// All stories of this many steps, where a rare one counts as several (see [`cost`]).
    pub(super) depth: usize,
    /// Different states, by the names of the settings.
    pub(super) states: BTreeMap<&'static str, usize>,
    pub(super) steps: usize,
}

/// One state that was reached: from which, and by which of its possible steps.
#[derive(Clone, Copy, Debug)]
struct Node {
    beginning: usize,
    parent: usize,
    step: usize,
}

/// Steps from a state, by their numbers, all of one cost.
type Steps = (usize, Vec<usize>);

/// A search under way. A state is told again from its beginning when its turn comes, so that many fit
/// into memory.
struct Search {
    beginnings: Vec<(Setup, Vec<Step>, Play)>,
    nodes: Vec<Node>,
    /// What is still to be tried, by the depth at which its turn comes.
    turns: BTreeMap<usize, Vec<Steps>>,
    seen: HashSet<u64>,
    reader: Reader,
    endings: Endings,
    found: Found,
}

/// Searches all stories with a beginning in these.
#[expect(
    clippy::disallowed_methods,
    reason = "the search is limited in real time"
)]
pub(super) fn search(beginnings: Vec<(Setup, Vec<Step>)>, limit: Limit) -> Found {
    let began = Instant::now();
    let mut search = Search {
        beginnings: Vec::new(),
        nodes: Vec::new(),
        turns: BTreeMap::new(),
        seen: HashSet::new(),
        reader: Reader::default(),
        endings: Endings::default(),
        found: Found::default(),
    };
    for (setup, steps) in beginnings {
        search.begin(setup, steps);
    }
    while let Some((depth, turn)) = search.turns.pop_first() {
        if depth > limit.depth {
            break;
        }
        for (at, steps) in turn {
            if limit.time.is_some_and(|time| began.elapsed() > time) {
                return search.found;
            }
            search.go_on_from(at, &steps, depth);
        }
        search.found.depth = depth;
    }
    search.found
}

impl Search {
    fn begin(&mut self, setup: Setup, steps: Vec<Step>) {
        let mut play = Play::new(&setup);
        for step in &steps {
            play.happen(step.clone()).unwrap();
        }
        let beginning = self.beginnings.len();
        self.beginnings.push((setup, steps, play.clone()));
        let node = Node {
            beginning,
            parent: usize::MAX,
            step: 0,
        };
        self.reached(&play, node, 0);
    }

    /// A state is reached: if it is a new one, brings its story to both ends, and plans its further steps.
    fn reached(&mut self, play: &Play, node: Node, depth: usize) {
        // The beginnings have the first numbers.
        let is_new = !play.world.ended && self.seen.insert(self.reader.read(play));
        if !is_new && node.parent != usize::MAX {
            return;
        }
        let at = self.nodes.len();
        self.nodes.push(node);
        if !is_new {
            return;
        }
        let name = self.beginnings[node.beginning].0.name;
        *self.found.states.entry(name).or_default() += 1;
        if let Err((steps, broken)) = self.endings.try_both(play) {
            self.fail(at, &steps, &broken);
        }
        let mut by_cost: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (number, step) in possible(play).iter().enumerate() {
            by_cost.entry(cost(step)).or_default().push(number);
        }
        for (cost, steps) in by_cost {
            let turn = self.turns.entry(depth + cost).or_default();
            turn.push((at, steps));
        }
    }

    fn go_on_from(&mut self, at: usize, numbers: &[usize], depth: usize) {
        let play = self.play(at);
        let steps = possible(&play);
        for number in numbers {
            let step = &steps[*number];
            let mut then = play.clone();
            self.found.steps += 1;
            if let Err(broken) = then.happen(step.clone()) {
                self.fail(at, std::slice::from_ref(step), &broken);
            }
            let node = Node {
                beginning: self.nodes[at].beginning,
                parent: at,
                step: *number,
            };
            self.reached(&then, node, depth);
        }
    }

    /// The beginning of the story that leads to a state, and the numbers of its steps.
    fn way(&self, at: usize) -> (usize, Vec<usize>) {
        let mut numbers = Vec::new();
        let mut node = at;
        while self.nodes[node].parent != usize::MAX {
            numbers.push(self.nodes[node].step);
            node = self.nodes[node].parent;
        }
        numbers.reverse();
        (self.nodes[node].beginning, numbers)
    }

    fn play(&self, at: usize) -> Play {
        let (beginning, numbers) = self.way(at);
        let mut play = self.beginnings[beginning].2.clone();
        for number in numbers {
            let step = possible(&play).swap_remove(number);
            play.happen(step).unwrap();
        }
        play
    }

    fn fail(&self, at: usize, last: &[Step], broken: &Broken) -> ! {
        let (beginning, numbers) = self.way(at);
        let (setup, steps, play) = &self.beginnings[beginning];
        let (mut steps, mut play) = (steps.clone(), play.clone());
        for number in numbers {
            let step = possible(&play).swap_remove(number);
            steps.push(step.clone());
            play.happen(step).unwrap();
        }
        steps.extend(last.iter().cloned());
        fail(setup, &steps, broken)
    }
}

/// As how many steps one counts: the more of them most stories have, the fewer.
fn cost(step: &Step) -> usize {
    let Step::Event(event) = step else { return 2 };
    match event {
        Event::Tick
        | Event::Command(Command::Rebuild, _)
        | Event::Addresses(_)
        | Event::Open(..)
        | Event::Build(_, BuildNews::Loaded(_) | BuildNews::Done(_))
        | Event::Job(_, JobNews::Ended(_)) => 1,
        Event::Changed(changes) => {
            let saves = |change: &Change| {
                change.kind == ChangeKind::Source
                    && matches!(change.now, Content::Digest(_))
                    && change.script.is_none()
                    && !change.is_same()
            };
            if changes.len() == 1 && changes.iter().all(saves) {
                1
            } else {
                3
            }
        }
        Event::App(_, news) => match news {
            AppNews::Started(_)
            | AppNews::Ready(_)
            | AppNews::Listening
            | AppNews::Exited { .. }
            | AppNews::Traced(_)
            | AppNews::Writes(_)
            | AppNews::Gone { .. } => 1,
            AppNews::CannotStart(_) | AppNews::Background(_) => 2,
            _ => 3,
        },
        Event::Quit(_) | Event::Signal(_) | Event::Configured(_) | Event::Rescan => 2,
        _ => 3,
    }
}

/// A small generator (xorshift64*), so that a failure can be repeated.
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(value).unwrap() % end
    }
}

/// How often an event happens in a random story, against others: what only some stories need would
/// otherwise keep all of them short, or be all that happens.
fn weight(step: &Step) -> usize {
    let Step::Event(event) = step else { return 4 };
    match event {
        Event::Quit(_) => 1,
        Event::Tick
        | Event::Build(_, BuildNews::Done(BuildOutcome::Built { .. }) | BuildNews::Loaded(_))
        | Event::App(_, AppNews::Ready(_) | AppNews::Gone { .. } | AppNews::Listening)
        | Event::Job(_, JobNews::Ended(Ok(()))) => 24,
        Event::App(_, AppNews::Exited { .. } | AppNews::Background(_)) => 2,
        _ => 4,
    }
}

/// One long story of random steps with random times between them. In some stories most goes well, so
/// that they come far. Notes the kinds of events that happened.
pub(super) fn wander(
    setup: &Setup,
    seed: u64,
    endings: &mut Endings,
    kinds: &mut BTreeSet<&'static str>,
) {
    let mut random = Random(seed);
    let mut play = Play::new(setup);
    play.tell();
    let from = [From::Start, From::Live, From::Proved][random.below(3)];
    let mut begins = beginning(setup, from).into_iter();
    // Of so many steps, one may be any.
    let mixed = [1, 3, 6][random.below(3)];
    for number in 0..LONG {
        if play.world.ended {
            return;
        }
        let step = begins.next().unwrap_or_else(|| {
            let answer = answer(&play, Manner::Willing);
            match answer.filter(|_| random.below(mixed) > 0) {
                Some(step) => step,
                None => random_step(&mut play, &mut random),
            }
        });
        if let Step::Event(event) = &step {
            kinds.insert(kind(event));
        }
        let mut failed = play.happen(step).err();
        if failed.is_none()
            && number % 4 == 3
            && let Err((steps, broken)) = endings.try_both(&play)
        {
            for step in steps {
                play.happen(step).ok();
            }
            failed = Some(broken);
        }
        if let Some(broken) = failed {
            panic!(
                "BROKEN `{}`: {}, with the seed {seed}\n{setup:#?}\n{}\n{:#?}",
                broken.invariant,
                broken.what,
                play.told(),
                play.world
            );
        }
    }
}

fn random_step(play: &mut Play, random: &mut Random) -> Step {
    let pause = [0, 0, 0, 3, 3, 20, 60, 400][random.below(8)];
    play.pause(Duration::from_millis(pause));
    let mut possible = possible(play);
    let all = possible.iter().map(weight).sum();
    let mut place = random.below(all);
    let at = possible.iter().position(|step| {
        let weight = weight(step);
        let is_it = place < weight;
        place = place.saturating_sub(weight);
        is_it
    });
    possible.swap_remove(at.unwrap_or_default())
}
