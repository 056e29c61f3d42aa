//! A follower that cannot follow: the error is reported, the step is retried, and the follower ends on request.

use std::sync::atomic::AtomicU32;

use ensue_api::QueueName;
use ensue_engine::ids::{Id, LogId};
use ensue_engine::ports::Log;
use ensue_engine::time::Timestamp;
use ensue_store::memory::MemoryLog;

use super::*;

/// Fails to follow in the way that the test sets.
struct Stumbles {
    steps: Arc<AtomicU32>,
    releases: u32,
    way: FailureMode,
}

#[derive(Clone, Copy)]
enum FailureMode {
    ErrsAlways,
    PanicsFirst,
}

impl Follow for Stumbles {
    fn position(&self) -> Position {
        Position(0)
    }

    fn follow(&mut self, _: &[Record]) -> Result<(), String> {
        Ok(())
    }

    fn follow_all(&mut self, _: &[&[Record]]) -> Result<(), String> {
        match (self.steps.fetch_add(1, Ordering::Relaxed), self.way) {
            (_, FailureMode::ErrsAlways) => Err("the disk is gone".to_owned()),
            (0, FailureMode::PanicsFirst) => panic!("it stumbled"),
            (_, FailureMode::PanicsFirst) => Ok(()),
        }
    }

    fn release_caches(&mut self) {
        self.releases += 1;
    }
}

fn begin(way: FailureMode) -> (FollowerHandle, JoinHandle<Stumbles>, Arc<FollowerHealth>, Arc<AtomicU32>) {
    let log = MemoryLog::new(LogId(Id::root(Timestamp::from_micros(1), 1)));

    let waiting = Waiting { batches: Queue::new(QueueName::ViewBatches, 64), bytes: Queue::new(QueueName::ViewBatchBytes, 1 << 20) };
    let (health, steps) = (Arc::new(FollowerHealth::default()), Arc::new(AtomicU32::new(0)));
    let follow = Stumbles { steps: steps.clone(), releases: 0, way };
    let (handle, thread) = start("stumbles", follow, log.reader().unwrap(), (waiting, health.clone())).unwrap();
    (handle, thread, health, steps)
}

/// Longer than any step takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lets other threads run until the condition holds; each step of a follower takes some time.
fn until(mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "it is still not so");
        std::thread::yield_now();
    }
}

#[test]
fn failing_follower_is_reported_and_ends_on_request() {
    let (handle, thread, health, _) = begin(FailureMode::ErrsAlways);
    until(|| health.trouble().is_some());
    assert_eq!((health.trouble().as_deref(), health.bugs()), (Some("the disk is gone"), 0));
    handle.stop();
    thread.join().unwrap();
}

#[test]
fn follower_continues_after_a_panic_which_stays_counted() {
    let (handle, thread, health, steps) = begin(FailureMode::PanicsFirst);
    until(|| steps.load(Ordering::Relaxed) > 1 && health.trouble().is_none());
    assert_eq!(health.bugs(), 1);
    handle.stop();
    thread.join().unwrap();
}

/// More than a test takes.
const FAR: Duration = Duration::from_secs(3_600);
/// Longer than a thread takes to begin to wait, most of the time.
const SHORT: Duration = Duration::from_millis(20);

#[test]
fn waiting_caller_ends_a_follower_s_rest() {
    let (hurry, now) = (Arc::new(Hurry::default()), Instant::now());
    hurry.ask();
    assert!(hurry.rest(now + FAR, now), "somebody asked before the rest");
    let (resting, asking) = (hurry.clone(), now + FAR);
    let rest = std::thread::spawn(move || resting.rest(asking, now));
    std::thread::sleep(SHORT);
    hurry.ask();
    assert!(rest.join().unwrap(), "somebody asked during the rest");
    assert!(!hurry.rest(Instant::now() + SHORT, now), "each request counts once");
}

#[test]
fn follower_that_hurried_just_now_rests_as_long_as_usual() {
    let (hurry, now) = (Hurry::default(), Instant::now());
    hurry.ask();
    assert!(!hurry.rest(now + SHORT, now + FAR));
    assert!(now.elapsed() >= SHORT);
    assert!(!hurry.rest(Instant::now() + SHORT, now), "the step that begins now is for all who asked before");
}

#[test]
fn follower_releases_its_caches_when_asked() {
    let (handle, thread, _, steps) = begin(FailureMode::PanicsFirst);
    until(|| steps.load(Ordering::Relaxed) > 1);
    handle.release_caches();
    handle.stop();
    assert_eq!(thread.join().unwrap().releases, 1);
}
