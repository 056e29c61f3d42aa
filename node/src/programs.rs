//! The component that runs the programs of actions on this machine: supervisors if the machine has what they need,
//! otherwise the node itself.
//!
//! `machine.rs` contains the part of `ensue doctor` about it.

mod timed_programs;
mod users;

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use ensue_connectors::world::{Program, ProgramOrder, Programs as SensorProgramsPort};
use ensue_connectors::{Pending, SensorErrorKind, SourceError};
use ensue_executor::Clock;
use ensue_executor::ports::PackFiles;
use ensue_executor::programs::{DirectPrograms, Isolation, IsolationMode, ProgramUsers, Programs};

use crate::config::{Config, UserSetting};
use crate::start_error::{StartError, machine};

pub(crate) use timed_programs::TimedPrograms;
pub(crate) use users::Users;

/// The minimum time after which an unresponsive supervisor is killed, whatever the lease: a busy machine must not
/// look unresponsive.
#[cfg(target_os = "linux")]
const ANSWER_PATIENCE_MIN: std::time::Duration = std::time::Duration::from_secs(5);

/// Opens the component that runs programs, with its folders in the data directory. No program can see hidden paths.
/// Also returns the users that programs run as.
pub(crate) fn open(
    config: &Config,
    data: &Path,
    hidden: &[&Path],
    path: &OsStr,
    clock: Arc<dyn Clock>,
) -> Result<(Arc<dyn Programs>, Users), StartError> {
    let private = data.join("attempts");
    #[cfg(target_os = "linux")]
    if let Some(command) = &config.supervisor
        && has_what_supervisors_need()
    {
        use ensue_executor::programs::{SupervisedPrograms, SupervisedSettings};
        let users = Users::detect(&config.actions, data)?;
        users.let_pass(data).map_err(|why| machine("giving the users of programs access to the data directory", &why))?;
        let settings = SupervisedSettings {
            supervisors: data.join("supervisors"),
            private,
            command: command.clone(),
            isolation: isolation(config, hidden, path, users.users)?,
            answers_within: config.lease.max(ANSWER_PATIENCE_MIN),
            output_bytes_max: config.outputs.one_bytes_max,
            release: crate::release::RELEASE.to_owned(),
        };
        let programs = SupervisedPrograms::open(settings).map_err(|why| machine("preparing the supervisors", &why))?;
        return Ok((Arc::new(programs), users));
    }
    let _ = (hidden, path);
    if config.actions.user != UserSetting::Unsaid {
        return Err(StartError::NoUsers { why: why_no_supervisor(config).to_owned() });
    }
    if config.actions.isolation == IsolationMode::Required {
        return Err(StartError::NoWalls { why: why_no_supervisor(config) });
    }
    let programs = DirectPrograms::open(&private, clock).map_err(|why| machine("preparing the private directories of attempts", &why))?;
    Ok((Arc::new(programs), Users::default()))
}

/// Opens the component that runs the programs of sensors, behind the same walls as those of actions. Without
/// supervisors there are no such walls, and such programs are not run.
pub(crate) fn for_sensors(
    config: &Config,
    data: &Path,
    (hidden, path): (&[&Path], &OsStr),
    (users, packs): (ProgramUsers, Arc<dyn PackFiles>),
) -> Result<Arc<dyn SensorProgramsPort>, StartError> {
    #[cfg(target_os = "linux")]
    if let Some(command) = &config.supervisor
        && has_what_supervisors_need()
    {
        use ensue_executor::pulling::{SensorPrograms, SensorProgramsSettings};
        let settings = SensorProgramsSettings {
            keepers: data.join("keepers"),
            private: data.join("sensors"),
            command: command.clone(),
            isolation: isolation(config, hidden, path, users)?,
            limits: config.actions.limits,
            path: path.to_owned(),
            packs,
            masked: config.secrets(),
        };
        let programs = SensorPrograms::open(settings).map_err(|why| machine("preparing the programs of sensors", &why))?;
        return Ok(Arc::new(programs));
    }
    let _ = (data, hidden, path, users, packs);
    Ok(Arc::new(NoPrograms(why_no_supervisor(config))))
}

/// Returns what programs may reach: the same for those of actions and of sensors.
#[cfg(target_os = "linux")]
fn isolation(config: &Config, hidden: &[&Path], path: &OsStr, users: ProgramUsers) -> Result<Isolation, StartError> {
    let mut readable = ensue_executor::programs::around_path(path);
    readable.extend(config.actions.readable.iter().cloned());
    // A supervisor has another working directory, in which a relative path would name something else.
    let absolute = |path: &Path| std::path::absolute(path).map_err(|why| machine("finding out where the node was started", &why));
    Ok(Isolation {
        mode: config.actions.isolation,
        readable,
        writable: config.actions.writable.clone(),
        hidden: hidden.iter().copied().map(absolute).collect::<Result<_, _>>()?,
        users,
    })
}

/// Runs no programs of sensors, and says why.
struct NoPrograms(&'static str);

impl SensorProgramsPort for NoPrograms {
    fn start(&self, _: ProgramOrder) -> Pending<'_, Result<Box<dyn Program>, SourceError>> {
        let why = format!("programs of sensors need supervisors, and this node has none: {}", self.0);
        Box::pin(std::future::ready(Err(SourceError::new(SensorErrorKind::NotFound, why))))
    }
}

fn why_no_supervisor(config: &Config) -> &'static str {
    match config.supervisor {
        _ if cfg!(not(target_os = "linux")) => "supervisors need Linux",
        Some(_) => "supervisors need /proc",
        None => "the node was started without the command that starts supervisors",
    }
}

/// Returns true if supervisors can do their work here: they use `/proc` to find processes that left their parents.
#[cfg(target_os = "linux")]
fn has_what_supervisors_need() -> bool {
    Path::new("/proc/self/task").is_dir()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn required_isolation_is_available_or_the_node_does_not_start() {
        let folder = TempDir::new().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(ensue_executor::SystemClock::new());
        let mut config = Config::new(folder.path().to_owned());
        let opened = |config: &Config| open(config, folder.path(), &[], OsStr::new("/bin"), clock.clone()).map(|_| ());
        assert!(opened(&config).is_ok());
        config.actions.isolation = IsolationMode::Required;
        assert!(matches!(opened(&config), Err(StartError::NoWalls { .. })));
    }
}
