//! How many files this process and the programs of its node may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many files a process may have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenFiles(pub(crate) Option<u64>);

/// Raises this process's limit of open files to its maximum: each connection and each running program needs
/// some. Returns the previous limit, which programs are built for.
pub(crate) fn raise_open_files() -> OpenFiles {
    let before = getrlimit(Resource::Nofile);
    // Some systems report no limit but have one.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum });
    OpenFiles(before.current)
}
