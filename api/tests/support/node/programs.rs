//! The small node's programs, controlled by the test: they print, send messages, give files away, and end.

use bytes::Bytes;
use ensue_engine::command::{Ask, Message, MessageContent, Report, ReportOutcome, SaidArtifact};
use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{AttemptId, ExecutionId};
use ensue_engine::ports::{Blobs as _, OutputError, OutputPart, OutputState, OutputStream, Outputs};
use ensue_engine::record::{Actor, Body, Digest, StreamId};

use super::TestNode;

impl TestNode {
    /// Prints as the newest attempt of an execution would.
    pub(crate) fn print(&self, execution: &str, stream: OutputStream, text: &str) {
        let (attempt, _) = self.attempt_of(execution);
        let mut outputs = self.outputs.lock().unwrap();
        let (bytes, _) = outputs.entry((attempt, stream)).or_insert((Vec::new(), OutputState::Open));
        bytes.extend_from_slice(text.as_bytes());
    }

    /// Discards the output of the newest attempt of an execution.
    pub(crate) fn remove_output(&self, execution: &str) {
        let (attempt, _) = self.attempt_of(execution);
        let mut outputs = self.outputs.lock().unwrap();
        for stream in OutputStream::ALL {
            outputs.insert((attempt, stream), (Vec::new(), OutputState::Removed));
        }
    }

    /// Sends a message as the newest attempt of an execution would.
    pub(crate) fn say(&self, execution: &str, index: u32, said: MessageContent) {
        let (attempt, token) = self.attempt_of(execution);
        let message = Message { execution: execution.parse().unwrap(), attempt, token, index, said };
        self.ask(Actor::Worker("local".into()), Ask::TakeMessage(message)).unwrap();
    }

    /// Gives a file away as the newest attempt of an execution would; returns its hash.
    pub(crate) fn give_away(&self, execution: &str, index: u32, name: &str, media_type: Option<&str>, content: &[u8]) -> Digest {
        let mut new = self.blobs.begin().unwrap();
        new.write(content).unwrap();
        let kept = new.keep().unwrap();
        let (name, media_type) = (name.parse().unwrap(), media_type.map(|media_type| media_type.parse().unwrap()));
        self.say(execution, index, MessageContent::Artifact(SaidArtifact { name, media_type, blob: kept.digest, bytes: kept.bytes }));
        kept.digest
    }

    /// Drops so many bytes of the output of the newest attempt of an execution.
    pub(crate) fn cut_output(&self, execution: &str, stream: OutputStream, bytes_dropped: u64) {
        let (attempt, _) = self.attempt_of(execution);
        let mut outputs = self.outputs.lock().unwrap();
        let (_, state) = outputs.entry((attempt, stream)).or_insert((Vec::new(), OutputState::Open));
        *state = OutputState::Truncated { bytes_dropped };
    }

    /// Ends the newest attempt of an execution as its worker would.
    pub(crate) fn succeed(&self, execution: &str, result: impl Into<Bytes>) {
        let (attempt, token) = self.attempt_of(execution);
        Outputs::finish(self, attempt).unwrap();
        let report = Report {
            execution: execution.parse().unwrap(),
            attempt,
            token,
            outcome: ReportOutcome::Succeeded,
            retry_after_millis: None,
            output_tail: None,
            body: Some(Body::json(result.into())),
            emitted: None,
            vars: Vec::new(),
            ended_before: None,
        };
        self.ask(Actor::Worker("local".into()), Ask::ReportAttempt(report)).unwrap();
    }

    /// Ends the newest attempt of an execution as its worker would if the program failed.
    pub(crate) fn fail(&self, execution: &str) {
        self.end_badly(execution, Failure::new(FailureKind::ExitCode, "it did not work"));
    }

    /// Ends the newest attempt of an execution as its worker would after a request to stop.
    pub(crate) fn end_cancelled(&self, execution: &str) {
        self.end_badly(execution, Failure::new(FailureKind::Cancelled, "it was stopped"));
    }

    fn end_badly(&self, execution: &str, failure: Failure) {
        let (attempt, token) = self.attempt_of(execution);
        Outputs::finish(self, attempt).unwrap();
        let outcome = ReportOutcome::Failed(failure);
        let report = Report {
            execution: execution.parse().unwrap(),
            attempt,
            token,
            outcome,
            retry_after_millis: None,
            output_tail: None,
            body: None,
            emitted: None,
            vars: Vec::new(),
            ended_before: None,
        };
        self.ask(Actor::Worker("local".into()), Ask::ReportAttempt(report)).unwrap();
    }

    /// Loses the newest attempt of an execution.
    pub(crate) fn lose(&self, execution: &str) {
        let (attempt, _) = self.attempt_of(execution);
        let evidence = ensue_engine::executions::facts::Evidence::MayHaveBegun;
        let ask = Ask::LoseAttempt { execution: execution.parse().unwrap(), attempt, evidence, error: None };
        self.ask(Actor::Engine, ask).unwrap();
    }

    fn attempt_of(&self, execution: &str) -> (AttemptId, u64) {
        let execution: ExecutionId = execution.parse().unwrap();
        let core = self.core();
        let started = core.records.iter().rev().filter(|record| record.stream == StreamId::Execution(execution));
        let mut attempts = started.filter_map(|record| match &record.fact {
            Fact::AttemptStarted(fact) => Some((AttemptId(record.id), fact.token)),
            _ => None,
        });
        attempts.next().expect("the execution has an attempt")
    }
}

impl Outputs for TestNode {
    fn append_at(&self, attempt: AttemptId, stream: OutputStream, offset: u64, bytes: &[u8]) -> Result<(), OutputError> {
        assert_eq!(offset, self.accepted_offset(attempt, stream)?, "a small node's programs tell everything once");
        let mut outputs = self.outputs.lock().unwrap();
        outputs.entry((attempt, stream)).or_insert((Vec::new(), OutputState::Open)).0.extend_from_slice(bytes);
        Ok(())
    }

    fn accepted_offset(&self, attempt: AttemptId, stream: OutputStream) -> Result<u64, OutputError> {
        Ok(self.outputs.lock().unwrap().get(&(attempt, stream)).map_or(0, |(bytes, _)| bytes.len() as u64))
    }

    fn note_printed(&self, attempt: AttemptId, stream: OutputStream, bytes: u64) -> Result<(), OutputError> {
        assert_eq!(bytes, self.accepted_offset(attempt, stream)?, "a small node's programs tell everything");
        Ok(())
    }

    fn finish(&self, attempt: AttemptId) -> Result<(), OutputError> {
        for ((of, _), (_, state)) in self.outputs.lock().unwrap().iter_mut() {
            if *of == attempt && *state == OutputState::Open {
                *state = OutputState::Complete;
            }
        }
        Ok(())
    }

    fn read(&self, attempt: AttemptId, stream: OutputStream, offset: u64, bytes_max: usize) -> Result<OutputPart, OutputError> {
        let outputs = self.outputs.lock().unwrap();
        let (bytes, state) = outputs.get(&(attempt, stream)).cloned().unwrap_or((Vec::new(), OutputState::Open));
        if state == OutputState::Removed {
            return Ok(OutputPart { bytes: Bytes::new(), next: offset, state });
        }
        let from = usize::try_from(offset).unwrap().min(bytes.len());
        let to = (from + bytes_max).min(bytes.len());
        Ok(OutputPart { bytes: Bytes::copy_from_slice(&bytes[from..to]), next: to as u64, state })
    }
}
