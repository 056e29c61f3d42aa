//! Picks the person who answers an inquiry in a rehearsal.

use ensue_engine::inquiries::facts::Assignee;
use ensue_engine::inquiries::state::Inquiry;

/// Returns the name and the roles of a person who may answer and has not answered yet: the given one, or the
/// first assignee. If only a role is assigned, the name is invented.
pub(super) fn somebody(inquiry: &Inquiry, by: Option<String>) -> (String, Vec<String>) {
    let roles = inquiry.assignees.iter().filter_map(|assignee| match assignee {
        Assignee::Role(role) => Some(role.clone()),
        Assignee::Token(_) => None,
    });
    let roles: Vec<String> = roles.collect();
    if let Some(by) = by {
        return (by, roles);
    }
    let may = |name: &String| !inquiry.excluded.contains(name) && inquiry.answers.iter().all(|given| given.by != *name);
    let named = inquiry.assignees.iter().find_map(|assignee| match assignee {
        Assignee::Token(name) if may(name) => Some(name.clone()),
        Assignee::Token(_) | Assignee::Role(_) => None,
    });
    match named {
        Some(name) => (name, Vec::new()),
        None => (format!("somebody_{}", inquiry.answers.len() + 1), roles),
    }
}
