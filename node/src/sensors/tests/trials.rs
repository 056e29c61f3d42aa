//! Tests of a sensor beside its run.

use std::time::Duration;

use ensue_api::ports::{SensorTested, TestEnd, TestedFrom, TestedOutcome};
use ensue_engine::command::Ask;
use ensue_engine::sensors::facts::SensorMode;

use super::peers::{Fault, Peer};
use super::site::{Site, feed};

const SECOND: Duration = Duration::from_secs(1);

/// What each message of a test would make, and the cursor after it.
fn outcomes(tested: &SensorTested) -> Vec<(String, Option<&str>)> {
    let outcome = |would: &TestedOutcome| match would {
        TestedOutcome::Events(events) => {
            let shown = events.iter().map(|event| format!("{} {}", event.trigger, event.payload.as_deref().unwrap_or("too large")));
            shown.collect::<Vec<_>>().join(", ")
        }
        TestedOutcome::Passed => "passed".to_owned(),
        TestedOutcome::Refused { .. } => "refused".to_owned(),
        TestedOutcome::Fails(why) => why.clone(),
    };
    tested.messages.iter().map(|message| (outcome(&message.would), message.cursor.as_deref())).collect()
}

fn disabled_site(peer: &Peer) -> Site {
    let site = Site::new(peer);
    site.ask(Ask::SetSensorMode { sensor: feed(), mode: SensorMode::Disabled });
    site.pass(SECOND);
    site
}

#[test]
fn test_of_a_disabled_sensor_shows_its_next_messages_and_takes_none() {
    let peer = Peer::with_order();
    let site = disabled_site(&peer);
    peer.add(0..1);
    peer.add_poison(1);
    peer.add(2..5);
    let records = site.records().len();
    let tested = site.test(3, TestedFrom::Cursor).unwrap();
    let item = |n: u64| format!("feed.item {{\"n\":{n}}}");
    assert_eq!(outcomes(&tested), [(item(0), Some("1")), ("refused".to_owned(), Some("2")), (item(2), Some("3"))]);
    assert_eq!((tested.ended, tested.error), (TestEnd::Enough, None));
    assert_eq!((site.records().len(), peer.settled_in_order().len(), site.status().cursor), (records, 0, None));
    assert_eq!(peer.closes(), peer.opens(), "the second source is closed");
    // What was shown is read by the next run.
    site.ask(Ask::SetSensorMode { sensor: feed(), mode: SensorMode::Enabled });
    site.pass(10 * SECOND);
    assert_eq!((site.items(), site.letters()), (vec![0, 2, 3, 4], 1));
}

#[test]
fn test_begins_at_the_cursor_or_at_the_start() {
    let peer = Peer::with_order();
    let site = Site::new(&peer);
    peer.add(0..3);
    site.pass(10 * SECOND);
    let nothing = site.test(1, TestedFrom::Cursor).unwrap();
    assert_eq!((nothing.messages.len(), nothing.ended, nothing.after.as_deref()), (0, TestEnd::Timeout, Some("3")));
    let all = site.test(10, TestedFrom::Start).unwrap();
    assert_eq!((all.messages.len(), all.ended, all.after), (3, TestEnd::Quiet, None));
    assert_eq!((site.items(), site.status().cursor.as_deref()), (vec![0, 1, 2], Some("3")));
}

#[test]
fn test_of_a_queue_says_which_events_are_in_the_log() {
    let peer = Peer::without_order();
    let site = Site::new(&peer);
    peer.add(0..1);
    site.pass(10 * SECOND);
    site.ask(Ask::SetSensorMode { sensor: feed(), mode: SensorMode::Disabled });
    site.pass(SECOND);
    peer.deliver_again(&[0, 1]);
    let tested = site.test(2, TestedFrom::Cursor).unwrap();
    let repeats = tested.messages.iter().map(|message| match &message.would {
        TestedOutcome::Events(events) => events[0].is_repeat,
        TestedOutcome::Passed | TestedOutcome::Refused { .. } | TestedOutcome::Fails(_) => None,
    });
    assert_eq!(repeats.collect::<Vec<_>>(), [Some(true), Some(false)]);
}

#[test]
fn test_reports_the_whole_error_of_a_source_that_fails() {
    let peer = Peer::with_order();
    let site = disabled_site(&peer);
    peer.fail_always(Fault::OpenFails);
    let tested = site.test(1, TestedFrom::Cursor).unwrap();
    assert_eq!(tested.ended, TestEnd::Failed);
    assert_eq!(tested.error.unwrap().message, "the peer is away");
    peer.heal();
    peer.fail_next(Fault::NextPanics);
    let declined = site.test(1, TestedFrom::Cursor).unwrap_err();
    assert_eq!(declined.why.slug(), "internal-error");
    peer.add(0..1);
    assert_eq!(site.test(1, TestedFrom::Cursor).unwrap().messages.len(), 1, "a test that ended has given its place back");
}
