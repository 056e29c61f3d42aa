//! The link to an inquiry in the parameters of its notification: created when an attempt starts, and masked like a key
//! wherever the attempt would show it.
//!
//! Only what leaves the node gets the link. An action that the node performs itself records what it is given, so it keeps
//! the address that needs a login.

use std::sync::LazyLock;

use bytes::Bytes;
use ensue_engine::catalog::{Action, Run};
use ensue_engine::effect::Dispatch;
use ensue_engine::executions::facts::WantedLink;
use ensue_engine::names::KeyRef;
use ensue_engine::record::AttemptOf;
use ensue_expression::Document;

use crate::ports::AnswerLink;
use crate::worker_context::WorkerContext;

/// The name under which the code of a link is masked, like a key.
pub(crate) static LINK: LazyLock<KeyRef> = LazyLock::new(|| "ensue.link".parse().expect("it is a ref"));

/// Creates the link that an attempt's parameters have a place for, and puts it there. Returns none if they have none, or if
/// the person cannot have a link.
pub(crate) async fn filled_in(
    means: &WorkerContext,
    dispatch: &Dispatch,
    action: &Action,
    params: &Document,
) -> Option<(Document, AnswerLink)> {
    let wanted = dispatch.link.as_deref().filter(|_| leaves_the_node(&action.run))?;
    let links = means.ports.links.clone()?;
    let (asked, attempt) = (wanted.clone(), AttemptOf { execution: dispatch.execution, number: dispatch.number });
    let minted = means.settings.blocking.run(move || links.mint(&asked, attempt)).await??;
    let filled = insert_link(params, wanted, &minted)?;
    Some((filled, minted))
}

fn leaves_the_node(run: &Run) -> bool {
    match run {
        Run::Process(_) | Run::Shell(_) | Run::Http(_) | Run::Mail(_) => true,
        Run::Emit { .. } | Run::Workflow(_) | Run::Builtin(_) => false,
    }
}

/// Returns the parameters with the link in its place. Neither text needs to be escaped in JSON.
fn insert_link(params: &Document, wanted: &WantedLink, link: &AnswerLink) -> Option<Document> {
    let (text, address) = (std::str::from_utf8(params.bytes()).ok()?, std::str::from_utf8(link.address.reveal()).ok()?);
    Document::parse(Bytes::from(text.replace(&wanted.place, address))).ok()
}
