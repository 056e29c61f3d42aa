//! What the address of a database says about the way in, for those who must keep it from others. Nothing is opened.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr as _;

use tokio_postgres::Config;

use crate::tls::Parameters;

/// The way into a database, as its address has it. It has a secret, so it is not shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AddressCredentials {
    /// The password.
    pub password: Option<Vec<u8>>,
    /// The files of the client certificate and of its key.
    pub files: Vec<PathBuf>,
}

impl AddressCredentials {
    /// Reads an address. An error does not repeat the address.
    pub fn of(address: &str) -> Result<Self, String> {
        let (address, parameters) = Parameters::taken_from(address)?;
        let config = Config::from_str(&address).map_err(|error| crate::classify::text(&error))?;
        Ok(Self { password: config.get_password().map(<[u8]>::to_vec), files: parameters.client_files() })
    }

    /// Returns true if the address has neither a password nor a client certificate.
    pub fn are_missing(&self) -> bool {
        self.password.is_none() && self.files.is_empty()
    }
}

impl fmt::Debug for AddressCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressCredentials(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_and_client_files_of_an_address_are_found() {
        let credentials = |address: &str| AddressCredentials::of(address).unwrap();
        let password = |address: &str| credentials(address).password.map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(password("postgres://ada:s%40cret@db/cats").as_deref(), Some("s@cret"));
        assert_eq!(password("postgres://ada@a,b/cats?sslmode=require&password=s%26cret").as_deref(), Some("s&cret"));
        let with_files = credentials("postgres://ada@db/cats?sslcert=%2Fetc%2Fa.pem&sslkey=a.key&sslrootcert=ca.pem");
        assert_eq!(with_files.files, ["/etc/a.pem", "a.key"].map(PathBuf::from));
        assert!(credentials("postgres:///cats?host=/run/postgresql").are_missing() && !with_files.are_missing());
        assert_eq!(format!("{with_files:?}"), "AddressCredentials(…)");
        let why = AddressCredentials::of("postgres://ada:s3cret@db/cats?nonsense=1").unwrap_err();
        assert!(!why.contains("s3cret"), "{why}");
    }
}
