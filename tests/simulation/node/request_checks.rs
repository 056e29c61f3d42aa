//! The node's edge without HTTP: requests are checked against the catalog in force.

use ensue_api::ports::{EventMaker, GivenEvent, KeyWriter, NewValue, OnBehalf};
use ensue_engine::command::{Answer, Ask, Command, Conflict, Dedupe, DedupeKey, ReceivedEvent, RequestExecution, RequestKey, SeenEvent};
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{CommitReceipt, Secret, Submit};
use ensue_engine::record::{Actor, Body, CatalogRevision, Digest};
use ensue_engine::rules::judge::complete;
use ensue_expression::Document;
use ensue_views::{Event, View};

use super::Node;
use crate::pack::trigger_of;
use crate::secrets::key_value;
use crate::sometimes;
use crate::traffic::{Outcome, Promise, Wish};

/// The outcome of a key whose change was rejected: a change takes several steps, some of which may have been
/// done.
const UNSURE: Outcome = Outcome::Unknown;

/// A request that was checked at the edge, on its way to the sequencer.
pub(crate) struct CheckedRequest {
    command: Command,
    /// The wish.
    wish: Wish,
    /// The catalog that it was checked against.
    catalog: CatalogRevision,
    promise: Promise,
}

/// The idempotency key of a request.
pub(crate) struct KeyedCopy {
    /// The key.
    pub(crate) key: String,
    /// The trace of the copy that arrived.
    pub(crate) trace: String,
}

impl KeyedCopy {
    /// Wraps a client's request so that it is carried out once with its key.
    fn once(self, wish: &Wish, client: &str, ask: Ask) -> Command {
        let key = DedupeKey { scope: format!("requests/{client}"), hash: Digest::of(self.key.as_bytes()) };
        let request = RequestKey { key, content: Digest::of(format!("{wish:?}").as_bytes()) };
        Command { actor: Actor::Token(client.to_owned()), trace: Some(self.trace), ask: Ask::Once { request, ask: Box::new(ask) } }
    }
}

impl Node {
    /// Accepts a request at the edge with the catalog in force. Commands for the log are returned, so that
    /// they can be submitted now or later, as the threads of a production node do; everything else is
    /// answered here.
    pub(crate) fn judge(&self, wish: &Wish, client: &str, under: Option<KeyedCopy>, promise: Promise) -> Option<CheckedRequest> {
        let asked = |ask: Ask| match under {
            Some(under) => under.once(wish, client, ask),
            None => Command { actor: Actor::Token(client.to_owned()), trace: None, ask },
        };
        let ask = match wish {
            Wish::Send { trigger, payload, key } => {
                let trigger = trigger_of(*trigger, payload).parse().expect("it is a ref");
                let payload = bytes::Bytes::from(payload.clone());
                let dedupe = key.as_ref().map(|key| Dedupe {
                    key: DedupeKey { scope: format!("events/{client}"), hash: Digest::of(key.as_bytes()) },
                    content: Digest::of(&payload),
                    conflict: Conflict::IsRefused,
                });
                let given = GivenEvent { trigger, payload, source: "api".to_owned(), occurred_at: None, trace: None, dedupe, rule: None };
                let observed = self.edge.observe(given);
                observed.map(|event| Ask::ReceiveEvents(vec![event])).map_err(|declined| declined.why.to_string())
            }
            // These requests use only the API's routes.
            Wish::Deliver { .. } | Wish::Rerun { .. } => {
                promise.let_go();
                return None;
            }
            Wish::Run { action, params } => self.execution_request(action, params).map(Ask::RequestExecution),
            Wish::Cancel(execution) => Ok(Ask::CancelExecution { execution: *execution }),
            Wish::Settle(execution, outcome) => Ok(Ask::SettleExecution { execution: *execution, outcome: outcome.clone(), result: None }),
            Wish::SetMode(name, mode) => self.mode_set(name, *mode),
            Wish::SetKey(value) => {
                let secret = Secret::new(key_value(*value).into_bytes());
                let set = self.keys.set(&canary(), NewValue { value: secret, expires_at: None }, &behalf(client));
                promise.keep(set.map_or(UNSURE, |set| Outcome::Done(set.committed)));
                return None;
            }
            Wish::RemoveKey => {
                let removed = self.keys.remove(&canary(), &behalf(client));
                promise.keep(removed.map_or(UNSURE, Outcome::Done));
                return None;
            }
            Wish::TakeInPacks => {
                let taken = self.packs.take_in();
                promise.keep(match taken {
                    Ok(_) => Outcome::Seen,
                    Err(error) => Outcome::Not(error.to_string()),
                });
                return None;
            }
            Wish::See { event, position } => {
                promise.keep(self.look_for_event(event, *position));
                return None;
            }
        };
        match ask {
            Ok(ask) => {
                Some(CheckedRequest { command: asked(ask), wish: wish.clone(), catalog: self.catalogs.current().revision(), promise })
            }
            Err(why) => {
                promise.keep(Outcome::Not(why));
                None
            }
        }
    }

    /// Submits a checked request.
    pub(crate) fn hand_in(&self, judged: CheckedRequest) {
        let CheckedRequest { command, wish, catalog, promise } = judged;
        sometimes!(catalog != self.catalogs.current().revision(), "the catalog changed between a judgement and its submission");
        self.handle.submit(command, Box::new(move |outcome| promise.keep(outcome.map(|committed| repeat_answer(&wish, committed)).into())));
    }

    fn mode_set(&self, name: &str, mode: crate::pack::WrittenMode) -> Result<Ask, String> {
        let catalog = self.catalogs.current();
        let found = name.parse().ok().and_then(|name| catalog.rules().get(&name).cloned());
        let rule = found.ok_or_else(|| format!("there is no rule `{name}`"))?;
        let mode = match mode {
            crate::pack::WrittenMode::Enabled => ensue_engine::catalog::Mode::Enabled,
            crate::pack::WrittenMode::Disabled => ensue_engine::catalog::Mode::Disabled,
            crate::pack::WrittenMode::Shadow => ensue_engine::catalog::Mode::Shadow,
        };
        Ok(Ask::SetRuleMode { rule: rule.name.clone(), rule_id: rule.id, mode })
    }

    /// Returns the request for an execution of an action with these parameters as JSON, or an error if it is
    /// invalid.
    pub(crate) fn execution_request(&self, action: &str, params: &str) -> Result<RequestExecution, String> {
        let catalog = self.catalogs.current();
        let name: ensue_engine::names::ActionRef = action.parse().map_err(|_| "no ref".to_owned())?;
        let definition = catalog.actions().get(&name).cloned().ok_or_else(|| format!("there is no action `{name}`"))?;
        let params: serde_json::Value = serde_json::from_str(params).map_err(|error| error.to_string())?;
        let params =
            complete(&definition.parameters, Document::from_value(&params)).map_err(|misfits| format!("{} misfits", misfits.len()))?;
        let body = Body::json(params.bytes().clone());
        Ok(RequestExecution {
            action: name,
            definition,
            catalog: catalog.revision(),
            body,
            params,
            start_at: None,
            labels: std::collections::BTreeMap::new(),
            rerun: None,
        })
    }

    fn look_for_event(&self, event: &str, position: u64) -> Outcome {
        if self.views_at.borrow().0 < position {
            sometimes!("a view was behind what its reader wrote");
            return Outcome::NotYet;
        }
        match self.view_reader.get(Event::NAME, event) {
            Ok(Some(_)) => Outcome::Seen,
            Ok(None) => Outcome::Not("it is not there".to_owned()),
            // A disk that cannot be read says nothing about its content.
            Err(_) => Outcome::Unknown,
        }
    }
}

/// Returns the repeated answer as the first time, as the API does.
fn repeat_answer(wish: &Wish, committed: CommitReceipt) -> CommitReceipt {
    let Answer::Before(before) = committed.answer else { return committed };
    let trigger = if let Wish::Send { trigger, .. } = wish { *trigger } else { 0 };
    let event = |event: &SeenEvent| ReceivedEvent {
        id: event.id,
        trigger: format!("sim.t{trigger}").parse().expect("it is a ref"),
        position: event.position,
        novelty: event.novelty,
    };
    let answer = match wish {
        Wish::Run { .. } | Wish::Rerun { .. } | Wish::Cancel(_) | Wish::Settle(..) => {
            before.execution.map_or(Answer::Done, Answer::Execution)
        }
        Wish::Send { .. } => Answer::Events(before.events.iter().map(event).collect()),
        Wish::Deliver { .. } | Wish::SetMode(..) | Wish::SetKey(_) | Wish::RemoveKey | Wish::TakeInPacks | Wish::See { .. } => Answer::Done,
    };
    CommitReceipt { position: committed.position, answer }
}

fn canary() -> KeyRef {
    "sim.canary".parse().expect("it is a key's ref")
}

fn behalf(client: &str) -> OnBehalf {
    OnBehalf { actor: Actor::Token(client.to_owned()), trace: None, request: None }
}
