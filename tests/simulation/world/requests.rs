//! The clients' requests, and the network between clients and the node.
//!
//! The node's handling of a request is in `node.rs`, and the choice of a client's next request in
//! `clients.rs`.

use ensue_engine::command::Answer;

use super::{Event, World};
use crate::http::{self, BodyFault, Copy};
use crate::node::KeyedCopy;
use crate::oracle::Violation;
use crate::sometimes;
use crate::traffic::{CopyAnswer, NodeAnswer, Outcome, Promise, Request, RequestNumber, Transport, Wish};

/// How many times a request is retried.
const RETRIES_MAX: u32 = 8;
/// The code of the answer to a request that is already open.
const UNDER_WAY: &str = "request_under_way";

impl World {
    pub(super) fn wish(&mut self, client: usize) {
        if self.ground.is_healed() {
            return;
        }
        let wish = self.clients[client].wish(&mut self.random, &self.ground.plan.wishes);
        let by = match wish {
            Wish::TakeInPacks => Transport::Ports,
            Wish::Deliver { .. } => Transport::Http,
            Wish::Send { .. }
            | Wish::Run { .. }
            | Wish::Cancel(_)
            | Wish::Settle(..)
            | Wish::SetMode(..)
            | Wish::SetKey(_)
            | Wish::RemoveKey
            | Wish::Rerun { .. }
            | Wish::See { .. } => {
                if self.random.chance(0.6) {
                    Transport::Http
                } else {
                    Transport::Ports
                }
            }
        };
        let (wish, under) = self.clients[client].keyring.take(wish, by);
        self.ask(client, wish, by, under);
        // A client that wants one thing often wants another at once, while the first is still being handled.
        let pause = if self.random.chance(0.3) {
            self.random.log_uniform(1_000.0, 500_000.0) as u64
        } else {
            self.random.until_next(self.ground.plan.asks_per_minute)
        };
        self.after(pause, Event::Wish(client));
    }

    /// Sends a request on behalf of a client.
    pub(super) fn ask(&mut self, client: usize, wish: Wish, by: Transport, under: Option<String>) {
        let number = self.requests.len() as u64 + 1;
        let with = under.as_ref().map_or_else(String::new, |key| format!(" under {key}"));
        self.ground.trace(&self.clients[client].name, format!("request {number} by {by:?}{with}: {wish:?}"));
        self.requests.insert(number, Request { client, wish, by, under, retries: 0, heard: None, said: Vec::new(), arrivals: 0 });
        self.send(number);
    }

    fn send(&mut self, number: RequestNumber) {
        let plan = &self.ground.plan;
        let (patience, doubled, lost) = (plan.patience_micros, plan.request_doubled, plan.request_lost);
        let retry = self.requests.get(&number).map_or(0, |request| request.retries);
        self.after(patience, Event::Impatience(number, retry));
        if self.ground.strikes(doubled) {
            self.ground.trace("network", format!("request {number} is doubled"));
            let delay = self.network_delay() * 3;
            self.after(delay, Event::Arrival(number));
        }
        if self.ground.strikes(lost) {
            self.ground.trace("network", format!("request {number} is lost"));
            return;
        }
        let delay = self.network_delay();
        self.after(delay, Event::Arrival(number));
    }

    pub(super) fn arrive(&mut self, number: RequestNumber) {
        if self.is_paused() {
            let at = self.paused_until;
            self.at(at, Event::Arrival(number));
            return;
        }
        let Some(request) = self.requests.get_mut(&number) else { return };
        let Some(node) = self.node.as_ref().filter(|node| node.accepts()) else {
            let delay = self.network_delay();
            self.after(delay, Event::Answer(number, Outcome::NoNode));
            return;
        };
        request.arrivals += 1;
        let promise = Promise::new(self.ground.clone(), number, node.number);
        let wish = request.wish.clone();
        if request.by == Transport::Http {
            self.arrive_over_http(number, &wish, promise);
            return;
        }
        let under = request.under.clone().map(|key| KeyedCopy { key, trace: http::trace(number, request.arrivals) });
        let judged = node.judge(&wish, &self.clients[request.client].name, under, promise);
        let ticket = (node.number, self.events);
        self.wake_worker();
        let Some(judged) = judged else { return };
        self.judged.insert(ticket, judged);
        let held_up = self.random.log_uniform(1.0, self.ground.plan.judged_micros_max as f64) as u64;
        self.after(held_up, Event::HandIn(ticket));
    }

    /// A request arrives at the API's own routes, which check and submit it themselves.
    fn arrive_over_http(&mut self, number: RequestNumber, wish: &Wish, promise: Promise) {
        let fault = if self.ground.strikes(self.ground.plan.body_cut) {
            BodyFault::Cut
        } else if self.ground.strikes(self.ground.plan.body_late) {
            BodyFault::Late(self.ground.now() + self.random.log_uniform(1_000.0, 40e6) as u64)
        } else {
            BodyFault::None
        };
        if let (Some(request), Some(node)) = (self.requests.get(&number), &self.node) {
            let copy = Copy { number, copy: request.arrivals, fault, under: request.under.clone() };
            if let Some(sent) = http::request(wish, request.client, &copy, &node.worker_clock) {
                promise.takes(http::own_micros(wish, &copy));
                self.exchanges.begin(wish, &copy);
                node.serve(&copy, sent, promise, &self.exchanges);
            }
        }
        self.wake_worker();
    }

    /// Submits a request that was checked before.
    pub(super) fn hand_in(&mut self, ticket: (u32, u64)) {
        if !self.is_awake(ticket.0, Event::HandIn(ticket)) {
            // Its node may be dead: then there is no answer.
            if self.node.as_ref().is_none_or(|node| node.number != ticket.0) {
                self.judged.remove(&ticket);
            }
            return;
        }
        if let (Some(judged), Some(node)) = (self.judged.remove(&ticket), &self.node) {
            node.hand_in(judged);
            self.wake_worker();
        }
    }

    pub(super) fn hear(&mut self, number: RequestNumber, outcome: &Outcome) {
        let Some(request) = self.requests.get_mut(&number) else { return };
        if matches!(request.heard, Some(Outcome::Done(_) | Outcome::Seen)) {
            return;
        }
        self.ground.trace(&self.clients[request.client].name, format!("request {number} was answered: {outcome:?}"));
        request.heard = Some(outcome.clone());
        match outcome {
            Outcome::Done(committed) => match &committed.answer {
                Answer::Execution(execution) => self.clients[request.client].remember_execution(*execution),
                Answer::Events(events) => {
                    for event in events {
                        self.clients[request.client].remember_event(event.id.to_string(), event.position.0);
                    }
                }
                Answer::Done | Answer::Catalog(_) | Answer::Before(_) | Answer::ReportedLate => {}
            },
            Outcome::Not(why) if matches!(request.wish, Wish::See { .. }) => {
                let what = format!("request {number}: its records could not be read: {why}");
                self.finding.get_or_insert(Violation::new("I3", what));
            }
            Outcome::Unknown | Outcome::NoNode | Outcome::NotYet => self.try_again(number),
            Outcome::Not(why) if why.contains(UNDER_WAY) => self.try_again(number),
            Outcome::Seen | Outcome::Not(_) => {}
        }
    }

    pub(super) fn lose_patience(&mut self, number: RequestNumber, retry: u32) {
        let Some(request) = self.requests.get(&number) else { return };
        if request.heard.is_none() && request.retries == retry {
            self.ground.trace(&self.clients[request.client].name, format!("waits no longer for request {number}"));
            if let Some(node) = &self.node {
                node.hang_up(number);
            }
            self.wake_worker();
            self.try_again(number);
        }
    }

    /// A client without an answer retries if that does no harm: requests with a key and idempotent requests.
    fn try_again(&mut self, number: RequestNumber) {
        let Some(request) = self.requests.get_mut(&number) else { return };
        let is_safe = match &request.wish {
            Wish::Send { key, .. } => key.is_some(),
            Wish::Deliver { delivery, .. } => delivery.is_some(),
            Wish::Run { .. } | Wish::Rerun { .. } | Wish::SetKey(_) => false,
            Wish::Cancel(_) | Wish::Settle(..) | Wish::SetMode(..) | Wish::RemoveKey | Wish::TakeInPacks | Wish::See { .. } => true,
        };
        if !(is_safe || request.under.is_some()) || request.retries >= RETRIES_MAX {
            return;
        }
        request.retries += 1;
        request.heard = None;
        sometimes!("a client tried again");
        self.send(number);
    }

    /// Delivers the node's answers to its clients.
    pub(super) fn carry_answers(&mut self) {
        for answered in self.ground.take_answers() {
            let is_alive =
                [&self.node, &self.deposed].into_iter().flatten().any(|node| node.number == answered.node && !node.life.is_over());
            if is_alive {
                self.carry(answered);
            }
        }
    }

    /// Delivers the answers of a node that was asked to stop and has ended: every request it received gets
    /// one.
    pub(super) fn carry_last_answers(&mut self, of: u32) {
        for answered in self.ground.take_answers() {
            if answered.node == of {
                self.carry(answered);
            }
        }
    }

    fn carry(&mut self, answered: NodeAnswer) {
        let Some(outcome) = answered.outcome else {
            self.finding.get_or_insert(Violation::new("I17", format!("request {} was never answered", answered.request)));
            return;
        };
        if let Some(request) = self.requests.get_mut(&answered.request) {
            request.said.push(CopyAnswer { place: answered.place, outcome: outcome.clone() });
        }
        if self.ground.strikes(self.ground.plan.answer_lost) {
            self.ground.trace("network", format!("the answer to request {} is lost", answered.request));
            sometimes!("an answer was lost after the effect");
            return;
        }
        let delay = self.network_delay();
        self.after(delay, Event::Answer(answered.request, outcome));
    }

    fn network_delay(&mut self) -> u64 {
        self.random.log_uniform(100.0, self.ground.plan.network_micros_max as f64) as u64
    }
}
