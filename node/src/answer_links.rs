//! Links with which one person answers one inquiry: created for a caller, or for the notification of that person.

use std::sync::Arc;

use ensue_api::ports::{Access as _, AskedInquiryLink, MintedCode, PortError};
use ensue_engine::command::{Ask, Command, NewLink};
use ensue_engine::executions::facts::WantedLink;
use ensue_engine::ids::{Id, LinkId};
use ensue_engine::ports::{CommitReceipt, Secret};
use ensue_engine::record::{Actor, AttemptOf};
use ensue_executor::ports::AnswerLink;

use crate::access::TokenTable;
use crate::clock::SteppedClock;
use crate::codes::LINK;
use crate::sequencer::Asking;
use crate::session_table::{CodePurpose, LIFETIME, millis};

/// Creates links.
pub(crate) struct AnswerLinks {
    /// The sessions, with the identities and tokens.
    pub(crate) table: Arc<TokenTable>,
    /// The access to the sequencer.
    pub(crate) sequencer: Arc<dyn Asking>,
    /// The source of ids and of time.
    pub(crate) clock: Arc<dyn SteppedClock>,
}

impl AnswerLinks {
    /// Creates a link that an actor asks for.
    pub(crate) fn mint(&self, link: &AskedInquiryLink, by: &Actor, trace: Option<&str>) -> Result<(MintedCode, CommitReceipt), PortError> {
        let moment = self.clock.moment();
        let latest = moment.time.plus_millis(millis(LIFETIME));
        let until = link.expires_at.map_or(latest, |ends| ends.min(latest));
        let purpose = CodePurpose::Inquiry { id: link.inquiry, digest: link.digest };
        let new = |id: Id| {
            Ask::MintLink(NewLink { id: LinkId(id), inquiry: link.inquiry, identity: link.identity, name: link.name.clone(), until })
        };
        let ask = |ask: Ask| self.sequencer.ask(Command { actor: by.clone(), trace: trace.map(str::to_owned), ask });
        // Nothing is kept for a link that is refused.
        ask(Ask::Check(Box::new(new(Id::root(moment.time, 0)))))?;
        let table = &self.table.sessions;
        let (id, minted) = table.mint_for(link.identity, LINK, purpose, (moment, until))?;
        let committed = ask(new(id)).inspect_err(|error| table.forget_unless_unknown(id, error))?;
        Ok((minted, committed))
    }
}

/// Creates the links of notifications.
pub(crate) struct NotificationLinks {
    /// Creates them.
    pub(crate) links: AnswerLinks,
    /// The address at which a browser opens a link, up to its code.
    pub(crate) address: String,
}

impl ensue_executor::ports::AnswerLinks for NotificationLinks {
    fn mint(&self, link: &WantedLink, attempt: AttemptOf) -> Option<AnswerLink> {
        let Some(identity) = self.links.table.identity_named(&link.r#for) else {
            tracing::info!(inquiry = %link.inquiry, "the inquiry asks nobody who has an identity, so its notification has no link");
            return None;
        };
        let asked =
            AskedInquiryLink { inquiry: link.inquiry, digest: link.digest, expires_at: link.until, identity, name: link.r#for.clone() };
        match self.links.mint(&asked, &Actor::Execution(attempt), None) {
            Ok((minted, _)) => {
                let code = minted.code;
                let address = [self.address.as_bytes(), code.reveal()].concat();
                Some(AnswerLink { address: Secret::new(address), code })
            }
            Err(declined) => {
                tracing::warn!(inquiry = %link.inquiry, why = %declined.why, "the notification of an inquiry has no link");
                None
            }
        }
    }
}
