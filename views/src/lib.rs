//! The pure folds that the API reads: one file per view, each with a struct, the key that a record touches,
//! and `project`.
//!
//! Read in this order: [`view`] defines what a view is; [`events`], [`enforcements`], [`executions`],
//! [`artifacts`] and [`inquiries`] follow the life of an event; [`rules`], [`schedules`], [`locks`],
//! [`packs`], [`keys`], [`vars`], [`tokens`], [`dead_letters`], [`parked_reactions`] and [`totals`] are the
//! other views; [`timeline`] describes an execution's records for people; [`store`] has the ports for storing
//! and reading views; [`projector`] folds batches of records and keeps a store up to date with the log;
//! [`retention`] selects the rows that leave a store; [`series`] counts over time.
//!
//! Nothing here does I/O or reads a clock: rebuilding a view from the log gives, byte for byte, the content
//! of the live one.

pub mod artifacts;
pub mod audit;
mod bounds;
pub mod changed_rows;
pub mod dead_letters;
pub mod enforcements;
pub mod events;
pub mod executions;
pub mod inquiries;
pub mod keys;
pub mod locks;
pub mod onlooker;
pub mod packs;
pub mod parked_reactions;
pub mod projector;
pub mod reach;
mod registry;
mod removal;
pub mod rules;
pub mod schedules;
pub mod series;
pub mod store;
pub mod timeline;
pub mod tokens;
pub mod totals;
pub mod vars;
pub mod view;
pub mod view_retention;

pub use artifacts::Artifact;
pub use audit::AuditEntry;
pub use dead_letters::DeadLetter;
pub use enforcements::Enforcement;
pub use events::Event;
pub use executions::{Attempt, Execution};
pub use inquiries::{Inquiry, InquiryStatus};
pub use keys::{Key, KeyVersion};
pub use locks::{LockClaim, LockClaims};
pub use packs::Pack;
pub use parked_reactions::ParkedReaction;
pub use projector::Projector;
pub use reach::{ReachLimits, RowReach, RowScope};
pub use rules::RuleActivity;
pub use schedules::Schedule;
pub use store::{Filter, ListQuery, Row, ViewError, ViewReader, ViewStore};
pub use timeline::TimelineEntry;
pub use tokens::Token;
pub use totals::Totals;
pub use vars::Var;
pub use view::{Column, Handle, Term, View, ViewName};
pub use view_retention::ViewRetention;
