//! The inquiries that executions wait for, as a list shows them.

use ensue_engine::access::permission::Permission;
use ensue_engine::ids::InquiryId;
use ensue_views::Inquiry;

use super::{Sees, Viewer, text};
use crate::auth::{KnownCaller, Proof as _};
use crate::deliveries;
use crate::ports::Ports;
use crate::problem::Problem;
use crate::rows::read_row;
use crate::wire::inquiries::WireInquiry;

/// Returns those of the inquiries that a caller sees; `None` if it sees none at all. Blocking.
pub(in crate::routes) fn awaited_inquiries(
    ports: &Ports,
    known: &KnownCaller,
    ids: &[InquiryId],
    base: &str,
) -> Result<Option<Vec<WireInquiry>>, Problem> {
    let Some(reach) = known.rows(Permission::InquiriesRead) else { return Ok(None) };
    let (seen, holder) = (Sees(reach), known.holder());
    let viewer = Viewer {
        by: known.caller(),
        name: holder.identity.as_ref().map(|(_, name)| name.clone()),
        roles: holder.roles.clone(),
        identity: holder.identity.as_ref().map(|(id, _)| *id),
        represents: holder.represents.clone(),
        answers: known.rows(Permission::InquiriesAnswer).map(Sees),
        now: deliveries::now(),
    };
    let mut shown = Vec::new();
    for id in ids {
        if let Some(inquiry) = read_row::<Inquiry>(ports, &id.to_string())?.filter(|inquiry| seen.has(inquiry)) {
            let (text, standing) = (text(ports, &inquiry)?, viewer.standing(&*ports.access, &inquiry));
            shown.push(WireInquiry::for_list(inquiry, base).beginning_with(text).read_by(standing));
        }
    }
    Ok(Some(shown))
}
