//! How often passwords are tried, on simulated time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ensue_engine::explain::Explain;
use ensue_login::throttle::{ACCOUNT_ATTEMPTS_MAX, ACCOUNT_PERIOD, Device, NETWORK_ATTEMPTS_MAX, Throttle, network_of};
use proptest::prelude::*;

use crate::support::{NOW, at};

fn throttle() -> Throttle {
    Throttle::new([3; 32])
}

/// Returns an address in a network of its own.
fn address(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0b00_0000 + (n << 8)))
}

#[test]
fn ten_thousand_attempts_on_one_account_are_evaluated_ten_times_and_the_owner_still_gets_in() {
    let mut throttle = throttle();
    let mut evaluated = 0;
    for n in 0..10_000_u32 {
        let seconds = NOW + i64::from(n) * 899 / 10_000;
        evaluated += usize::from(throttle.attempt("ana", address(n % 1_000), Device::New, at(seconds)).is_ok());
    }
    assert_eq!(evaluated, ACCOUNT_ATTEMPTS_MAX);
    throttle.attempt("ana", address(5_000), Device::Known([1; 16]), at(NOW + 899)).unwrap();
    let refusal = throttle.attempt("ana", address(5_000), Device::New, at(NOW + 899)).unwrap_err();
    assert_eq!((refusal.slug(), refusal.retry_after.as_secs()), ("login-throttled", 1));
    throttle.attempt("ana", address(5_000), Device::New, at(NOW + 900)).unwrap();
}

#[test]
fn one_network_that_tries_many_accounts_is_evaluated_twenty_times_a_minute() {
    let mut throttle = throttle();
    let mut try_all = |from: i64, address: IpAddr| {
        (0..5_000).filter(|n| throttle.attempt(&format!("user-{from}-{n}"), address, Device::New, at(from)).is_ok()).count()
    };
    assert_eq!(try_all(NOW, "203.0.113.7".parse().unwrap()), NETWORK_ATTEMPTS_MAX);
    assert_eq!(try_all(NOW + 59, "203.0.113.200".parse().unwrap()), 0);
    assert_eq!(try_all(NOW + 60, "203.0.113.9".parse().unwrap()), NETWORK_ATTEMPTS_MAX);
    assert_eq!(try_all(NOW + 60, "203.0.114.9".parse().unwrap()), NETWORK_ATTEMPTS_MAX);
}

#[test]
fn known_device_has_an_allowance_of_its_own_and_uses_up_no_other() {
    let mut throttle = throttle();
    let own = Device::Known([1; 16]);
    let evaluated = (0..100).filter(|_| throttle.attempt("ana", address(1), own, at(NOW)).is_ok()).count();
    assert_eq!(evaluated, 10);
    throttle.attempt("ana", address(1), Device::Known([2; 16]), at(NOW)).unwrap();
    throttle.attempt("ben", address(1), own, at(NOW)).unwrap();
    throttle.attempt("ana", address(1), Device::New, at(NOW)).unwrap();
}

#[test]
fn attempts_on_many_other_accounts_do_not_reset_one() {
    let mut throttle = throttle();
    for n in 0..10 {
        throttle.attempt("ana", address(n), Device::New, at(NOW)).unwrap();
    }
    for n in 0..200_000_u32 {
        let _ = throttle.attempt(&format!("user-{n}"), address(100 + n % 60_000), Device::New, at(NOW + 1));
    }
    assert!(throttle.attempt("ana", address(99_000), Device::New, at(NOW + 2)).is_err());
}

#[test]
fn clock_that_was_set_back_locks_nobody_out() {
    let mut throttle = throttle();
    for n in 0..10 {
        throttle.attempt("ana", address(n), Device::New, at(NOW)).unwrap();
    }
    assert!(throttle.attempt("ana", address(20), Device::New, at(NOW - 60)).is_err());
    throttle.attempt("ana", address(20), Device::New, at(NOW - 3_600)).unwrap();
}

#[test]
fn network_is_a_24_of_ipv4_and_a_48_of_ipv6() {
    let network = |text: &str| network_of(text.parse().unwrap());
    assert_eq!(network("203.0.113.7"), network("203.0.113.200"));
    assert_ne!(network("203.0.113.7"), network("203.0.114.7"));
    assert_eq!(network("2001:db8:1:2::3"), network("2001:db8:1:ffff::1"));
    assert_ne!(network("2001:db8:1::"), network("2001:db8:2::"));
    assert_eq!(network("::ffff:203.0.113.7"), network("203.0.113.9"));
    assert_ne!(network_of(IpAddr::V6(Ipv6Addr::LOCALHOST)), network("127.0.0.1"));
}

proptest! {
    /// Whatever the pauses, no period of 15 minutes has more than ten evaluated attempts on an account.
    #[test]
    fn no_period_has_more_attempts_than_the_limit(pauses in prop::collection::vec(0..400_i64, 1..200)) {
        let mut throttle = throttle();
        let (mut seconds, mut evaluated) = (NOW, Vec::new());
        for (n, pause) in (0..).zip(pauses) {
            seconds += pause;
            match throttle.attempt("ana", address(n), Device::New, at(seconds)) {
                Ok(()) => evaluated.push(seconds),
                Err(throttled) => {
                    let again = seconds + i64::try_from(throttled.retry_after.as_secs()).unwrap();
                    prop_assert!(evaluated.iter().filter(|time| again - **time < 900).count() < 10, "a promise is kept");
                    prop_assert!(evaluated.iter().filter(|time| seconds - **time < 900).count() >= 10, "only over the limit");
                }
            }
            let recent = evaluated.iter().filter(|time| seconds - **time < i64::try_from(ACCOUNT_PERIOD.as_secs()).unwrap()).count();
            prop_assert!(recent <= ACCOUNT_ATTEMPTS_MAX);
        }
    }
}
