//! Limits how often passwords are tried: by account and by network, with an allowance of its own for each device
//! that has logged in before.
//!
//! The memory is fixed. Attempts are counted in buckets by a keyed hash, and no bucket is ever given up for another
//! one. So nobody can make the node forget the attempts on an account by trying many others. Two accounts may share
//! a bucket and then share its limit, which is rare, and which an attacker cannot aim at without the key.

use std::net::IpAddr;
use std::time::Duration;

use ensue_engine::explain::Explain;
use ensue_engine::time::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

/// How many attempts on one account are evaluated within [`ACCOUNT_PERIOD`].
pub const ACCOUNT_ATTEMPTS_MAX: usize = 10;
/// The period of [`ACCOUNT_ATTEMPTS_MAX`] and [`DEVICE_ATTEMPTS_MAX`].
pub const ACCOUNT_PERIOD: Duration = Duration::from_secs(15 * 60);
/// How many attempts from one network are evaluated within [`NETWORK_PERIOD`].
pub const NETWORK_ATTEMPTS_MAX: usize = 20;
/// The period of [`NETWORK_ATTEMPTS_MAX`].
pub const NETWORK_PERIOD: Duration = Duration::from_secs(60);
/// How many attempts of one known device on its account are evaluated within [`ACCOUNT_PERIOD`].
pub const DEVICE_ATTEMPTS_MAX: usize = 10;

/// The number of buckets for accounts, for networks and for devices.
const BUCKETS: usize = 1 << 16;

/// A device that came in to this account before, identified by the session that it had, even if that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The node has seen the device with this account.
    Known([u8; 16]),
    /// It has not.
    New,
}

/// The attempt is not evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[error("too many attempts to log in; try again in {} s", .retry_after.as_secs())]
#[explain(slug = "login-throttled", fault = Busy, hint = "use a browser in which you logged in before, or another way to log in")]
pub struct LoginThrottled {
    /// When the next attempt is evaluated.
    pub retry_after: Duration,
}

/// Counts attempts.
pub struct Throttle {
    key: [u8; 32],
    accounts: Attempts,
    networks: Attempts,
    devices: Attempts,
}

impl Throttle {
    /// Creates a throttle with a random key.
    pub fn new(key: [u8; 32]) -> Self {
        Self {
            key,
            accounts: Attempts::new(ACCOUNT_ATTEMPTS_MAX, ACCOUNT_PERIOD),
            networks: Attempts::new(NETWORK_ATTEMPTS_MAX, NETWORK_PERIOD),
            devices: Attempts::new(DEVICE_ATTEMPTS_MAX, ACCOUNT_PERIOD),
        }
    }

    /// Counts an attempt before it is evaluated. `account` is the name that was typed, whether or not somebody has
    /// it, so that a refusal does not reveal who exists. A known device has its own allowance and uses up no other.
    ///
    /// # Errors
    /// If the allowance is used up. Such an attempt is not counted.
    pub fn attempt(&mut self, account: &str, address: IpAddr, device: Device, now: Timestamp) -> Result<(), LoginThrottled> {
        if let Device::Known(device) = device {
            let bucket = self.bucket(b"device", &[&device, account.as_bytes()]);
            return self.devices.free(bucket, now).map(|()| self.devices.count(bucket, now));
        }
        let account = self.bucket(b"account", &[account.as_bytes()]);
        let network = self.bucket(b"network", &[&network_of(address)]);
        self.accounts.free(account, now)?;
        self.networks.free(network, now)?;
        self.accounts.count(account, now);
        self.networks.count(network, now);
        Ok(())
    }

    fn bucket(&self, kind: &[u8], parts: &[&[u8]]) -> usize {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(kind);
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let hash = mac.finalize().into_bytes();
        usize::from(u16::from_be_bytes([hash[0], hash[1]]))
    }
}

/// Returns the network that counts as one: /24 of IPv4, /48 of IPv6.
pub fn network_of(address: IpAddr) -> [u8; 6] {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            [0, 0, 4, a, b, c]
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, ..] = address.octets();
            [a, b, c, d, e, f]
        }
    }
}

/// The last attempts of each bucket.
struct Attempts {
    limit: usize,
    period: i64,
    /// For each bucket the times of its last `limit` attempts in microseconds, in a ring. 0 is none.
    times: Vec<i64>,
    /// For each bucket the place of the oldest.
    oldest: Vec<u8>,
}

impl Attempts {
    fn new(limit: usize, period: Duration) -> Self {
        let period = i64::try_from(period.as_micros()).expect("the periods are minutes");
        Self { limit, period, times: vec![0; BUCKETS * limit], oldest: vec![0; BUCKETS] }
    }

    /// Returns an error if the last `limit` attempts were within the period.
    fn free(&self, bucket: usize, now: Timestamp) -> Result<(), LoginThrottled> {
        let oldest = self.times[self.place(bucket)];
        let age = now.micros().saturating_sub(oldest);
        // A clock that was set back by more than the period does not block an account until it catches up.
        if oldest == 0 || age >= self.period || age <= -self.period {
            return Ok(());
        }
        let micros = u64::try_from(self.period.saturating_sub(age)).unwrap_or_default();
        Err(LoginThrottled { retry_after: Duration::from_secs(micros.div_ceil(1_000_000)) })
    }

    fn count(&mut self, bucket: usize, now: Timestamp) {
        let place = self.place(bucket);
        self.times[place] = now.micros().max(1);
        let next = usize::from(self.oldest[bucket]) + 1;
        self.oldest[bucket] = u8::try_from(next % self.limit).unwrap_or_default();
    }

    fn place(&self, bucket: usize) -> usize {
        bucket * self.limit + usize::from(self.oldest[bucket])
    }
}
