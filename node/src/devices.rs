//! Logins of terminals that a person approves elsewhere (RFC 8628). They are in memory only.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ensue_api::ports::{BegunDevice, CodeNotFound, DeviceDecision, Devices, PortError, RedeemedCode, WaitingDevice};
use ensue_engine::explain::Explain;
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::clock::SteppedClock;
use crate::config::DeviceLogins;
use crate::session_table::{SessionRefusal, millis, random};

/// How long a terminal waits.
const LIFETIME: Duration = Duration::from_secs(600);
/// The time between two questions of a terminal, at first. A terminal that asks more often has to wait longer.
const INTERVAL: Duration = Duration::from_secs(5);
/// The maximum number of terminals that wait.
const WAITING_MAX: usize = 10_000;
/// The letters of a code: no vowels, so that no words arise, and nothing that looks like a digit.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// The number of letters of a code.
const CODE_LETTERS: usize = 8;
/// How many wrong codes one caller may type while a code is valid.
const WRONG_OF_ONE_MAX: usize = 5;
/// How many wrong codes all callers may type in a minute.
const WRONG_A_MINUTE_MAX: usize = 100;
const MINUTE: Duration = Duration::from_secs(60);

/// Why a terminal has no session: the words of RFC 8628 are the codes of these errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[explain(fault = Malformed)]
pub(crate) enum DeviceRefusal {
    /// Nobody has decided yet.
    #[error("nobody has approved this login yet")]
    #[explain(slug = "authorization-pending", hint = "ask again after the interval")]
    Pending,
    /// The terminal asks too often.
    #[error("the terminal asks too often; the interval is now {interval_seconds} s")]
    #[explain(slug = "slow-down", hint = "wait for the interval, which is 5 s longer than before")]
    SlowDown {
        /// The new interval.
        interval_seconds: u64,
    },
    /// It took too long, or the code is unknown.
    #[error("the device code has expired, was used, or is unknown")]
    #[explain(slug = "expired-token", hint = "start again with `ensue login --device`")]
    Expired,
    /// A person refused.
    #[error("the login was denied")]
    #[explain(slug = "access-denied", hint = "start again with `ensue login --device`, and approve it")]
    Denied,
    /// Too many terminals wait.
    #[error("too many terminals wait for approval")]
    #[explain(slug = "busy", fault = Busy, hint = "try again in a minute")]
    Full,
    /// The operator switched it off.
    #[error("logins by device code are switched off on this node")]
    #[explain(slug = "device-logins-off", fault = Forbidden, hint = "log in with `ensue login`, or set `login.device: true` in `ensue.yaml`")]
    Off,
}

/// The terminals that wait for approval.
pub(crate) struct NodeDevices {
    logins: DeviceLogins,
    clock: Arc<dyn SteppedClock>,
    table: Mutex<DeviceTable>,
}

#[derive(Default)]
struct DeviceTable {
    /// The terminals, by the SHA-256 of their device codes.
    waiting: BTreeMap<[u8; 32], PendingDevice>,
    /// The same by the codes that people type.
    by_code: BTreeMap<String, [u8; 32]>,
    /// When wrong codes were typed, and by whom, oldest first.
    wrong: VecDeque<(Timestamp, String)>,
}

struct PendingDevice {
    user_code: String,
    terminal: WaitingDevice,
    until: Timestamp,
    interval: Duration,
    asked_at: Option<Timestamp>,
    decision: Option<DeviceDecision>,
}

impl NodeDevices {
    /// Creates the terminals of a node: none waits.
    pub(crate) fn new(logins: DeviceLogins, clock: Arc<dyn SteppedClock>) -> Self {
        Self { logins, clock, table: Mutex::default() }
    }

    fn table(&self) -> MutexGuard<'_, DeviceTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Devices for NodeDevices {
    fn are_allowed(&self) -> bool {
        self.logins == DeviceLogins::Allowed
    }

    fn begin(&self, terminal: WaitingDevice) -> Result<BegunDevice, PortError> {
        if !self.are_allowed() {
            return Err(DeviceRefusal::Off.into());
        }
        let now = self.clock.now();
        let device_code = Secret::new(hex::encode(*random()?).into_bytes());
        let mut table = self.table();
        table.forget(now);
        if table.waiting.len() >= WAITING_MAX {
            return Err(DeviceRefusal::Full.into());
        }
        let user_code = loop {
            let drawn = drawn_code()?;
            if !table.by_code.contains_key(&drawn) {
                break drawn;
            }
        };
        let (key, until) = (key_of(&device_code), now.plus_millis(millis(LIFETIME)));
        table.by_code.insert(user_code.clone(), key);
        let waiting = PendingDevice { user_code: user_code.clone(), terminal, until, interval: INTERVAL, asked_at: None, decision: None };
        table.waiting.insert(key, waiting);
        let user_code = format!("{}-{}", &user_code[..CODE_LETTERS / 2], &user_code[CODE_LETTERS / 2..]);
        Ok(BegunDevice { device_code, user_code, valid_for: LIFETIME, interval: INTERVAL })
    }

    fn poll(&self, device_code: &Secret) -> Result<RedeemedCode, PortError> {
        let (now, key) = (self.clock.now(), key_of(device_code));
        let mut table = self.table();
        table.forget(now);
        let waiting = table.waiting.get_mut(&key).ok_or(DeviceRefusal::Expired)?;
        match waiting.decision.clone() {
            None => Err(waiting.note_question(now).into()),
            Some(decision) => {
                table.remove(&key);
                match decision {
                    DeviceDecision::Approve { of, link, ends } => Ok(RedeemedCode { of, way: "device".to_owned(), link, ends }),
                    DeviceDecision::Deny => Err(DeviceRefusal::Denied.into()),
                }
            }
        }
    }

    fn look_up(&self, user_code: &str, by: &str) -> Result<WaitingDevice, CodeNotFound> {
        let now = self.clock.now();
        let mut table = self.table();
        Ok(table.find_by_user_code(user_code, by, now)?.terminal.clone())
    }

    fn decide(&self, user_code: &str, by: &str, decision: DeviceDecision) -> Result<(), CodeNotFound> {
        let now = self.clock.now();
        let mut table = self.table();
        table.find_by_user_code(user_code, by, now)?.decision = Some(decision);
        Ok(())
    }
}

impl PendingDevice {
    /// Notes that the terminal asks before anybody decided.
    fn note_question(&mut self, now: Timestamp) -> DeviceRefusal {
        let is_early = self.asked_at.is_some_and(|before| before.plus_millis(millis(self.interval)) > now);
        self.asked_at = Some(now);
        if is_early {
            self.interval += INTERVAL;
            return DeviceRefusal::SlowDown { interval_seconds: self.interval.as_secs() };
        }
        DeviceRefusal::Pending
    }
}

impl DeviceTable {
    /// Returns the terminal of a code that somebody typed, unless somebody has decided about it.
    fn find_by_user_code(&mut self, user_code: &str, by: &str, now: Timestamp) -> Result<&mut PendingDevice, CodeNotFound> {
        self.forget(now);
        let of_one = self.wrong.iter().filter(|(_, who)| who == by);
        let free_of_one =
            (of_one.clone().count() >= WRONG_OF_ONE_MAX).then(|| of_one.clone().next()).flatten().map(|(at, _)| (at, LIFETIME));
        let last_minute = self.wrong.iter().filter(|(at, _)| at.plus_millis(millis(MINUTE)) > now);
        let free_of_all = (last_minute.clone().count() >= WRONG_A_MINUTE_MAX).then(|| last_minute.clone().next()).flatten();
        if let Some((at, time)) = free_of_one.or(free_of_all.map(|(at, _)| (at, MINUTE))) {
            let micros = at.plus_millis(millis(time)).micros_since(now).max(0);
            return Err(CodeNotFound::TooManyWrong { free_in: Duration::from_micros(micros.unsigned_abs()) });
        }
        let letters: String =
            user_code.chars().filter(|letter| !matches!(letter, '-' | ' ')).map(|letter| letter.to_ascii_uppercase()).collect();
        let key = self.by_code.get(&letters).copied();
        let key = key.filter(|key| self.waiting.get(key).is_some_and(|waiting| waiting.decision.is_none()));
        let Some(key) = key else {
            self.wrong.push_back((now, by.to_owned()));
            return Err(CodeNotFound::Unknown);
        };
        self.waiting.get_mut(&key).ok_or(CodeNotFound::Unknown)
    }

    /// Forgets what no longer counts.
    fn forget(&mut self, now: Timestamp) {
        let over: Vec<[u8; 32]> = self.waiting.iter().filter(|(_, waiting)| waiting.until <= now).map(|(key, _)| *key).collect();
        over.iter().for_each(|key| self.remove(key));
        self.wrong.retain(|(at, _)| at.plus_millis(millis(LIFETIME)) > now);
    }

    fn remove(&mut self, key: &[u8; 32]) {
        if let Some(waiting) = self.waiting.remove(key) {
            self.by_code.remove(&waiting.user_code);
        }
    }
}

/// Draws a code, each letter with the same probability.
fn drawn_code() -> Result<String, SessionRefusal> {
    let mut code = String::new();
    while code.len() < CODE_LETTERS {
        // 240 is the largest multiple of 20 in a byte.
        let fair = random()?
            .iter()
            .copied()
            .filter(|byte| *byte < 240)
            .map(|byte| char::from(LETTERS[usize::from(byte % 20)]))
            .collect::<String>();
        code.extend(fair.chars().take(CODE_LETTERS - code.len()));
    }
    Ok(code)
}

fn key_of(device_code: &Secret) -> [u8; 32] {
    Sha256::digest(device_code.reveal()).into()
}

#[cfg(test)]
mod tests {
    use ensue_api::ports::LoginOf;
    use ensue_engine::ids::{Id, IdentityId};

    use super::*;
    use crate::clock::hand::HandClock;

    fn devices() -> (NodeDevices, Arc<HandClock>) {
        let clock = Arc::new(HandClock::default());
        (NodeDevices::new(DeviceLogins::Allowed, clock.clone()), clock)
    }

    fn terminal() -> WaitingDevice {
        WaitingDevice { address: None, agent: "ensue".into(), asked_at: Timestamp::default() }
    }

    fn why(declined: &PortError) -> String {
        declined.why.slug().to_owned()
    }

    #[test]
    fn terminal_that_asks_too_often_has_to_wait_longer_each_time() {
        let (devices, clock) = devices();
        let begun = devices.begin(terminal()).unwrap_or_else(|declined| panic!("{}", declined.why));
        let ask = |seconds| {
            clock.advance(seconds);
            why(&devices.poll(&begun.device_code).unwrap_err())
        };
        assert_eq!(
            [0, 5, 1, 9, 20].map(ask),
            ["authorization-pending", "authorization-pending", "slow-down", "slow-down", "authorization-pending"]
        );
        assert_eq!(ask(600), "expired-token");
    }

    #[test]
    fn code_has_eight_letters_and_is_found_however_it_is_typed() {
        let (devices, _) = devices();
        let begun = devices.begin(terminal()).unwrap_or_else(|declined| panic!("{}", declined.why));
        let (front, back) = begun.user_code.split_once('-').unwrap();
        assert!(front.len() == 4 && back.len() == 4 && front.bytes().chain(back.bytes()).all(|letter| LETTERS.contains(&letter)));
        for typed in [begun.user_code.clone(), format!("{front}{back}").to_lowercase(), format!(" {front} {back} ")] {
            assert_eq!(devices.look_up(&typed, "ana"), Ok(terminal()), "{typed}");
        }
    }

    #[test]
    fn decision_counts_once() {
        let (devices, _) = devices();
        let begun = devices.begin(terminal()).unwrap_or_else(|declined| panic!("{}", declined.why));
        let of = LoginOf::Identity(IdentityId(Id::root(Timestamp::default(), 1)));
        devices
            .decide(&begun.user_code, "ana", DeviceDecision::Approve { of, link: None, ends: ensue_api::ports::SessionEnds::default() })
            .unwrap();
        assert_eq!(devices.decide(&begun.user_code, "bo", DeviceDecision::Deny), Err(CodeNotFound::Unknown));
        assert_eq!(devices.poll(&begun.device_code).unwrap_or_else(|declined| panic!("{}", declined.why)).of, of);
        assert_eq!(why(&devices.poll(&begun.device_code).unwrap_err()), "expired-token");
    }

    #[test]
    fn wrong_codes_are_limited_for_one_caller_and_for_all() {
        let (devices, clock) = devices();
        let begun = devices.begin(terminal()).unwrap_or_else(|declined| panic!("{}", declined.why));
        for _ in 0..WRONG_OF_ONE_MAX {
            assert_eq!(devices.look_up("BBBB-BBBB", "mallory"), Err(CodeNotFound::Unknown));
        }
        let limited = Err(CodeNotFound::TooManyWrong { free_in: LIFETIME });
        assert_eq!(devices.look_up(&begun.user_code, "mallory"), limited, "the right code, too");
        assert_eq!(devices.look_up(&begun.user_code, "ana"), Ok(terminal()), "others are not affected");
        for n in WRONG_OF_ONE_MAX..WRONG_A_MINUTE_MAX {
            assert_eq!(devices.look_up("BBBB-BBBB", &format!("caller {n}")), Err(CodeNotFound::Unknown));
        }
        assert_eq!(devices.look_up(&begun.user_code, "ana"), Err(CodeNotFound::TooManyWrong { free_in: MINUTE }));
        clock.advance(60);
        assert_eq!(devices.look_up(&begun.user_code, "ana"), Ok(terminal()));
        clock.advance(539);
        assert!(devices.look_up(&begun.user_code, "mallory").is_err());
    }

    #[test]
    fn waiting_terminals_are_bounded() {
        let (devices, clock) = devices();
        for _ in 0..WAITING_MAX {
            assert!(devices.begin(terminal()).is_ok());
        }
        assert_eq!(devices.begin(terminal()).err().as_ref().map(why).as_deref(), Some("busy"));
        clock.advance(600);
        assert!(devices.begin(terminal()).is_ok());
    }
}
