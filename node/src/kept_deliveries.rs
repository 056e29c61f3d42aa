//! Keeps the last deliveries at each hook on disk: a file for each hook, replaced at most once a second.
//!
//! Deliveries do not wait for it, and the files are bounded, because the lists in memory are. If the process is killed,
//! the deliveries of the last second are missing; the events that they created are in the log.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ensue_api::Deliveries;
use ensue_api::deliveries::ChangedHook;
use ensue_engine::names::SensorRef;

/// The extension of the files.
const EXTENSION: &str = "json";

/// The largest file that is read. What this program writes is much smaller.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The last deliveries at each hook, and the folder in which they are kept.
pub(crate) struct KeptDeliveries {
    folder: PathBuf,
    /// The deliveries.
    pub(crate) deliveries: Arc<Deliveries>,
}

impl KeptDeliveries {
    /// Reads the deliveries that were kept. A file that is damaged is left out, and replaced at the next delivery.
    pub(crate) fn open(folder: PathBuf) -> Self {
        let deliveries = Arc::<Deliveries>::default();
        for path in files(&folder) {
            match read(&path) {
                Ok(kept) => deliveries.restore(kept),
                Err(error) => tracing::warn!(path = %path.display(), %error, "the last deliveries of a webhook cannot be read"),
            }
        }
        Self { folder, deliveries }
    }

    /// Writes what has changed; called about once a second, and before a stop. Blocking.
    pub(crate) fn write(&self) {
        let changed = self.deliveries.take_changed();
        if changed.is_empty() {
            return;
        }
        for hook in &changed {
            if let Err(error) = self.replace(hook) {
                tracing::warn!(sensor = %hook.sensor, %error, "the last deliveries of a webhook cannot be written");
            }
        }
        let hooks = self.deliveries.hooks();
        for path in files(&self.folder) {
            if sensor_of(&path).is_none_or(|sensor| !hooks.contains(&sensor)) {
                // A file that stays is looked at again with the next deliveries.
                let _ = fs::remove_file(path);
            }
        }
    }

    fn replace(&self, hook: &ChangedHook) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let path = self.folder.join(format!("{}.{EXTENSION}", hook.sensor));
        let beside = path.with_extension("new");
        fs::write(&beside, serde_json::to_vec(&hook.last)?)?;
        fs::rename(beside, path)
    }
}

/// Returns the files of a folder; none if there is no folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION)).collect()
}

/// Returns the hook of a file.
fn sensor_of(path: &Path) -> Option<SensorRef> {
    path.file_stem()?.to_str()?.parse().ok()
}

fn read(path: &Path) -> io::Result<ChangedHook> {
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let sensor = sensor_of(path).ok_or_else(|| invalid("its name is not that of a webhook".to_owned()))?;
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(invalid(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(ChangedHook { sensor, last: serde_json::from_slice(&fs::read(path)?)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"[{"at":"2026-03-28T09:00:00Z","took":{"secs":0,"nanos":1},"bytes":2,"request_id":"r","end":{"refused":{"code":"signature_refused","why":"no signature"}}}]"#;

    #[test]
    fn damaged_files_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("demo.good.json"), FILE).unwrap();
        fs::write(folder.path().join("demo.damaged.json"), &FILE[..40]).unwrap();
        fs::write(folder.path().join("no hook.json"), FILE).unwrap();
        let kept = KeptDeliveries::open(folder.path().to_owned());
        assert_eq!(kept.deliveries.hooks(), ["demo.good".parse().unwrap()]);
    }

    #[test]
    fn folder_that_does_not_exist_has_no_deliveries() {
        let folder = tempfile::tempdir().unwrap();
        let kept = KeptDeliveries::open(folder.path().join("deliveries"));
        assert!(kept.deliveries.hooks().is_empty());
        kept.write();
        assert!(files(folder.path()).is_empty());
    }
}
