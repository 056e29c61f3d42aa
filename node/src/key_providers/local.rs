//! Values in files and in the environment of the node.

use std::path::{Component, Path, PathBuf};

use ensue_engine::ports::Secret;

use super::{KeyProvider, ProviderError, field_of};
use crate::config::read_secret;

/// Files in a folder: the content of a file is a value, or, with a field, a JSON object of values.
pub(super) struct FileProvider {
    pub(super) folder: PathBuf,
}

impl KeyProvider for FileProvider {
    fn read(&self, path: &str, field: Option<&str>) -> Result<Secret, ProviderError> {
        if path.is_empty() || !Path::new(path).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(ProviderError(format!("`{path}` is not the path of a file in the folder")));
        }
        let content = read_secret(&self.folder.join(path)).map_err(|error| ProviderError(error.to_string()))?;
        let Some(field) = field else { return Ok(content) };
        let object = serde_json::from_slice(content.reveal()).map_err(|_| ProviderError(format!("`{path}` is not a JSON object")))?;
        field_of(&object, Some(field))
    }
}

/// Variables of the environment of the node.
pub(super) struct EnvironmentProvider;

impl KeyProvider for EnvironmentProvider {
    fn read(&self, path: &str, field: Option<&str>) -> Result<Secret, ProviderError> {
        if field.is_some() {
            return Err(ProviderError("a variable has no fields; leave out `field`".to_owned()));
        }
        let value = std::env::var(path).map_err(|_| ProviderError(format!("the variable {path} is not set")))?;
        Ok(Secret::new(value.into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_read_whole_or_by_field_and_only_within_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("plain"), "s3cret\n").unwrap();
        std::fs::write(folder.path().join("fields.json"), r#"{"token": "t0ken", "port": 1}"#).unwrap();
        let files = FileProvider { folder: folder.path().join(".") };
        assert_eq!(files.read("plain", None).unwrap().reveal(), b"s3cret");
        assert_eq!(files.read("fields.json", Some("token")).unwrap().reveal(), b"t0ken");
        for (path, field) in [("plain", Some("token")), ("fields.json", Some("port")), ("fields.json", Some("x")), ("missing", None)] {
            let why = files.read(path, field).err().unwrap().to_string();
            assert!(!why.contains("t0ken") && !why.contains("s3cret"), "{why}");
        }
        for path in ["../plain", "/etc/hostname", "", "a/../plain", "."] {
            assert!(files.read(path, None).is_err(), "{path}");
        }
    }

    #[test]
    fn variable_is_read_by_its_name() {
        assert_eq!(EnvironmentProvider.read("CARGO_PKG_NAME", None).unwrap().reveal(), b"ensue-node");
        assert!(EnvironmentProvider.read("CARGO_PKG_NAME", Some("token")).is_err());
        assert!(EnvironmentProvider.read("ENSUE_NO_SUCH_VARIABLE", None).is_err());
    }
}
