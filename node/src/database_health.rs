//! What `ensue doctor` says about the database that has the log.

use ensue_api::ports::Finding;
use ensue_engine::explain::Explain;
use ensue_engine::time::Timestamp;
use ensue_postgres::{DatabaseError, Health, Protection, Standbys, Verification};

use crate::config::{DatabaseAddress, PasswordFrom};
use crate::machine::{bad, good, note};

/// How far the clocks of the node and of the database may be apart, in seconds.
const CLOCKS_APART_MAX: i64 = 10;

/// Returns the findings about a database that was asked at a time of the node's clock.
pub(crate) fn findings(asked: Result<Health, DatabaseError>, now: Timestamp) -> Vec<Finding> {
    match asked {
        Ok(health) => vec![standbys(&health), protection(&health.protection), clocks(health.clock_micros, now)],
        Err(error) => vec![bad("database", error.to_string(), &error.hint().unwrap_or_default())],
    }
}

/// Returns the findings about what proves to a database who connects, and where it was written.
pub(crate) fn credentials(address: &DatabaseAddress) -> Option<Finding> {
    const CHECK: &str = "database password";
    const REMEDY: &str = "write it into a file, and name that in `database.password` or ENSUE_DATABASE_PASSWORD_FILE";
    if address.is_without_credentials() {
        return Some(note(
            CHECK,
            "the address has no password: if the server lets the node in without one (`trust`, or `peer` on a socket), it may let \
             programs of actions in as well, and they can change and delete the log",
            "give the role of the node a password, demand it in pg_hba.conf (`scram-sha-256`), and name its file in `database.password`",
        ));
    }
    match address.password_from()? {
        PasswordFrom::SettingsFile => {
            Some(note(CHECK, "the password of the database is in the settings file, with everything else", REMEDY))
        }
        PasswordFrom::Flag => {
            Some(note(CHECK, "the password of the database is in a flag, which every user of the machine can see", REMEDY))
        }
        PasswordFrom::Address | PasswordFrom::OwnSetting => None,
    }
}

fn standbys(Health { version, standbys, .. }: &Health) -> Finding {
    const HINT: &str = "set `synchronous_standby_names` on the primary, and promote only a synchronous standby";
    match standbys {
        Standbys::Connected(count) if *count > 0 => {
            good("database", &format!("PostgreSQL {version}; synchronous standbys have each commit: {count} connected"))
        }
        Standbys::Connected(_) => {
            bad("database", "no synchronous standby is connected: commits wait for one".to_owned(), "start the standby of the database")
        }
        Standbys::Hidden => note(
            "database",
            "it waits for synchronous standbys, and the role of the node may not see whether one is connected",
            "run `GRANT pg_monitor TO` the role of the node",
        ),
        Standbys::None => note(
            "database",
            &format!("PostgreSQL {version} without a synchronous standby: if its disk is lost, acknowledged events are lost"),
            HINT,
        ),
    }
}

fn protection(protection: &Protection) -> Finding {
    const CHECK: &str = "database connection";
    match protection {
        Protection::Local => good(CHECK, "the database is on this machine"),
        Protection::Tls { version, verification: Verification::Name } => {
            good(CHECK, &format!("it is encrypted ({version}), and the server's certificate is verified"))
        }
        Protection::Tls { version, verification: Verification::Authority } => note(
            CHECK,
            &format!("it is encrypted ({version}), and the server's certificate is verified, but not the name in it"),
            "set `sslmode=verify-full` in the address of the database",
        ),
        Protection::Tls { version, verification: Verification::None } => note(
            CHECK,
            &format!("it is encrypted ({version}), but the server's certificate is not verified, so another server can have answered"),
            "set `sslmode=verify-full` and `sslrootcert` in the address of the database",
        ),
        Protection::None => note(
            CHECK,
            "it is not encrypted: who can read the network can read the log, except the values of keys",
            "enable TLS on the server, and set `sslmode=verify-full` and `sslrootcert` in the address of the database",
        ),
    }
}

fn clocks(database_micros: i64, now: Timestamp) -> Finding {
    let apart = (database_micros - now.micros()).abs() / 1_000_000;
    if apart > CLOCKS_APART_MAX {
        let message = format!("the clocks of this machine and of the database are {apart} s apart");
        return note("database clock", &message, "let both machines follow a time server");
    }
    good("database clock", "the clocks of this machine and of the database agree")
}

#[cfg(test)]
mod tests {
    use ensue_api::ports::FindingVerdict::{Bad, Good, Warning};

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);

    #[test]
    fn missing_standbys_and_clocks_that_are_apart_are_reported() {
        let verdicts = |standbys, seconds: i64| {
            let clock_micros = NOW.micros() + seconds * 1_000_000;
            let health = Health { version: "15.18".to_owned(), standbys, protection: Protection::Local, clock_micros };
            let findings = findings(Ok(health), NOW);
            [findings[0].verdict, findings[2].verdict]
        };
        assert_eq!(verdicts(Standbys::Connected(1), 0), [Good, Good]);
        assert_eq!(verdicts(Standbys::Connected(0), -10), [Bad, Good]);
        assert_eq!(verdicts(Standbys::Hidden, 11), [Warning, Warning]);
        assert_eq!(verdicts(Standbys::None, -11), [Warning, Warning]);
    }

    #[test]
    fn connection_that_others_can_read_or_answer_is_reported() {
        let encrypted = |verification| Protection::Tls { version: "TLSv1.3".to_owned(), verification };
        assert_eq!(protection(&Protection::Local).verdict, Good);
        assert_eq!(protection(&encrypted(Verification::Name)).verdict, Good);
        for weak in [Protection::None, encrypted(Verification::None), encrypted(Verification::Authority)] {
            assert_eq!(protection(&weak).verdict, Warning, "{weak:?}");
        }
    }

    #[test]
    fn way_into_the_database_that_programs_may_share_is_reported() {
        let said = |address: &str, place| {
            let found = credentials(&address.parse::<DatabaseAddress>().unwrap().with_place(place));
            found.map(|finding| finding.message)
        };
        let socket = said("postgres:///ensue?host=/run/postgresql", PasswordFrom::SettingsFile).unwrap();
        assert!(socket.contains("it may let programs of actions in as well"), "{socket}");
        let written = said("postgres://ensue:s3cret-1@db/ensue", PasswordFrom::SettingsFile).unwrap();
        assert!(written.contains("in the settings file") && !written.contains("s3cret-1"), "{written}");
        assert!(said("postgres://ensue:s3cret-1@db/ensue", PasswordFrom::Flag).unwrap().contains("in a flag"));
        assert_eq!(said("postgres://ensue:s3cret-1@db/ensue", PasswordFrom::OwnSetting), None);
        assert_eq!(said("postgres://ensue@db/ensue?sslcert=a.pem&sslkey=a.key", PasswordFrom::SettingsFile), None);
    }

    #[test]
    fn database_that_is_not_reached_is_bad() {
        let error = DatabaseError::Unavailable("the database `ensue` on db".to_owned(), "no answer".to_owned());
        let found = findings(Err(error), NOW);
        assert_eq!((found.len(), found[0].verdict), (1, Bad));
        assert!(found[0].message.contains("cannot be reached"), "{found:?}");
    }
}
