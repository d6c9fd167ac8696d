//! What browsers are promised: a page while no generation serves, and one reload for each live generation.

use super::super::action::Action;
use super::super::browser::LATEST;
use super::super::page::Page;
use super::play::Play;
use super::promises::{Holds, must};

pub(super) fn page_gives_way(play: &Play, action: &Action) -> Holds {
    let Action::Launch { slot, .. } = action else {
        return Ok(());
    };
    let accepts = play.world.page == Page::Accepts(*slot);
    must(!accepts, "the page takes the candidate's connections")
}

pub(super) fn page_is_alone(play: &Play) -> Holds {
    let world = &play.world;
    let live = world.live();
    match world.page {
        Page::Accepts(slot) => {
            must(slot == world.active, "the page accepts where nobody comes")?;
            let mut processes = world.processes.values();
            must(
                processes.all(|process| process.slot != slot),
                "the page takes the connections of a generation",
            )?;
            must(
                live.is_none() || world.parked.is_some(),
                "the page accepts beside live",
            )?;
            let wanted = play.session.policy.page && !world.ending;
            must(wanted, "nobody wants the page")
        }
        Page::GivesWay => must(
            live.is_some(),
            "what the page has accepted is relayed to nobody",
        ),
        Page::Waits => {
            let serves = live.is_some_and(|live| live.slot == world.active);
            must(!serves, "what the page has accepted is not relayed to live")
        }
    }
}

pub(super) fn page_is_there(play: &Play) -> Holds {
    let world = &play.world;
    let wanted = play.session.policy.page && !world.ending;
    let nobody = world.processes.is_empty() && play.session.swap.pending.is_none();
    let accepts = matches!(world.page, Page::Accepts(_));
    must(!(wanted && nobody) || accepts, "a browser waits for nobody")
}

pub(super) fn reloads_what_is_live(play: &Play, action: &Action) -> Holds {
    let Action::ReloadBrowser(paths) = action else {
        return Ok(());
    };
    // A rule is about files, and does not ask which generation serves them.
    if !paths.is_empty() {
        return must(
            !play.session.policy.rules.is_empty(),
            "files are loaded anew without a rule",
        );
    }
    must(
        play.world.live().is_some(),
        "browsers reload and none is live",
    )?;
    must(
        play.world.reload_owed,
        "browsers reload twice for one generation",
    )
}

pub(super) fn reloads_in_time(play: &Play) -> Holds {
    let world = &play.world;
    if !world.reload_owed || world.live().is_none() || world.ending {
        return Ok(());
    }
    let mut others = world.processes.iter().filter(|(of, _)| **of < world.live);
    must(
        others.any(|(_, process)| !process.ended),
        "no old generation runs, and browsers do not reload",
    )?;
    let latest = world.live_since + LATEST;
    let due = play.session.due();
    must(
        play.now < latest && due.is_some_and(|due| due <= latest),
        "browsers do not reload in time",
    )
}

pub(super) fn has_reloaded(play: &Play) -> Holds {
    let owed = play.world.reload_owed && play.world.live().is_some();
    must(
        !owed || play.world.ending,
        "browsers are never told of live",
    )
}
