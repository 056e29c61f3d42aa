//! Pulling sensors over peers in memory: the real sequencer and supervisor, with a clock that does not wait.

mod parts;
mod peers;
mod seeded_random;
mod site;
mod suite;
mod trials;
mod worlds;

use std::time::Duration;

use ensue_api::ports::SensorState;
use ensue_engine::command::Ask;
use ensue_engine::dead_letters::state::SENSOR_DEAD_LETTERS_MAX;
use ensue_engine::fact::Fact;
use ensue_engine::sensors::facts::{SensorErrorKind, SensorMode};

use self::peers::{Fault, Peer};
use self::site::{NOON, Site, feed};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn numbers(range: std::ops::Range<u64>) -> Vec<u64> {
    range.collect()
}

#[test]
fn flapping_sensor_backs_off_and_writes_few_records() {
    let peer = Peer::with_order();
    let site = Site::new(&peer);
    // Each run reads one message, and then fails.
    peer.fail_always(Fault::NextFailsAfter(1));
    peer.add(numbers(0..1_000));
    site.pass(60 * MINUTE);
    let read = site.items().len();
    assert!((10..40).contains(&read), "{read} runs in an hour with a back-off of up to 5 minutes");
    let records = site.count(|fact| matches!(fact, Fact::SensorFailed(_) | Fact::SensorStarted(_)));
    assert!(records <= 14, "{records} records of {read} failures");
}

#[test]
fn restarted_node_does_not_shorten_the_back_off_of_an_outage() {
    let peer = Peer::with_order();
    let mut site = Site::new(&peer);
    peer.fail_always(Fault::OpenFails);
    site.pass(60 * MINUTE);
    let before = peer.opens();
    site.kill();
    site.pass(3 * MINUTE);
    assert!(peer.opens() - before <= 3, "{} tries after the restart", peer.opens() - before);
}

#[test]
fn failure_is_shown_until_the_source_is_there_again() {
    let peer = Peer::with_order();
    let site = Site::new(&peer);
    peer.fail_always(Fault::OpenFails);
    site.restart();
    site.pass(20 * SECOND);
    let status = site.status();
    assert_eq!(status.state, SensorState::Failing);
    assert_eq!(status.error.unwrap().message, "the peer is away");
    assert!(site.lines().iter().any(|line| line.contains("the peer is away")));
    peer.heal();
    peer.add(numbers(0..1));
    site.pass(5 * MINUTE);
    assert_eq!((site.status().state, site.items()), (SensorState::Running, numbers(0..1)));
}

#[test]
fn log_of_a_sensor_survives_a_restart_of_the_node() {
    let peer = Peer::with_order();
    let mut site = Site::new(&peer);
    peer.fail_next(Fault::OpenFails);
    site.restart();
    site.pass(20 * SECOND);
    let is_there = |site: &Site| site.lines().iter().any(|line| line.contains("the peer is away"));
    assert!(is_there(&site));
    site.kill();
    // A thread writes the lines; the killed node may not have waited for it.
    let written = (0..10_000).any(|_| {
        std::thread::yield_now();
        is_there(&site)
    });
    assert!(written, "{:?}", site.lines());
}

#[test]
fn panic_of_a_source_is_a_failure_of_its_sensor_only() {
    let peer = Peer::with_order();
    let site = Site::new(&peer);
    peer.add(numbers(0..2));
    peer.fail_next(Fault::NextPanics);
    site.restart();
    site.pass(MINUTE);
    assert_eq!(site.items(), numbers(0..2));
    let kinds: Vec<String> = site.failures();
    assert_eq!(kinds, ["bug"]);
}

#[test]
fn disabled_sensor_reads_nothing_until_it_is_enabled() {
    let peer = Peer::with_order();
    let mut site = Site::new(&peer);
    site.ask(Ask::SetSensorMode { sensor: feed(), mode: SensorMode::Disabled });
    site.pass(SECOND);
    peer.add(numbers(0..5));
    site.kill();
    site.pass(MINUTE);
    assert_eq!((site.items().len(), site.status().state), (0, SensorState::Disabled));
    site.ask(Ask::SetSensorMode { sensor: feed(), mode: SensorMode::Enabled });
    site.pass(MINUTE);
    assert_eq!(site.items(), numbers(0..5));
}

#[test]
fn busy_node_is_offered_the_batch_again() {
    let peer = Peer::with_order();
    let site = Site::new(&peer);
    site.be_busy(20);
    peer.add(numbers(0..5));
    site.pass(MINUTE);
    assert_eq!((site.items(), peer.settled_in_order()), (numbers(0..5), numbers(0..5)));
}

#[test]
fn message_that_is_held_for_longer_than_its_claim_is_not_delivered_again() {
    let peer = Peer::with_claims(3 * SECOND);
    let site = Site::new(&peer);
    // Two batches of one pull, and the node takes the first of them after some 25 s.
    site.be_busy(30);
    peer.add_twos(numbers(0..500));
    site.pass(15 * SECOND);
    assert_eq!((site.items().len(), peer.claimed_count()), (0, 500), "the node is still busy");
    site.pass(MINUTE);
    assert_eq!((site.items().len(), peer.settled_in_order()), (1_000, numbers(0..500)));
    assert_eq!(peer.expired_numbers(), [0; 0]);
}

#[test]
fn message_is_kept_while_the_disk_is_full() {
    let peer = Peer::with_claims(3 * SECOND);
    let site = Site::new(&peer);
    // The node is busy when the message is pulled, and then its disk is full.
    site.be_busy(2);
    peer.add(numbers(0..1));
    site.pass(Duration::from_millis(150));
    site.set_room(false);
    site.pass(20 * SECOND);
    assert_eq!((site.items().len(), peer.claimed_count()), (0, 1));
    site.set_room(true);
    site.pass(10 * SECOND);
    assert_eq!((site.items(), peer.settled_in_order(), peer.expired_numbers()), (numbers(0..1), numbers(0..1), vec![]));
}

#[test]
fn later_messages_of_a_pull_are_kept_while_the_first_ones_are_settled() {
    let peer = Peer::with_claims(3 * SECOND);
    let site = Site::new(&peer);
    // The node is busy for 750 ms, so that the messages are not new when the first of them are settled.
    site.be_busy(4);
    peer.fail_next(Fault::SettleIsSlow);
    peer.add_twos(numbers(0..500));
    site.pass(MINUTE);
    assert_eq!((site.items().len(), peer.settled_in_order()), (1_000, numbers(0..500)));
    assert_eq!(peer.expired_numbers(), [0; 0]);
}

#[test]
fn run_that_cannot_keep_its_messages_fails_and_reads_them_again() {
    let peer = Peer::with_claims(3 * SECOND);
    let site = Site::new(&peer);
    site.be_busy(30);
    peer.fail_next(Fault::KeepFails);
    peer.add(numbers(0..5));
    site.pass(2 * MINUTE);
    assert_eq!((site.failures(), site.items(), peer.settled_in_order()), (vec!["connect".to_owned()], numbers(0..5), numbers(0..5)));
}

#[test]
fn stopped_run_gives_back_what_is_not_in_the_log() {
    let peer = Peer::with_claims(MINUTE);
    let mut site = Site::new(&peer);
    peer.add(numbers(0..3));
    site.pass(10 * SECOND);
    site.be_busy(1_000);
    peer.add(numbers(3..8));
    site.pass(10 * SECOND);
    assert_eq!((peer.waiting(), peer.claimed_count()), (0, 5));
    site.stop();
    assert_eq!((peer.settled_in_order(), peer.waiting(), peer.claimed_count()), (numbers(0..3), 5, 0));
}

/// Returns how often the cursor moved, and how many messages it moved over.
fn advances(site: &Site) -> (usize, u64) {
    let records = site.records();
    let advanced = records.iter().filter_map(|record| if let Fact::SensorAdvanced(fact) = &record.fact { Some(fact) } else { None });
    advanced.fold((0, 0), |(count, read), fact| (count + 1, read + u64::from(fact.read)))
}

#[test]
fn messages_that_make_nothing_move_the_cursor_once_a_second() {
    let peer = Peer::with_order();
    let site = Site::new(&peer);
    for second in 0..10 {
        for tenth in 0..10 {
            let first = (second * 10 + tenth) * 7;
            peer.add_passed(first..first + 7);
            site.pass(Duration::from_millis(100));
        }
    }
    site.pass(3 * SECOND);
    let (count, read) = advances(&site);
    assert!((5..=12).contains(&count), "the cursor moved {count} times in 10 s");
    assert_eq!((read, site.status().cursor, peer.settled_in_order()), (700, Some("700".to_owned()), numbers(0..700)));
    assert_eq!(site.items().len(), 0);
}

#[test]
fn cursor_that_was_recorded_as_changes_is_continued_by_the_next_run_and_the_next_node() {
    for (bytes, is_shown) in [(1_000, true), (10_000, false)] {
        let peer = Peer::with_order();
        peer.lengthen_cursors(bytes);
        let mut site = Site::new(&peer);
        for number in 0..5 {
            peer.add([number]);
            site.pass(SECOND);
        }
        site.restart();
        peer.add(numbers(5..7));
        site.pass(10 * SECOND);
        site.kill();
        peer.add(numbers(7..9));
        site.pass(10 * SECOND);
        assert_eq!(site.items(), numbers(0..9));
        let changes = site.count(|fact| matches!(fact, Fact::SensorAdvanced(fact) if fact.change.is_some()));
        let wholes = site.count(|fact| matches!(fact, Fact::SensorAdvanced(fact) if fact.change.is_none()));
        assert!(changes >= 5 && wholes == 1, "{changes} changes, {wholes} wholes");
        assert_eq!(site.status().cursor, is_shown.then(|| format!("{:>bytes$}", 9)));
    }
}

#[test]
fn message_that_makes_nothing_is_settled_with_its_cursor() {
    let peer = Peer::with_order();
    let mut site = Site::new(&peer);
    peer.add_passed(0..1);
    site.pass(Duration::from_millis(300));
    peer.add_passed(1..2);
    site.pass(Duration::from_millis(300));
    assert_eq!((site.status().cursor, peer.settled_in_order()), (Some("1".to_owned()), numbers(0..1)), "the second one waits");
    site.kill();
    site.pass(10 * SECOND);
    assert_eq!((site.status().cursor, peer.settled_in_order()), (Some("2".to_owned()), numbers(0..2)));
}

#[test]
fn event_takes_the_messages_before_it_along() {
    let peer = Peer::with_order();
    let site = Site::new(&peer);
    peer.add_passed(0..1);
    site.pass(Duration::from_millis(150));
    peer.add_passed(1..6);
    site.pass(Duration::from_millis(150));
    peer.add(6..7);
    site.pass(Duration::from_millis(150));
    assert_eq!((advances(&site), site.items(), peer.settled_in_order()), ((2, 7), vec![6], numbers(0..7)));
}

#[test]
fn cursor_that_waits_is_written_when_the_sensor_is_stopped() {
    let peer = Peer::with_order();
    let mut site = Site::new(&peer);
    peer.add_passed(0..1);
    site.pass(Duration::from_millis(150));
    peer.add_passed(1..3);
    site.pass(Duration::from_millis(150));
    assert_eq!(advances(&site), (1, 1));
    site.stop();
    assert_eq!((advances(&site), peer.settled_in_order()), ((2, 3), numbers(0..3)));
}

/// Has the sensor read nothing but refused messages for an hour, and more of them than it may have open dead letters.
fn check_hour_of_poison(peer: &Peer) {
    let site = Site::new(peer);
    peer.add(numbers(0..1));
    site.pass(MINUTE);
    assert_eq!(site.status().state, SensorState::Running);
    let (began, mut next) = (site.now(), 1);
    for minute in 0..60 {
        (next..next + 200).for_each(|number| peer.add_poison(number));
        next += 200;
        site.pass(MINUTE);
        let status = site.status();
        let kind = status.error.map(|error| error.kind);
        assert_eq!((status.state, kind), (SensorState::Failing, Some(SensorErrorKind::Poisoned)), "minute {minute}");
        assert_eq!((status.retry_at, status.refused), (None, next - 1), "it reads on");
        assert!(status.since >= began && status.since < began.plus_millis(60_000));
    }
    assert_eq!((site.letters() as u64, peer.settled_in_order()), (SENSOR_DEAD_LETTERS_MAX, numbers(0..next)));
    let limits = site.lines().iter().filter(|line| line.contains("only counted")).count();
    assert_eq!(limits, 1, "{:?}", site.lines());
    assert_eq!(site.failures(), ["poisoned"; 6], "the 1st, 2nd, 4th … 32nd minute is recorded");
    peer.add(numbers(next..next + 1));
    site.pass(SECOND);
    assert_eq!((site.status().state, site.items()), (SensorState::Running, vec![0, next]));
    assert_eq!((peer.opens(), site.status().restarts), (1, 0), "it is the same run");
    let started = site.count(|fact| matches!(fact, Fact::SensorStarted(_)));
    assert_eq!(started, 2, "the log says that it works again");
}

#[test]
fn hour_of_poison_is_shown_and_the_next_good_message_ends_it() {
    check_hour_of_poison(&Peer::with_order());
}

#[test]
fn hour_of_poison_does_not_stop_a_sensor_without_a_cursor() {
    check_hour_of_poison(&Peer::without_order());
}

#[test]
fn last_dead_letters_that_fit_are_kept() {
    let peer = Peer::with_order();
    let site = Site::new(&peer);
    // No number of whole batches.
    let most = SENSOR_DEAD_LETTERS_MAX - 30;
    (0..most).for_each(|number| peer.add_poison(number));
    site.pass(MINUTE);
    assert_eq!(site.letters() as u64, most);
    (most..most + 100).for_each(|number| peer.add_poison(number));
    site.pass(MINUTE);
    assert_eq!((site.letters() as u64, site.status().refused), (SENSOR_DEAD_LETTERS_MAX, most + 100));
}

#[test]
fn sensor_that_accepts_nothing_fails_as_before_once_the_disk_has_room_again() {
    let peer = Peer::with_order();
    let site = Site::new(&peer);
    (0..200).for_each(|number| peer.add_poison(number));
    site.pass(10 * SECOND);
    let since = site.status().since;
    assert_eq!(site.status().state, SensorState::Failing);
    site.set_room(false);
    peer.add_poison(200);
    site.pass(20 * SECOND);
    assert_eq!(site.status().state, SensorState::Waiting);
    site.set_room(true);
    site.pass(10 * SECOND);
    assert_eq!((site.status().state, site.status().since), (SensorState::Failing, since));
}

#[test]
fn orderly_stop_settles_what_is_in_the_log() {
    let peer = Peer::with_order();
    let mut site = Site::new(&peer);
    peer.add(numbers(0..2_000));
    site.pass(Duration::from_millis(5));
    site.stop();
    assert_eq!(peer.settled_in_order(), site.items());
    assert_eq!(peer.closes(), peer.opens());
}

#[test]
fn starts_of_many_sensors_are_spread() {
    let mut starts = super::supervisor::Starts::default();
    let waits: Vec<Duration> = (0..100).map(|_| starts.ticket(NOON)).collect();
    assert_eq!((waits[0], waits[99]), (Duration::ZERO, Duration::from_millis(99 * 50)));
    assert_eq!(starts.ticket(NOON.plus_millis(60_000)), Duration::ZERO);
}

#[test]
fn clock_that_is_set_back_does_not_delay_the_starts_of_sensors() {
    let mut starts = super::supervisor::Starts::default();
    let an_hour_ahead = NOON.plus_millis(3_600_000);
    assert_eq!([an_hour_ahead, an_hour_ahead].map(|now| starts.ticket(now)), [Duration::ZERO, Duration::from_millis(50)]);
    assert_eq!([NOON, NOON].map(|now| starts.ticket(now)), [100, 150].map(Duration::from_millis));
    assert_eq!(starts.ticket(NOON.plus_millis(1_000)), Duration::ZERO);
}
