//! The core: decides, folds and reacts. It only delegates to the modules of the nouns.

use std::ops::Deref;

use serde::Deserializer;

use crate::access::audit::decide as audit;
use crate::access::keys::decide as keys;
use crate::access::quota::decide as quota;
use crate::access::{config, decide as access, issuers, people, sessions};
use crate::catalog::decide as catalog;
use crate::command::{Answer, Ask, Command, Context, Decision, FirstAnswer, Moment, Refusal};
use crate::dead_letters::decide as dead_letters;
use crate::effect::Effect;
use crate::events::{decide as events, internal, react as event_reactions};
use crate::executions::{decide as executions, messages, pausing, program, react as execution_reactions, start};
use crate::fact::{ByNoun, CatalogFact, EventFact, HealthFact, RuleFact};
use crate::health::decide as health;
use crate::ids::LogId;
use crate::inquiries::{decide as inquiries, links, react as inquiry_reactions};
use crate::reaction::{Consequence, Reaction};
use crate::record::Record;
use crate::rules::decide as rules;
use crate::rules::flow;
use crate::schedule::react::{self as schedules, ChangedDefinitions};
use crate::sensors::{decide as sensors, react as sensor_reactions};
use crate::state::{LoadError, SavedState, State};
use crate::timers::{decide as timers, react as timer_reactions};
use crate::vars::decide as vars;
use crate::workflows::react as step_reactions;

/// The state of one log, with the functions that decide on commands and react to records. It
/// [dereferences](Deref) to the [`State`].
#[derive(Clone, Debug, PartialEq)]
pub struct Engine {
    state: State,
}

impl Deref for Engine {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl Engine {
    /// Returns the engine of an empty log.
    pub fn new(log: LogId) -> Self {
        Self { state: State::new(log) }
    }

    /// Restores the engine from a saved state.
    pub fn load(log: LogId, saved: &SavedState) -> Result<Self, LoadError> {
        State::load(log, saved).map(|state| Self { state })
    }

    /// Restores the engine from what [`State::in_saved_form`] serialized, piece by piece.
    pub fn of_saved_form<'de, D: Deserializer<'de>>(log: LogId, format: u32, saved: D) -> Result<Self, LoadError> {
        State::of_saved_form(log, format, saved).map(|state| Self { state })
    }

    /// Folds one record into the state; see [`State::apply`].
    pub fn apply(&mut self, record: &Record) {
        self.state.apply(record);
    }

    /// Makes everything that was folded since the last commit permanent.
    pub fn commit(&mut self) {
        self.state.commit();
    }

    /// Undoes everything that was folded since the last commit.
    pub fn undo(&mut self) {
        self.state.undo();
    }

    /// Returns the changes of `command`, or why it is refused, or which bodies it needs first. Changes
    /// nothing.
    pub fn decide(&self, command: &Command, at: &Moment, with: &Context<'_>) -> Decision {
        if let Err(refusal) = program::demand_running(&self.state, &command.actor) {
            return Decision::Refused(refusal);
        }
        let mut decision = self.decide_on(&command.ask, command, at, with);
        if let Decision::Done { drafts, .. } = &mut decision {
            program::place_in_chain(&self.state, &command.actor, drafts);
            if let Err(refusal) = quota::check(&self.state, &command.actor, drafts, at.time, with.settings) {
                return Decision::Refused(refusal);
            }
            // Everything that a request begins belongs to its trace.
            for draft in drafts.iter_mut().filter(|draft| draft.cause.is_none() && draft.trace.is_none()) {
                draft.trace.clone_from(&command.trace);
            }
            let internal_events = internal::internal_events(&self.state, drafts, None, at, with);
            drafts.extend(internal_events);
        }
        decision
    }

    fn decide_on(&self, ask: &Ask, command: &Command, at: &Moment, with: &Context<'_>) -> Decision {
        let actor = &command.actor;
        let trace = command.trace.as_deref();
        match ask {
            Ask::Once { request, ask } => match FirstAnswer::find(self.state.log(), &request.key, at, with.seen) {
                Some(before) if before.content != request.content => {
                    Decision::Refused(Refusal::RequestDiffers { position: before.position })
                }
                Some(before) => Decision::Done { drafts: Vec::new(), answer: Answer::Before(before) },
                None => self.decide_on(ask, command, at, with),
            },
            // The caller that makes the batch looks at the changes and discards them.
            Ask::Check(ask) => self.decide_on(ask, command, at, with),
            Ask::Recall(key) => {
                let answer = FirstAnswer::find(self.state.log(), key, at, with.seen).map_or(Answer::Done, Answer::Before);
                Decision::Done { drafts: Vec::new(), answer }
            }
            Ask::ReceiveEvents(list) => events::receive_all(&self.state, actor, trace, list, at, with),
            Ask::KeepDelivery(delivery) => {
                Decision::Done { drafts: vec![events::keep_delivery(actor, trace, delivery)], answer: Answer::Done }
            }
            Ask::RetryDelivery(retried) => dead_letters::retry(&self.state, actor, trace, retried, at, with),
            Ask::RetryExecution(ask) => dead_letters::rerun(&self.state, at, actor, trace, ask, with),
            Ask::DismissDeadLetter { of } => dead_letters::dismiss(&self.state, actor, *of),
            Ask::RequestExecution(ask) => executions::request(&self.state, at, actor, trace, ask, with),
            Ask::TakeMessage(message) => messages::take(&self.state, actor, message, at, with),
            Ask::ReportAttempt(report) => executions::report(&self.state, actor, report, at, with),
            Ask::LoseAttempt { execution, attempt, evidence, error } => {
                executions::lose(&self.state, actor, *execution, *attempt, *evidence, error.clone())
            }
            Ask::CancelExecution { execution } => executions::cancel(&self.state, actor, trace, *execution),
            Ask::CancelInquiry(inquiry) => inquiries::cancel(&self.state, actor, trace, *inquiry),
            Ask::PauseExecution { execution } => pausing::pause(&self.state, actor, trace, *execution),
            Ask::ResumeExecution { execution } => pausing::resume(&self.state, actor, trace, *execution),
            Ask::SettleExecution { execution, outcome, result } => {
                executions::settle(&self.state, actor, *execution, outcome, result.as_ref())
            }
            Ask::AnswerInquiry(ask) => inquiries::answer(&self.state, actor, trace, ask, at.time),
            Ask::DelegateInquiry(new) => inquiries::delegate(&self.state, actor, trace, new, at.time),
            Ask::ChangePacks { base, changes } => catalog::change(&self.state, actor, *base, changes),
            Ask::SetRuleMode { rule, rule_id, mode } => rules::set_mode(actor, rule, *rule_id, *mode),
            Ask::TakeSensorBatch(batch) => sensors::take_batch(&self.state, actor, trace, batch, at, with),
            Ask::NoteSensorStarted { sensor, run, release } => sensors::note_started(&self.state, actor, *sensor, *run, release),
            Ask::NoteSensorFailed(failed) => sensors::note_failed(&self.state, actor, failed),
            Ask::NoteSensorParts(parts) => sensors::note_parts(&self.state, actor, parts),
            Ask::SetSensorMode { sensor, mode } => sensors::set_mode(&self.state, actor, trace, sensor, *mode),
            Ask::SetSensorCursor { sensor, cursor } => sensors::set_cursor(&self.state, actor, trace, sensor, cursor.as_ref()),
            Ask::SkipSensor { sensor, after, cursor } => sensors::skip(&self.state, actor, trace, sensor, (*after, cursor)),
            Ask::RestartSensor { sensor } => sensors::restart(&self.state, actor, trace, sensor),
            Ask::NoteSensorTest { sensor } => sensors::note_test(&self.state, actor, trace, sensor),
            Ask::SetKey { key, version, expires_at } => keys::set(&self.state, actor, (key, *version), *expires_at, at),
            Ask::RotateKey(rotation) => keys::rotate(&self.state, actor, rotation, at),
            Ask::RevealKey { key, version } => keys::reveal(&self.state, actor, key, *version, at),
            Ask::RemoveKey { key } => access::remove_key(&self.state, actor, key),
            Ask::NoteMasterKey { from, to } => keys::rotate_master(&self.state, actor, *from, *to),
            Ask::SetVar { name, value, seen } => vars::set(&self.state, actor, trace, (name, value), *seen),
            Ask::RemoveVar { name, seen } => vars::remove(&self.state, actor, trace, name, *seen),
            Ask::AddToken(token) => access::add_token(&self.state, actor, token, at.time),
            Ask::RotateToken(rotated) => access::rotate_token(&self.state, actor, rotated, at.time),
            Ask::AddIdentity { id, kind, groups } => people::add_identity(&self.state, actor, (*id, *kind), groups, at.time),
            Ask::SetIdentityGroups { id, groups } => people::set_groups(&self.state, actor, *id, groups, at.time),
            Ask::SetIdentityStanding { id, standing } => people::set_standing(&self.state, actor, *id, *standing, at.time),
            Ask::SetAbsence(absence) => people::set_absence(&self.state, actor, absence, at.time),
            Ask::EraseIdentity(id) => people::erase_identity(&self.state, actor, *id),
            Ask::AdmitIdentity(admitted) => issuers::admit(&self.state, actor, admitted),
            Ask::LinkIdentity { id, issuer } => issuers::link(&self.state, actor, *id, issuer, at.time),
            Ask::UnlinkIdentity { id, issuer } => issuers::unlink(&self.state, actor, *id, issuer),
            Ask::SetRole { name, permissions } => people::set_role(&self.state, actor, name, permissions, at.time),
            Ask::RemoveRole(name) => people::remove_role(&self.state, actor, name),
            Ask::AddGrant(grant) => people::add_grant(&self.state, actor, grant, at.time),
            Ask::DeclareAccess(declared) => config::declare(&self.state, actor, declared),
            Ask::RemoveGrant(id) => people::remove_grant(&self.state, actor, *id),
            Ask::OpenSession(session) => links::open(&self.state, actor, trace, session, at.time),
            Ask::MintLink(link) => links::mint(&self.state, actor, trace, link, at.time),
            Ask::MintLoginLink(link) => access::mint_login_link(&self.state, actor, link, at.time),
            Ask::ChangeCredential(change) => people::change_credential(&self.state, actor, *change, at.time),
            Ask::EndSessions { sessions: ended, reason } => sessions::end(&self.state, actor, ended, *reason),
            Ask::RevokeToken { name } => access::revoke_token(&self.state, actor, name),
            Ask::NoteDenied(denied) => audit::note_denied(&self.state, denied),
            Ask::NoteRefusedLogins(refused) => audit::note_refused_logins(&self.state, actor, refused),
            Ask::NoteKeyUses(used) => audit::note_key_uses(used),
            Ask::NoteExport(export) => audit::note_export(&self.state, actor, trace, export),
            Ask::NoteConnectionTest(test) => audit::note_connection_test(&self.state, actor, trace, test),
            Ask::NoteStart { release } => health::note_start(&self.state, actor, release),
            Ask::NoteClockStep { from, to } => health::note_clock_step(&self.state, actor, *from, *to),
            Ask::AcceptClock => health::accept_clock(&self.state, actor, at.time),
            Ask::NoteRestore { known } => health::note_restore(&self.state, actor, *known),
            Ask::FireTimers => timers::fire(&self.state, actor, at),
            Ask::StartQueued => start::start_queued(&self.state, with),
            Ask::RetryReaction { of } => health::retry_reaction(&self.state, actor, *of),
            Ask::DismissReaction { of } => health::dismiss_reaction(&self.state, actor, *of),
        }
    }

    /// Returns the `next`-th consequence of a record that was already folded, with the engine's own events
    /// about it.
    pub fn react(&self, record: &Record, next: Consequence, at: &Moment, with: &Context<'_>) -> Reaction {
        let mut reaction = self.following(record, next, at, with);
        if let Reaction::Drafts { drafts, .. } = &mut reaction {
            let internal_events = internal::internal_events(&self.state, drafts, Some(record), at, with);
            drafts.extend(internal_events);
        }
        reaction
    }

    fn following(&self, record: &Record, next: Consequence, at: &Moment, with: &Context<'_>) -> Reaction {
        // Executions that wait for a worker may start, whatever is paused.
        if let Some(by) = pausing::holds_up(&self.state, record).filter(|_| next < Consequence::LAST) {
            return Reaction::Held(by);
        }
        match record.fact.by_noun() {
            ByNoun::EventFact(EventFact::EventReceived(fact)) => event_reactions::react(&self.state, record, fact, next, at, with),
            ByNoun::ExecutionFact(fact) => execution_reactions::react(&self.state, record, fact, next, with),
            ByNoun::StepFact(fact) => step_reactions::react(&self.state, record, fact, next, with),
            ByNoun::InquiryFact(fact) => inquiry_reactions::react(&self.state, record, fact, with),
            ByNoun::TimerFact(fact) => timer_reactions::react(&self.state, record, fact, next, at, with),
            ByNoun::CatalogFact(CatalogFact::PackInstalled(fact)) => self.follow(record, ChangedDefinitions::Pack(&fact.name), with),
            ByNoun::CatalogFact(CatalogFact::PackRemoved(fact)) => self.follow(record, ChangedDefinitions::Pack(&fact.name), with),
            ByNoun::RuleFact(RuleFact::RuleModeSet(fact)) => self.follow(record, ChangedDefinitions::Rule(&fact.rule), with),
            ByNoun::RuleFact(RuleFact::LoopStopped(fact)) => self.follow(record, ChangedDefinitions::Rule(&fact.rule), with),
            ByNoun::HealthFact(HealthFact::NodeStarted(_)) => {
                // There may be more workers than before.
                let begun = schedules::at_start(&self.state, record, with)
                    .or_else(|| sensor_reactions::at_start(&self.state, record, with))
                    .or_else(|| flow::at_start(&self.state, record, with));
                begun.unwrap_or_else(|| start::start_waiting(&self.state, record.id, with))
            }
            // A parked or held reaction may have left a worker free.
            ByNoun::HealthFact(HealthFact::ReactionParked(_) | HealthFact::ReactionHeld(_)) => {
                start::start_waiting(&self.state, record.id, with)
            }
            ByNoun::EventFact(EventFact::DeliveryRefused(_))
            | ByNoun::RuleFact(RuleFact::EnforcementMade(_) | RuleFact::RuleErred(_) | RuleFact::RuleErrorsCounted(_))
            | ByNoun::FlowFact(_)
            | ByNoun::ScheduleFact(_)
            | ByNoun::SensorFact(_)
            | ByNoun::CatalogFact(CatalogFact::PackPermissionsSet(_))
            | ByNoun::VarFact(_)
            | ByNoun::AccessFact(_)
            | ByNoun::KeyFact(_)
            | ByNoun::AuditFact(_)
            | ByNoun::DeadLetterFact(_)
            | ByNoun::HealthFact(
                HealthFact::ClockStepped(_)
                | HealthFact::ClockAccepted(_)
                | HealthFact::LogRestored(_)
                | HealthFact::ReactionDeferred(_)
                | HealthFact::ReactionResumed(_)
                | HealthFact::ReactionRetried(_)
                | HealthFact::ReactionDismissed(_),
            ) => Reaction::nothing(),
        }
    }

    /// Follows a change of rules and sensors: first the schedules, then the pulling sensors, then the state of flow
    /// control.
    fn follow(&self, record: &Record, changed: ChangedDefinitions<'_>, with: &Context<'_>) -> Reaction {
        let begun = schedules::follow(&self.state, record, changed, with)
            .unless_nothing()
            .or_else(|| sensor_reactions::follow(&self.state, record, changed, with).unless_nothing());
        begun.unwrap_or_else(|| flow::follow(&self.state, record, changed, with))
    }

    /// Returns the effects of a record, which must be the last one that was folded.
    pub fn effects_of(&self, record: &Record) -> Vec<Effect> {
        match record.fact.by_noun() {
            ByNoun::ExecutionFact(fact) => self.state.executions().effects_of(record, fact).into_iter().collect(),
            ByNoun::TimerFact(fact) => self.state.executions().effects_of_timer(record, fact).into_iter().collect(),
            ByNoun::SensorFact(fact) => self.state.sensors().effects_of(fact).into_iter().collect(),
            ByNoun::HealthFact(fact) => self.state.sensors().effects_of_health(fact),
            _ => Vec::new(),
        }
    }

    /// Returns the effects that the whole state is owed: at a start, all earlier effects that are not settled
    /// yet.
    pub fn owed_effects(&self) -> Vec<Effect> {
        self.state.executions().owed_effects()
    }
}
