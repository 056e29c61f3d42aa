//! Records rejected requests and logins: the first of a kind at once, then a sum each minute.
//!
//! What was added up since the last minute is lost if the process ends without a stop.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ensue_api::ports::{Refusals, RefusedLogin};
use ensue_engine::access::audit::facts::{AccessDenied, LoginRefused};
use ensue_engine::access::audit::sums::{Sum, Sums};
use ensue_engine::command::{Ask, Command, DeniedRequests, RefusedLogin as RecordedLogin};
use ensue_engine::ids::IdentityId;
use ensue_engine::names::Names;
use ensue_engine::ports::Submit;
use ensue_engine::record::{Actor, Body};

use crate::clock::SteppedClock;

/// The longest way of a login that is recorded, in characters.
const WAY_CHARS_MAX: usize = 80;

/// How much of an address is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Names, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordedAddress {
    /// All of it.
    Full,
    /// Its network: the first 24 bits, or 48 of IPv6.
    #[default]
    Truncated,
    /// Nothing.
    None,
}

/// Requests of a caller without a permission.
type DeniedKind = (Actor, &'static str);
/// Logins to an account from a network.
type LoginKind = (String, Option<IdentityId>, Option<IpAddr>);

/// Adds up rejected requests and logins, and records them.
pub struct NodeRefusals {
    log: Arc<dyn Submit>,
    clock: Arc<dyn SteppedClock>,
    address: RecordedAddress,
    denied: Arc<Mutex<Sums<DeniedKind>>>,
    logins: Arc<Mutex<Sums<LoginKind>>>,
}

impl NodeRefusals {
    /// Records in a log.
    pub fn new(log: Arc<dyn Submit>, clock: Arc<dyn SteppedClock>, address: RecordedAddress) -> Self {
        Self { log, clock, address, denied: Arc::default(), logins: Arc::default() }
    }

    /// Records the sums whose minute is over; called about once a second.
    pub fn tick(&self) {
        let now = self.clock.now();
        let (denied, logins) = (open(&self.denied).due(now), open(&self.logins).due(now));
        self.record_denied(denied);
        self.record_logins(logins, None);
    }

    /// Records everything that is left, before a stop.
    pub fn finish(&self) {
        let now = self.clock.now();
        let (denied, logins) = (open(&self.denied).take(now), open(&self.logins).take(now));
        self.record_denied(denied);
        self.record_logins(logins, None);
    }

    fn record_denied(&self, sums: Vec<Sum<DeniedKind>>) {
        let recorded = |sum: &Sum<DeniedKind>| {
            let permission = sum.kind.as_ref().map(|(_, permission)| (*permission).to_owned());
            let fact = AccessDenied { permission, count: sum.count, first: sum.first, last: sum.last };
            DeniedRequests { caller: sum.kind.as_ref().map_or(Actor::Engine, |(caller, _)| caller.clone()), fact }
        };
        let ask = Ask::NoteDenied(sums.iter().map(recorded).collect());
        self.submit(ask, sums, self.denied.clone());
    }

    /// Records logins; `address` is that of a single one.
    fn record_logins(&self, sums: Vec<Sum<LoginKind>>, address: Option<IpAddr>) {
        let recorded = |sum: &Sum<LoginKind>| {
            let (way, identity, network) =
                sum.kind.clone().map_or((None, None, None), |(way, identity, network)| (Some(way), identity, network));
            let fact = LoginRefused { way, identity, count: sum.count, first: sum.first, last: sum.last };
            RecordedLogin { fact, origin: self.origin(address, network) }
        };
        let ask = Ask::NoteRefusedLogins(sums.iter().map(recorded).collect());
        self.submit(ask, sums, self.logins.clone());
    }

    /// Returns the body that says where a login came from.
    fn origin(&self, address: Option<IpAddr>, network: Option<IpAddr>) -> Option<Body> {
        let origin = match self.address {
            RecordedAddress::None => return None,
            RecordedAddress::Full if address.is_some() => serde_json::json!({ "address": address }),
            RecordedAddress::Full | RecordedAddress::Truncated => {
                let bits = if network?.is_ipv4() { NETWORK_BITS } else { NETWORK_BITS_6 };
                serde_json::json!({ "network": format!("{}/{bits}", network?) })
            }
        };
        Some(Body::json(origin.to_string()))
    }

    /// Submits sums. Those that are not recorded count in the next minute.
    fn submit<K: Ord + Clone + Send + 'static>(&self, ask: Ask, sums: Vec<Sum<K>>, back: Arc<Mutex<Sums<K>>>) {
        if sums.is_empty() {
            return;
        }
        let reply = move |outcome: Result<_, _>| {
            if let Err(error) = outcome {
                tracing::warn!(%error, "rejected requests or logins are recorded in a minute, without their kind");
                let mut back = open(&back);
                sums.iter().for_each(|sum| back.put_back(sum));
            }
        };
        self.log.submit(Command { actor: Actor::Engine, trace: None, ask }, Box::new(reply));
    }
}

impl Refusals for NodeRefusals {
    fn note_denied(&self, caller: Actor, permission: &'static str) {
        let first = open(&self.denied).add(&(caller, permission), self.clock.now());
        self.record_denied(first.into_iter().collect());
    }

    fn login_refused(&self, login: RefusedLogin<'_>) {
        let way: String = login.way.chars().take(WAY_CHARS_MAX).collect();
        let kind = (way, login.identity, login.address.map(network));
        let first = open(&self.logins).add(&kind, self.clock.now());
        self.record_logins(first.into_iter().collect(), login.address);
    }
}

/// The bits of a network of IPv4 addresses.
const NETWORK_BITS: u8 = 24;
/// The bits of a network of IPv6 addresses.
const NETWORK_BITS_6: u8 = 48;

/// Returns the first address of the network that an address belongs to.
fn network(address: IpAddr) -> IpAddr {
    let bits = if address.is_ipv4() { NETWORK_BITS } else { NETWORK_BITS_6 };
    ipnet::IpNet::new(address, bits).map_or(address, |network| network.network())
}

fn open<K>(sums: &Mutex<Sums<K>>) -> MutexGuard<'_, Sums<K>> {
    sums.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use ensue_engine::command::Answer;
    use ensue_engine::ids::Id;
    use ensue_engine::ports::{CommitReceipt, Reply, SubmitError};
    use ensue_engine::record::Position;
    use ensue_engine::time::Timestamp;

    use super::*;
    use crate::clock::hand::HandClock;

    /// A log that keeps the requests, and accepts nothing while it is full.
    #[derive(Default)]
    struct RecordingLog {
        asks: Mutex<Vec<Ask>>,
        is_full: AtomicBool,
    }

    impl Submit for RecordingLog {
        fn submit(&self, command: Command, reply: Reply) {
            if self.is_full.load(Ordering::Relaxed) {
                return reply(Err(SubmitError::Busy));
            }
            self.asks.lock().unwrap().push(command.ask);
            reply(Ok(CommitReceipt { position: Position(1), answer: Answer::Done }));
        }
    }

    fn refusals(address: RecordedAddress) -> (Arc<RecordingLog>, Arc<HandClock>, NodeRefusals) {
        let (log, clock) = (Arc::new(RecordingLog::default()), Arc::new(HandClock::default()));
        let refusals = NodeRefusals::new(log.clone(), clock.clone(), address);
        (log, clock, refusals)
    }

    fn ci() -> Actor {
        Actor::Token("ci".into())
    }

    /// Returns the callers, permissions and numbers of the recorded requests.
    fn recorded_denials(log: &RecordingLog) -> Vec<(Actor, Option<String>, u64)> {
        let asks = log.asks.lock().unwrap();
        let denied = asks.iter().filter_map(|ask| if let Ask::NoteDenied(denied) = ask { Some(denied) } else { None });
        denied.flatten().map(|denied| (denied.caller.clone(), denied.fact.permission.clone(), denied.fact.count)).collect()
    }

    #[test]
    fn first_rejected_request_is_recorded_at_once_and_the_rest_after_a_minute() {
        let (log, clock, refusals) = refusals(RecordedAddress::Full);
        let one = |count| (ci(), Some("keys:write".to_owned()), count);
        (0..5).for_each(|_| refusals.note_denied(ci(), "keys:write"));
        assert_eq!(recorded_denials(&log), [one(1)]);
        refusals.tick();
        assert_eq!(recorded_denials(&log).len(), 1);
        clock.advance(60);
        refusals.tick();
        assert_eq!(recorded_denials(&log), [one(1), one(4)]);
        refusals.note_denied(ci(), "keys:write");
        refusals.finish();
        assert_eq!(recorded_denials(&log), [one(1), one(4), one(1)]);
    }

    #[test]
    fn rejected_requests_that_the_log_does_not_accept_are_recorded_later() {
        let (log, clock, refusals) = refusals(RecordedAddress::Full);
        log.is_full.store(true, Ordering::Relaxed);
        refusals.note_denied(ci(), "keys:write");
        log.is_full.store(false, Ordering::Relaxed);
        clock.advance(60);
        refusals.tick();
        assert_eq!(recorded_denials(&log), [(Actor::Engine, None, 1)]);
    }

    #[test]
    fn address_of_a_login_is_only_in_the_body_and_only_as_far_as_is_set() {
        let address: IpAddr = "203.0.113.77".parse().unwrap();
        let identity = IdentityId(Id::root(Timestamp::default(), 5));
        let bodies = [RecordedAddress::Full, RecordedAddress::Truncated, RecordedAddress::None].map(|set| {
            let (log, _, refusals) = refusals(set);
            refusals.login_refused(RefusedLogin { way: "token", identity: Some(identity), address: Some(address) });
            let asks = log.asks.lock().unwrap();
            let Some(Ask::NoteRefusedLogins(logins)) = asks.first() else { panic!("{asks:?}") };
            assert!(!serde_json::to_string(&logins[0].fact).unwrap().contains("203.0"), "{logins:?}");
            logins[0].origin.as_ref().map(|body| String::from_utf8(body.content.clone().unwrap().to_vec()).unwrap())
        });
        let texts = [r#"{"address":"203.0.113.77"}"#, r#"{"network":"203.0.113.0/24"}"#].map(|text| Some(text.to_owned()));
        assert_eq!(bodies.to_vec(), [texts.to_vec(), vec![None]].concat());
        assert_eq!(network("2001:db8:1:2::3".parse().unwrap()), "2001:db8:1::".parse::<IpAddr>().unwrap());
    }
}
