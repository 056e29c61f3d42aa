//! Peers in memory: one with an order of its own, and a queue.

use std::collections::BTreeSet;

use ensue_connectors::SensorErrorKind;

use super::super::peers::{Fault, Peer};
use super::super::site::Setting;
use super::{Becomes, Odd, Order, PeerUnderTest, Promises, Settling, TestMessage};

/// After how many messages a connection can break off.
const CUTS: usize = 4;

impl PeerUnderTest for Peer {
    fn setting(&self) -> Setting {
        Self::setting(self)
    }

    fn promises(&self) -> Promises {
        // A queue delivers again what it does not know to be settled. A tape does not.
        let (order, settling) = if self.has_order() { (Order::Kept, Settling::Once) } else { (Order::Any, Settling::Always) };
        Promises { order, settling, away: SensorErrorKind::Connect }
    }

    fn put(&self, messages: &[TestMessage]) {
        messages.iter().for_each(|said| self.add_raw(said.number(), said.bytes()));
    }

    fn go_away(&self) {
        self.fail_always(Fault::OpenFails);
    }

    fn come_back(&self) {
        self.heal();
    }

    fn cut(&self, place: usize) {
        self.fail_next(Fault::NextFailsAfter(place as u64));
    }

    fn cuts(&self) -> usize {
        CUTS
    }

    fn was_cut(&self) -> bool {
        self.has_no_fault_left()
    }

    fn settled_numbers(&self) -> BTreeSet<u64> {
        Self::settled_in_order(self).into_iter().collect()
    }

    fn becomes(&self, odd: Odd) -> Becomes {
        Becomes::usual(odd)
    }

    fn deliver_again(&self, numbers: &[u64]) {
        self.put(&numbers.iter().copied().map(TestMessage::Item).collect::<Vec<_>>());
    }
}

mod tape {
    use super::super::super::peers::Peer;

    super::super::suite! {
        Peer::with_order(),
        does_not_apply [
            settled_message_that_comes_again_makes_no_event: "what is behind the cursor is only read again by a person's wish",
        ]
    }
}

mod queue {
    use super::super::super::peers::Peer;

    super::super::suite! {
        Peer::without_order(),
        does_not_apply [
            rewound_sensor_reads_again_from_there: "a queue has no cursor",
            other_source_is_read_from_its_start: "a queue has no start: what was settled is gone",
        ]
    }
}
