//! Notifies the parts of a node of each commit: effects go to the worker, records to everything that follows
//! the log.
//!
//! It is called on the sequencer's thread and never waits.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use ensue_api::Ends;
use ensue_engine::batch::CommittedBatch;
use ensue_engine::command::Command;
use ensue_engine::effect::{Dispatch, Effect};
use ensue_engine::fact::{AccessFact, ByNoun, ExecutionFact, HealthFact, KeyFact};
use ensue_engine::names::KeyRef;
use ensue_engine::record::{Digest, Head};
use ensue_executor::Executor;

use crate::access::TokenTable;
use crate::bodies::BodyCache;
use crate::catalogs::NodeCatalogs;
use crate::followers::FollowerHandle;
use crate::key_ring::KeyRing;
use crate::outside_writer::OutsideWriter;
use crate::plain_body::plain;
use crate::sensors::SensorSupervisor;
use crate::sequencer::CommitListener;
use crate::vars::VarTable;

/// The parts that are notified of each commit, on the sequencer's thread.
pub struct CommitListeners {
    /// The built catalogs.
    pub catalogs: Arc<NodeCatalogs>,
    /// The keys.
    pub keys: Arc<KeyRing>,
    /// The vars.
    pub vars: Arc<VarTable>,
    /// The tokens.
    pub tokens: Arc<TokenTable>,
    /// The cache of recent bodies.
    pub bodies: Arc<BodyCache>,
    /// The head that is kept outside the data directory.
    pub outside: OutsideWriter,
    /// The requests that wait for the end of an execution.
    pub ends: Arc<Ends>,
    /// The worker.
    pub executor: Executor,
    /// The pulling sensors; `None` if nothing runs them.
    pub sensors: Option<SensorSupervisor>,
    /// The followers of the log.
    pub followers: Vec<FollowerHandle>,
}

impl CommitListener for CommitListeners {
    fn on_commit(&mut self, batch: &Arc<CommittedBatch>, head: Head) {
        self.outside.note(head);
        let (mut about_packs, mut about_keys, mut about_access, mut about_vars) = (false, false, false, false);
        let mut keys_set: Vec<KeyRef> = Vec::new();
        for record in &batch.records {
            match record.fact.by_noun() {
                ByNoun::CatalogFact(_) => about_packs = true,
                ByNoun::AccessFact(fact) => {
                    about_access = true;
                    if let AccessFact::KeySet(fact) = fact {
                        keys_set.push(fact.key.clone());
                    }
                }
                ByNoun::HealthFact(HealthFact::ClockStepped(_) | HealthFact::ClockAccepted(_)) => about_access = true,
                ByNoun::KeyFact(fact) => {
                    about_keys = true;
                    if let KeyFact::KeyRotated(fact) = fact {
                        keys_set.push(fact.key.clone());
                    }
                }
                ByNoun::VarFact(_) => about_vars = true,
                ByNoun::ExecutionFact(ExecutionFact::ExecutionRequested(_)) => {
                    if let Some(body) = &record.body
                        && let Ok(Some(plain)) = plain(body)
                    {
                        self.bodies.put(body.digest, plain);
                    }
                }
                _ => {}
            }
        }
        if about_packs {
            self.catalogs.note(&batch.records);
            self.tokens.note_packs(&batch.records);
        }
        if about_vars {
            self.vars.note(&batch.records);
        }
        if about_keys || about_access {
            self.keys.note(&batch.records);
        }
        if about_access {
            self.tokens.note(&batch.records);
        }
        self.tokens.note_effects(&batch.effects);
        if let Some(sensors) = &self.sensors {
            if about_packs {
                sensors.note_catalog();
            }
            if !keys_set.is_empty() {
                sensors.note_keys(&keys_set);
            }
        }
        // Callers that learn of the batch from here on may wait for what follows it.
        for follower in &self.followers {
            follower.notify(batch);
        }
        self.ends.note(&batch.records);
    }

    fn on_answered(&mut self, batch: &Arc<CommittedBatch>) {
        for effect in &batch.effects {
            match (effect, &self.sensors) {
                (Effect::RunSensor(_) | Effect::StopSensor { .. }, Some(sensors)) => sensors.carry_out(effect),
                (Effect::RunSensor(_) | Effect::StopSensor { .. }, None) => {}
                (Effect::Dispatch(_) | Effect::Stop { .. } | Effect::Release { .. }, _) => self.executor.carry_out(effect.clone()),
            }
        }
    }

    fn at_once(&mut self, dispatch: &Dispatch, params: &Bytes) -> Option<Command> {
        self.executor.at_once(dispatch, params)
    }
}

/// Locates the files of packs.
pub struct Copies(pub Arc<NodeCatalogs>);

impl ensue_executor::ports::PackFiles for Copies {
    fn folder(&self, pack: &Digest) -> PathBuf {
        self.0.folder(pack)
    }
}
