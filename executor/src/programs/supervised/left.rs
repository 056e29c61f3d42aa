//! What supervisors of an earlier node left: programs that run, ends that nobody collected, and what a supervisor that died had kept.
//!
//! Whether an attempt is still waited for, the log says, not this.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::connection::{Connection, Sayer, Teller};
use super::{HEARD_WAITING_MAX, Holding, Shared, Stage, SupervisedProgram};
use crate::programs::{Left, directory};
use crate::supervisor::folder::{Folder, HeldNote};
use crate::supervisor::tree;

/// The most folders of supervisors that are looked at; there is one for each program that ran at once.
const FOLDERS_MAX: usize = 10_000;

/// Finds what is left, and removes what nobody holds.
pub(super) async fn found(shared: Arc<Shared>) -> Vec<Left> {
    let folders = folders(&shared.settings.supervisors);
    let looked_at: Vec<_> = folders.into_iter().map(|folder| shared.runtime.spawn(look(Arc::clone(&shared), folder))).collect();
    let mut left = Vec::new();
    for one in looked_at {
        if let Ok(Some(one)) = one.await {
            left.push(one);
        }
    }
    let kept: BTreeSet<PathBuf> = left.iter().map(|left| shared.private(left.attempt)).collect();
    let private = shared.settings.private.clone();
    let _ = tokio::task::spawn_blocking(move || directory::remove_others(&private, &kept)).await;
    left
}

fn folders(of: &Path) -> Vec<Folder> {
    let Ok(entries) = fs::read_dir(of) else { return Vec::new() };
    entries.flatten().take(FOLDERS_MAX).map(|entry| Folder::at(entry.path())).collect()
}

async fn look(shared: Arc<Shared>, folder: Folder) -> Option<Left> {
    match Connection::to(folder.clone(), shared.pool.release()).await {
        Ok((connection, Some(holds))) => {
            let program = shared.hold(holds.attempt, connection);
            let remaining = Duration::from_millis(holds.remaining_millis);
            return Some(Left { attempt: holds.attempt, token: holds.token, remaining, program });
        }
        Ok((connection, None)) => {
            shared.pool.give_back(connection);
            return None;
        }
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            let folder = folder.path().display();
            tracing::error!(%error, %folder, "a supervisor of another release cannot be spoken to: what it holds is ended, and told as lost");
        }
        Err(error) => tracing::debug!(%error, folder = %folder.path().display(), "a supervisor does not answer"),
    }
    end_all_of(&folder).await;
    let note = folder.held().ok().flatten().filter(|note| note.boot == crate::begun::boot_id());
    match note {
        Some(note) => Some(shared.over(&note, folder)),
        None => {
            let _ = folder.remove();
            None
        }
    }
}

impl Shared {
    /// Gives a program whose supervisor is gone, perhaps after it noted the end. How much time it had left no longer counts.
    fn over(self: &Arc<Self>, note: &HeldNote, folder: Folder) -> Left {
        let HeldNote { attempt, token, .. } = *note;
        self.holding().insert(attempt, Holding::Nobody(folder.clone()));
        let (heard_into, heard) = mpsc::channel(HEARD_WAITING_MAX);
        let task = self.runtime.spawn(async move { Teller::to(heard_into).tell_from_folder(&folder).await });
        let (say, end_by) = (Sayer::to_nobody(), watch::Sender::new(None));
        let program =
            SupervisedProgram { shared: Arc::clone(self), attempt, heard, say, end_by, task: task.abort_handle(), stage: Stage::Running };
        Left { attempt, token, remaining: Duration::MAX, program: Box::new(program) }
    }
}

/// Ends what runs of a supervisor that is gone or does not answer, itself included.
pub(super) async fn end_all_of(folder: &Folder) {
    let folder = folder.clone();
    let ended = tokio::task::spawn_blocking(move || {
        let Ok(Some(note)) = folder.held() else { return 0 };
        if note.boot != crate::begun::boot_id() {
            return 0;
        }
        tree::kill_orphans(note.supervisor, note.started_at, &note.private.to_string_lossy())
    });
    if let Ok(count @ 1..) = ended.await {
        tracing::warn!(count, "processes that had lost their supervisor were killed");
    }
}
