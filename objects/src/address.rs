//! The address of a bucket.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;
use url::Url;

/// The address of a bucket, or of a folder that is used like one. It contains no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BucketAddress {
    /// A bucket of a provider, and the prefix of all names in it.
    Bucket {
        /// The provider that has the bucket.
        provider: Provider,
        /// The name of the bucket, which Azure calls a container.
        name: String,
        /// What the names of all objects begin with; may be empty.
        prefix: String,
    },
    /// A folder.
    Folder(PathBuf),
}

/// A provider that stores objects, or another server that speaks its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Amazon S3.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

impl Provider {
    const ALL: [Self; 3] = [Self::S3, Self::Gcs, Self::Azure];

    /// Returns the scheme of the addresses of its buckets.
    fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        }
    }

    /// Returns what the names of its variables begin with.
    pub fn variables(self) -> &'static str {
        match self {
            Self::S3 => "AWS_",
            Self::Gcs => "GOOGLE_",
            Self::Azure => "AZURE_",
        }
    }
}

/// A text is not the address of a bucket.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "must be the address of a bucket or a folder, such as `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX` or \
     `file:///FOLDER`, without a user, a port, a query or a fragment"
)]
pub struct BucketAddressError;

impl FromStr for BucketAddress {
    type Err = BucketAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| BucketAddressError)?;
        let has_more = !url.username().is_empty() || url.password().is_some() || url.port().is_some();
        if has_more || url.query().is_some() || url.fragment().is_some() {
            return Err(BucketAddressError);
        }
        let provider = Provider::ALL.into_iter().find(|provider| provider.scheme() == url.scheme());
        match (provider, url.host_str().filter(|host| !host.is_empty())) {
            (Some(provider), Some(name)) => {
                let prefix = url.path().trim_matches('/').to_owned();
                Ok(Self::Bucket { provider, name: name.to_owned(), prefix })
            }
            (None, None) if url.scheme() == "file" && url.path() != "/" => {
                url.to_file_path().map(Self::Folder).map_err(|()| BucketAddressError)
            }
            _ => Err(BucketAddressError),
        }
    }
}

impl fmt::Display for BucketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket { provider, name, prefix } if prefix.is_empty() => write!(f, "{}://{name}", provider.scheme()),
            Self::Bucket { provider, name, prefix } => write!(f, "{}://{name}/{prefix}", provider.scheme()),
            Self::Folder(folder) => write!(f, "file://{}", folder.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_names_a_bucket_or_a_folder() {
        for text in ["s3://bucket", "s3://bucket/ensue", "gs://my_bucket/a/b", "az://container/ensue", "file:///srv/ensue"] {
            assert_eq!(text.parse::<BucketAddress>().unwrap().to_string(), text);
        }
        let s3 = |prefix: &str| BucketAddress::Bucket { provider: Provider::S3, name: "b".to_owned(), prefix: prefix.to_owned() };
        assert_eq!(("s3://b/".parse(), "s3://b/a/".parse()), (Ok(s3("")), Ok(s3("a"))));
    }

    #[test]
    fn other_texts_are_refused() {
        let others =
            ["", "bucket", "s3://", "s3:///prefix", "https://b.s3.amazonaws.com", "ftp://b", "file://", "file:///", "file://host/a"];
        for text in others.into_iter().chain(["s3://ada:secret@b/a", "s3://b:9000/a", "s3://b/a?region=eu", "s3://b/a#c"]) {
            assert_eq!(text.parse::<BucketAddress>(), Err(BucketAddressError), "{text}");
        }
    }
}
