//! The address of the database that has the log.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The address of a PostgreSQL database. It may contain a password, so it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseAddress(String);

/// A text is not the address of a database. The text is not repeated.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("must be the address of a PostgreSQL database, such as `postgres://USER@HOST/DATABASE`")]
pub struct DatabaseAddressError;

impl DatabaseAddress {
    /// Returns the whole address.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for DatabaseAddress {
    type Err = DatabaseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once("://") {
            Some(("postgres" | "postgresql", rest)) if !rest.is_empty() => Ok(Self(text.to_owned())),
            Some(_) | None => Err(DatabaseAddressError),
        }
    }
}

impl fmt::Debug for DatabaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseAddress(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_not_shown_and_other_databases_are_refused() {
        let address: DatabaseAddress = "postgres://ada:secret@db/cats".parse().unwrap();
        assert_eq!((address.reveal(), format!("{address:?}")), ("postgres://ada:secret@db/cats", "DatabaseAddress(…)".to_owned()));
        for other in ["mysql://ada:secret@db/cats", "postgres://", "db", ""] {
            assert_eq!(other.parse::<DatabaseAddress>(), Err(DatabaseAddressError), "{other}");
        }
    }
}
