//! Faults of the real thing: the built binary under load, and one thing after the other that goes wrong below it.
//!
//! The list is closed: a fault of the machine that stands here has a test, and each is held against the same ledger (`ledger.rs`) by
//! the same checks (`trial.rs`). What the disk may lose in a power cut is not seen from here: the kernel keeps what a killed process
//! has written. That is the simulator's, and the stores' own tests'.
//!
//! | what goes wrong | file |
//! | --- | --- |
//! | the node is killed | `kill.rs`, and with workflows under way `flows.rs` |
//! | the node stands still for longer than its leases last | `pause.rs` |
//! | the disk is full, nearly or wholly | `disk_full.rs` |
//! | the disk does not take what it is asked to keep | `failing_sync.rs` |
//! | a bit of a file is another one, or its end is gone | `damage.rs` |
//! | the wall clock steps | `clock_steps.rs` |
//! | the node is asked to stop under load | `restarts.rs` |
//! | a second node wants the directory | `second_node.rs` |
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
mod pause;
mod restarts;
mod second_node;
mod shown;
mod trial;

/// How much of a fault a run takes: CI's part, or the long run's (`cargo verify --long`), which says `ENSUE_FAULTS=long`.
fn rounds(in_ci: u64, in_a_long_run: u64) -> u64 {
    match std::env::var("ENSUE_FAULTS").as_deref() {
        Ok("long") => in_a_long_run,
        Ok(other) => panic!("ENSUE_FAULTS is `{other}`; it is `long`, or not set"),
        Err(_) => in_ci,
    }
}

/// The seed of a test's random choices: `ENSUE_FAULTS_SEED`, or another in each run.
fn seed() -> u64 {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    std::env::var("ENSUE_FAULTS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(now)
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough to choose moments with, and to choose them again.
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
