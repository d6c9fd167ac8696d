//! The invariants, each by the name that a failure shows, and with the promise that it keeps (the
//! README's list).

use super::super::action::{Action, View};
use super::super::claims::Claims;
use super::super::model::{Generation, Handover, Occasion};
use super::super::slots::{Relay, Slot};
use super::super::status::State;
use super::super::swap::Process as Known;
use super::browsers::{
    has_reloaded, page_gives_way, page_is_alone, page_is_there, reloads_in_time,
    reloads_what_is_live,
};
use super::ending::{
    begins_nothing, ends, ends_in_time, has_an_end, is_not_stuck, names, nobody_is_forgotten,
    programs_are_removed, sends_for_its_own,
};
use super::play::Play;
use super::policies::Program;
use super::world::Process;

/// `Err`: in what way it does not hold.
pub(super) type Holds = Result<(), &'static str>;

/// Something that holds whatever happens.
pub(super) struct Invariant {
    pub(super) name: &'static str,
    /// Before an action is carried out.
    pub(super) action: fn(&Play, &Action) -> Holds,
    /// After every event.
    pub(super) state: fn(&Play) -> Holds,
    /// When nothing happens any more, and all that was asked has been answered well.
    pub(super) rest: fn(&Play) -> Holds,
}

impl Invariant {
    const fn named(name: &'static str) -> Self {
        Self {
            name,
            action: |_, _| Ok(()),
            state: |_| Ok(()),
            rest: |_| Ok(()),
        }
    }
}

/// All of them.
pub(super) const INVARIANTS: &[Invariant] = &[
    Invariant {
        action: one_launch_a_slot,
        state: one_owner_a_slot,
        ..Invariant::named("2: a slot has one owner, and a generation one slot")
    },
    Invariant {
        action: releases,
        state: listeners_are_held,
        ..Invariant::named("2: nothing is released that a generation claims")
    },
    Invariant {
        state: parking_is_limited,
        rest: nothing_is_parked,
        ..Invariant::named("2: parking ends")
    },
    Invariant {
        state: stragglers,
        ..Invariant::named(
            "2: stragglers reach live, and the relay takes from no running generation",
        )
    },
    Invariant {
        action: page_gives_way,
        state: page_is_alone,
        rest: page_is_there,
        ..Invariant::named("2: the page is there while nobody serves, and takes from no generation")
    },
    Invariant {
        action: stops,
        ..Invariant::named("3: live stops only for its successor")
    },
    Invariant {
        action: one_at_a_time,
        state: two_generations,
        ..Invariant::named("3: one build, one run of a command and one candidate at a time")
    },
    Invariant {
        action: becomes_live,
        state: live_was_ready,
        ..Invariant::named("4: only what was ready becomes live")
    },
    Invariant {
        action: keeps_programs,
        state: good_is_kept,
        rest: good_is_live,
        ..Invariant::named("4: the last good program is kept, and comes back")
    },
    Invariant {
        action: serves_the_newest,
        state: reaches_no_older,
        ..Invariant::named("5: new connections reach no older generation")
    },
    Invariant {
        action: tells_where_they_go,
        ..Invariant::named("5: where new connections go is told once they do")
    },
    Invariant {
        action: reloads_what_is_live,
        state: reloads_in_time,
        rest: has_reloaded,
        ..Invariant::named("5: browsers reload once for each live generation, and in time")
    },
    Invariant {
        action: debugged_stays,
        ..Invariant::named("6: what has a debugger is replaced only when asked for")
    },
    Invariant {
        action: answers,
        state: nobody_waits_in_vain,
        rest: all_are_answered,
        ..Invariant::named("8: an answer is right, and comes when all is done")
    },
    Invariant {
        action: builds_when_wanted,
        ..Invariant::named("8: while paused, only what is asked for is built")
    },
    Invariant {
        action: reads_manifests,
        rest: newest_is_live,
        ..Invariant::named("8: the newest good save is live")
    },
    Invariant {
        action: names,
        state: sends_for_its_own,
        ..Invariant::named("9: an action names a generation that it is right for")
    },
    Invariant {
        action: ends,
        state: nobody_is_forgotten,
        rest: programs_are_removed,
        ..Invariant::named("9: nothing is left behind")
    },
    Invariant {
        action: begins_nothing,
        state: ends_in_time,
        ..Invariant::named("9: it ends when it is asked to")
    },
    Invariant {
        state: is_not_stuck,
        rest: has_an_end,
        ..Invariant::named("it is never stuck")
    },
];

/// The name of the one that is broken when a session does not end.
pub(super) const ENDS: &str = "9: it ends when it is asked to";
/// The same when a story goes on for ever.
pub(super) const STUCK: &str = "it is never stuck";

pub(super) fn must(holds: bool, what: &'static str) -> Holds {
    if holds { Ok(()) } else { Err(what) }
}

/// The processes that the session knows.
pub(super) fn known(play: &Play) -> impl Iterator<Item = &Known> {
    let swap = &play.session.swap;
    let all = swap.live.iter().chain(&swap.candidate);
    all.chain(&swap.draining)
}

/// It runs, and was not told to end.
fn goes_on(process: &Process) -> bool {
    !process.ended && !process.is_told()
}

// ---- slots

fn one_launch_a_slot(play: &Play, action: &Action) -> Holds {
    let Action::Launch {
        generation, slot, ..
    } = action
    else {
        return Ok(());
    };
    let mut processes = play.world.processes.iter();
    must(
        processes.all(|(other, process)| other != generation && process.slot != *slot),
        "two generations have one slot",
    )?;
    let relayed = play.world.relay.is_some_and(|relay| relay.from == *slot);
    must(!relayed, "the relay takes the candidate's connections")
}

fn one_owner_a_slot(play: &Play) -> Holds {
    for process in known(play) {
        let there = play.world.processes.get(&process.generation);
        let same = there.is_none_or(|there| there.slot == process.slot);
        must(same, "the session takes another slot for the generation's")?;
    }
    let slots = |slot: Slot| known(play).filter(|process| process.slot == slot).count();
    must(
        slots(Slot::First) <= 1 && slots(Slot::Second) <= 1,
        "two owners",
    )
}

fn releases(play: &Play, action: &Action) -> Holds {
    let world = &play.world;
    match action {
        Action::ReleaseUnclaimed => {
            let is_over = play.now >= world.live_since + play.session.policy.probation;
            must(world.live().is_some() && is_over, "live may still claim it")?;
            let goes = world.address.is_some_and(Claims::may_be_released);
            let bound = world.processes.values().any(|process| process.bound);
            must(!(goes && bound), "a generation has the address")
        }
        Action::Free => must(
            world.live().is_none() && !world.processes.values().any(goes_on),
            "a generation runs",
        ),
        _ => Ok(()),
    }
}

fn listeners_are_held(play: &Play) -> Holds {
    let world = &play.world;
    let mut listen = world.processes.values().filter(|process| process.listens);
    let held = |process: &Process| {
        let claims = world.address;
        claims.is_some_and(|claims| claims.is_listened_on_by(process.slot))
    };
    must(listen.all(held), "the claim of a generation is forgotten")?;
    let remembered = world.address.is_some_and(Claims::is_remembered);
    // Until the program has been live once, it may be about to bind the address.
    let waits = world.program == Program::BindsRemembered
        && world.live == Generation(0)
        && !play.session.freed;
    let claimed = world.address.is_some();
    must(
        !waits || remembered || claimed,
        "a remembered address is released too early",
    )
}

fn parking_is_limited(play: &Play) -> Holds {
    let world = &play.world;
    let (Some(since), Some(_)) = (world.parked, world.live()) else {
        return Ok(());
    };
    let Some(limit) = play.session.policy.hold else {
        return Err("connections are parked and nobody wants that");
    };
    must(
        play.now < since + limit,
        "connections are parked for longer than the limit",
    )?;
    let due = play.session.due();
    must(
        due.is_some_and(|due| due <= since + limit),
        "no end of parking is due",
    )
}

fn nothing_is_parked(play: &Play) -> Holds {
    let live = play.world.live();
    let parked = live.is_some_and(|live| live.slot != play.world.active);
    must(!parked, "connections are parked for ever")
}

fn stragglers(play: &Play) -> Holds {
    let world = &play.world;
    let standby = world.active.other();
    let owner = world
        .processes
        .values()
        .find(|process| process.slot == standby);
    let is_told = owner.is_none_or(|owner| owner.stopped || owner.killed);
    let Some(Relay { from, unowned }) = world.relay else {
        return must(!is_told, "nobody takes what comes to the standby slot");
    };
    must(from == standby, "the active slot is relayed to itself")?;
    must(
        unowned == owner.is_none(),
        "the owner of the standby slot is not known",
    )?;
    let over = is_told || play.session.slots.is_unparked();
    must(over, "the relay takes a running generation's connections")
}

// ---- live

/// The generation that an action tells to end, or not to be reached any more.
fn told(action: &Action) -> Option<Generation> {
    match action {
        Action::Quiesce(generation) | Action::Stop(generation) | Action::Kill(generation) => {
            Some(*generation)
        }
        _ => None,
    }
}

fn stops(play: &Play, action: &Action) -> Holds {
    let world = &play.world;
    let is_live = told(action) == Some(world.live) && world.live().is_some();
    if !is_live || world.ending {
        return Ok(());
    }
    let learned = world.in_the_way && play.session.policy.handover == Handover::Auto;
    must(
        world.stop_first || learned,
        "live is stopped before its successor is ready",
    )?;
    let coming = play.session.swap.pending.as_ref();
    must(coming.is_some(), "live is stopped for nobody")
}

fn one_at_a_time(play: &Play, action: &Action) -> Holds {
    let world = &play.world;
    match action {
        Action::StartBuild { .. } => must(world.build.is_none(), "two builds"),
        Action::Run(_, job) => {
            let alone = [Occasion::BeforeBuild, Occasion::BeforeStart, Occasion::Rule];
            let mut jobs = world.jobs.values();
            let beside = jobs.any(|running| running.occasion == job.occasion);
            must(
                !(beside && alone.contains(&job.occasion)),
                "two runs of one command",
            )?;
            let prepares = job.occasion == Occasion::BeforeBuild;
            must(
                !(prepares && world.build.is_some()),
                "`before_build` runs beside a build",
            )
        }
        Action::Reconfigure => must(
            world.reading_settings == 0,
            "settings are read twice at once",
        ),
        Action::Launch { .. } => {
            let untold = world.processes.values().filter(|process| goes_on(process));
            must(untold.count() <= 1, "two candidates")?;
            must(
                world.processes.len() < 2,
                "three generations have processes",
            )
        }
        _ => Ok(()),
    }
}

fn two_generations(play: &Play) -> Holds {
    must(known(play).count() <= 2, "three generations have processes")
}

fn becomes_live(play: &Play, action: &Action) -> Holds {
    let Action::Serving(generation) = action else {
        return Ok(());
    };
    let process = play.world.processes.get(generation);
    let was_ready = process.is_some_and(|process| process.was_ready && goes_on(process));
    must(was_ready, "it is not ready, or was told to end")
}

fn live_was_ready(play: &Play) -> Holds {
    let Some(live) = &play.session.swap.live else {
        return Ok(());
    };
    let process = play.world.processes.get(&live.generation);
    let runs = process.is_some_and(|process| !process.ended);
    must(runs, "live has no process")?;
    must(live.generation == play.world.live, "live was not announced")
}

fn keeps_programs(play: &Play, action: &Action) -> Holds {
    let programs = &play.world.programs;
    match action {
        Action::Launch { artifact, .. } => must(
            programs.contains_key(&artifact.built_by),
            "a program that is removed is launched",
        ),
        Action::StartBuild {
            baseline: Some(baseline),
            ..
        } => must(
            programs.contains_key(&baseline.built_by),
            "the baseline is removed",
        ),
        Action::Discard(artifact) => {
            let by = artifact.built_by;
            let mut processes = play.world.processes.values();
            must(
                !processes.any(|process| process.built_by == by),
                "the program of a process is removed",
            )
        }
        _ => Ok(()),
    }
}

fn good_is_kept(play: &Play) -> Holds {
    let proved = play.world.proved;
    let kept = proved.is_none_or(|proved| play.world.programs.contains_key(&proved));
    must(kept, "the program that has proved itself is removed")?;
    let Some(live) = play.world.live() else {
        return Ok(());
    };
    let is_over = play.now >= play.world.live_since + play.session.policy.probation;
    // The policy may have changed since the end of probation was set.
    let due = play
        .session
        .swap
        .live
        .as_ref()
        .and_then(|live| live.deadline);
    let good = play.session.swap.last_good.is_some();
    must(
        !is_over || due.is_some() || good,
        "live has proved itself, and is not kept",
    )?;
    must(
        play.world.programs.contains_key(&live.built_by),
        "the program of live is removed",
    )
}

fn good_is_live(play: &Play) -> Holds {
    let world = &play.world;
    let tried = &world.tried;
    let is_wanted = play.session.policy.serving && !play.session.policy.once && !world.ending;
    let once = tried.deaths <= 1 && !tried.command_failed;
    let expected = is_wanted && once && tried.beside_live && world.proved.is_some();
    must(
        !expected || world.live().is_some(),
        "nobody serves after one failure",
    )
}

fn serves_the_newest(play: &Play, action: &Action) -> Holds {
    let Action::Serving(generation) = action else {
        return Ok(());
    };
    let world = &play.world;
    must(*generation > world.live, "an older generation becomes live")?;
    let slot = world.processes.get(generation).map(|process| process.slot);
    must(
        slot == Some(world.active),
        "new connections don't go to live",
    )
}

fn reaches_no_older(play: &Play) -> Holds {
    let world = &play.world;
    let mut older = world.processes.range(..world.live);
    must(
        older.all(|(_, process)| process.slot != world.active),
        "new connections go to an older generation",
    )?;
    let Some(live) = world.live() else {
        return Ok(());
    };
    let reached = live.slot == world.active || world.parked.is_some();
    must(reached, "new connections don't go to live")
}

/// A client that reacts to the line has to find it true.
fn tells_where_they_go(play: &Play, action: &Action) -> Holds {
    let world = &play.world;
    let is_so = match action {
        Action::Show(View::Holding { .. }) => world.parked.is_some(),
        Action::Show(View::Released) => world.live().is_some() && world.parked.is_none(),
        Action::Show(View::Live { generation, .. }) => *generation == world.live,
        _ => true,
    };
    must(is_so, "new connections don't go where the user is told")
}

fn debugged_stays(play: &Play, action: &Action) -> Holds {
    let world = &play.world;
    let live = Some(world.live).filter(|_| world.live().is_some());
    let is_free = live.is_none() || world.undebugged == live;
    let replaces = matches!(action, Action::Launch { .. })
        || told(action).is_some() && told(action) == live && !world.ending;
    must(
        !replaces || is_free || world.asked.is_some(),
        "live is replaced, and nobody looked for a debugger, or one is there",
    )
}

// ---- answers

fn answers(play: &Play, action: &Action) -> Holds {
    let Action::Answer(client, status) = action else {
        return Ok(());
    };
    let world = &play.world;
    if !world.waiting.contains(client) {
        return Ok(());
    }
    let untold = world.processes.values().filter(|process| goes_on(process));
    let is_live = status.state == State::Live && status.collected == 0;
    if world.ending {
        return must(
            status.state == State::Ending,
            "it ends, and does not say so",
        );
    }
    // A debugger has to be waited for by the user.
    let is_over = world.build.is_none() || world.debugged.is_some();
    must(is_over, "a build is not over")?;
    must(untold.count() <= 1, "a candidate is not ready")?;
    let newest = world.built_of(world.live).contains(&world.files);
    must(
        !is_live || newest || world.own_writing || world.bad.contains(&world.files),
        "something older than the last save is called live",
    )
}

fn nobody_waits_in_vain(play: &Play) -> Holds {
    let world = &play.world;
    must(
        world.waiting.is_empty() || !world.ending || world.ended,
        "hotrun ends, and somebody waits for an answer",
    )
}

fn all_are_answered(play: &Play) -> Holds {
    must(play.world.waiting.is_empty(), "somebody is never answered")
}

fn builds_when_wanted(play: &Play, action: &Action) -> Holds {
    let begins = matches!(action, Action::StartBuild { .. });
    must(
        !begins || !play.world.paused || play.world.wanted,
        "a build begins by itself",
    )
}

// ---- builds

fn reads_manifests(play: &Play, action: &Action) -> Holds {
    let Action::StartBuild { load, .. } = action else {
        return Ok(());
    };
    must(
        *load || !play.world.unread_manifest,
        "a changed manifest is not read",
    )
}

fn newest_is_live(play: &Play) -> Holds {
    let world = &play.world;
    let is_wanted =
        !play.session.policy.once && !world.ending && !world.own_writing && !world.paused;
    if !is_wanted || world.bad.contains(&world.files) {
        return Ok(());
    }
    must(world.live().is_some(), "what was saved last is not served")?;
    let of = world.built_of(world.live);
    must(
        of.contains(&world.files),
        "something older than the last save is served",
    )
}
