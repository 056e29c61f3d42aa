//! Faults of the machine: the built binary under load, with one fault after the other.
//!
//! The list is closed: each fault listed here has a test, and each is compared with the same ledger
//! (`ledger.rs`) by the same checks (`trial.rs`). The data that a disk may lose in a power cut is not covered
//! here, because the kernel keeps what a killed process has written. The simulator and the stores' own tests
//! cover that.
//!
//! | fault | file |
//! | --- | --- |
//! | the node is killed | `kill.rs`, and during workflows `flows.rs` |
//! | the node is paused for longer than its leases | `pause.rs` |
//! | the disk is full or nearly full | `disk_full.rs` |
//! | the disk cannot store data | `failing_sync.rs` |
//! | a bit of a file is flipped, or its end is cut off | `damage.rs` |
//! | the wall clock steps | `clock_steps.rs` |
//! | the node is stopped under load | `restarts.rs` |
//! | a second node opens the directory | `second_node.rs` |
//! | nodes that share a database, or its server, are killed, stopped, frozen or cut off | `on_a_database.rs` |
//! | a program multiplies without end | `fork_bomb.rs` |

mod clock_steps;
mod damage;
mod disk_full;
mod failing_sync;
mod flows;
#[cfg(target_os = "linux")]
mod fork_bomb;
mod kill;
mod ledger;
mod on_a_database;
mod pause;
mod restarts;
mod second_node;
mod trial;
mod view_content;

/// How many rounds of a fault to run: CI's number, or the long run's (`cargo verify --long`), which sets
/// `ENSUE_FAULTS=long`.
fn rounds(in_ci: u64, in_a_long_run: u64) -> u64 {
    match std::env::var("ENSUE_FAULTS").as_deref() {
        Ok("long") => in_a_long_run,
        Ok(other) => panic!("ENSUE_FAULTS is `{other}`; it is `long`, or not set"),
        Err(_) => in_ci,
    }
}

/// The seed of a test's random choices: `ENSUE_FAULTS_SEED`, or the number in `tests/seed`, so that two runs of one tree choose the
/// same.
fn seed() -> u64 {
    let of_this_tree = || include_str!("../../../tests/seed").to_owned();
    let seed = std::env::var("ENSUE_FAULTS_SEED").unwrap_or_else(|_| of_this_tree());
    seed.trim().parse().unwrap_or_else(|error| panic!("the seed `{seed}` is not a number: {error}"))
}

/// SplitMix64 (Steele, Lea, Flood 2014): sufficient to choose moments, and to choose them again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Chooses a number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}
