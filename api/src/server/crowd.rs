//! The open connections by address, and which of them give way to newer ones.
//!
//! It decides by the state of a connection, never by the content of its requests. The server decides whether
//! there is room at all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::Id;
use tokio::time::Instant;

use crate::addresses::network_of;
use crate::settings::Limits;

/// How long a connection may be silent before it gives way to another of its address: a sender that opens many
/// at once gets time to write.
const SILENT_GRACE: Duration = Duration::from_secs(1);
/// How long a connection may be silent before it gives way to any other if all places are taken.
pub(super) const CROWDED_GRACE: Duration = Duration::from_millis(100);

/// How many more connections of one address than its maximum are accepted, to answer that there are too many.
const ANSWERED_MAX: usize = 16;

/// Whether there is room for another connection of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressRoom {
    /// There is.
    Free,
    /// There is none, but its requests are answered with that.
    Over,
    /// There is none.
    None,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// It has not sent a request yet.
    Silent,
    /// A request or its response is in progress.
    Busy,
    /// A request was answered, and the next has not arrived yet.
    Idle,
}

/// A connection's place among the others; the connection and its responses share it.
#[derive(Debug)]
pub(super) struct ConnectionPlace {
    /// The requests whose responses are not written yet; HTTP/2 has several at once.
    under_way: AtomicU32,
    has_asked: AtomicBool,
    /// When the connection began to wait, in milliseconds after `begun`.
    since_millis: AtomicU64,
    begun: Instant,
    gives_way: Notify,
    leaves: Notify,
}

impl ConnectionPlace {
    fn new(begun: Instant) -> Arc<Self> {
        let place = Self {
            under_way: AtomicU32::new(0),
            has_asked: AtomicBool::new(false),
            since_millis: AtomicU64::new(0),
            begun,
            gives_way: Notify::new(),
            leaves: Notify::new(),
        };
        place.since_millis.store(place.now(), Ordering::Relaxed);
        Arc::new(place)
    }

    /// Records that a request has arrived. The connection is busy until the returned value is dropped.
    pub(super) fn asks(self: &Arc<Self>) -> Answering {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.has_asked.store(true, Ordering::Relaxed);
        Answering(self.clone())
    }

    /// Returns true while no request is under way.
    fn is_waiting(&self) -> bool {
        self.doing() != Doing::Busy
    }

    /// Returns true until the first request has arrived.
    pub(super) fn is_silent(&self) -> bool {
        self.doing() == Doing::Silent
    }

    /// Asks the connection to end. The connection continues if a request arrives before it notices.
    pub(super) fn give_way(&self) {
        // Until it has ended, another connection is asked first.
        self.since_millis.store(self.now(), Ordering::Relaxed);
        self.gives_way.notify_one();
    }

    /// Returns once the connection is asked to give way to another while no request is under way.
    pub(super) async fn given_up(&self) {
        loop {
            self.gives_way.notified().await;
            if self.is_waiting() {
                return;
            }
        }
    }

    /// Records that a request was rejected because its address has too many connections, so that this one ends.
    pub(super) fn leaves(&self) {
        self.leaves.notify_one();
    }

    /// Returns once a request was rejected because its address has too many connections.
    pub(super) async fn wait_for_rejection(&self) {
        self.leaves.notified().await;
    }

    /// Returns once the connection has had no request under way for this long.
    pub(super) async fn wait_for_idle(&self, patience: Duration) {
        loop {
            let waited = if self.is_waiting() { Duration::from_millis(self.now().saturating_sub(self.since())) } else { Duration::ZERO };
            match patience.checked_sub(waited).filter(|rest| !rest.is_zero()) {
                Some(rest) => tokio::time::sleep(rest).await,
                None => return,
            }
        }
    }

    fn doing(&self) -> Doing {
        match (self.under_way.load(Ordering::Relaxed), self.has_asked.load(Ordering::Relaxed)) {
            (0, false) => Doing::Silent,
            (0, true) => Doing::Idle,
            (_, _) => Doing::Busy,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn since(&self) -> u64 {
        self.since_millis.load(Ordering::Relaxed)
    }

    fn is_older_than(&self, grace: Duration) -> bool {
        u128::from(self.now().saturating_sub(self.since())) >= grace.as_millis()
    }
}

/// Keeps a place busy until a response is written.
pub(super) struct Answering(Arc<ConnectionPlace>);

impl Drop for Answering {
    fn drop(&mut self) {
        let Self(place) = self;
        place.since_millis.store(place.now(), Ordering::Relaxed);
        place.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All open connections.
#[derive(Debug)]
pub(super) struct Crowd {
    begun: Instant,
    silent_per_address: usize,
    connections_per_address: usize,
    by_address: HashMap<IpAddr, Vec<(Id, Arc<ConnectionPlace>)>>,
    address_of: HashMap<Id, IpAddr>,
}

impl Crowd {
    /// Creates an empty crowd with the limits for one address.
    pub(super) fn new(limits: &Limits) -> Self {
        let Limits { silent_per_address, connections_per_address, .. } = *limits;
        Self { begun: Instant::now(), silent_per_address, connections_per_address, by_address: HashMap::new(), address_of: HashMap::new() }
    }

    /// Creates the place of a connection that was just accepted.
    pub(super) fn place(&self) -> Arc<ConnectionPlace> {
        ConnectionPlace::new(self.begun)
    }

    /// Reports whether there is room for another connection of an address. A connection of the address that waits for a request
    /// gives way to it.
    pub(super) fn room(&self, from: IpAddr) -> AddressRoom {
        let Some(others) = self.by_address.get(&network_of(from)) else { return AddressRoom::Free };
        if others.len() < self.connections_per_address {
            return AddressRoom::Free;
        }
        if others.len() >= self.connections_per_address + ANSWERED_MAX {
            return AddressRoom::None;
        }
        match longest_waiting(others) {
            Some(place) => {
                place.give_way();
                AddressRoom::Free
            }
            None => AddressRoom::Over,
        }
    }

    /// Adds a connection; if its address has too many, the oldest of them that has been silent for long gives
    /// way.
    pub(super) fn add(&mut self, connection: Id, from: IpAddr, place: Arc<ConnectionPlace>) {
        let address = network_of(from);
        self.address_of.insert(connection, address);
        let others = self.by_address.entry(address).or_default();
        if others.len() >= self.silent_per_address {
            let silent = || others.iter().map(|(_, place)| place).filter(|place| place.is_silent());
            // They are in order of arrival.
            if let Some(oldest) = silent().next()
                && silent().count() >= self.silent_per_address
                && oldest.is_older_than(SILENT_GRACE)
            {
                oldest.give_way();
            }
        }
        others.push((connection, place));
    }

    /// Removes a connection that has ended.
    pub(super) fn remove(&mut self, connection: Id) {
        let Some(address) = self.address_of.remove(&connection) else { return };
        let Some(others) = self.by_address.get_mut(&address) else { return };
        others.retain(|(other, _)| *other != connection);
        if others.is_empty() {
            self.by_address.remove(&address);
        }
    }

    /// Finds the connection that gives way if all places are taken: from the address with the most waiting
    /// connections, the oldest one that has not sent anything yet, or else the one that has been idle the
    /// longest. Returns none if all are busy, or have only just begun to wait.
    pub(super) fn least_needed(&self) -> Option<Arc<ConnectionPlace>> {
        let crowded = self.by_address.values().max_by_key(|places| waiting(places).count())?;
        longest_waiting(crowded).cloned()
    }
}

/// Returns the oldest connection that has not sent anything yet, or else the one that has been idle the longest.
fn longest_waiting(places: &[(Id, Arc<ConnectionPlace>)]) -> Option<&Arc<ConnectionPlace>> {
    waiting(places).min_by_key(|place| (!place.is_silent(), place.since()))
}

/// Iterates over the connections that have waited longer than they may if all places are taken.
fn waiting(places: &[(Id, Arc<ConnectionPlace>)]) -> impl Iterator<Item = &Arc<ConnectionPlace>> {
    places.iter().map(|(_, place)| place).filter(|place| place.is_waiting() && place.is_older_than(CROWDED_GRACE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

    fn crowd(silent_per_address: usize) -> Crowd {
        Crowd::new(&Limits { silent_per_address, ..Limits::default() })
    }

    fn came(crowd: &mut Crowd, from: IpAddr) -> (Id, Arc<ConnectionPlace>) {
        let (id, place) = (tokio::spawn(async {}).id(), crowd.place());
        crowd.add(id, from, place.clone());
        (id, place)
    }

    async fn is_given_up(place: &ConnectionPlace) -> bool {
        tokio::time::timeout(Duration::from_millis(1), place.given_up()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn oldest_silent_connection_of_a_crowded_address_gives_way() {
        let mut crowd = crowd(2);
        let (_, asked) = came(&mut crowd, HERE);
        let _answering = asked.asks();
        let (_, oldest) = came(&mut crowd, HERE);
        let (_, elsewhere) = came(&mut crowd, THERE);
        let (_, younger) = came(&mut crowd, HERE);
        came(&mut crowd, HERE);
        assert!(!is_given_up(&oldest).await, "it came a moment ago and may still write");
        tokio::time::advance(SILENT_GRACE).await;
        came(&mut crowd, HERE);
        assert!(is_given_up(&oldest).await);
        for other in [&asked, &elsewhere, &younger] {
            assert!(!is_given_up(other).await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connection_with_a_request_in_the_meantime_does_not_give_way() {
        let mut crowd = crowd(64);
        let (_, place) = came(&mut crowd, HERE);
        tokio::time::advance(CROWDED_GRACE).await;
        let needed_least = crowd.least_needed().unwrap();
        let _answering = place.asks();
        needed_least.give_way();
        assert!(!is_given_up(&place).await);
        assert!(crowd.least_needed().is_none(), "all are busy");
    }

    #[tokio::test(start_paused = true)]
    async fn most_crowded_address_gives_way_silent_connections_before_idle_ones() {
        let mut crowd = crowd(64);
        let (_, alone) = came(&mut crowd, THERE);
        let (_, idle) = came(&mut crowd, HERE);
        drop(idle.asks());
        let (id, silent) = came(&mut crowd, HERE);
        assert!(crowd.least_needed().is_none(), "all of them came a moment ago");
        tokio::time::advance(CROWDED_GRACE).await;
        assert!(Arc::ptr_eq(&crowd.least_needed().unwrap(), &silent));
        crowd.remove(id);
        let (id, busy) = came(&mut crowd, HERE);
        let _answering = busy.asks();
        crowd.remove(id);
        let other = crowd.least_needed().unwrap();
        assert!(Arc::ptr_eq(&other, &idle) || Arc::ptr_eq(&other, &alone));
    }

    #[tokio::test(start_paused = true)]
    async fn connection_is_busy_until_all_its_requests_are_answered() {
        let mut crowd = crowd(64);
        let (_, place) = came(&mut crowd, HERE);
        let (first, second) = (place.asks(), place.asks());
        drop(first);
        assert_eq!(place.doing(), Doing::Busy);
        tokio::time::advance(SILENT_GRACE).await;
        drop(second);
        assert_eq!(place.doing(), Doing::Idle);
        let begin = Instant::now();
        place.wait_for_idle(SILENT_GRACE).await;
        assert_eq!(begin.elapsed(), SILENT_GRACE, "from the end of the last answer");
    }

    #[tokio::test(start_paused = true)]
    async fn address_has_a_maximum_of_busy_connections_and_others_are_not_affected() {
        let mut crowd = Crowd::new(&Limits { connections_per_address: 2, ..Limits::default() });
        let busy: Vec<_> = (0..2).map(|_| came(&mut crowd, HERE).1.asks()).collect();
        assert_eq!([crowd.room(HERE), crowd.room(THERE)], [AddressRoom::Over, AddressRoom::Free]);
        let over: Vec<_> = (0..ANSWERED_MAX).map(|_| came(&mut crowd, HERE).1.asks()).collect();
        assert_eq!([crowd.room(HERE), crowd.room(THERE)], [AddressRoom::None, AddressRoom::Free]);
        drop((busy, over));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_connection_gives_way_to_another_of_its_address() {
        let mut crowd = Crowd::new(&Limits { connections_per_address: 2, ..Limits::default() });
        let (_, idle) = came(&mut crowd, HERE);
        drop(idle.asks());
        let (_, busy) = came(&mut crowd, HERE);
        let _answering = busy.asks();
        assert_eq!(crowd.room(HERE), AddressRoom::Over, "it has only just become idle");
        tokio::time::advance(CROWDED_GRACE).await;
        assert_eq!(crowd.room(HERE), AddressRoom::Free);
        assert!(is_given_up(&idle).await && !is_given_up(&busy).await);
    }
}
