//! The cases, each over any peer.

use std::collections::BTreeSet;
use std::time::Duration;

use ensue_api::ports::{SensorState, TestedFrom, TestedOutcome};
use ensue_connectors::SensorErrorKind;
use ensue_engine::command::Ask;
use ensue_engine::fact::Fact;
use ensue_engine::sensors::facts::{SensorEndedBecause, SensorMode};

use super::super::seeded_random::SeededRandom;
use super::super::site::{Site, feed};
use super::{Becomes, Odd, Order, PeerUnderTest, Settling, TestMessage};

/// Calls a macro with the name of each case.
macro_rules! each_case {
    ($test:ident) => {
        $test!(messages_are_in_the_log_once);
        $test!(node_killed_before_the_commit_loses_nothing);
        $test!(node_killed_between_commit_and_settling_repeats_nothing);
        $test!(lost_answer_repeats_nothing);
        $test!(source_that_is_away_at_the_start_is_read_once_it_is_there);
        $test!(connection_that_breaks_off_at_any_place_loses_and_repeats_nothing);
        $test!(poison_first_in_the_middle_and_last_is_a_dead_letter_each);
        $test!(flood_of_poison_between_good_messages_keeps_none_of_them_back);
        $test!(flood_of_poison_alone_is_shown_and_ends_with_the_next_good_message);
        $test!(odd_messages_do_no_harm_to_others);
        $test!(nothing_is_lost_while_the_node_takes_nothing);
        $test!(stop_in_a_burst_settles_only_what_is_in_the_log);
        $test!(next_run_continues_where_the_last_one_was);
        $test!(rewound_sensor_reads_again_from_there);
        $test!(other_source_is_read_from_its_start);
        $test!(settled_message_that_comes_again_makes_no_event);
        $test!(test_leaves_the_source_as_it_was);
        $test!(lag_is_shown);
        $test!(random_kills_lose_and_repeat_nothing);
    };
}
pub(super) use each_case;

/// More messages than a batch takes.
const MANY: u64 = 600;
/// How many refused messages a minute a sensor accepts.
const POISON_MAX: usize = 100;
/// How many things happen in the case of random kills.
const STEPS: usize = 30;

fn items(numbers: std::ops::Range<u64>) -> Vec<TestMessage> {
    numbers.map(TestMessage::Item).collect()
}

/// Waits until these items are in the log, and checks after a while that each is there once.
fn until_once(site: &Site, peer: &dyn PeerUnderTest, expected: &[u64]) {
    site.until("all items are in the log", |site| site.items().len() >= expected.len());
    site.rest();
    let mut logged = site.items();
    if peer.promises().order == Order::Any {
        logged.sort_unstable();
    }
    assert_eq!(logged, expected);
}

/// Waits until the other side knows that these messages are in the log, if it ever does.
fn until_settled(site: &Site, peer: &dyn PeerUnderTest, numbers: impl IntoIterator<Item = u64>) {
    let expected: BTreeSet<u64> = numbers.into_iter().collect();
    match peer.promises().settling {
        Settling::Always | Settling::Once => site.until("all messages are settled", |_| peer.settled_numbers() == expected),
        Settling::Never => assert_eq!(peer.settled_numbers(), BTreeSet::new()),
    }
}

/// The same after a run that ended in between, so that the other side may not have learned of all.
fn until_settled_after_a_failure(site: &Site, peer: &dyn PeerUnderTest, numbers: std::ops::Range<u64>) {
    if peer.promises().settling == Settling::Once {
        return assert!(peer.settled_numbers().is_subset(&numbers.collect()));
    }
    until_settled(site, peer, numbers);
}

/// Checks that nothing is settled that is not in the log.
fn check_settled(site: &Site, peer: &dyn PeerUnderTest) {
    // In this order: the log grows.
    let settled = peer.settled_numbers();
    let logged: BTreeSet<u64> = site.items().into_iter().collect();
    let early: Vec<&u64> = settled.difference(&logged).collect();
    assert!(early.len() <= site.letters(), "these are settled and not in the log: {early:?}");
}

/// Has a sensor that fails try again now: the waits between tries are not those of a test.
fn hurry(site: &Site) {
    if site.status().state == SensorState::Failing {
        site.restart();
    }
}

pub(super) fn messages_are_in_the_log_once(peer: &dyn PeerUnderTest) {
    let site = Site::of(peer.setting());
    peer.put(&items(0..MANY));
    until_once(&site, peer, &(0..MANY).collect::<Vec<_>>());
    until_settled(&site, peer, 0..MANY);
    let status = site.status();
    assert_eq!((status.state, status.events, site.letters()), (SensorState::Running, MANY, 0));
}

pub(super) fn node_killed_before_the_commit_loses_nothing(peer: &dyn PeerUnderTest) {
    let mut site = Site::of(peer.setting());
    site.be_busy(u64::MAX);
    peer.put(&items(0..20));
    site.until("the messages are read", |site| site.offered_batches() > 0);
    site.rest();
    assert_eq!((site.items(), peer.settled_numbers()), (vec![], BTreeSet::new()));
    site.kill();
    until_once(&site, peer, &(0..20).collect::<Vec<_>>());
    until_settled_after_a_failure(&site, peer, 0..20);
}

pub(super) fn node_killed_between_commit_and_settling_repeats_nothing(peer: &dyn PeerUnderTest) {
    let mut site = Site::of(peer.setting());
    site.keep_answers_back();
    peer.put(&items(0..20));
    site.until("a batch is in the log", |site| !site.items().is_empty());
    site.rest();
    assert_eq!(peer.settled_numbers(), BTreeSet::new(), "the sensor does not know that it is in the log");
    site.kill();
    until_once(&site, peer, &(0..20).collect::<Vec<_>>());
    until_settled_after_a_failure(&site, peer, 0..20);
}

pub(super) fn lost_answer_repeats_nothing(peer: &dyn PeerUnderTest) {
    let site = Site::of(peer.setting());
    site.lose_answer();
    peer.put(&items(0..10));
    until_once(&site, peer, &(0..10).collect::<Vec<_>>());
    site.lose_batch();
    peer.put(&items(10..20));
    until_once(&site, peer, &(0..20).collect::<Vec<_>>());
    assert_eq!(site.failures(), ["bug", "bug"]);
    until_settled_after_a_failure(&site, peer, 0..20);
}

pub(super) fn source_that_is_away_at_the_start_is_read_once_it_is_there(peer: &dyn PeerUnderTest) {
    peer.go_away();
    let site = Site::of(peer.setting());
    site.until("the sensor fails", |site| site.status().state == SensorState::Failing);
    let kind = site.status().error.unwrap().kind;
    assert_eq!((kind, site.items().len()), (peer.promises().away, 0));
    peer.come_back();
    peer.put(&items(0..5));
    // What is not there is tried again after half a minute.
    if kind == SensorErrorKind::NotFound {
        hurry(&site);
    }
    until_once(&site, peer, &[0, 1, 2, 3, 4]);
    until_settled(&site, peer, 0..5);
    assert_eq!(site.status().state, SensorState::Running);
}

pub(super) fn connection_that_breaks_off_at_any_place_loses_and_repeats_nothing(peer: &dyn PeerUnderTest) {
    let site = Site::of(peer.setting());
    let mut next = 0;
    for place in 0..peer.cuts() {
        peer.cut(place);
        peer.put(&items(next..next + 4));
        next += 4;
        site.until("all items are in the log after a cut", |site| {
            hurry(site);
            peer.was_cut() && site.items().len() as u64 >= next
        });
        check_settled(&site, peer);
    }
    until_once(&site, peer, &(0..next).collect::<Vec<_>>());
    assert_eq!(site.letters(), 0, "no part of a message is a message");
    until_settled_after_a_failure(&site, peer, 0..next);
}

pub(super) fn poison_first_in_the_middle_and_last_is_a_dead_letter_each(peer: &dyn PeerUnderTest) {
    let site = Site::of(peer.setting());
    peer.put(&[
        TestMessage::Poison(0),
        TestMessage::Item(1),
        TestMessage::Item(2),
        TestMessage::Poison(3),
        TestMessage::Item(4),
        TestMessage::Poison(5),
    ]);
    site.until("the poison is refused", |site| site.letters() >= 3);
    until_once(&site, peer, &[1, 2, 4]);
    assert_eq!((site.letters(), site.status().state), (3, SensorState::Running));
    until_settled(&site, peer, 0..6);
}

pub(super) fn flood_of_poison_between_good_messages_keeps_none_of_them_back(peer: &dyn PeerUnderTest) {
    let site = Site::of(peer.setting());
    let bad = 10..10 + POISON_MAX as u64 * 3 / 2;
    peer.put(&items(0..10));
    until_once(&site, peer, &(0..10).collect::<Vec<_>>());
    let is_letter = peer.becomes(Odd::NotUtf8) == Becomes::Letter;
    peer.put(
        &bad.clone()
            .map(|number| if is_letter { TestMessage::Odd(Odd::NotUtf8, number) } else { TestMessage::Poison(number) })
            .collect::<Vec<_>>(),
    );
    peer.put(&items(bad.end..bad.end + 10));
    until_once(&site, peer, &(0..10).chain(bad.end..bad.end + 10).collect::<Vec<_>>());
    site.until("each bad one is a dead letter", |site| site.letters() as u64 == bad.end - bad.start);
    assert_eq!(site.status().refused, bad.end - bad.start);
    peer.put(&items(bad.end + 10..bad.end + 11));
    site.until("the sensor runs", |site| site.status().state == SensorState::Running && site.items().len() == 21);
    assert_eq!(site.status().restarts, 0, "nothing is read again");
}

pub(super) fn flood_of_poison_alone_is_shown_and_ends_with_the_next_good_message(peer: &dyn PeerUnderTest) {
    let site = Site::of(peer.setting());
    let flood = 3 * POISON_MAX as u64;
    peer.put(&(0..flood).map(TestMessage::Poison).collect::<Vec<_>>());
    site.until("each is a dead letter", |site| site.letters() as u64 >= flood);
    site.until("the sensor is shown as failing", |site| site.status().state == SensorState::Failing);
    assert_eq!(site.status().error.unwrap().kind, SensorErrorKind::Poisoned);
    peer.put(&[TestMessage::Item(flood), TestMessage::Poison(flood + 1)]);
    site.until("the sensor works again", |site| site.status().state == SensorState::Running);
    until_once(&site, peer, &[flood]);
    site.until("the last one is a dead letter", |site| site.letters() as u64 > flood);
    assert_eq!(site.status().restarts, 0, "nothing is read again");
}

pub(super) fn odd_messages_do_no_harm_to_others(peer: &dyn PeerUnderTest) {
    let site = Site::of(peer.setting());
    let (mut next, mut expected, mut letters) = (0, Vec::new(), 0);
    for odd in Odd::ALL {
        peer.put(&[TestMessage::Item(next), TestMessage::Odd(odd, next + 1), TestMessage::Item(next + 2)]);
        expected.push(next);
        match peer.becomes(odd) {
            Becomes::Event => expected.push(next + 1),
            Becomes::Letter => letters += 1,
            Becomes::Nothing => {}
            Becomes::Failure => {
                site.until("the sensor fails", |site| site.status().state == SensorState::Failing);
                assert_eq!(site.status().error.unwrap().kind, SensorErrorKind::Protocol, "{odd:?}");
                peer.take_back_odd();
                hurry(&site);
            }
        }
        expected.push(next + 2);
        next += 3;
        site.until(&format!("the messages beside {odd:?} are in the log"), |site| {
            (site.items().len(), site.letters()) == (expected.len(), letters)
        });
    }
    until_once(&site, peer, &expected);
    assert_eq!(site.letters(), letters);
}

pub(super) fn nothing_is_lost_while_the_node_takes_nothing(peer: &dyn PeerUnderTest) {
    let site = Site::of(peer.setting());
    peer.put(&items(0..1));
    until_once(&site, peer, &[0]);
    site.set_room(false);
    site.restart();
    peer.put(&items(1..6));
    site.until("the sensor waits", |site| site.status().state == SensorState::Waiting);
    assert_eq!((site.status().waits_for.as_deref(), site.items().len()), (Some("the disk is full"), 1));
    check_settled(&site, peer);
    site.set_room(true);
    until_once(&site, peer, &[0, 1, 2, 3, 4, 5]);
    until_settled(&site, peer, 0..6);
    assert_eq!(site.status().state, SensorState::Running);
}

pub(super) fn stop_in_a_burst_settles_only_what_is_in_the_log(peer: &dyn PeerUnderTest) {
    let mut site = Site::of(peer.setting());
    peer.put(&items(0..MANY));
    site.until("the first batch is in the log", |site| !site.items().is_empty());
    site.stop();
    check_settled(&site, peer);
    let logged = site.items().len();
    site.rest();
    assert_eq!(site.items().len(), logged, "a stopped sensor reads nothing");
    site.kill();
    until_once(&site, peer, &(0..MANY).collect::<Vec<_>>());
    until_settled_after_a_failure(&site, peer, 0..MANY);
}

pub(super) fn next_run_continues_where_the_last_one_was(peer: &dyn PeerUnderTest) {
    let mut site = Site::of(peer.setting());
    peer.put(&items(0..5));
    until_once(&site, peer, &[0, 1, 2, 3, 4]);
    site.kill();
    peer.put(&items(5..8));
    until_once(&site, peer, &[0, 1, 2, 3, 4, 5, 6, 7]);
    site.restart();
    peer.put(&items(8..9));
    until_once(&site, peer, &[0, 1, 2, 3, 4, 5, 6, 7, 8]);
    until_settled(&site, peer, 0..9);
    assert_eq!(site.failures(), [""; 0]);
}

pub(super) fn rewound_sensor_reads_again_from_there(peer: &dyn PeerUnderTest) {
    let site = Site::of(peer.setting());
    peer.put(&items(0..3));
    until_once(&site, peer, &[0, 1, 2]);
    let after_three = site.status().cursor.expect("the cursor is short");
    peer.put(&items(3..5));
    until_once(&site, peer, &[0, 1, 2, 3, 4]);
    site.rewind(Some(&after_three));
    site.until("the last two are read again", |site| site.items().len() >= 7);
    site.rest();
    let again = |from: usize| {
        let mut again = site.items()[from..].to_vec();
        again.sort_unstable();
        again
    };
    assert_eq!(again(5), [3, 4]);
    site.rewind(None);
    site.until("all are read again", |site| site.items().len() >= 12);
    site.rest();
    assert_eq!(again(7), [0, 1, 2, 3, 4]);
}

pub(super) fn other_source_is_read_from_its_start(peer: &dyn PeerUnderTest) {
    let mut site = Site::of(peer.setting());
    peer.put(&items(0..3));
    until_once(&site, peer, &[0, 1, 2]);
    site.read_something_else();
    site.kill();
    site.until("all are read again", |site| site.items().len() >= 6);
    site.rest();
    let mut again = site.items()[3..].to_vec();
    again.sort_unstable();
    assert_eq!(again, [0, 1, 2]);
    let ended = site.count(|fact| matches!(fact, Fact::SensorEnded(fact) if fact.why == SensorEndedBecause::Changed));
    assert_eq!(ended, 1);
}

pub(super) fn settled_message_that_comes_again_makes_no_event(peer: &dyn PeerUnderTest) {
    let site = Site::of(peer.setting());
    peer.put(&items(0..5));
    until_once(&site, peer, &[0, 1, 2, 3, 4]);
    until_settled(&site, peer, 0..5);
    peer.deliver_again(&[1, 3]);
    peer.put(&items(5..6));
    until_once(&site, peer, &[0, 1, 2, 3, 4, 5]);
    until_settled(&site, peer, 0..6);
}

pub(super) fn test_leaves_the_source_as_it_was(peer: &dyn PeerUnderTest) {
    let site = Site::of(peer.setting());
    peer.put(&items(0..1));
    until_once(&site, peer, &[0]);
    until_settled(&site, peer, 0..1);
    site.ask(Ask::SetSensorMode { sensor: feed(), mode: SensorMode::Disabled });
    site.until("the sensor is disabled", |site| site.status().state == SensorState::Disabled);
    site.rest();
    peer.put(&items(1..4));
    let (records, settled) = (site.records().len(), peer.settled_numbers());
    let tested = site.test(3, TestedFrom::Cursor).unwrap();
    assert_eq!((tested.messages.len(), tested.error), (3, None));
    assert!(tested.messages.iter().all(|message| matches!(message.would, TestedOutcome::Events(_))));
    site.rest();
    assert_eq!((site.records().len(), peer.settled_numbers()), (records, settled));
    site.ask(Ask::SetSensorMode { sensor: feed(), mode: SensorMode::Enabled });
    until_once(&site, peer, &[0, 1, 2, 3]);
    until_settled(&site, peer, 0..4);
}

pub(super) fn lag_is_shown(peer: &dyn PeerUnderTest) {
    let site = Site::of(peer.setting());
    peer.put(&items(0..3));
    let began = site.now();
    until_once(&site, peer, &[0, 1, 2]);
    let status = site.status();
    match (status.lag_messages, status.newest_at) {
        (Some(waiting), None) => assert_eq!(waiting, 0),
        (None, Some(newest)) => assert!(newest >= began && newest <= site.now(), "{newest} is not between {began} and {}", site.now()),
        shown => panic!("the source says nothing of its lag: {shown:?}"),
    }
}

pub(super) fn random_kills_lose_and_repeat_nothing(peer: &dyn PeerUnderTest) {
    let mut drawn = SeededRandom(7);
    let mut site = Site::of(peer.setting());
    let (mut next, mut given, mut poison) = (0, Vec::new(), 0);
    for _ in 0..STEPS {
        match drawn.below(12) {
            0..=4 => {
                let many = 1 + drawn.below(20);
                peer.put(&items(next..next + many));
                given.extend(next..next + many);
                next += many;
            }
            5 => {
                peer.put(&[TestMessage::Poison(next)]);
                (next, poison) = (next + 1, poison + 1);
            }
            6 => site.kill(),
            7 => site.restart(),
            8 => site.lose_answer(),
            9 => site.lose_batch(),
            10 => site.be_busy(drawn.below(4)),
            _ => {
                site.keep_answers_back();
                site.pass(Duration::from_millis(drawn.below(200)));
                site.kill();
            }
        }
        site.pass(Duration::from_millis(drawn.below(250)));
        check_settled(&site, peer);
    }
    site.kill();
    site.restart();
    site.until("all is in the log", |site| site.items().len() >= given.len() && site.letters() >= poison);
    until_once(&site, peer, &given);
    // The engine keeps no key of a refused message. A source without a cursor may deliver it again, and it is refused again.
    assert!(site.letters() == poison || site.status().cursor.is_none(), "{} letters of {poison}", site.letters());
    until_settled_after_a_failure(&site, peer, 0..next);
}
