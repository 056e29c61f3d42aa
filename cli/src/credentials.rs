//! The credentials of `ensue login`: for each node the tokens of one session, in a file that only its owner can read.
//!
//! They are in `$XDG_STATE_HOME/ensue/credentials`. A refresh token counts once, so commands that run at the same time
//! take turns: each holds a lock on the file while it exchanges the token.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::report::{CommandResult, Exit, Failure};

/// How long before its end an access token is exchanged.
const EARLY: Duration = Duration::from_secs(30);
/// How long a command waits for another one that exchanges the token.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
/// The time between two attempts to take the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The file with the credentials for one node.
#[derive(Clone, Debug)]
pub(crate) struct CredentialFile {
    path: PathBuf,
}

/// The tokens of a session.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    access_token: String,
    refresh_token: String,
    /// When the access token ends, in seconds since 1970.
    expires_at: u64,
}

/// The lock on a file of credentials, until it is dropped.
pub(crate) struct CredentialLock(#[expect(dead_code, reason = "closing the file releases the lock")] File);

impl CredentialFile {
    /// Returns the file for a node; `None` if neither `XDG_STATE_HOME` nor `HOME` names a folder.
    pub(crate) fn of(server: &str) -> Option<Self> {
        // The specification requires relative paths to be ignored.
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
        Some(Self { path: base.join("ensue/credentials").join(file_name(server)) })
    }

    /// Reads the credentials; `None` if there are none. Fails if others can read them.
    pub(crate) fn read(&self) -> Result<Option<Credentials>, Failure> {
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(&self.path, &error)),
        };
        let mode = std::fs::metadata(&self.path).map_err(|error| unusable(&self.path, &error))?.permissions().mode();
        if mode & 0o077 != 0 {
            let failure = Failure::with(Exit::Refused, format!("other users can read the credentials in `{}`", self.path.display()));
            return Err(failure.hint("end all of your sessions with `ensue sessions end-all`, remove the file, and log in again"));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|_| {
            let failure = Failure::with(Exit::Refused, format!("`{}` does not contain credentials", self.path.display()));
            failure.hint("remove it, and log in again with `ensue login`")
        })
    }

    /// Stores credentials so that only their owner can read them.
    pub(crate) fn write(&self, credentials: &Credentials) -> CommandResult {
        let folder = self.folder()?;
        let bytes = serde_json::json!(credentials).to_string();
        // A temporary file is private to its owner from the beginning.
        let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
            file.write_all(bytes.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&self.path).map(drop).map_err(|error| error.error)
        });
        written.map_err(|error| unusable(&self.path, &error))
    }

    /// Removes the credentials, if there are any.
    pub(crate) fn remove(&self) -> CommandResult {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unusable(&self.path, &error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Takes the lock, and waits for another command that has it.
    pub(crate) async fn lock(&self) -> Result<CredentialLock, Failure> {
        self.folder()?;
        let path = self.path.with_extension("lock");
        let file = File::options().create(true).append(true).mode(0o600).open(&path).map_err(|error| unusable(&path, &error))?;
        let began = std::time::Instant::now();
        while file.try_lock().is_err() {
            if began.elapsed() > LOCK_PATIENCE {
                return Err(Failure::with(Exit::TryLater, format!("another command holds the lock on `{}`", path.display())));
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
        Ok(CredentialLock(file))
    }

    fn folder(&self) -> Result<&Path, Failure> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| unusable(folder, &error))?;
        Ok(folder)
    }
}

impl Credentials {
    /// Reads the answer to a login or a refresh; `None` if it has another form.
    pub(crate) fn of_answer(answer: &Value) -> Option<Self> {
        Some(Self {
            access_token: answer["access_token"].as_str()?.to_owned(),
            refresh_token: answer["refresh_token"].as_str()?.to_owned(),
            expires_at: now() + answer["expires_in"].as_u64()?,
        })
    }

    /// Returns the access token if it is still valid for a while.
    pub(crate) fn fresh(&self) -> Option<&str> {
        (now() + EARLY.as_secs() < self.expires_at).then_some(self.access_token.as_str())
    }

    /// Returns the refresh token.
    pub(crate) fn refresh_token(&self) -> &str {
        &self.refresh_token
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns the name of the file for a node: its address, with other characters as `_`, and without a scheme.
fn file_name(server: &str) -> String {
    let server = server.trim_end_matches('/');
    let (scheme, rest) = server.split_once("://").unwrap_or(("http", server));
    let plain = |character: char| if character.is_ascii_alphanumeric() || "-.".contains(character) { character } else { '_' };
    format!("{scheme}_{}.json", rest.to_ascii_lowercase().chars().map(plain).collect::<String>())
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("`{}` cannot be used: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_a_file_of_its_own() {
        assert_eq!(file_name("https://ensue.example.test/"), "https_ensue.example.test.json");
        assert_eq!(file_name("http://127.0.0.1:3678"), "http_127.0.0.1_3678.json");
        assert!(!file_name("https://x/../../etc").contains('/'));
    }

    #[test]
    fn credentials_that_others_can_read_are_rejected() {
        let place = tempfile::tempdir().unwrap();
        let file = CredentialFile { path: place.path().join("a/b.json") };
        assert!(file.read().unwrap().is_none());
        let answer = serde_json::json!({ "access_token": "eyJ", "refresh_token": "ensr_1", "expires_in": 600 });
        file.write(&Credentials::of_answer(&answer).unwrap()).unwrap();
        assert_eq!(std::fs::metadata(&file.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(file.read().unwrap().unwrap().fresh(), Some("eyJ"));
        std::fs::set_permissions(&file.path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(file.read().is_err());
        file.remove().unwrap();
        assert!(file.read().unwrap().is_none());
    }

    #[test]
    fn access_token_is_exchanged_before_it_ends() {
        let with = |seconds| Credentials { access_token: "eyJ".into(), refresh_token: String::new(), expires_at: now() + seconds };
        assert_eq!((with(0).fresh(), with(20).fresh(), with(60).fresh()), (None, None, Some("eyJ")));
    }
}
