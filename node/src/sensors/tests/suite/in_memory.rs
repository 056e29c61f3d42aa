//! Peers in memory: one with an order of its own, and a queue.

use std::collections::BTreeSet;

use ensue_connectors::SensorErrorKind;

use super::super::peers::{Fault, Peer};
use super::super::site::Setting;
use super::{Becomes, Odd, Order, PeerUnderTest, Promises, Said, Settling};

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

    fn put(&self, messages: &[Said]) {
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

    fn settled(&self) -> BTreeSet<u64> {
        Self::settled(self).into_iter().collect()
    }

    fn becomes(&self, odd: Odd) -> Becomes {
        Becomes::usual(odd)
    }

    fn deliver_again(&self, numbers: &[u64]) {
        self.put(&numbers.iter().copied().map(Said::Item).collect::<Vec<_>>());
    }
}

mod tape {
    use super::super::super::peers::Peer;

    super::super::suite! {
        Peer::with_order(),
        runs [
            messages_are_in_the_log_once,
            node_killed_before_the_commit_loses_nothing,
            node_killed_between_commit_and_settling_repeats_nothing,
            lost_answer_repeats_nothing,
            source_that_is_away_at_the_start_is_read_once_it_is_there,
            connection_that_breaks_off_at_any_place_loses_and_repeats_nothing,
            poison_first_in_the_middle_and_last_is_a_dead_letter_each,
            flood_of_poison_stays_at_the_source,
            odd_messages_do_no_harm_to_others,
            nothing_is_lost_while_the_node_takes_nothing,
            stop_in_a_burst_settles_only_what_is_in_the_log,
            next_run_continues_where_the_last_one_was,
            rewound_sensor_reads_again_from_there,
            other_source_is_read_from_its_start,
            test_leaves_the_source_as_it_was,
            lag_is_shown,
            random_kills_lose_and_repeat_nothing,
        ],
        does_not_apply [
            settled_message_that_comes_again_makes_no_event: "what is behind the cursor is only read again by a person's wish",
        ]
    }
}

mod queue {
    use super::super::super::peers::Peer;

    super::super::suite! {
        Peer::without_order(),
        runs [
            messages_are_in_the_log_once,
            node_killed_before_the_commit_loses_nothing,
            node_killed_between_commit_and_settling_repeats_nothing,
            lost_answer_repeats_nothing,
            source_that_is_away_at_the_start_is_read_once_it_is_there,
            connection_that_breaks_off_at_any_place_loses_and_repeats_nothing,
            poison_first_in_the_middle_and_last_is_a_dead_letter_each,
            flood_of_poison_stays_at_the_source,
            odd_messages_do_no_harm_to_others,
            nothing_is_lost_while_the_node_takes_nothing,
            stop_in_a_burst_settles_only_what_is_in_the_log,
            next_run_continues_where_the_last_one_was,
            settled_message_that_comes_again_makes_no_event,
            test_leaves_the_source_as_it_was,
            lag_is_shown,
            random_kills_lose_and_repeat_nothing,
        ],
        does_not_apply [
            rewound_sensor_reads_again_from_there: "a queue has no cursor",
            other_source_is_read_from_its_start: "a queue has no start: what was settled is gone",
        ]
    }
}
