//! Measures how long it takes to replace the master key of a vault with 20,000 values, while others read and set values.
//!
//!     cargo run --release -p ensue-store --example rotation

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ensue_engine::ids::{Id, LogId};
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{Secret, Vault as _, VaultError};
use ensue_engine::time::Timestamp;
use ensue_store::master_key::{MasterKey, MasterKeyFile};
use ensue_store::rotation::rotate;
use ensue_store::sqlite::vault::SqliteVault;

/// The number of values.
const VALUES: u32 = 20_000;
/// How long values are read and set without a rotation, for comparison.
const QUIET: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = MasterKeyFile::new(folder.path().join("master.key"));
    MasterKey::create(file.path())?;
    let log = LogId(Id::root(Timestamp::from_micros(0), 1));
    let vault = SqliteVault::open(&folder.path().join("vault.sqlite"), log, file.load()?)?;
    let key: KeyRef = "garden.secret".parse()?;
    let begun = Instant::now();
    for version in 1..=VALUES {
        vault.put_key(&key, version, &Secret::new(format!("a secret value, {version}").into_bytes()))?;
    }
    println!("{VALUES} values set in {:.1?}", begun.elapsed());
    let is_over = AtomicBool::new(false);
    let quietly = std::thread::scope(|scope| {
        let used = scope.spawn(|| measure_use(&vault, &key, &is_over));
        std::thread::sleep(QUIET);
        is_over.store(true, Ordering::Relaxed);
        used.join()
    });
    print_times("without a rotation", quietly.map_err(|_| "the thread panicked")??);
    is_over.store(false, Ordering::Relaxed);
    let meanwhile = std::thread::scope(|scope| {
        let used = scope.spawn(|| measure_use(&vault, &key, &is_over));
        let begun = Instant::now();
        let rotated = rotate(&file, &vault, |_| Ok::<_, VaultError>(()));
        println!("rotated in {:.2?}: {} values", begun.elapsed(), rotated.as_ref().map_or(0, |rotated| rotated.values));
        is_over.store(true, Ordering::Relaxed);
        used.join()
    });
    print_times("while it is rotated", meanwhile.map_err(|_| "the thread panicked")??);
    Ok(())
}

/// Reads and sets values until it is over. Returns how long each read and each write took.
fn measure_use(vault: &SqliteVault, key: &KeyRef, is_over: &AtomicBool) -> Result<[Vec<Duration>; 2], VaultError> {
    let other: KeyRef = "garden.other".parse().map_err(|_| VaultError::Store("the name of the key is wrong".to_owned()))?;
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for turn in 1_u32.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let begun = Instant::now();
        assert!(vault.open_key(key, turn % VALUES + 1)?.is_some());
        reads.push(begun.elapsed());
        if turn % 10 == 0 {
            let begun = Instant::now();
            vault.put_key(&other, turn, &Secret::new(b"another secret value".to_vec()))?;
            writes.push(begun.elapsed());
            vault.destroy_key(&other, turn)?;
        }
    }
    Ok([reads, writes])
}

fn print_times(when: &str, [reads, writes]: [Vec<Duration>; 2]) {
    for (what, mut times) in [("reads", reads), ("writes", writes)] {
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 100).or(times.last()).copied().unwrap_or_default();
        println!("{when}, {} {what}: p50 {:.2?}, p95 {:.2?}, longest {:.2?}", times.len(), at(50), at(95), at(100));
    }
}
