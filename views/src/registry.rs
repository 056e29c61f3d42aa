//! The registry of the views: the version of each fold, and its columns.
//!
//! The views import [`view`](crate::view), and this file imports the views, so that no view depends on the
//! others.

use crate::view::{Column, ViewName};
use crate::{
    artifacts, audit, dead_letters, enforcements, events, executions, inquiries, keys, locks, packs, parked_reactions, rules, schedules,
    tokens, totals, vars,
};

impl ViewName {
    /// Returns the version of the view's fold and document. A store that holds another version rebuilds the view.
    pub fn version(self) -> u32 {
        match self {
            Self::Events => events::VERSION,
            Self::Enforcements => enforcements::VERSION,
            Self::Executions => executions::VERSION,
            Self::Artifacts => artifacts::VERSION,
            Self::Inquiries => inquiries::VERSION,
            Self::Rules => rules::VERSION,
            Self::Schedules => schedules::VERSION,
            Self::Locks => locks::VERSION,
            Self::Packs => packs::VERSION,
            Self::Keys => keys::VERSION,
            Self::Vars => vars::VERSION,
            Self::Tokens => tokens::VERSION,
            Self::Audit => audit::VERSION,
            Self::DeadLetters => dead_letters::VERSION,
            Self::ParkedReactions => parked_reactions::VERSION,
            Self::Totals => totals::VERSION,
        }
    }

    /// Returns the columns by which the view's rows can be filtered.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Events => events::COLUMNS,
            Self::Enforcements => enforcements::COLUMNS,
            Self::Executions => executions::COLUMNS,
            Self::Artifacts => artifacts::COLUMNS,
            Self::Inquiries => inquiries::COLUMNS,
            Self::Rules => rules::COLUMNS,
            Self::Schedules => schedules::COLUMNS,
            Self::Locks => locks::COLUMNS,
            Self::Packs => packs::COLUMNS,
            Self::Keys => keys::COLUMNS,
            Self::Vars => vars::COLUMNS,
            Self::Tokens => tokens::COLUMNS,
            Self::Audit => audit::COLUMNS,
            Self::DeadLetters => dead_letters::COLUMNS,
            Self::ParkedReactions => parked_reactions::COLUMNS,
            Self::Totals => totals::COLUMNS,
        }
    }

    /// Returns true if rows of the view belong to a pack or an execution, so that a limited permission can reach some.
    pub fn is_scoped(self) -> bool {
        match self {
            Self::Events | Self::Enforcements | Self::Executions | Self::Inquiries | Self::DeadLetters => true,
            Self::Artifacts
            | Self::Rules
            | Self::Schedules
            | Self::Locks
            | Self::Packs
            | Self::Keys
            | Self::Vars
            | Self::Tokens
            | Self::ParkedReactions
            | Self::Totals
            | Self::Audit => false,
        }
    }
}
