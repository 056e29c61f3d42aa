//! Profiles: nodes by name, each with its address and, stored separately, its token.
//!
//! They are in `$XDG_CONFIG_HOME/ensue`: `profiles.json`, which may be shown to anyone, and one file for each
//! token, which only its owner may read. A token is sent only to the server of its own profile.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::report::{CommandResult, Exit, Failure};
use crate::trust::Trust;

/// The most bytes of the list of profiles, and of a token.
const BYTES_MAX: u64 = 256 * 1024;
/// The most characters of a profile's name.
const NAME_CHARS_MAX: usize = 64;

/// A profile's name, which is also the name of its token's file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct ProfileName(String);

impl FromStr for ProfileName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_known = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
        match text {
            "" => Err("a profile has a name, for example `production`".into()),
            name if name.len() <= NAME_CHARS_MAX && name.chars().all(is_known) => Ok(Self(name.to_owned())),
            other => Err(format!("`{other}` is not a valid name for a profile; use up to {NAME_CHARS_MAX} letters, digits, `-` and `_`")),
        }
    }
}

impl TryFrom<String> for ProfileName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ProfileName> for String {
    fn from(name: ProfileName) -> Self {
        name.0
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The content of a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// The node's address.
    pub(crate) server: String,
    /// The file of the authorities that may have issued the node's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
    /// The file of the caller's own certificate and its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_cert: Option<PathBuf>,
}

impl Profile {
    /// Returns the certificate files of its connections.
    pub(crate) fn trust(&self) -> Trust {
        Trust { ca: self.ca.clone(), client_cert: self.client_cert.clone() }
    }
}

/// The list of profiles as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profiles {
    /// The profile used if none is named.
    pub(crate) current: Option<ProfileName>,
    /// All profiles.
    pub(crate) profiles: BTreeMap<ProfileName, Profile>,
}

/// The folder of profiles.
#[derive(Clone, Debug)]
pub(crate) struct ProfileFolder {
    folder: PathBuf,
}

impl ProfileFolder {
    /// Returns the folder that the environment names; `None` if neither `XDG_CONFIG_HOME` nor `HOME` names
    /// one.
    pub(crate) fn of_environment() -> Option<Self> {
        // The specification requires relative paths to be ignored.
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
        Some(Self::at(base.join("ensue")))
    }

    fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn list(&self) -> PathBuf {
        self.folder.join("profiles.json")
    }

    fn token_file(&self, name: &ProfileName) -> PathBuf {
        self.folder.join("tokens").join(&name.0)
    }

    /// Reads the profiles; there are none if the file does not exist. Fails if it cannot be read or is
    /// invalid.
    pub(crate) fn read(&self) -> Result<Profiles, Failure> {
        let path = self.list();
        let Some(bytes) = read(&path)? else { return Ok(Profiles::default()) };
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::with(Exit::Refused, format!("`{}` does not contain profiles: {error}", path.display()))
                .hint("fix it, or remove it and add the profiles again with `ensue profiles add`")
        })
    }

    /// Stores the profiles, replacing the old ones.
    pub(crate) fn write(&self, profiles: &Profiles) -> CommandResult {
        write(&self.list(), format!("{:#}\n", serde_json::json!(profiles)).as_bytes())
    }

    /// Reads the token of a profile; `None` if it has none. Fails if others can read it.
    pub(crate) fn token(&self, name: &ProfileName) -> Result<Option<String>, Failure> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.token_file(name);
        let Some(bytes) = read(&path)? else { return Ok(None) };
        let mode = std::fs::metadata(&path).map_err(|error| unusable(&path, &error))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Failure::with(Exit::Refused, format!("other users can read the token in `{}`", path.display())).hint(format!(
                "run `chmod 600 {}`; if somebody may have read the token, revoke it with `ensue tokens revoke NAME`",
                path.display()
            )));
        }
        let text =
            String::from_utf8(bytes).map_err(|_| Failure::with(Exit::Refused, format!("`{}` does not contain a token", path.display())))?;
        Ok(Some(text.trim().to_owned()).filter(|token| !token.is_empty()))
    }

    /// Stores the token of a profile so that only its owner can read it.
    pub(crate) fn write_token(&self, name: &ProfileName, token: &str) -> CommandResult {
        write(&self.token_file(name), format!("{token}\n").as_bytes())
    }

    /// Removes the token of a profile, if it has one.
    pub(crate) fn remove_token(&self, name: &ProfileName) -> CommandResult {
        let path = self.token_file(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unusable(&path, &error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Profiles {
    /// Returns a profile by name. If there is none, fails with the nearest name.
    pub(crate) fn find(&self, name: &ProfileName) -> Result<&Profile, Failure> {
        self.profiles.get(name).ok_or_else(|| {
            let failure = Failure::with(Exit::Missing, format!("there is no profile `{name}`"));
            match ensue_expression::nearest(&name.0, self.profiles.keys().map(|known| known.0.as_str())) {
                Some(near) => failure.hint(format!("did you mean `{near}`?")),
                None => failure.hint("list the profiles with `ensue profiles list`"),
            }
        })
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    use std::io::Read;
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(path, &error)),
    };
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes).map_err(|error| unusable(path, &error))?;
    Ok(Some(bytes))
}

/// Atomically writes a file that only its owner can read, in a folder that only its owner can list.
fn write(path: &Path, bytes: &[u8]) -> CommandResult {
    use std::os::unix::fs::DirBuilderExt;
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| unusable(folder, &error))?;
    // A temporary file is private to its owner from the beginning.
    let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map(drop).map_err(|error| error.error)
    });
    written.map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("`{}` cannot be used: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn name(text: &str) -> ProfileName {
        text.parse().unwrap()
    }

    #[test]
    fn profile_name_cannot_be_a_path() {
        for bad in ["", ".", "..", "a/b", "/etc/passwd", "a b", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<ProfileName>().is_err(), "{bad}");
        }
        assert_eq!(name("production-2").to_string(), "production-2");
    }

    #[test]
    fn token_file_is_private_and_a_readable_one_is_rejected() {
        let place = tempfile::tempdir().unwrap();
        let folder = ProfileFolder::at(place.path().join("config/ensue"));
        assert_eq!(folder.token(&name("a")).unwrap(), None);
        folder.write_token(&name("a"), "ens_1").unwrap();
        let path = place.path().join("config/ensue/tokens/a");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(folder.token(&name("a")).unwrap().as_deref(), Some("ens_1"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(folder.token(&name("a")).unwrap_err().exit(), Exit::Refused);
        folder.remove_token(&name("a")).unwrap();
        folder.remove_token(&name("a")).unwrap();
        assert_eq!(folder.token(&name("a")).unwrap(), None);
    }

    #[test]
    fn profiles_are_stored_and_an_invalid_file_is_rejected() {
        let place = tempfile::tempdir().unwrap();
        let folder = ProfileFolder::at(place.path().to_owned());
        assert_eq!(folder.read().unwrap(), Profiles::default());
        let one = Profile { server: "https://ensue.example".into(), ca: None, client_cert: None };
        let profiles = Profiles { current: Some(name("production")), profiles: BTreeMap::from([(name("production"), one)]) };
        folder.write(&profiles).unwrap();
        assert_eq!(folder.read().unwrap(), profiles);
        assert_eq!(profiles.find(&name("prodution")).unwrap_err().hint_text(), Some("did you mean `production`?"));
        for broken in ["", "{}", r#"{"current":null,"profiles":{"../x":{"server":""}}}"#, r#"{"current":null,"profiles":{},"token":"x"}"#] {
            std::fs::write(place.path().join("profiles.json"), broken).unwrap();
            assert_eq!(folder.read().unwrap_err().exit(), Exit::Refused, "{broken}");
        }
    }
}
