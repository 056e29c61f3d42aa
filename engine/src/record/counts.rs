//! Numbers of the log: positions, revisions, epochs.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! counts {
    ($($(#[$doc:meta])* $type:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub u64);

        impl $type {
            /// Returns the next number.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

counts! {
    /// A place in a log: 1, 2, 3 … without a gap; 0 is before the first.
    Position;
    /// The number of a record in its stream, from 1.
    Revision;
    /// The number of a writer's right to write. It only grows, and an append under an older one fails.
    Epoch;
    /// The revision of the catalog with which something was judged; 0 is the empty catalog.
    CatalogRevision;
}
