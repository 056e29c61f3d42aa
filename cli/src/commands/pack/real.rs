//! Runs a case against the fake vendor of its pack: the core is in memory, and requests are really sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensue_node::{CaseConnection, RealActions, RealCase};
use ensue_packs::cases::{Case, CaseBackend, FakeCredentials, Suite};
use ensue_packs::fake::Fake;
use ensue_rehearsal::{Rehearsal, UnmetExpectation};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::fake_server::FakeServer;
use crate::report::Failure;

/// The name of the connection to the fake vendor.
const CONNECTION: &str = "fake";
/// The credentials of that connection. No key of a pack has this value.
const CREDENTIALS: &str = "fake-credentials-of-the-connection";
/// An address that nothing has, for the setting that a case over a connection must not use.
const UNUSED: &str = "http://unused.invalid";

/// What the real cases share.
pub(super) struct RealWorld {
    runtime: Runtime,
}

impl RealWorld {
    pub(super) fn open() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(format!("the runtime cannot be started: {error}")))?;
        // Another part of the program may have chosen a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self { runtime })
    }

    /// Runs a case with a worker and a fake vendor of its own.
    pub(super) fn run(&self, rehearsal: &mut Rehearsal<'_>, suite: &Suite, case: &Case) -> Result<Vec<UnmetExpectation>, Failure> {
        let (Some(fake), CaseBackend::Fake { keys, over }) = (&suite.fake, &case.against) else {
            let hint = Some("correct the errors in `fake/server.yaml`".to_owned());
            return Ok(vec![UnmetExpectation::plain(case.line, "the pack has no fake vendor without errors", hint)]);
        };
        let failed = |what: &str, why: &dyn std::fmt::Display| Failure::new(format!("{what}: {why}"));
        let auth = fake.auth.as_ref().filter(|_| *over == FakeCredentials::Connection);
        let vendor = match auth {
            None => Arc::clone(fake),
            Some(auth) => {
                let mut vendor = Fake::clone(fake);
                vendor.keys.insert(auth.key.clone(), CREDENTIALS.to_owned());
                Arc::new(vendor)
            }
        };
        let server = FakeServer::start(&self.runtime, &vendor).map_err(|error| failed("the fake vendor cannot be started", &error))?;
        let folder = TempDir::new().map_err(|error| failed("a temporary folder cannot be made", &error))?;
        let mut case = case.clone();
        let address = format!("http://{}", server.address());
        let connection = auth.map(|auth| {
            case.config.insert(fake.setting.clone(), Value::from(UNUSED));
            case.config.insert(auth.setting.clone(), Value::from(CONNECTION));
            CaseConnection { name: CONNECTION, url: address.clone(), auth: auth.clone(), credentials: CREDENTIALS }
        });
        if connection.is_none() {
            case.config.insert(fake.setting.clone(), Value::from(address));
        }
        let catalog = match rehearsal.catalog(&case) {
            Ok(catalog) => catalog,
            Err(stuck) => return Ok(vec![UnmetExpectation::plain(case.line, stuck.to_string(), stuck.hint())]),
        };
        let mut sent = if connection.is_some() { BTreeMap::new() } else { fake.keys.clone() };
        sent.extend(keys.clone());
        let real = RealCase { catalog: &catalog, keys: sent, connection, to: server.address(), folder: folder.path() };
        let mut actions = RealActions::start(&self.runtime, real).map_err(|error| Failure::new(error.to_string()))?;
        let mut findings = rehearsal.run_in(&case, Arc::clone(&catalog), &mut actions).findings;
        let (strays, refusals) = server.notes();
        findings.extend(strays.into_iter().map(|stray| UnmetExpectation::plain(case.line, stray, None)));
        if let (false, Some(refusal)) = (findings.is_empty(), refusals.first()) {
            findings.push(UnmetExpectation::plain(case.line, format!("the fake vendor refused a request: {refusal}"), None));
        }
        Ok(findings)
    }
}
