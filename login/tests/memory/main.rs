//! The memory of many logins at once, in a process of its own: the peak is that of the whole process.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

use std::sync::atomic::{AtomicUsize, Ordering};

use ensue_engine::explain::Explain;
use ensue_login::passwords::{AT_ONCE_MAX, Hashing, NewPassword, PasswordCheck, TypedPassword, WAITING_MAX};

const PASSWORD: &str = "correct horse battery";

/// Returns the largest resident memory of this process until now, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn five_hundred_logins_at_once_use_bounded_memory_and_the_rest_is_refused_as_busy() {
    let hashing = Hashing::default();
    let stored = hashing.hash(&NewPassword::new(PASSWORD, "ana").unwrap(), [7; 16]).unwrap();
    let typed = || TypedPassword::new(PASSWORD).unwrap();
    let before = peak_kib();
    let (right, busy) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..500 {
            scope.spawn(|| match hashing.check(Some(&stored), &typed()) {
                Ok(checked) => {
                    assert_eq!(checked, PasswordCheck::Right);
                    right.fetch_add(1, Ordering::SeqCst);
                }
                Err(refusal) => {
                    assert_eq!(refusal.slug(), "busy");
                    busy.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    let (right, busy) = (right.into_inner(), busy.into_inner());
    assert_eq!(right + busy, 500);
    assert!(right >= AT_ONCE_MAX + WAITING_MAX, "{right} were checked");
    assert!(busy > 0, "at least one had to be refused");
    assert!(peak_kib() - before <= 200 * 1_024, "{} KiB", peak_kib() - before);
    assert_eq!(hashing.check(Some(&stored), &typed()).unwrap(), PasswordCheck::Right, "the turns were returned");
}
