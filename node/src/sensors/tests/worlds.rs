//! Worlds from a seed: peers that fail, nodes that are killed, answers that are lost. Afterwards each message has one
//! event or one dead letter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ensue_engine::fact::Fact;
use ensue_engine::record::Position;
use ensue_store::memory::MemoryLog;

use super::peers::{Fault, Peer};
use super::seeded_random::SeededRandom;
use super::site::{Site, after, items_of};

/// How many worlds of each kind are tried.
const WORLDS: u64 = 50;
/// How many things happen in a world.
const STEPS: u64 = 40;

/// What a peer was given.
#[derive(Default)]
struct GivenMessages {
    items: Vec<u64>,
    poison: Vec<u64>,
}

/// The part of the log that was read.
struct LogContents {
    log: Arc<MemoryLog>,
    at: Position,
    items: BTreeSet<u64>,
    has_letters: bool,
}

impl LogContents {
    fn read_on(&mut self) {
        let records = after(&self.log, self.at);
        self.at = records.last().map_or(self.at, |record| record.position);
        self.items.extend(items_of(&records));
        self.has_letters |= records.iter().any(|record| matches!(record.fact, Fact::DeliveryRefused(_)));
    }
}

/// Has the peer note what is settled and not in the log.
fn watch_settling(peer: &Peer, site: &Site) {
    let seen = Mutex::new(LogContents { log: site.log(), at: Position(0), items: BTreeSet::new(), has_letters: false });
    peer.check_settled(move |number| {
        let mut seen = seen.lock().unwrap();
        seen.read_on();
        seen.items.contains(&number) || seen.has_letters
    });
}

fn live(peer: &Peer, has_order: bool, seed: u64) -> (Site, GivenMessages) {
    let mut drawn = SeededRandom(seed);
    let mut site = Site::new(peer);
    watch_settling(peer, &site);
    let (mut given, mut next) = (GivenMessages::default(), 0);
    for _ in 0..STEPS {
        match drawn.below(13) {
            0..=3 => {
                let many = 1 + drawn.below(60);
                peer.add(next..next + many);
                given.items.extend(next..next + many);
                next += many;
            }
            4 => {
                peer.add_poison(next);
                given.poison.push(next);
                next += 1;
            }
            5 => site.kill(),
            6 => peer.fail_next([Fault::OpenFails, Fault::NextFailsAfter(1 + drawn.below(9)), Fault::NextPanics][drawn.below(3) as usize]),
            7 => peer.fail_next(Fault::SettleFails),
            8 => {
                peer.fail_next(Fault::SettleHangs);
                site.pass(Duration::from_secs(drawn.below(3)));
                site.kill();
            }
            9 => site.be_busy(drawn.below(5)),
            10 => site.lose_answer(),
            11 => site.lose_batch(),
            _ if has_order || next == 0 => site.restart(),
            // A queue may deliver again what was settled.
            _ => peer.deliver_again(&[drawn.below(next)].into_iter().filter(|number| given.items.contains(number)).collect::<Vec<_>>()),
        }
        site.pass(Duration::from_millis(drawn.below(5_000)));
    }
    peer.heal();
    site.be_busy(0);
    site.restart();
    site.pass(Duration::from_secs(60));
    (site, given)
}

fn check((site, peer): (&Site, &Peer), given: &GivenMessages, seed: u64) {
    assert_eq!(peer.settled_early(), Vec::<u64>::new(), "seed {seed}: these were settled before their commit");
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for item in site.items() {
        *counts.entry(item).or_default() += 1;
    }
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).map(|(item, _)| item).collect();
    assert!(twice.is_empty(), "seed {seed}: these have several events: {twice:?}");
    let lost: Vec<_> = given.items.iter().filter(|item| !counts.contains_key(item)).collect();
    assert!(lost.is_empty(), "seed {seed}: these have no event: {lost:?}");
}

#[test]
fn ordered_peer_loses_and_repeats_nothing() {
    for seed in 0..WORLDS {
        let peer = Peer::with_order();
        let (site, given) = live(&peer, true, seed);
        check((&site, &peer), &given, seed);
        assert_eq!(site.letters(), given.poison.len(), "seed {seed}");
        let all = given.items.len() + given.poison.len();
        assert_eq!(site.status().cursor, (all > 0).then(|| all.to_string()), "seed {seed}: the cursor is behind all messages");
        check_cursors(&site, seed);
        // What was settled before a kill is not settled again, but nothing else is left.
        assert!(peer.settled_in_order().len() <= all, "seed {seed}");
    }
}

#[test]
fn queue_loses_nothing_and_repeats_no_event() {
    for seed in 0..WORLDS {
        let peer = Peer::without_order();
        let (site, given) = live(&peer, false, seed);
        check((&site, &peer), &given, seed);
        // A refused message has no event, so no key: if its settling is lost, it is refused again.
        assert!(site.letters() >= given.poison.len(), "seed {seed}");
        assert!(peer.is_empty(), "seed {seed}: everything was settled");
    }
}

/// Lets another node take over the log while the sensor of the first one still reads and has a batch on its way. Returns
/// the node that leads, and whether the other one has offered a batch that was refused.
fn live_with_two(peer: &Peer, seed: u64) -> (Site, GivenMessages, bool) {
    let mut drawn = SeededRandom(seed);
    let old = Site::new(peer);
    watch_settling(peer, &old);
    let (mut given, mut next) = (GivenMessages::default(), 0);
    let mut put = |drawn: &mut SeededRandom| {
        let many = 1 + drawn.below(60);
        peer.add(next..next + many);
        given.items.extend(next..next + many);
        next += many;
    };
    put(&mut drawn);
    old.pass(Duration::from_millis(drawn.below(300)));
    // A batch that was offered once is offered again when another node leads.
    old.be_busy(drawn.below(4));
    put(&mut drawn);
    old.pass(Duration::from_millis(drawn.below(300)));
    let new = old.successor();
    let before = old.offered_batches();
    for _ in 0..10 {
        match drawn.below(4) {
            0 => put(&mut drawn),
            1 => new.pass(Duration::from_millis(drawn.below(1_000))),
            _ => old.pass(Duration::from_millis(drawn.below(1_000))),
        }
    }
    let was_refused = old.is_deposed() && old.offered_batches() > before;
    drop(old);
    put(&mut drawn);
    new.restart();
    new.pass(Duration::from_secs(60));
    (new, given, was_refused)
}

#[test]
fn node_that_lost_its_log_settles_nothing_that_is_not_in_it() {
    for has_order in [true, false] {
        let mut refused = 0;
        for seed in 0..WORLDS {
            let peer = if has_order { Peer::with_order() } else { Peer::without_order() };
            let (site, given, was_refused) = live_with_two(&peer, seed);
            refused += u64::from(was_refused);
            check((&site, &peer), &given, seed);
            assert_eq!(peer.settled_in_order(), given.items, "seed {seed}: the node that leads settles all");
            if has_order {
                check_cursors(&site, seed);
            }
        }
        assert!(refused >= WORLDS / 4, "only {refused} nodes had a batch on its way");
    }
}

/// Checks that after each batch the cursor is behind exactly the messages that are in the log.
fn check_cursors(site: &Site, seed: u64) {
    let (mut made, mut refused) = (0, 0);
    for record in site.records() {
        match &record.fact {
            Fact::EventReceived(_) => made += 1,
            Fact::DeliveryRefused(_) => refused += 1,
            Fact::SensorAdvanced(fact) => {
                assert_eq!(fact.cursor.as_deref(), Some((made + refused).to_string().as_str()), "seed {seed}: at {}", record.position);
            }
            _ => {}
        }
    }
}
