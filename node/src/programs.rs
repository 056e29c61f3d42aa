//! What runs the programs of actions on this machine: supervisors where it has what they need, the node itself elsewhere.
//!
//! What `ensue doctor` says of it is in `machine.rs`.

mod timed;

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use ensue_executor::Clock;
use ensue_executor::programs::{DirectPrograms, IsolationMode, Programs};

use crate::config::Config;
use crate::opening::{StartError, machine};

pub(crate) use timed::TimedPrograms;

/// Takes what runs programs, with its folders in the data directory. What is hidden is no program's to see.
pub(crate) fn open(
    config: &Config,
    data: &Path,
    hidden: &[&Path],
    path: &OsStr,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn Programs>, StartError> {
    let private = data.join("attempts");
    #[cfg(target_os = "linux")]
    if let Some(command) = &config.supervisor
        && has_what_supervisors_need()
    {
        use ensue_executor::programs::{Isolation, SupervisedPrograms, SupervisedSettings, around_path};
        let mut readable = around_path(path);
        readable.extend(config.actions.readable.iter().cloned());
        // A supervisor works elsewhere: there a relative path would name something else.
        let absolute = |path: &Path| std::path::absolute(path).map_err(|why| machine("finding out where the node was started", &why));
        let settings = SupervisedSettings {
            supervisors: data.join("supervisors"),
            private,
            command: command.clone(),
            isolation: Isolation {
                mode: config.actions.isolation,
                readable,
                writable: config.actions.writable.clone(),
                hidden: hidden.iter().copied().map(absolute).collect::<Result<_, _>>()?,
            },
            output_bytes_max: config.outputs.one_bytes_max,
            release: crate::wiring::RELEASE.to_owned(),
        };
        let programs = SupervisedPrograms::open(settings).map_err(|why| machine("preparing the supervisors", &why))?;
        return Ok(Arc::new(programs));
    }
    let _ = (hidden, path);
    if config.actions.isolation == IsolationMode::Required {
        return Err(StartError::NoWalls { why: why_no_supervisor(config) });
    }
    let programs = DirectPrograms::open(&private, clock).map_err(|why| machine("preparing the private directories of attempts", &why))?;
    Ok(Arc::new(programs))
}

fn why_no_supervisor(config: &Config) -> &'static str {
    match config.supervisor {
        _ if cfg!(not(target_os = "linux")) => "supervisors need Linux",
        Some(_) => "supervisors need /proc",
        None => "the node was started without what starts supervisors",
    }
}

/// Says whether supervisors can do here what they are for: they find processes that left their parents in `/proc`.
#[cfg(target_os = "linux")]
fn has_what_supervisors_need() -> bool {
    Path::new("/proc/self/task").is_dir()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn isolation_that_is_demanded_is_had_or_the_node_does_not_start() {
        let folder = TempDir::new().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(ensue_executor::SystemClock::new());
        let mut config = Config::new(folder.path().to_owned());
        let opened = |config: &Config| open(config, folder.path(), &[], OsStr::new("/bin"), clock.clone()).map(|_| ());
        assert!(opened(&config).is_ok());
        config.actions.isolation = IsolationMode::Required;
        assert!(matches!(opened(&config), Err(StartError::NoWalls { .. })));
    }
}
