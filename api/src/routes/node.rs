//! The node: its health, its status, its problems, its metrics, and rebuilding its views.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use ensue_views::RowReach;
use ensue_views::store::{LIST_ROWS_MAX, ListQuery};
use ensue_views::totals::TOTALS;
use ensue_views::{Totals, ViewName};

use super::Routes;
use crate::attention;
use crate::auth::{self, AllowedCaller};
use crate::call::{Call, Nothing};
use crate::deliveries::now;
use crate::metrics::MetricsFormat;
use crate::operation::{Content, Header, Operation, Takes};
use crate::permissions::{LogRead, MetricsRead, NodeRead, SettingsRead, ViewsRead, ViewsRebuild};
use crate::ports::{JobKind, OnBehalf, Ports, Readiness};
use crate::problem::{Missing, Outcome, Problem};
use crate::respond::{self, Reachable};
use crate::route::Public;
use crate::rows::read_row;
use crate::settings::{Feature, PageServing, Settings};
use crate::wire::node::{WireAlive, WireDoctor, WireJob, WireJobs, WirePublicStatus, WireReadiness, WireSettings, WireStatus};

/// Describes an operation that starts a background job.
pub(super) const fn job(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, summary)
        .passes_keys_over()
        .takes(Takes::Empty)
        .gives::<WireJob>(202, "The job is in progress.", &[Header::Location])
        .refuses(&[(502, "machine_unusable")])
}

/// Declares the routes that rebuild the views.
pub(super) fn declare_rebuilding(routes: &mut Routes) {
    routes.get::<ViewsRead>(
        "/views/rebuild",
        rebuild_state,
        Operation::shows::<WireJob>("rebuilding_get", "Returns the status of the last rebuild of the views"),
    );
    routes.post::<ViewsRebuild>(
        "/views/rebuild",
        rebuild,
        job("views_rebuild", "Starts to rebuild the views while the live ones stay in use"),
    );
}

/// Declares the routes that show the node.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<NodeRead>(
        "/status",
        status,
        Operation::shows::<WireStatus>("node_status", "Returns the status of the node and figures about its log").sees_views(),
    );
    routes.get::<NodeRead>(
        "/doctor",
        doctor,
        Operation::shows::<WireDoctor>("node_doctor", "Reports problems of the installation, and how to fix them"),
    );
    routes.get::<SettingsRead>(
        "/settings",
        settings,
        Operation::shows::<WireSettings>("settings_list", "Returns the settings of the node, and where each was written"),
    );
    routes.get_outside::<MetricsRead>(
        "/metrics",
        metrics,
        Operation::new("metrics_get", "Returns the metrics in the format of Prometheus")
            .gives_content(200, "The metrics.", Content::Text(MetricsFormat::MEDIA_TYPES), &[])
            .refuses(&[(406, "not_acceptable")]),
    );
    let alive = Operation::shows::<WireAlive>("livez_get", "Reports that the process is alive").passes_strangers_over();
    routes.public(Public::Livez, livez, alive);
    routes.public(Public::Health, livez, alive.with_id("health_get"));
    let ready = Operation::shows::<WireReadiness>("readyz_get", "Reports whether the node can serve, with each of its dependencies")
        .gives::<WireReadiness>(503, "The node cannot serve now.", &[Header::RetryAfter])
        .passes_strangers_over();
    routes.public(Public::Readyz, readyz, ready);
    routes.public(Public::Ready, readyz, ready.with_id("ready_get"));
    routes.public(
        Public::Status,
        public_status,
        Operation::shows::<WirePublicStatus<'static>>(
            "release_get",
            "Returns public information: the release, the API's version, the ways to log in, and what is switched on",
        ),
    );
}

/// Responds that the process is alive, whatever the state of its dependencies.
pub(super) async fn livez(_: Call) -> Outcome {
    respond::json(&WireAlive { status: "ok" })
}

/// Returns whether the node can serve, with the state of each of its dependencies.
pub(super) async fn readyz(call: Call) -> Outcome {
    let readiness = call.api().ports.node.readiness();
    let readiness = Readiness { is_ready: readiness.is_ready && !call.api().stopping.has_begun(), ..readiness };
    let reachable = if readiness.is_ready { Reachable::Yes } else { Reachable::NotNow };
    respond::probe(reachable, &WireReadiness::from(readiness))
}

/// Returns the part of the status that anybody may see.
pub(super) async fn public_status(call: Call) -> Outcome {
    let ports = &call.api().ports;
    let logged_in = auth::is_logged_in(ports, &call.api().threads, call.request()).await;
    let password = ports.passwords.are_allowed().then(|| "password".to_owned());
    let device = ports.devices.are_allowed().then(|| "device".to_owned());
    let issuers = ports.logins.issuers().into_iter().map(|issuer| format!("oidc/{issuer}"));
    let logins = std::iter::once("token".to_owned()).chain(password).chain(device).chain(issuers).collect();
    let settings = &call.api().settings;
    let features = features(settings, ports);
    respond::json(&WirePublicStatus { name: "ensue", release: &settings.release, api: "v1", logins, logged_in, features })
}

/// Returns what the operator switched on, by name only: everybody may see it.
fn features(settings: &Settings, ports: &Ports) -> BTreeSet<Feature> {
    let page = match settings.page {
        PageServing::On => Some(Feature::Page),
        PageServing::Off => None,
    };
    let passwords = ports.passwords.are_allowed().then_some(Feature::Passwords);
    let issuers = (!ports.logins.issuers().is_empty()).then_some(Feature::Issuers);
    settings.features.iter().copied().chain(page).chain(passwords).chain(issuers).collect()
}

/// Returns the status of the node.
pub(super) async fn status(allowed: AllowedCaller<NodeRead>, call: Call) -> Outcome {
    let (sees_log, sees_views) = (allowed.rows_for::<LogRead>().is_some(), allowed.rows_for::<ViewsRead>().is_some());
    let wire = call
        .api()
        .threads
        .blocking(move |ports| {
            let totals = read_row::<Totals>(ports, TOTALS)?;
            let parked = ports
                .views
                .list(&ListQuery { limit: LIST_ROWS_MAX, ..ListQuery::newest(ViewName::ParkedReactions, RowReach::Everything) })?
                .len();
            let attention = attention::count(ports, now())?;
            let job = |kind, is_seen: bool| ports.node.job(kind).filter(|_| is_seen).map(Into::into);
            let jobs = WireJobs { log_verify: job(JobKind::LogVerify, sees_log), views_rebuild: job(JobKind::ViewsRebuild, sees_views) };
            Ok::<_, Problem>(WireStatus::new(ports.node.status()?, ports.views.position()?, parked, totals, (attention, jobs)))
        })
        .await??;
    respond::json(&wire)
}

/// Checks for anything wrong or unsafe.
pub(super) async fn doctor(_: AllowedCaller<NodeRead>, call: Call) -> Outcome {
    let findings = call.api().threads.blocking(|ports| {
        let mut findings = ports.node.doctor()?;
        // Problems of the views are reported as a finding of the node itself.
        if let Ok(attention) = attention::count(ports, now()) {
            findings.extend(attention.findings());
        }
        Ok::<_, Problem>(findings)
    });
    respond::json(&WireDoctor::from(findings.await??))
}

/// Returns the settings, with secrets masked.
pub(super) async fn settings(_: AllowedCaller<SettingsRead>, call: Call) -> Outcome {
    respond::json(&WireSettings::from(call.api().ports.node.settings()))
}

/// Returns the node's metrics in Prometheus format.
pub(super) async fn metrics(_: AllowedCaller<MetricsRead>, call: Call) -> Outcome {
    let form = MetricsFormat::of(call.choose_media_type(MetricsFormat::MEDIA_TYPES)?);
    let mut response = Response::new(Body::from(call.api().metrics(form).await?));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    Ok(response)
}

/// Starts to rebuild the views.
pub(super) async fn rebuild(allowed: AllowedCaller<ViewsRebuild>, mut call: Call) -> Outcome {
    let Nothing {} = call.json_or_nothing().await?;
    begin(&call, JobKind::ViewsRebuild, allowed.on_behalf(call.context())).await
}

/// Shows the state of the last rebuild of the views.
pub(super) async fn rebuild_state(_: AllowedCaller<ViewsRead>, call: Call) -> Outcome {
    job_state(&call, JobKind::ViewsRebuild)
}

/// Starts a job, and returns where to watch it.
pub(super) async fn begin(call: &Call, kind: JobKind, by: OnBehalf) -> Outcome {
    let job = call.api().threads.blocking(move |ports| ports.node.begin_job(kind, &by)).await??;
    Ok(respond::with_location(respond::under_way(&WireJob::from(job))?, &format!("{}{}", crate::route::BASE, path(kind))))
}

/// Shows the newest job of a kind.
pub(super) fn job_state(call: &Call, kind: JobKind) -> Outcome {
    let job = call.api().ports.node.job(kind).ok_or_else(|| Missing::new("job since the node started", path(kind)))?;
    respond::json(&WireJob::from(job))
}

fn path(kind: JobKind) -> &'static str {
    match kind {
        JobKind::LogVerify => "/log/verify",
        JobKind::ViewsRebuild => "/views/rebuild",
        JobKind::MasterKeyRotate => "/master_key/rotate",
    }
}
