//! The files that libraries of the node find by the variables of other tools, such as the credentials of an object store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ensue_objects::Provider;

use super::{BucketAddress, Config, KeyStore};

/// What the names of libpq's variables begin with.
const LIBPQ: &str = "PG";
/// What the names of AWS's variables begin with.
const AWS: &str = "AWS_";
/// The home folder, in which some tools have files.
const HOME: &str = "HOME";
/// How the names of variables end that name a file which may not exist yet.
const OF_A_FILE: [&str; 4] = ["FILE", "PATH", "CREDENTIALS", "ACCOUNT"];

/// The files that variables name, by variable. A value that is not a path is not kept: it may be a secret.
#[derive(Clone, Debug, Default)]
pub struct ToolFiles(BTreeMap<String, PathBuf>);

impl ToolFiles {
    /// Keeps the value of a variable if it names a file.
    pub(super) fn note(&mut self, name: &str, value: &str) {
        let is_of_a_tool = || [LIBPQ, AWS, "GOOGLE_", "AZURE_"].iter().any(|prefix| name.starts_with(prefix));
        let path = Path::new(value);
        let is_path = || path.exists() || (path.is_absolute() && OF_A_FILE.iter().any(|end| name.ends_with(end)));
        if !value.is_empty() && (name == HOME || (is_of_a_tool() && is_path())) {
            self.0.insert(name.to_owned(), path.to_owned());
        }
    }

    /// Returns the files that a node with these settings may open, or that have its credentials.
    pub(super) fn of(&self, config: &Config) -> Vec<PathBuf> {
        let bucket = match &config.objects {
            Some(BucketAddress::Bucket { provider, .. }) => Some(*provider),
            Some(BucketAddress::Folder(_)) | None => None,
        };
        let has_aws = config.key_providers.values().any(|provider| matches!(provider.store, KeyStore::Aws(_)));
        let prefixes = config.database.iter().map(|_| LIBPQ).chain(bucket.map(Provider::variables)).chain(has_aws.then_some(AWS));
        let prefixes: Vec<&str> = prefixes.collect();
        let named = self.0.iter().filter(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix)));
        let named = named.filter(|(name, _)| !is_of_authorities(name)).map(|(_, path)| path.clone());
        let at_home = |file: &str| self.0.get(HOME).map(|home| home.join(file));
        let passwords = config.database.as_ref().and_then(|_| at_home(".pgpass"));
        let gcloud = (bucket == Some(Provider::Gcs)).then(|| at_home(".config/gcloud")).flatten();
        named.chain(passwords).chain(gcloud).collect()
    }
}

/// Returns true if a variable names a file of trusted authorities, which has no secret and which programs may need.
fn is_of_authorities(name: &str) -> bool {
    ["_CA_BUNDLE", "ROOTCERT"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_hidden_paths(file: &str, variables: &[(&str, &str)]) -> Vec<PathBuf> {
        let folder = tempfile::TempDir::new().unwrap();
        let settings = folder.path().join("ensue.yaml");
        std::fs::write(&settings, file).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = Config::read(Some(&settings), variables).unwrap();
        let shown = format!("{config:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        config.hidden_paths().into_iter().filter(|path| *path != settings).collect()
    }

    #[test]
    fn files_of_the_tools_that_the_node_uses_are_hidden() {
        let variables = [
            ("HOME", "/srv/ensue"),
            ("PGPASSFILE", "/etc/ensue/pgpass"),
            ("PGSSLROOTCERT", "/etc/ssl/certs/db.pem"),
            ("GOOGLE_APPLICATION_CREDENTIALS", "/etc/ensue/gcp.json"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/run/secrets/aws"),
            ("AWS_SECRET_ACCESS_KEY", "/s3cret/with/a/slash"),
            ("AZURE_FEDERATED_TOKEN_FILE", "/run/secrets/azure"),
        ];
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(read_hidden_paths("", &variables), paths(&[]), "a node that uses none of them");
        assert_eq!(
            read_hidden_paths("database: postgres://ensue@db/ensue", &variables),
            paths(&["/etc/ensue/pgpass", "/srv/ensue/.pgpass"])
        );
        assert_eq!(read_hidden_paths("objects: gs://bucket/a", &variables), paths(&["/etc/ensue/gcp.json", "/srv/ensue/.config/gcloud"]));
        assert_eq!(read_hidden_paths("objects: s3://bucket/a", &variables), paths(&["/run/secrets/aws"]));
        assert_eq!(read_hidden_paths("objects: az://bucket/a", &variables), paths(&["/run/secrets/azure"]));
        assert_eq!(read_hidden_paths("key_providers: { cloud: { aws: { region: eu-west-1 } } }", &variables), paths(&["/run/secrets/aws"]));
    }
}
