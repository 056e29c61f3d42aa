//! The address of the database that has the log, and its password.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use ensue_derive::Settings;
use ensue_engine::ports::Secret;
use ensue_packs::shape::{Form, Kind};
use ensue_postgres::AddressCredentials;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use thiserror::Error;

use super::setting::{FromVariable, Setting};
use super::written_values::mask_address;

/// The variable with the password of the database.
pub const DATABASE_PASSWORD: &str = "ENSUE_DATABASE_PASSWORD";
/// The variable that names the file with the password of the database.
pub const DATABASE_PASSWORD_FILE: &str = "ENSUE_DATABASE_PASSWORD_FILE";

/// The address of a PostgreSQL database. It may contain a password, so it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseAddress {
    address: String,
    credentials: AddressCredentials,
    password_from: PasswordFrom,
}

/// Where the password of a database was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordFrom {
    /// In the address, in a variable.
    Address,
    /// In the address, in the settings file.
    SettingsFile,
    /// In the address, in a flag.
    Flag,
    /// Apart from the address.
    OwnSetting,
}

/// A text is not the address of a database. The text is not repeated.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DatabaseAddressError {
    /// It is something else.
    #[error("must be the address of a PostgreSQL database, such as `postgres://USER@HOST/DATABASE`")]
    Malformed,
    /// There are two passwords, and neither can take precedence.
    #[error("has a password, and the setting `database.password` or a variable has one too: remove one of them")]
    PasswordTwice,
    /// The password is not text.
    #[error("cannot have this password: it is not UTF-8")]
    PasswordNotText,
}

impl DatabaseAddress {
    /// Returns the whole address.
    pub(crate) fn reveal(&self) -> &str {
        &self.address
    }

    /// Returns the address without its password, for people.
    pub fn masked(&self) -> String {
        mask_address(&self.address)
    }

    /// Adds a password that was written apart from the address.
    pub fn with_password(self, password: &Secret) -> Result<Self, DatabaseAddressError> {
        if self.credentials.password.is_some() {
            return Err(DatabaseAddressError::PasswordTwice);
        }
        let text = std::str::from_utf8(password.reveal()).map_err(|_| DatabaseAddressError::PasswordNotText)?;
        let joint = if self.address.contains('?') { '&' } else { '?' };
        let address = format!("{}{joint}password={}", self.address, utf8_percent_encode(text, NON_ALPHANUMERIC));
        let credentials = AddressCredentials { password: Some(password.reveal().to_vec()), ..self.credentials };
        Ok(Self { address, credentials, password_from: PasswordFrom::OwnSetting })
    }

    /// Says where the address was written.
    #[must_use]
    pub fn with_place(self, place: PasswordFrom) -> Self {
        Self { password_from: place, ..self }
    }

    /// Returns true if there is a password.
    pub fn has_password(&self) -> bool {
        self.credentials.password.is_some()
    }

    /// Returns the password.
    pub(crate) fn password(&self) -> Option<Secret> {
        self.credentials.password.clone().map(Secret::new)
    }

    /// Returns where the password was written, if there is one.
    pub(crate) fn password_from(&self) -> Option<PasswordFrom> {
        self.credentials.password.as_ref().map(|_| self.password_from)
    }

    /// Returns the files that the address names and that the node alone opens.
    pub(crate) fn files(&self) -> &[PathBuf] {
        &self.credentials.files
    }

    /// Returns true if nothing in the address proves who connects.
    pub(crate) fn is_without_credentials(&self) -> bool {
        self.credentials.are_missing()
    }
}

/// A password that was written apart from the address. It is not shown.
#[derive(Clone)]
pub struct OwnPassword(pub Secret);

impl fmt::Debug for OwnPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnPassword(…)")
    }
}

impl FromStr for DatabaseAddress {
    type Err = DatabaseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once("://") {
            Some(("postgres" | "postgresql", rest)) if !rest.is_empty() => {
                // A node does not start on an address that the driver refuses, and then says why.
                let credentials = AddressCredentials::of(text).unwrap_or_default();
                Ok(Self { address: text.to_owned(), credentials, password_from: PasswordFrom::Address })
            }
            Some(_) | None => Err(DatabaseAddressError::Malformed),
        }
    }
}

impl fmt::Debug for DatabaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseAddress(…)")
    }
}

/// The setting `database` as written: an address, or an address and the place of its password.
#[derive(Debug)]
pub(super) struct WrittenDatabase {
    pub(super) url: String,
    pub(super) password: Option<WrittenPassword>,
}

/// The place of a password.
#[derive(Debug, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenPassword {
    /// A file, whose last newline is ignored.
    pub(super) file: PathBuf,
}

#[derive(Deserialize, Settings)]
#[serde(deny_unknown_fields)]
struct WrittenFields {
    /// The address: `postgres://USER@HOST/DATABASE`.
    url: String,
    /// The place of the password, if the address does not have it.
    password: Option<WrittenPassword>,
}

impl Setting for WrittenDatabase {
    const KIND: Kind = Kind::TextOrFields(Form::Any, WrittenFields::SHAPE);
}

impl FromVariable for WrittenDatabase {
    fn from_variable(text: &str) -> Result<Self, String> {
        Ok(Self { url: text.to_owned(), password: None })
    }
}

impl<'de> Deserialize<'de> for WrittenDatabase {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = WrittenDatabase;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the address of a database, or a mapping with `url` and `password`")
            }

            fn visit_str<E: serde::de::Error>(self, url: &str) -> Result<Self::Value, E> {
                Ok(WrittenDatabase { url: url.to_owned(), password: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let WrittenFields { url, password } =
                    WrittenFields::deserialize(MapAccessDeserializer::new(map)).map_err(A::Error::custom)?;
                Ok(WrittenDatabase { url, password })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn address_is_not_shown_and_other_databases_are_refused() {
        let address: DatabaseAddress = "postgres://ada:secret@db/cats".parse().unwrap();
        assert_eq!((address.reveal(), format!("{address:?}")), ("postgres://ada:secret@db/cats", "DatabaseAddress(…)".to_owned()));
        for other in ["mysql://ada:secret@db/cats", "postgres://", "db", ""] {
            assert_eq!(other.parse::<DatabaseAddress>(), Err(DatabaseAddressError::Malformed), "{other}");
        }
    }

    #[test]
    fn any_password_is_added_to_any_address() {
        for address in ["postgres://ada@db/cats", "postgres://ada@a,b/cats?sslmode=require", "postgres:///cats?host=/run/postgresql"] {
            for password in ["secret-1", "a b&c=d#e?f@g/h:i%j+k", "pässwörd"] {
                let address: DatabaseAddress = address.parse().unwrap();
                let with = address.with_password(&Secret::new(password.as_bytes().to_vec())).unwrap();
                let read = AddressCredentials::of(with.reveal()).unwrap().password.unwrap();
                assert_eq!(String::from_utf8(read).unwrap(), password, "as the driver reads it");
                assert_eq!(with.password_from(), Some(PasswordFrom::OwnSetting));
            }
        }
    }

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::write(folder.path().join("db.password"), "from-file\n").unwrap();
        std::fs::write(folder.path().join("ensue.yaml"), text).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::read(Some(&folder.path().join("ensue.yaml")), variables).map_err(|error| error.to_string())
    }

    fn password(config: &Config) -> Option<String> {
        config.database.as_ref()?.password().map(|password| String::from_utf8(password.reveal().to_vec()).unwrap())
    }

    #[test]
    fn password_comes_from_a_file_a_variable_or_the_address() {
        let apart = "database: { url: postgres://ensue@db/ensue, password: { file: db.password } }";
        let from_file = read(apart, &[]).unwrap();
        assert_eq!(password(&from_file).as_deref(), Some("from-file"));
        assert!(from_file.hidden_paths().iter().any(|path| path.ends_with("db.password")), "{:?}", from_file.hidden_paths());
        let plain = "database: postgres://ensue@db/ensue";
        let from_variable = read(plain, &[(DATABASE_PASSWORD, "from-variable")]).unwrap();
        assert_eq!(password(&from_variable).as_deref(), Some("from-variable"));
        let in_address = read("database: postgres://ensue:in-file@db/ensue", &[]).unwrap();
        assert_eq!(in_address.database.unwrap().password_from(), Some(PasswordFrom::SettingsFile));
        // A variable overrides the file, and the address of a variable goes with the password of the file.
        assert_eq!(password(&read(apart, &[(DATABASE_PASSWORD, "over")]).unwrap()).as_deref(), Some("over"));
        let other = [("ENSUE_DATABASE", "postgres://ensue@other/ensue")];
        assert_eq!(password(&read(apart, &other).unwrap()).as_deref(), Some("from-file"));
    }

    #[test]
    fn two_passwords_or_a_missing_file_are_refused_without_showing_a_password() {
        let twice = read("database: { url: 'postgres://ensue:s3cret-1@db/ensue', password: { file: db.password } }", &[]).unwrap_err();
        assert!(twice.contains("has a password") && !twice.contains("s3cret-1"), "{twice}");
        let missing = read("database: { url: postgres://ensue@db/ensue, password: { file: nowhere } }", &[]).unwrap_err();
        assert!(missing.contains("nowhere cannot be read"), "{missing}");
        let both = [(DATABASE_PASSWORD, "s3cret-1"), (DATABASE_PASSWORD_FILE, "/nowhere")];
        let both = read("", &both).unwrap_err();
        assert!(!both.contains("s3cret-1"), "{both}");
        let unknown = read("database: { url: postgres://ensue@db/ensue, passwort: { file: db.password } }", &[]).unwrap_err();
        assert!(unknown.contains("passwort"), "{unknown}");
    }
}
