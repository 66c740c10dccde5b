//! Which messages of a channel are settled, and how few frames tell the broker so.

use std::collections::VecDeque;

/// What a channel has delivered and is not yet done with.
///
/// Delivery tags count up from 1 on each channel, so a queue of states with the tag of its first one will do. A ledger
/// dies with its channel, and so no tag is ever used on another one.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Tag of the first state.
    base: u64,
    states: VecDeque<State>,
    open: usize,
    acked: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In hand.
    Open,
    /// Done; the broker is to be told.
    Acked,
    /// The broker was told, or will be by a frame of its own.
    Settled,
}

/// An acknowledgement for the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) tag: u64,
    pub(crate) multiple: bool,
}

// === impl Ledger ===

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            base: 1,
            states: VecDeque::new(),
            open: 0,
            acked: 0,
        }
    }

    /// Enters a message that was delivered.
    pub(crate) fn deliver(&mut self, tag: u64) {
        // Tags come without gaps; should one ever be missing, it is not ours to settle.
        while self.base + (self.states.len() as u64) < tag {
            self.states.push_back(State::Settled);
        }
        self.states.push_back(State::Open);
        self.open += 1;
    }

    /// Marks a message as done; false if it was not in hand.
    pub(crate) fn ack(&mut self, tag: u64) -> bool {
        let acked = self.close(tag, State::Acked);
        self.acked += usize::from(acked);
        acked
    }

    /// Takes a message out, because the broker is told by a frame of its own; false if it was not in hand.
    pub(crate) fn settle(&mut self, tag: u64) -> bool {
        self.close(tag, State::Settled)
    }

    pub(crate) fn is_open(&self, tag: u64) -> bool {
        self.index(tag)
            .is_some_and(|index| self.states[index] == State::Open)
    }

    /// The messages in hand up to `tag`, for 0 all of them.
    pub(crate) fn open_up_to(&self, tag: u64) -> Vec<u64> {
        let tags = (self.base..).zip(&self.states);
        tags.take_while(|(each, _)| tag == 0 || *each <= tag)
            .filter(|(_, state)| **state == State::Open)
            .map(|(tag, _)| tag)
            .collect()
    }

    /// Messages in hand.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// Messages that are done, of which the broker is to be told.
    pub(crate) fn acked(&self) -> usize {
        self.acked
    }

    /// The frames that tell the broker all it is to be told.
    ///
    /// One frame for several messages says "this one and all before it", so it reaches up to the first one that is in
    /// hand only. Those behind that get a frame each.
    pub(crate) fn flush(&mut self) -> Vec<Ack> {
        let mut acks = Vec::new();
        let (mut last, mut count) = (0, 0);
        while let Some(state) = self.states.front().copied() {
            match state {
                State::Open => break,
                State::Acked => (last, count) = (self.base, count + 1),
                State::Settled => {}
            }
            self.states.pop_front();
            self.base += 1;
        }
        if count > 0 {
            acks.push(Ack {
                tag: last,
                multiple: count > 1,
            });
            self.acked -= count;
        }
        if self.acked > 0 {
            for (tag, state) in (self.base..).zip(&mut self.states) {
                if *state == State::Acked {
                    *state = State::Settled;
                    acks.push(Ack {
                        tag,
                        multiple: false,
                    });
                }
            }
            self.acked = 0;
        }
        acks
    }

    fn close(&mut self, tag: u64, state: State) -> bool {
        let Some(index) = self.index(tag).filter(|_| self.is_open(tag)) else {
            return false;
        };
        self.states[index] = state;
        self.open -= 1;
        true
    }

    fn index(&self, tag: u64) -> Option<usize> {
        let index = usize::try_from(tag.checked_sub(self.base)?).ok()?;
        (index < self.states.len()).then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ledger(count: u64) -> Ledger {
        let mut ledger = Ledger::new();
        (1..=count).for_each(|tag| ledger.deliver(tag));
        ledger
    }

    fn one(tag: u64) -> Ack {
        Ack {
            tag,
            multiple: false,
        }
    }

    fn up_to(tag: u64) -> Ack {
        Ack {
            tag,
            multiple: true,
        }
    }

    #[test]
    fn one_frame_tells_of_all_up_to_the_first_in_hand() {
        let mut ledger = ledger(5);
        for tag in [1, 2, 3, 5] {
            assert!(ledger.ack(tag));
        }
        assert_eq!(ledger.flush(), [up_to(3), one(5)]);
        assert_eq!(ledger.flush(), []);
        assert!(ledger.ack(4));
        assert_eq!(ledger.flush(), [one(4)]);
        assert_eq!((ledger.open(), ledger.acked()), (0, 0));
    }

    #[test]
    fn nothing_is_settled_twice() {
        let mut ledger = ledger(3);
        assert!(ledger.ack(1));
        assert!(!ledger.ack(1));
        assert!(!ledger.settle(1));
        assert_eq!(ledger.flush(), [one(1)]);
        assert!(!ledger.ack(1), "the broker was told");
        assert!(ledger.settle(2));
        assert!(!ledger.ack(2));
        assert!(!ledger.ack(9), "never delivered");
        assert!(!ledger.ack(0));
        assert_eq!(ledger.open_up_to(0), [3]);
        assert_eq!(ledger.flush(), []);
    }

    proptest! {
        /// Plays a broker: whatever is settled in whatever order, it is told of each message once, and of none early.
        #[test]
        fn the_broker_is_told_of_each_message_once(
            steps in prop::collection::vec((0..4u8, 0..40u64), 0..200)
        ) {
            let mut ledger = Ledger::new();
            let mut outstanding = BTreeSet::new();
            let mut done = BTreeSet::new();
            let mut delivered = 0;
            for (step, pick) in steps {
                match step {
                    0 => {
                        delivered += 1;
                        ledger.deliver(delivered);
                        outstanding.insert(delivered);
                    }
                    1 => if ledger.ack(pick) {
                        done.insert(pick);
                    },
                    2 => if ledger.settle(pick) {
                        prop_assert!(outstanding.remove(&pick), "{pick} was settled twice");
                    },
                    _ => {
                        for ack in ledger.flush() {
                            prop_assert!(outstanding.contains(&ack.tag), "{} is not outstanding", ack.tag);
                            let told: Vec<u64> = if ack.multiple {
                                outstanding.range(..=ack.tag).copied().collect()
                            } else {
                                vec![ack.tag]
                            };
                            for tag in told {
                                prop_assert!(outstanding.remove(&tag));
                                prop_assert!(done.remove(&tag), "{tag} was acknowledged and is not done");
                            }
                        }
                        prop_assert!(done.is_empty(), "{done:?} were held back");
                    }
                }
                prop_assert_eq!(ledger.acked(), done.len());
                prop_assert_eq!(ledger.open(), outstanding.len() - done.len());
            }
        }
    }
}
