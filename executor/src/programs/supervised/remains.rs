//! What supervisors of an earlier node left: running programs, ends that nobody collected, and the files of a
//! supervisor that died.
//!
//! Whether an attempt is still waited for is decided by the log, not here.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};

use super::connection::{GREETING_PATIENCE, Sayer, SupervisorConnection, SupervisorProcess, Teller, is_deserted};
use super::{HEARD_WAITING_MAX, Holding, ProgramStage, SharedState, SupervisedProgram};
use crate::programs::{AttemptRemains, LeftProgram, WhyLost, directory};
use crate::supervisor::folder::{Folder, HeldNote, Reservation};
use crate::supervisor::protocol::Holds;
use crate::supervisor::tree;

/// The maximum number of supervisor folders that are examined. There is one for each program that ran at the
/// same time.
const FOLDERS_MAX: usize = 10_000;

/// The number of folders examined at once. Each takes two descriptors.
const LOOKS_AT_ONCE_MAX: usize = 64;
/// How often to retry talking to a supervisor that may be alive, if the node is the one that cannot.
const TRIES_MAX: usize = 100;
/// The pause between two tries.
const TRY_PAUSE: Duration = Duration::from_millis(100);

/// How long to wait until the processes of a supervisor were killed.
const ENDING_PATIENCE: Duration = Duration::from_secs(30);

/// Finds the remains of earlier programs, and removes those that nobody holds.
pub(super) async fn find_left(shared: Arc<SharedState>) -> Vec<AttemptRemains> {
    let folders = folders(&shared.settings.supervisors);
    let places = Arc::new(Semaphore::new(LOOKS_AT_ONCE_MAX));
    let looked = |folder| {
        let (shared, places) = (Arc::clone(&shared), Arc::clone(&places));
        async move {
            // The semaphore is never closed.
            let _place = places.acquire().await;
            look(shared, folder).await
        }
    };
    let looked_at: Vec<_> = folders.into_iter().map(|folder| shared.runtime.spawn(looked(folder))).collect();
    let mut left = Vec::new();
    for one in looked_at {
        if let Ok(Some(one)) = one.await {
            left.push(one);
        }
    }
    drop_doubtful(&mut left);
    let kept: BTreeSet<PathBuf> = left.iter().map(|left| shared.private(left.attempt())).collect();
    let private = shared.settings.private.clone();
    let _ = tokio::task::spawn_blocking(move || directory::remove_others(&private, &kept)).await;
    left
}

/// Drops each proof that a program was never started where another folder knows its attempt too. An attempt has one reservation; if
/// it had two, neither would prove anything.
fn drop_doubtful(left: &mut Vec<AttemptRemains>) {
    let (mut seen, mut doubtful) = (BTreeSet::new(), BTreeSet::new());
    doubtful.extend(left.iter().map(AttemptRemains::attempt).filter(|attempt| !seen.insert(*attempt)));
    left.retain(|one| match one {
        AttemptRemains::NotBegun { attempt, .. } => !doubtful.contains(attempt),
        AttemptRemains::Program(_) => true,
    });
}

/// Returns how many programs a stopped node left in its folder of supervisors: those that still run, and those
/// whose end no node has recorded. A note that cannot be read counts as one. Fails if the folder cannot be read.
pub fn count_left(supervisors: &Path) -> io::Result<usize> {
    let entries = match fs::read_dir(supervisors) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut left = 0;
    for entry in entries {
        left += usize::from(!matches!(Folder::at(entry?.path()).held_by(), Ok(None)));
    }
    Ok(left)
}

fn folders(of: &Path) -> Vec<Folder> {
    let Ok(entries) = fs::read_dir(of) else { return Vec::new() };
    entries.flatten().take(FOLDERS_MAX).map(|entry| Folder::at(entry.path())).collect()
}

async fn look(shared: Arc<SharedState>, folder: Folder) -> Option<AttemptRemains> {
    let mut why = WhyLost::HolderGone;
    match connect_with_retries(&folder, shared.pool.release()).await {
        Ok((connection, Some(holds))) => {
            let program = shared.hold(holds.attempt, connection);
            let remaining = Duration::from_millis(holds.remaining_millis);
            return Some(AttemptRemains::Program(LeftProgram { attempt: holds.attempt, token: holds.token, remaining, program }));
        }
        Ok((connection, None)) => {
            // It obeys this node alone from now on, and never heard of what an earlier one asked for last.
            if let Ok(Some(reservation)) = folder.not_begun() {
                // It ends when its connection closes, and leaves the folder.
                drop(connection);
                return Some(shared.not_begun(&reservation, folder));
            }
            shared.pool.give_back(connection);
            return None;
        }
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            let folder = folder.path().display();
            tracing::error!(%error, %folder, "a supervisor of another release has an incompatible protocol: its attempt is ended, and reported as lost");
        }
        Err(error) if !is_of_a_dead_one(&error) => {
            let folder = folder.path().display();
            tracing::error!(%error, %folder, "a supervisor cannot be reached: its attempt is ended, and reported as lost");
        }
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            why = WhyLost::HolderHangs { silent_for: GREETING_PATIENCE };
            let folder = folder.path().display();
            tracing::error!(%error, %folder, "a supervisor does not answer: its attempt is ended, and reported as lost");
        }
        Err(error) => tracing::debug!(%error, folder = %folder.path().display(), "a supervisor does not answer"),
    }
    end_all_of(&folder, None).await;
    if let Some(reservation) = never_begun(&folder).await {
        return Some(shared.not_begun(&reservation, folder));
    }
    let note = folder.read_held().ok().flatten().filter(|note| note.boot == crate::begun_file::boot_id());
    match note {
        Some(note) => Some(shared.over(&note, folder, why)),
        None => {
            let _ = folder.remove();
            None
        }
    }
}

/// Returns the reservation of a supervisor that is gone and has not started its program, or `None` if that cannot be proved.
pub(super) async fn never_begun(folder: &Folder) -> Option<Reservation> {
    folder.not_begun().ok()??;
    // What is read once the supervisor is gone can no longer change.
    if is_deserted(folder).await { folder.not_begun().ok()? } else { None }
}

/// Connects to a supervisor. Retries if the error may be this process's own: a supervisor is not considered
/// dead because this process lacks a descriptor.
async fn connect_with_retries(folder: &Folder, release: &str) -> io::Result<(SupervisorConnection, Option<Holds>)> {
    let mut tries = 1;
    loop {
        match SupervisorConnection::to(folder.clone(), release).await {
            Err(error) if may_pass(&error) && tries < TRIES_MAX => {
                tracing::debug!(%error, folder = %folder.path().display(), "a supervisor will be asked again");
                tries += 1;
                tokio::time::sleep(TRY_PAUSE).await;
            }
            connected => return connected,
        }
    }
}

/// Returns true if the error may go away: this process or the machine is at a limit just now. Any other error
/// is permanent, and trying again only delays the start.
fn may_pass(error: &io::Error) -> bool {
    use libc::{EAGAIN, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM};
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE | EAGAIN | ENOMEM | ENOBUFS | EINTR))
}

/// Returns true if nobody is there to answer, or somebody is there who does not answer.
fn is_of_a_dead_one(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotADirectory, NotFound, TimedOut, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionRefused | ConnectionReset | NotADirectory | NotFound | TimedOut | UnexpectedEof)
}

impl SharedState {
    /// Returns a program whose supervisor is gone, possibly after it noted the end. Its remaining time no longer counts.
    fn over(self: &Arc<Self>, note: &HeldNote, folder: Folder, why: WhyLost) -> AttemptRemains {
        let (attempt, token) = (note.attempt, note.token);
        self.holding().insert(attempt, Holding::Nobody(folder.clone()));
        let (heard_into, heard) = mpsc::channel(HEARD_WAITING_MAX);
        let task = self.runtime.spawn(async move { Teller::to(heard_into).deliver_from_folder(&folder, why).await });
        let (say, end_by) = (Sayer::to_nobody(), watch::Sender::new(None));
        let program = SupervisedProgram {
            shared: Arc::clone(self),
            attempt,
            heard,
            say,
            end_by,
            task: task.abort_handle(),
            stage: ProgramStage::Running,
        };
        AttemptRemains::Program(LeftProgram { attempt, token, remaining: Duration::MAX, program: Box::new(program) })
    }

    /// Returns the proof that a program was never started. Its folder stays until the attempt is collected.
    fn not_begun(&self, reservation: &Reservation, folder: Folder) -> AttemptRemains {
        let Reservation { attempt, token, .. } = *reservation;
        // What may run goes first.
        self.holding().entry(attempt).or_insert(Holding::Nobody(folder));
        AttemptRemains::NotBegun { attempt, token }
    }
}

/// Ends all processes of a supervisor that is gone or does not answer, and the supervisor itself: the known
/// supervisor, with the private directory of its program, or otherwise the one that its folder names. Limited
/// in time, since the folder's disk may be the reason why it hangs.
pub(super) async fn end_all_of(folder: &Folder, known: Option<(SupervisorProcess, PathBuf)>) {
    let folder = folder.clone();
    let ending = tokio::task::spawn_blocking(move || {
        let (SupervisorProcess { number, started_at }, private, user) = match known {
            // Everything that its program started is below it.
            Some((supervisor, private)) => (supervisor, private, None),
            None => {
                let Ok(Some(note)) = folder.held_by() else { return 0 };
                if note.boot != crate::begun_file::boot_id() {
                    return 0;
                }
                (SupervisorProcess { number: note.supervisor, started_at: note.started_at }, note.private, note.user)
            }
        };
        tree::kill_orphans(number, started_at, &private.to_string_lossy(), user)
    });
    match tokio::time::timeout(ENDING_PATIENCE, ending).await {
        Ok(Ok(count @ 1..)) => tracing::warn!(count, "processes that had lost their supervisor were killed"),
        Ok(_) => {}
        Err(_) => tracing::warn!("killing the remaining processes of a supervisor takes long and continues by itself"),
    }
}

#[cfg(test)]
mod tests {
    use ensue_engine::ids::{AttemptId, Id};
    use ensue_engine::time::Timestamp;

    use super::*;
    use crate::programs::{Pending, Program, ProgramUpdate, Tell};

    /// A program of which nothing is heard.
    struct Silent;

    impl Program for Silent {
        fn hear(&mut self) -> Pending<'_, ProgramUpdate> {
            Box::pin(std::future::pending())
        }

        fn instruct(&self, _: Tell) {}

        fn clear(self: Box<Self>) -> Pending<'static, ()> {
            Box::pin(std::future::ready(()))
        }

        fn leave(self: Box<Self>) {}
    }

    fn attempt(number: u128) -> AttemptId {
        AttemptId(Id::root(Timestamp::from_micros(1), number))
    }

    fn program(number: u128) -> AttemptRemains {
        AttemptRemains::Program(LeftProgram { attempt: attempt(number), token: 7, remaining: Duration::MAX, program: Box::new(Silent) })
    }

    fn not_begun(number: u128) -> AttemptRemains {
        AttemptRemains::NotBegun { attempt: attempt(number), token: 7 }
    }

    #[test]
    fn reservation_proves_nothing_if_another_folder_knows_its_attempt() {
        let mut left =
            vec![not_begun(1), program(2), not_begun(2), not_begun(3), program(3), not_begun(4), not_begun(4), program(5), not_begun(6)];
        drop_doubtful(&mut left);
        let shown: Vec<_> = left.iter().map(|one| (one.attempt(), matches!(one, AttemptRemains::NotBegun { .. }))).collect();
        let expected = [(1, true), (2, false), (3, false), (5, false), (6, true)];
        assert_eq!(shown, expected.map(|(number, is_proof)| (attempt(number), is_proof)));
    }

    #[test]
    fn own_resource_limit_does_not_mean_that_a_supervisor_is_dead() {
        for errno in [libc::EMFILE, libc::ENFILE, libc::EAGAIN, libc::ENOMEM, libc::ENOBUFS, libc::EINTR] {
            assert!(may_pass(&io::Error::from_raw_os_error(errno)), "{errno}");
        }
    }

    #[test]
    fn permanent_connection_errors_are_not_retried() {
        for errno in [libc::ECONNREFUSED, libc::ENOENT, libc::ECONNRESET, libc::EPIPE, libc::ENOTDIR, libc::EACCES, libc::EPERM] {
            assert!(!may_pass(&io::Error::from_raw_os_error(errno)), "{errno}");
        }
        for kind in [io::ErrorKind::InvalidData, io::ErrorKind::Unsupported, io::ErrorKind::TimedOut] {
            assert!(!may_pass(&kind.into()), "{kind}");
        }
    }
}
