//! The formats of a log file: that of this release, and that of an older release which must be able to read a
//! copy.

use std::fmt;
use std::str::FromStr;

use super::{FIRST_MIGRATION, SCHEMA};
use crate::encode::Compression;
use crate::sqlite::{PageSize, Schema};

/// The tables of release 0.1.
const SCHEMA_OF_0_1: Schema = Schema {
    name: "log",
    migrations: &[FIRST_MIGRATION],
    definitions: "0d59c318a6d026cc9dcb2fded54aee1c8b8f126c614f58e0c69975da2f290168",
    page: PageSize::Kib8,
};

/// A format of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The format of this release.
    Current,
    /// The format of release 0.1: tables of version 1, pages of 8 KiB, and bodies compressed without a dictionary.
    V0_1,
}

impl Format {
    /// All formats, the newest first.
    pub(super) const ALL: [Self; 2] = [Self::Current, Self::V0_1];

    pub(in crate::sqlite) fn schema(self) -> &'static Schema {
        match self {
            Self::Current => &SCHEMA,
            Self::V0_1 => &SCHEMA_OF_0_1,
        }
    }

    pub(super) fn compression(self) -> Compression {
        match self {
            Self::Current => Compression::ZstdD1,
            Self::V0_1 => Compression::Zstd,
        }
    }

    /// Returns true if a release that reads this format knows a fact.
    pub(super) fn knows(self, kind: &str, schema: u16) -> bool {
        match self {
            // What this release does not know is found when the copy is verified.
            Self::Current => true,
            Self::V0_1 => KINDS_OF_0_1.iter().any(|(known, newest)| *known == kind && schema <= *newest),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("this release"),
            Self::V0_1 => f.write_str("release 0.1"),
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(release: &str) -> Result<Self, String> {
        match release {
            "0.1" => Ok(Self::V0_1),
            other => Err(format!("unknown format `{other}`; the only older format is `0.1`")),
        }
    }
}

/// Every kind of fact that release 0.1 knows, with the newest schema that it knows.
const KINDS_OF_0_1: &[(&str, u16)] = &[
    ("event.received", 4),
    ("delivery.refused", 2),
    ("enforcement.made", 4),
    ("rule.erred", 1),
    ("rule.errors_counted", 1),
    ("rule.mode_set", 1),
    ("loop.stopped", 1),
    ("enforcement.held_on", 1),
    ("enforcement.released", 2),
    ("enforcement.superseded", 1),
    ("rule.key_forgotten", 1),
    ("rule.flow_ended", 1),
    ("execution.requested", 7),
    ("attempt.started", 1),
    ("attempt.progressed", 1),
    ("attempt.emitted", 1),
    ("artifact.kept", 1),
    ("message.refused", 1),
    ("attempt.succeeded", 1),
    ("attempt.failed", 1),
    ("attempt.lost", 1),
    ("attempt.reported_late", 1),
    ("execution.succeeded", 2),
    ("execution.failed", 2),
    ("execution.timed_out", 2),
    ("execution.cancel_requested", 1),
    ("execution.paused", 1),
    ("execution.resumed", 1),
    ("execution.cancelled", 3),
    ("lock.awaited", 1),
    ("lock.acquired", 1),
    ("execution.became_indeterminate", 1),
    ("execution.settled", 1),
    ("step.skipped", 1),
    ("step.failed", 1),
    ("step.expanded", 2),
    ("step.ended", 1),
    ("undo.begun", 1),
    ("undo.failed", 1),
    ("wait.opened", 1),
    ("wait.matched", 1),
    ("wait.erred", 1),
    ("rerun.planned", 1),
    ("step.taken_over", 1),
    ("inquiry.opened", 2),
    ("inquiry.answered", 1),
    ("inquiry.reminded", 1),
    ("inquiry.escalated", 1),
    ("inquiry.notified", 1),
    ("inquiry.notification_failed", 1),
    ("inquiry.withdrawn", 1),
    ("timer.set", 2),
    ("timer.fired", 2),
    ("schedule.set", 1),
    ("schedule.missed", 1),
    ("schedule.ended", 1),
    ("pack.installed", 1),
    ("pack.removed", 1),
    ("var.set", 1),
    ("var.removed", 1),
    ("key.set", 1),
    ("key.removed", 1),
    ("token.added", 1),
    ("token.revoked", 1),
    ("dead_letter.retried", 1),
    ("dead_letter.dismissed", 1),
    ("node.started", 1),
    ("clock.stepped", 1),
    ("clock.accepted", 1),
    ("reaction.deferred", 1),
    ("reaction.resumed", 1),
    ("reaction.held", 1),
    ("reaction.parked", 1),
    ("reaction.retried", 1),
    ("reaction.dismissed", 1),
];

#[cfg(test)]
mod tests {
    use ensue_engine::fact::Fact;

    use super::*;

    #[test]
    fn kinds_of_0_1_are_kinds_of_this_release() {
        for (kind, schema) in KINDS_OF_0_1 {
            let newest = Fact::KINDS.iter().find(|(known, _)| known == kind).map(|(_, newest)| *newest);
            assert!(newest.is_some_and(|newest| *schema <= newest), "{kind}");
        }
    }

    #[test]
    fn release_0_1_knows_no_fact_that_came_later() {
        assert!(Format::V0_1.knows("attempt.succeeded", 1));
        for (kind, schema) in [("attempt.succeeded", 2), ("log.restored", 1), ("moon.landed", 1)] {
            assert!(!Format::V0_1.knows(kind, schema), "{kind}");
            assert!(Format::Current.knows(kind, schema), "{kind}");
        }
    }

    #[test]
    fn format_is_named_by_its_release() {
        assert_eq!("0.1".parse(), Ok(Format::V0_1));
        assert!("0.2".parse::<Format>().unwrap_err().contains("`0.1`"));
    }
}
