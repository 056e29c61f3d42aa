//! The API of a simulated node: its real routes over its real ports, without a socket.
//!
//! `http.rs` builds the requests and interprets the answers. Routes that clients of a world never use
//! (status, doctor, background jobs) are rejected here.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, Response};
use ensue_api::ports::{
    AskedLink, BegunDevice, CodeNotFound, ConnectionStatus, Credential, DeviceDecision, Devices, EffectiveSetting, Finding, FindingEnd,
    Issuers, Job, JobKind, Node as AboutNode, NodeStatus, OnBehalf, PortError, Readiness, RedeemedCode, SensorLine, SensorStatus,
    SensorTest, Sensors, TestedConnection, Testing, WaitingDevice,
};
use ensue_api::settings::Blocking;
use ensue_api::worker_queues::WorkerQueue;
use ensue_api::{Front, Hosts, Limits, PageServing, Ports, Rates, Settings};
use ensue_engine::catalog::DELIVERY_BYTES_DEFAULT;
use ensue_engine::command::{ObservedEvent, Refusal};
use ensue_engine::events::facts::KeptMessage;
use ensue_engine::ids::IdentityId;
use ensue_engine::names::{ConnectionName, IssuerName, SensorRef};
use ensue_engine::ports::{CommitReceipt, Secret, SubmitError};
use ensue_engine::sensors::cursor::Cursor;
use ensue_node::parts::{Caps, Gauges, queues};
use prometheus_client::registry::Registry;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::http::{BODY_TIMEOUT, ClientAnswer, Exchanges, RequestBody};
use crate::operator::OperatorSettings;
use crate::traffic::{Promise, RequestNumber};

/// The size limit of an answer, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// The API of one node.
pub(crate) struct NodeApi {
    front: Front,
    connections: Arc<Connections>,
    /// By request and copy. Dropping a sender means that the client has disconnected.
    clients: Mutex<BTreeMap<(RequestNumber, u32), oneshot::Sender<()>>>,
}

/// A copy of a request that has arrived.
pub(crate) struct ArrivedRequest {
    /// The request's number.
    pub(crate) number: RequestNumber,
    /// The number of the copy.
    pub(crate) copy: u32,
    /// The copy, as it was sent.
    pub(crate) request: Request<RequestBody>,
    /// The reader of the answer.
    pub(crate) promise: Promise,
    /// Where answers are stored.
    pub(crate) exchanges: Arc<Exchanges>,
}

impl NodeApi {
    /// Opens the API over a node's ports, to be served on a runtime.
    pub(crate) fn new(ports: Ports, memory_bytes: u64, operated: &OperatorSettings, runtime: &Runtime) -> Self {
        let settings = Settings {
            base_url: "http://ensue.example".to_owned(),
            hosts: Hosts::default(),
            release: "0.0.0-simulated".to_owned(),
            addresses: ensue_api::Addresses::default(),
            cors: ensue_api::Cors::default(),
            cursor_key: [7; 32],
            limits: Limits { body_timeout: BODY_TIMEOUT, ..Limits::default() },
            queues: queues(
                memory_bytes,
                Caps {
                    delivery_bytes_max: DELIVERY_BYTES_DEFAULT,
                    open_work: operated.open_work_max,
                    workers: operated.settings().workers_in_all(),
                },
            ),
            rates: Rates::default(),
            blocking: Blocking::InPlace,
            page: PageServing::Off,
            features: std::collections::BTreeSet::new(),
        };
        let connections: Arc<Connections> = Arc::default();
        runtime.spawn(Serving(connections.clone()));
        Self { front: Front::new(ports, settings), connections, clients: Mutex::default() }
    }

    /// Returns the number of open requests.
    pub(crate) fn under_way(&self) -> usize {
        lock(&self.connections.open).len()
    }

    /// Begins a stop: new requests are no longer accepted.
    pub(crate) fn stop(&self) {
        self.front.stop();
    }

    /// Serves a request from the runtime's next step on.
    pub(crate) fn serve(&self, arrived: ArrivedRequest) {
        let ArrivedRequest { number, copy, request, promise, exchanges } = arrived;
        let (client, has_gone) = oneshot::channel();
        let mut clients = lock(&self.clients);
        clients.retain(|_, client| !client.is_closed());
        clients.insert((number, copy), client);
        let front = self.front.clone();
        let served = async move {
            tokio::select! {
                biased;
                _ = has_gone => promise.let_go(),
                answer = answer_request(&front, request) => match exchanges.note(number, copy, answer) {
                    Some(outcome) => promise.keep(outcome),
                    None => promise.let_go(),
                },
            }
        };
        lock(&self.connections.open).insert((number, copy), Box::pin(served));
        if let Some(waker) = lock(&self.connections.waker).take() {
            waker.wake();
        }
    }

    /// Closes the connections of a request whose client has disconnected.
    pub(crate) fn hang_up(&self, number: RequestNumber) {
        lock(&self.clients).retain(|(of, _), _| *of != number);
    }
}

/// The open connections.
#[derive(Default)]
struct Connections {
    open: Mutex<BTreeMap<(RequestNumber, u32), Connection>>,
    waker: Mutex<Option<Waker>>,
}

type Connection = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves connections in the order of their requests, whichever is woken first. Requests that wait for the
/// views are woken in no fixed order, but equal seeds must produce equal traces.
struct Serving(Arc<Connections>);

impl Future for Serving {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        *lock(&self.0.waker) = Some(context.waker().clone());
        let mut open = lock(&self.0.open);
        open.retain(|_, connection| connection.as_mut().poll(context).is_pending());
        Poll::Pending
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer_request(front: &Front, request: Request<RequestBody>) -> ClientAnswer {
    let (head, body) = front.answer(request).await.into_parts();
    let body = to_bytes(body, ANSWER_BYTES_MAX).await.unwrap_or_default();
    ClientAnswer::of(&Response::from_parts(head, Body::empty()), &body)
}

/// The simulated nodes have no issuers.
pub(crate) struct NoIssuers;

impl Issuers for NoIssuers {
    fn cached_credential(&self, _token: &str) -> Option<Credential> {
        None
    }

    fn verify(&self, _token: &str) -> Result<Option<Credential>, PortError> {
        Ok(None)
    }

    fn link(&self, _id: IdentityId, link: &AskedLink, _by: &OnBehalf) -> Result<CommitReceipt, PortError> {
        Err(Refusal::NotLinked { issuer: link.issuer.clone() }.into())
    }

    fn unlink(&self, _id: IdentityId, issuer: &IssuerName, _by: &OnBehalf) -> Result<CommitReceipt, PortError> {
        Err(Refusal::NotLinked { issuer: issuer.clone() }.into())
    }
}

/// The packs of the simulated nodes have no pulling sensors.
impl Sensors for NoIssuers {
    fn status(&self, _: &SensorRef) -> Option<SensorStatus> {
        None
    }

    fn lines(&self, _: &SensorRef, _: Option<u64>) -> Vec<SensorLine> {
        Vec::new()
    }

    fn test(&self, asked: SensorTest) -> Testing {
        Box::pin(std::future::ready(Err(Refusal::SensorDoesNotPull(asked.sensor).into())))
    }

    fn check_cursor(&self, sensor: &SensorRef, _: &Cursor) -> Result<(), PortError> {
        Err(Refusal::SensorDoesNotPull(sensor.clone()).into())
    }

    fn end_of(&self, sensor: &SensorRef) -> FindingEnd {
        Box::pin(std::future::ready(Err(Refusal::SensorDoesNotPull(sensor.clone()).into())))
    }

    fn read_again(&self, sensor: &SensorRef, _: KeptMessage, _: Bytes) -> Result<Vec<ObservedEvent>, PortError> {
        Err(Refusal::SensorDoesNotPull(sensor.clone()).into())
    }
}

/// No terminal waits.
/// The operators of the simulated nodes define no connections.
impl ensue_api::ports::Connections for NoIssuers {
    fn all(&self) -> Vec<ConnectionStatus> {
        Vec::new()
    }

    fn status(&self, _: &ConnectionName) -> Option<ConnectionStatus> {
        None
    }

    fn test(&self, _: ConnectionName) -> Pin<Box<dyn Future<Output = Option<TestedConnection>> + Send>> {
        Box::pin(std::future::ready(None))
    }
}

impl Devices for NoIssuers {
    fn are_allowed(&self) -> bool {
        true
    }

    fn begin(&self, _: WaitingDevice) -> Result<BegunDevice, PortError> {
        Err(Refusal::CredentialGone.into())
    }

    fn poll(&self, _: &Secret) -> Result<RedeemedCode, PortError> {
        Err(Refusal::CredentialGone.into())
    }

    fn look_up(&self, _: &str, _: &str) -> Result<WaitingDevice, CodeNotFound> {
        Err(CodeNotFound::Unknown)
    }

    fn decide(&self, _: &str, _: &str, _: DeviceDecision) -> Result<(), CodeNotFound> {
        Err(CodeNotFound::Unknown)
    }
}

/// The node's data that the API asks for.
pub(crate) struct SimulatedAbout(pub(crate) Arc<Gauges>);

impl AboutNode for SimulatedAbout {
    fn admission(&self) -> Result<(), PortError> {
        if self.0.is_full.load(Ordering::Relaxed) { Err(SubmitError::StorageFull.into()) } else { Ok(()) }
    }

    fn readiness(&self) -> Readiness {
        Readiness { is_ready: true, dependencies: Vec::new() }
    }

    fn status(&self) -> Result<NodeStatus, PortError> {
        Err(SubmitError::Stopping.into())
    }

    fn register(&self, _: &mut Registry) {}

    fn doctor(&self) -> Result<Vec<Finding>, PortError> {
        Err(SubmitError::Stopping.into())
    }

    fn settings(&self) -> Vec<EffectiveSetting> {
        Vec::new()
    }

    fn begin_job(&self, _: JobKind, _: &OnBehalf) -> Result<Job, PortError> {
        Err(SubmitError::Stopping.into())
    }

    fn worker_queues(&self) -> Result<Vec<WorkerQueue>, PortError> {
        Err(SubmitError::Stopping.into())
    }

    fn job(&self, _: JobKind) -> Option<Job> {
        None
    }
}
