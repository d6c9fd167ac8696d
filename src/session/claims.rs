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
    slots: [Claim; 2],
    kept: Kept,
}

impl Claims {
    /// The claims on an address that is being captured. The program had it until this moment, so it is
    /// kept until the program has claimed it.
    pub fn captured() -> Self {
        Self {
            slots: [Claim::None; 2],
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

    /// The slot's generation has bound the address.
    pub fn bind(&mut self, slot: Slot) {
        let claim = slot.of_mut(&mut self.slots);
        if *claim == Claim::None {
            *claim = Claim::Bound;
        }
    }

    /// The slot's generation listens on the address; whether that is new.
    pub fn listen(&mut self, slot: Slot) -> bool {
        self.kept = Kept::No;
        std::mem::replace(slot.of_mut(&mut self.slots), Claim::Listens) != Claim::Listens
    }

    /// The slot's generation does not use the address any more.
    pub fn give_up(&mut self, slot: Slot) {
        *slot.of_mut(&mut self.slots) = Claim::None;
    }

    /// The slot gets another generation, or has none any more. If its generation was the one that is
    /// `serving`, or served last, and listened on the address, then the next generation is awaited
    /// there.
    pub fn forget(&mut self, slot: Slot, serving: Slot) {
        let claim = std::mem::take(slot.of_mut(&mut self.slots));
        if claim == Claim::Listens && slot == serving {
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
        *slot.of(&self.slots) == Claim::Listens
    }

    /// The slot's generation has bound the address, or listens on it.
    pub fn is_claimed_by(self, slot: Slot) -> bool {
        *slot.of(&self.slots) != Claim::None
    }

    /// A generation has bound the address, or listens on it.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What may happen to an address. `Leaves`: the slot's generation is gone, or the slot gets a new
    /// one.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Step {
        Binds(Slot),
        Listens(Slot),
        GivesUp(Slot),
        Leaves(Slot),
        Live(Slot),
    }

    /// The same facts, kept in the plainest way.
    #[derive(Clone, Copy, Debug)]
    struct World {
        claims: Claims,
        bound: [bool; 2],
        listens: [bool; 2],
        /// The slot of the generation that serves, or served last.
        serving: Slot,
        /// The generation that served last listened on the address when it went, and none has been live
        /// since.
        left_behind: bool,
    }

    impl World {
        fn step(&mut self, step: Step) {
            match step {
                Step::Binds(slot) => {
                    self.claims.bind(slot);
                    *slot.of_mut(&mut self.bound) = true;
                }
                Step::Listens(slot) => {
                    self.claims.listen(slot);
                    *slot.of_mut(&mut self.listens) = true;
                    self.left_behind = false;
                }
                Step::GivesUp(slot) => {
                    self.claims.give_up(slot);
                    *slot.of_mut(&mut self.bound) = false;
                    *slot.of_mut(&mut self.listens) = false;
                }
                Step::Leaves(slot) => {
                    self.claims.forget(slot, self.serving);
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
                assert_eq!(claims.is_claimed_by(slot), bound || listens, "{story:?}");
                assert_eq!(claims.is_listened_on_by(slot), listens, "{story:?}");
                if bound || listens {
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
                Step::Binds(*slot),
                Step::Listens(*slot),
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
                bound: [false; 2],
                listens: [false; 2],
                serving: Slot::First,
                left_behind: false,
            };
            assert_eq!(every_order(world, &mut Vec::new(), 5), 100_000);
        }
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
