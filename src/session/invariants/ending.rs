//! The invariants of the last promise: orders go to whom they are meant for, hotrun ends when it is asked
//! to and leaves nothing behind, and until then it is never stuck.

use std::collections::BTreeSet;

use super::super::action::Action;
use super::super::model::{Generation, Occasion};
use super::super::swap::Told;
use super::play::Play;
use super::promises::{Holds, known, must};
use super::world::Process;

pub(super) fn names(play: &Play, action: &Action) -> Holds {
    let world = &play.world;
    let live = Some(world.live).filter(|_| world.live().is_some());
    let process = |generation: &Generation| world.processes.get(generation);
    match action {
        Action::CancelBuild(generation) => {
            let running = world.build.filter(|build| !build.cancelled);
            let is_it = running.is_some_and(|build| build.generation == *generation);
            must(is_it, "a stale build is cancelled, or one twice")
        }
        Action::StartBuild { generation, .. } => {
            must(*generation > world.launched, "a build has an older number")
        }
        Action::Launch {
            generation, beside, ..
        } => {
            must(*generation > world.launched, "an older number is launched")?;
            must(
                *beside == live,
                "it is launched beside another one than live",
            )
        }
        Action::Look(generation) | Action::FindWriter { generation, .. } => {
            must(live == Some(*generation), "it is not live")
        }
        Action::Signal { generation, .. } => must(
            live == Some(*generation),
            "a signal for one that is not live",
        ),
        Action::Quiesce(generation) => {
            let untold = process(generation).is_some_and(|process| !process.is_told());
            must(untold, "a stale generation is quiesced, or one twice")
        }
        Action::Stop(generation) => {
            let once = |process: &Process| !process.stopped && !process.killed;
            must(
                process(generation).is_some_and(once),
                "a stale generation is stopped, or one twice",
            )
        }
        Action::Kill(generation) => {
            // It may have gone with this event, without an exit.
            let is_left = world.left.is_some_and(|(left, _)| left == *generation);
            let once = process(generation).is_some_and(|process| !process.killed);
            must(
                once || is_left,
                "a stale generation is killed, or one twice",
            )
        }
        Action::Left {
            generation,
            slot,
            serving,
        } => {
            must(
                world.left == Some((*generation, *slot)),
                "a generation is said to have left that has not, or another slot",
            )?;
            let own = live.as_ref().and_then(process);
            must(
                own.is_none_or(|live| live.slot == *serving),
                "another slot is said to serve",
            )
        }
        Action::Proved(generation) => {
            must(
                live == Some(*generation),
                "one that is not live has proved itself",
            )?;
            let is_over = play.now >= world.live_since + play.session.policy.probation;
            must(is_over, "its probation is not over")
        }
        Action::Serving(generation) => must(
            *generation == world.launched,
            "an older generation becomes live",
        ),
        Action::EndJob(id) => {
            let job = world.jobs.get(id);
            must(job.is_some(), "a command that is over is ended")
        }
        _ => Ok(()),
    }
}

pub(super) fn sends_for_its_own(play: &Play) -> Holds {
    let builds = play.session.builds.running();
    must(
        builds == play.world.build.is_some(),
        "the session has lost its build",
    )
}

pub(super) fn ends(play: &Play, action: &Action) -> Holds {
    let world = &play.world;
    must(!world.ended, "an action comes after the end")?;
    match action {
        // What is left then ends with its keeper.
        Action::End(_) if world.asked_to_end > 2 => Ok(()),
        Action::End(_) => {
            must(
                world.processes.is_empty(),
                "hotrun ends and leaves processes",
            )?;
            must(world.build.is_none(), "hotrun ends and leaves a build")?;
            must(world.jobs.is_empty(), "hotrun ends and leaves a command")
        }
        Action::Discard(artifact) => must(
            world.programs.contains_key(&artifact.built_by),
            "a program is removed twice",
        ),
        _ => Ok(()),
    }
}

pub(super) fn nobody_is_forgotten(play: &Play) -> Holds {
    let known: BTreeSet<Generation> = known(play).map(|process| process.generation).collect();
    let mut there = play.world.processes.keys();
    must(
        there.all(|one| known.contains(one)),
        "a process is forgotten",
    )?;
    must(
        known.len() == play.world.processes.len(),
        "a process is made up",
    )?;
    // Each that is not to serve was told to end.
    let draining = play.session.swap.draining.iter();
    let mut ends = draining.filter_map(|one| play.world.processes.get(&one.generation));
    must(
        ends.all(Process::is_told),
        "a process that is not to serve goes on",
    )
}

pub(super) fn programs_are_removed(play: &Play) -> Holds {
    let artifacts = play.session.swap.artifacts();
    let kept: BTreeSet<Generation> = artifacts.map(|artifact| artifact.built_by).collect();
    let mut there = play.world.programs.keys();
    must(
        there.all(|program| kept.contains(program)),
        "a program is never removed",
    )
}

pub(super) fn begins_nothing(play: &Play, action: &Action) -> Holds {
    let begins = match action {
        Action::StartBuild { .. } | Action::Launch { .. } => true,
        Action::Run(_, job) => {
            job.occasion != Occasion::OnError && job.occasion != Occasion::AfterLive
        }
        _ => false,
    };
    must(
        !(begins && play.world.ending),
        "something begins after hotrun was asked to end",
    )
}

pub(super) fn ends_in_time(play: &Play) -> Holds {
    let world = &play.world;
    if !world.ending {
        return Ok(());
    }
    let nothing = world.processes.is_empty() && world.build.is_none() && world.jobs.is_empty();
    must(
        !nothing || world.ended,
        "nothing is left, but hotrun does not end",
    )?;
    let mut processes = world.processes.values();
    must(
        processes.all(Process::is_told),
        "a process is not told to end",
    )?;
    must(
        world.build.is_none_or(|build| build.cancelled),
        "the build goes on",
    )?;
    let killed = world.asked_to_end < 2 || world.processes.values().all(|process| process.killed);
    must(killed, "what runs is not killed when asked twice")
}

pub(super) fn is_not_stuck(play: &Play) -> Holds {
    let (session, world) = (&play.session, &play.world);
    let due = session.due();
    must(
        due.is_none_or(|due| due > play.now),
        "the session wants to be woken in the past",
    )?;
    for process in &session.swap.draining {
        let waits = process.told == Told::Kill || process.deadline.is_some();
        must(waits, "a process may take for ever to end")?;
    }
    if world.ending || due.is_some() || world.answers() {
        return Ok(());
    }
    let awaited = world.processes.values().any(|process| process.killed);
    let live = Some(world.live).filter(|_| world.live().is_some());
    let debugged = live.is_some() && world.debugged == live;
    let pending = session.swap.pending.is_some();
    must(
        !pending || awaited || debugged,
        "a launch waits for nothing",
    )?;
    must(!session.builds.busy(), "a build waits for nothing")
}

pub(super) fn has_an_end(play: &Play) -> Holds {
    let (session, world) = (&play.session, &play.world);
    must(session.swap.pending.is_none(), "a launch waits for ever")?;
    must(
        session.swap.candidate.is_none(),
        "a candidate waits for ever",
    )?;
    must(session.swap.draining.is_empty(), "a drain does not end")?;
    must(!world.answers(), "an answer is awaited for ever")
}
