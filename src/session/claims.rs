//! Which generations claim one captured address, and so whether it may be released. Pure. `sockets`
//! keeps one value of this beside each captured address and reports to it what programs do.
//!
//! A generation claims an address from its `bind` on, by its slot: what it has bound it is about to
//! listen on. An address without a claim may still be awaited: from the generation after the one that
//! served last, or, if the last run of hotrun remembered it, from the program of this run.

use super::slots::Slot;

/// What the generation of one slot has done with the address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Claim {
    #[default]
    None,
    /// Bound it, and may be about to listen.
    Bound,
    /// Listens on it.
    Listens,
}

/// What the generation of one slot has to do with the address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SlotClaim {
    claim: Claim,
    /// A held socket is on its way into the program, which does not have it open yet.
    on_its_way: bool,
    /// How often the program has got a socket of the address or has listened on it.
    times: u32,
}

/// A generation's claim as it was at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u32);

/// Why an address is kept that no generation claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// It is not kept.
    No,
    /// For the next generation: the one that served last listened on it.
    ForNext,
    /// For the program of this run, which may differ from that of the earlier run.
    Remembered {
        /// A generation became live without claiming it.
        passed_over: bool,
    },
}

/// The claims on one captured address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    slots: [SlotClaim; 2],
    kept: Kept,
}

impl Claims {
    /// The claims on an address that is being captured. The program had it until this moment, so it is
    /// kept until the program has claimed it.
    pub fn captured() -> Self {
        Self {
            slots: [SlotClaim::default(); 2],
            kept: Kept::ForNext,
        }
    }

    /// The claims on an address that a program of an earlier run listened on.
    pub fn remembered() -> Self {
        Self {
            kept: Kept::Remembered { passed_over: false },
            ..Self::captured()
        }
    }

    /// A held socket is about to be put into the slot's generation. Until that is done or has failed,
    /// the address is claimed, though the program does not have the socket open.
    pub fn give(&mut self, slot: Slot) {
        slot.of_mut(&mut self.slots).on_its_way = true;
    }

    /// The held socket could not be put into the slot's generation.
    pub fn not_given(&mut self, slot: Slot) {
        slot.of_mut(&mut self.slots).on_its_way = false;
    }

    /// The slot's generation has bound the address.
    pub fn bind(&mut self, slot: Slot) {
        let part = slot.of_mut(&mut self.slots).arrived();
        if part.claim == Claim::None {
            part.claim = Claim::Bound;
        }
    }

    /// The slot's generation listens on the address; whether that is new.
    pub fn listen(&mut self, slot: Slot) -> bool {
        self.kept = Kept::No;
        let part = slot.of_mut(&mut self.slots).arrived();
        std::mem::replace(&mut part.claim, Claim::Listens) != Claim::Listens
    }

    /// The slot's generation did not use the address any more at some time since the mark was taken. A
    /// socket that it has got since counts all the same.
    pub fn give_up(&mut self, slot: Slot, mark: Mark) {
        let part = slot.of_mut(&mut self.slots);
        if part.mark() == mark && !part.on_its_way {
            part.claim = Claim::None;
        }
    }

    /// The claim of the slot's generation as it is now, if there is one.
    pub fn mark(self, slot: Slot) -> Option<Mark> {
        let part = slot.of(&self.slots);
        (part.claim != Claim::None).then(|| part.mark())
    }

    /// The slot gets another generation, or has none any more. If its generation was the one that is
    /// `serving`, or served last, and listened on the address, then the next generation is awaited
    /// there.
    pub fn forget(&mut self, slot: Slot, serving: Slot) {
        let part = std::mem::take(slot.of_mut(&mut self.slots));
        if part.claim == Claim::Listens && slot == serving {
            self.kept = Kept::ForNext;
        }
    }

    /// A generation became live. During its probation it may still claim the address, if its predecessor
    /// or an earlier run had that; later no generation will.
    pub fn live(&mut self) {
        self.kept = match self.kept {
            Kept::Remembered { .. } => Kept::Remembered { passed_over: true },
            Kept::No | Kept::ForNext => Kept::No,
        };
    }

    /// The slot's generation listens on the address.
    pub fn is_listened_on_by(self, slot: Slot) -> bool {
        slot.of(&self.slots).claim == Claim::Listens
    }

    /// The slot's generation has bound the address, listens on it, or is about to get its socket.
    pub fn is_claimed_by(self, slot: Slot) -> bool {
        let part = slot.of(&self.slots);
        part.claim != Claim::None || part.on_its_way
    }

    /// A generation has bound the address, listens on it, or is about to get its socket.
    pub fn is_claimed(self) -> bool {
        Slot::BOTH.iter().any(|slot| self.is_claimed_by(*slot))
    }

    /// An earlier run had the address, and no program of this run has listened on it.
    pub fn is_remembered(self) -> bool {
        matches!(self.kept, Kept::Remembered { .. })
    }

    /// The next generation is ready only when it listens on the address: the one that is `serving`, or
    /// served last, does. Not so for a remembered address, since the program may differ from that of the
    /// earlier run.
    pub fn is_awaited(self, serving: Slot) -> bool {
        self.kept == Kept::ForNext || self.is_listened_on_by(serving)
    }

    /// The address may be released, once live has passed its probation and so has claimed all that it
    /// will.
    pub fn may_be_released(self) -> bool {
        let kept = matches!(
            self.kept,
            Kept::ForNext | Kept::Remembered { passed_over: false }
        );
        !self.is_claimed() && !kept
    }
}

impl SlotClaim {
    fn mark(self) -> Mark {
        Mark(self.times)
    }

    /// The program has a socket of the address open.
    fn arrived(&mut self) -> &mut Self {
        self.on_its_way = false;
        self.times = self.times.wrapping_add(1);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What may happen to an address. `Leaves`: the slot's generation is gone, or the slot gets a new
    /// one.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Step {
        IsGiven(Slot),
        Binds(Slot),
        Listens(Slot),
        /// Hotrun looks at what the slot's generation has open.
        Look(Slot),
        /// It had nothing open at that look, or at a moment after it.
        GivesUp(Slot),
        Leaves(Slot),
        Live(Slot),
    }

    /// The same facts, kept in the plainest way.
    #[derive(Clone, Copy, Debug)]
    struct World {
        claims: Claims,
        given: [bool; 2],
        bound: [bool; 2],
        listens: [bool; 2],
        /// What the last look found, and whether the generation has got a socket since.
        looked: [Option<Mark>; 2],
        outdated: [bool; 2],
        /// The slot of the generation that serves, or served last.
        serving: Slot,
        /// The generation that served last listened on the address when it went, and none has been live
        /// since.
        left_behind: bool,
    }

    impl World {
        fn step(&mut self, step: Step) {
            match step {
                Step::IsGiven(slot) => {
                    self.claims.give(slot);
                    *slot.of_mut(&mut self.given) = true;
                }
                Step::Binds(slot) => {
                    self.claims.bind(slot);
                    *slot.of_mut(&mut self.given) = false;
                    *slot.of_mut(&mut self.outdated) = true;
                    *slot.of_mut(&mut self.bound) = true;
                }
                Step::Listens(slot) => {
                    self.claims.listen(slot);
                    *slot.of_mut(&mut self.given) = false;
                    *slot.of_mut(&mut self.outdated) = true;
                    *slot.of_mut(&mut self.listens) = true;
                    self.left_behind = false;
                }
                Step::Look(slot) => {
                    *slot.of_mut(&mut self.looked) = self.claims.mark(slot);
                    *slot.of_mut(&mut self.outdated) = false;
                }
                Step::GivesUp(slot) => {
                    let Some(mark) = *slot.of(&self.looked) else {
                        return;
                    };
                    self.claims.give_up(slot, mark);
                    if !slot.of(&self.outdated) && !slot.of(&self.given) {
                        *slot.of_mut(&mut self.bound) = false;
                        *slot.of_mut(&mut self.listens) = false;
                    }
                }
                Step::Leaves(slot) => {
                    self.claims.forget(slot, self.serving);
                    *slot.of_mut(&mut self.looked) = None;
                    *slot.of_mut(&mut self.given) = false;
                    *slot.of_mut(&mut self.bound) = false;
                    let listened = std::mem::take(slot.of_mut(&mut self.listens));
                    self.left_behind |= listened && slot == self.serving;
                }
                Step::Live(slot) => {
                    self.claims.live();
                    self.serving = slot;
                    self.left_behind = false;
                }
            }
        }

        fn check(&self, story: &[Step]) {
            let claims = self.claims;
            for slot in Slot::BOTH {
                let (bound, listens) = (*slot.of(&self.bound), *slot.of(&self.listens));
                let claimed = *slot.of(&self.given) || bound || listens;
                assert_eq!(claims.is_claimed_by(slot), claimed, "{story:?}");
                assert_eq!(claims.is_listened_on_by(slot), listens, "{story:?}");
                if claimed {
                    assert!(!claims.may_be_released(), "released and claimed: {story:?}");
                }
            }
            if *self.serving.of(&self.listens) || self.left_behind {
                assert!(claims.is_awaited(self.serving), "not awaited: {story:?}");
                assert!(!claims.may_be_released(), "{story:?}");
            }
            let heard = story.iter().any(|step| matches!(step, Step::Listens(_)));
            if claims.is_remembered() {
                assert!(!heard, "a program of this run has listened: {story:?}");
                let live = story.iter().any(|step| matches!(step, Step::Live(_)));
                let kept = live || !claims.may_be_released();
                assert!(kept, "released before anything was live: {story:?}");
            }
        }
    }

    fn every_order(world: World, story: &mut Vec<Step>, depth: usize) -> usize {
        world.check(story);
        if depth == 0 {
            return 1;
        }
        let steps = Slot::BOTH.iter().flat_map(|slot| {
            [
                Step::IsGiven(*slot),
                Step::Binds(*slot),
                Step::Listens(*slot),
                Step::Look(*slot),
                Step::GivesUp(*slot),
                Step::Leaves(*slot),
                Step::Live(*slot),
            ]
        });
        let mut count = 0;
        for step in steps {
            let mut next = world;
            next.step(step);
            story.push(step);
            count += every_order(next, story, depth - 1);
            story.pop();
        }
        count
    }

    #[test]
    fn what_is_claimed_is_never_released_and_what_served_is_awaited() {
        for claims in [Claims::captured(), Claims::remembered()] {
            let world = World {
                claims,
                given: [false; 2],
                bound: [false; 2],
                listens: [false; 2],
                looked: [None; 2],
                outdated: [false; 2],
                serving: Slot::First,
                left_behind: false,
            };
            assert_eq!(every_order(world, &mut Vec::new(), 5), 537_824);
        }
    }

    #[test]
    fn a_claim_is_what_it_says() {
        let (one, other) = (Slot::First, Slot::Second);
        let mut claims = Claims::remembered();
        assert!(claims.is_remembered() && !claims.is_awaited(one));
        assert_eq!(claims.mark(one), None);
        claims.give(one);
        claims.not_given(one);
        assert!(!claims.is_claimed());
        claims.bind(one);
        let mark = claims.mark(one);
        assert!(mark.is_some() && mark != Claims::captured().mark(one));
        assert!(claims.listen(one) && !claims.listen(one));
        assert_ne!(claims.mark(one), mark, "it has got a socket since");
        assert!(!claims.is_remembered());
        assert!(claims.is_awaited(one) && !claims.is_awaited(other));
        // A candidate goes that has bound the address, and then one that listened on it.
        claims.bind(other);
        claims.forget(other, one);
        claims.listen(other);
        claims.forget(other, one);
        assert!(!claims.is_awaited(other));
        // Live goes, first when it has only bound it.
        claims.forget(one, one);
        assert!(claims.is_awaited(other));
        let mut bound = Claims::remembered();
        bound.bind(one);
        bound.forget(one, one);
        assert!(!bound.is_awaited(other));
    }

    #[test]
    fn what_a_live_generation_did_not_claim_is_released() {
        for mut claims in [Claims::captured(), Claims::remembered()] {
            assert!(!claims.may_be_released());
            claims.live();
            assert!(claims.may_be_released());
        }
    }
}
