//! Rate limits: how many requests of a class one caller may send in a period, as the operator sets them.
//! Without a limit, nothing is counted.
//!
//! The limits for all callers together are in `queues.rs`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::IntoResponse as _;
use ensue_engine::catalog::HookRate;
use ensue_engine::names::{Names, SensorRef};
use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::{HashMapStateStore, ShrinkableKeyedStateStore};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use crate::problem::{Outcome, Problem};
use crate::quotas::Caller;
use crate::rate::Rate;

/// The maximum number of callers of a class that are counted separately.
const CALLERS_MAX: usize = 10_000;
/// The maximum number of networks that are counted separately.
const NETWORKS_MAX: usize = 65_536;

/// The rate limits that the operator sets, each per caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Requests that only read.
    pub reads: Option<Rate>,
    /// Requests that can change something.
    pub writes: Option<Rate>,
    /// Deliveries at a webhook.
    pub hooks: Option<Rate>,
    /// Requests without a valid token, from one address.
    pub anonymous: Option<Rate>,
}

/// A class of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Names)]
pub(crate) enum Class {
    /// Requests that only read, by the caller's token.
    Reads,
    /// Requests that can change something, by the caller's token.
    Writes,
    /// Deliveries, by their hook.
    Hooks,
    /// Requests without a valid token, by their address.
    Anonymous,
    /// Attempts to log in, by their address.
    Logins,
}

/// Counts requests by caller, if the operator set rate limits.
pub(crate) struct Limiters {
    reads: Option<Limiter>,
    writes: Option<Limiter>,
    hooks: Option<Limiter>,
    anonymous: Option<Limiter>,
    logins: Option<Limiter>,
    of_hooks: HookLimiters,
}

/// Counts deliveries at hooks that have a rate of their own. There are as many as hooks were installed.
#[derive(Default)]
struct HookLimiters(Mutex<BTreeMap<SensorRef, (HookRate, Arc<Limiter>)>>);

impl HookLimiters {
    fn count(&self, sensor: &SensorRef, rate: HookRate) -> RateStanding {
        let mut hooks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = hooks.get(sensor).filter(|(known, _)| *known == rate).map(|(_, limiter)| limiter.clone());
        let limiter = known.unwrap_or_else(|| {
            // A hook whose rate is changed starts with its full rate.
            let limiter = Arc::new(Limiter::new(Class::Hooks, rate_of(rate), 1));
            hooks.insert(sensor.clone(), (rate, limiter.clone()));
            limiter
        });
        drop(hooks);
        limiter.count(&Caller::Hook(sensor.clone()))
    }
}

fn rate_of(rate: HookRate) -> Rate {
    Rate { requests: rate.deliveries, window: Duration::from_secs(rate.seconds.get().into()) }
}

impl Limiters {
    /// Creates the limiters for these rates.
    pub(crate) fn of(rates: &Rates) -> Self {
        let limiter_of = |rate: Option<Rate>, class, callers_max| rate.map(|rate| Limiter::new(class, rate, callers_max));
        let limiter = |rate, class| limiter_of(rate, class, CALLERS_MAX);
        Self {
            reads: limiter(rates.reads, Class::Reads),
            writes: limiter(rates.writes, Class::Writes),
            hooks: limiter(rates.hooks, Class::Hooks),
            anonymous: limiter_of(rates.anonymous, Class::Anonymous, NETWORKS_MAX),
            logins: limiter_of(Some(Rate::LOGINS), Class::Logins, NETWORKS_MAX),
            of_hooks: HookLimiters::default(),
        }
    }

    /// Counts a request, and returns the caller's standing. If no rate is set for its class, returns `None`
    /// without determining the caller.
    pub(crate) fn count(&self, class: Class, caller: impl FnOnce() -> Caller) -> Option<RateStanding> {
        self.of_class(class).map(|limiter| limiter.count(&caller()))
    }

    /// Counts a delivery at a hook: by the rate for all hooks, and then by the hook's own. Returns the standing of the first
    /// that it is over, or else of the hook's own.
    pub(crate) fn count_delivery(&self, sensor: &SensorRef, own: Option<HookRate>) -> Option<RateStanding> {
        let of_all = self.count(Class::Hooks, || Caller::Hook(sensor.clone()));
        match (own, &of_all) {
            (Some(own), None) => Some(self.of_hooks.count(sensor, own)),
            (Some(own), Some(standing)) if standing.free_in.is_none() => Some(self.of_hooks.count(sensor, own)),
            _ => of_all,
        }
    }

    /// Returns the rate of deliveries at a hook, if one is set: its own, or the one for all hooks.
    pub(crate) fn of_deliveries(&self, own: Option<HookRate>) -> Option<Rate> {
        own.map(rate_of).or_else(|| self.rate(Class::Hooks))
    }

    /// Returns the rate of a class, if one is set.
    pub(crate) fn rate(&self, class: Class) -> Option<Rate> {
        self.of_class(class).map(|limiter| limiter.rate)
    }

    fn of_class(&self, class: Class) -> Option<&Limiter> {
        match class {
            Class::Reads => self.reads.as_ref(),
            Class::Writes => self.writes.as_ref(),
            Class::Hooks => self.hooks.as_ref(),
            Class::Anonymous => self.anonymous.as_ref(),
            Class::Logins => self.logins.as_ref(),
        }
    }
}

/// Counts the requests of a class.
struct Limiter {
    class: Class,
    rate: Rate,
    limiter: RateLimiter<Caller, CallerStore, RuntimeClock, StateInformationMiddleware>,
    callers_max: usize,
    /// The second of the last sweep, which removed the callers that have their full rate available.
    swept: AtomicU64,
}

impl Limiter {
    fn new(class: Class, rate: Rate, callers_max: usize) -> Self {
        let quota = Quota::with_period(rate.interval()).expect("a rate has at most a million requests a second").allow_burst(rate.requests);
        let remembered = CallerStore { callers: HashMapStateStore::default(), callers_max };
        let limiter = RateLimiter::new(quota, remembered, RuntimeClock(Instant::now()));
        Self { class, rate, limiter, callers_max, swept: AtomicU64::new(0) }
    }

    fn count(&self, caller: &Caller) -> RateStanding {
        self.sweep();
        let Self { class, rate, .. } = *self;
        match self.limiter.check_key(caller) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let used = rate.requests.get().saturating_sub(remaining);
                RateStanding { class, rate, remaining, whole_in: rate.interval() * used, free_in: None }
            }
            Err(until) => {
                let free_in = until.wait_time_from(self.limiter.clock().now());
                let whole_in = free_in + rate.interval() * (rate.requests.get() - 1);
                RateStanding { class, rate, remaining: 0, whole_in, free_in: Some(free_in) }
            }
        }
    }

    /// Removes the callers that have their full rate available, if there is no room for more; at most once a
    /// second, because it visits all of them.
    fn sweep(&self) {
        if self.limiter.len() < self.callers_max {
            return;
        }
        let now = self.limiter.clock().now().as_secs() + 1;
        if self.swept.swap(now, Ordering::Relaxed) != now {
            self.limiter.retain_recent();
        }
    }
}

/// The callers of a class that are counted separately, up to a maximum. Further ones share the remaining rate
/// of [`Caller::Nobody`].
struct CallerStore {
    callers: HashMapStateStore<Caller>,
    callers_max: usize,
}

impl StateStore for CallerStore {
    type Key = Caller;

    fn measure_and_replace<T, F, E>(&self, caller: &Caller, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let is_told_apart = {
            let callers = self.callers.lock();
            callers.len() < self.callers_max || callers.contains_key(caller)
        };
        self.callers.measure_and_replace(if is_told_apart { caller } else { &Caller::Nobody }, measure)
    }
}

impl ShrinkableKeyedStateStore<Caller> for CallerStore {
    fn retain_recent(&self, drop_below: Nanos) {
        self.callers.retain_recent(drop_below);
    }

    fn len(&self) -> usize {
        ShrinkableKeyedStateStore::len(&self.callers)
    }

    fn is_empty(&self) -> bool {
        ShrinkableKeyedStateStore::is_empty(&self.callers)
    }
}

/// The time since the start, by the runtime's clock: a test that pauses the runtime's time also pauses this
/// clock.
struct RuntimeClock(Instant);

impl Clock for RuntimeClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The standing of a caller after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateStanding {
    class: Class,
    rate: Rate,
    remaining: u32,
    /// The time until the full rate is available again.
    whole_in: Duration,
    /// The time until one request is available again, if none is now.
    free_in: Option<Duration>,
}

impl RateStanding {
    /// Rejects a request that is over its caller's rate.
    pub(crate) fn demand(&self) -> Result<(), Problem> {
        match self.free_in {
            None => Ok(()),
            Some(free_in) => Err(Problem::rate_limited(self.class.as_str(), &self.rate, seconds(free_in).max(1))),
        }
    }

    /// Writes the caller's standing to the headers, in the form of the IETF draft
    /// (draft-ietf-httpapi-ratelimit-headers) and in the older form.
    pub(crate) fn write_to(&self, headers: &mut HeaderMap) {
        let Self { class, rate, remaining, whole_in, .. } = self;
        let (class, requests, reset) = (class.as_str(), rate.requests, seconds(*whole_in));
        let told = [
            (RATE_LIMIT_POLICY, format!("\"{class}\";q={requests};w={}", rate.window.as_secs())),
            (RATE_LIMIT, format!("\"{class}\";r={remaining};t={reset}")),
            (X_RATE_LIMIT_LIMIT, requests.to_string()),
            (X_RATE_LIMIT_REMAINING, remaining.to_string()),
            (X_RATE_LIMIT_RESET, reset.to_string()),
        ];
        for (name, value) in told {
            headers.extend(HeaderValue::try_from(value).ok().map(|value| (name, value)));
        }
    }
}

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const X_RATE_LIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_RATE_LIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Attaches the caller's standing to an answer, where the code that writes answers reads it.
pub(crate) fn standing(standing: Option<RateStanding>, outcome: Outcome) -> Outcome {
    let Some(standing) = standing else { return outcome };
    let mut response = outcome.unwrap_or_else(Problem::into_response);
    response.extensions_mut().insert(standing);
    Ok(response)
}

/// Converts to whole seconds, rounded up.
fn seconds(duration: Duration) -> u32 {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    u32::try_from(whole).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    fn ana() -> Caller {
        Caller::Token("ana".to_owned())
    }

    fn numbers_of(standing: &RateStanding) -> (u32, u32, Option<u32>) {
        (standing.remaining, seconds(standing.whole_in), standing.free_in.map(seconds))
    }

    #[tokio::test(start_paused = true)]
    async fn rate_allows_a_burst_and_then_one_request_after_the_other() {
        let limiter = Limiter::new(Class::Reads, rate("3/30s"), 10);
        assert_eq!(numbers_of(&limiter.count(&ana())), (2, 10, None));
        assert_eq!(numbers_of(&limiter.count(&ana())), (1, 20, None));
        assert_eq!(numbers_of(&limiter.count(&ana())), (0, 30, None));
        assert_eq!(numbers_of(&limiter.count(&ana())), (0, 30, Some(10)));
        tokio::time::advance(Duration::from_millis(9_900)).await;
        assert_eq!(numbers_of(&limiter.count(&ana())), (0, 21, Some(1)), "what is refused does not count");
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!(numbers_of(&limiter.count(&ana())), (0, 30, None));
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert_eq!(numbers_of(&limiter.count(&ana())), (2, 10, None), "an idle caller saves up one period of requests at most");
    }

    #[tokio::test(start_paused = true)]
    async fn each_caller_has_its_own_rate() {
        let limiter = Limiter::new(Class::Reads, rate("1/1m"), 10);
        assert_eq!(numbers_of(&limiter.count(&ana())).2, None);
        assert_eq!(numbers_of(&limiter.count(&Caller::Token("bo".to_owned()))).2, None);
        assert_eq!(numbers_of(&limiter.count(&ana())).2, Some(60));
    }

    #[tokio::test(start_paused = true)]
    async fn callers_over_the_maximum_share_one_rate_until_a_slot_is_free() {
        let limiter = Limiter::new(Class::Reads, rate("1/1m"), 2);
        let caller = |number: u32| Caller::Token(format!("caller-{number}"));
        let is_free = |number| limiter.count(&caller(number)).free_in.is_none();
        assert_eq!([0, 1, 2, 3, 0, 1].map(is_free), [true, true, true, false, false, false]);
        assert_eq!(limiter.limiter.len(), 3, "the further ones are one");
        tokio::time::advance(Duration::from_secs(121)).await;
        assert!(is_free(4) && is_free(5), "a caller that has its whole rate again is forgotten");
        assert_eq!(limiter.limiter.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn hook_is_counted_by_the_rate_of_all_hooks_and_by_its_own() {
        let limiters = Limiters::of(&Rates { hooks: Some(rate("3/1m")), ..Rates::default() });
        let (own, sensor) =
            (HookRate { deliveries: 2.try_into().unwrap(), seconds: 60.try_into().unwrap() }, "shop.orders".parse().unwrap());
        let is_free = |own| limiters.count_delivery(&sensor, own).unwrap().free_in.is_none();
        assert_eq!([Some(own), Some(own), Some(own), None].map(is_free), [true, true, false, false]);
        let wider = HookRate { deliveries: 9.try_into().unwrap(), ..own };
        assert!(!is_free(Some(wider)), "the rate of all hooks still holds");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(is_free(Some(own)));
    }

    #[test]
    fn requests_without_a_configured_rate_are_not_counted() {
        let limiters = Limiters::of(&Rates { writes: Some(rate("1/1m")), ..Rates::default() });
        assert_eq!(limiters.count(Class::Reads, || panic!("nobody is asked for")), None);
        assert!(limiters.count(Class::Writes, ana).is_some());
    }
}
