//! A file: what a reader gets, what is on the disk, and every state that a power cut may leave.
//!
//! Sectors are written in any order, each completely or not at all, except for one that may be torn. Until a
//! sync, a sector may be left as it was after any of the writes to it.

use std::collections::BTreeMap;

use crate::random::Random;

/// The number of bytes that are tracked together.
pub(crate) const SECTOR: usize = 512;

/// How many states of a sector between two syncs are remembered; the oldest are dropped first.
const STATES_MAX: usize = 4;

#[derive(Debug, Default)]
pub(crate) struct File {
    /// What a reader gets.
    now: Vec<u8>,
    /// What is on the disk.
    kept: Vec<u8>,
    /// For each sector written since the last sync, its content after each write.
    unsynced: BTreeMap<usize, Vec<State>>,
    /// The file's lengths since the last sync.
    lengths: Vec<usize>,
    writes: u64,
}

#[derive(Debug)]
struct State {
    write: u64,
    bytes: Vec<u8>,
}

/// How much of the unsynced data survived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CutSummary {
    pub(crate) kept: u64,
    pub(crate) lost: u64,
    pub(crate) torn: u64,
}

impl File {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { now: bytes.to_vec(), kept: bytes.to_vec(), ..Self::default() }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.now
    }

    pub(crate) fn len(&self) -> usize {
        self.now.len()
    }

    /// Reads as much as there is; bytes beyond the end are zeros.
    pub(crate) fn read(&self, into: &mut [u8], offset: usize) -> usize {
        into.fill(0);
        let there = self.now.get(offset..).unwrap_or_default();
        let count = there.len().min(into.len());
        into[..count].copy_from_slice(&there[..count]);
        count
    }

    pub(crate) fn write(&mut self, bytes: &[u8], offset: usize) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if self.now.len() < end {
            self.now.resize(end, 0);
            self.lengths.push(end);
        }
        self.now[offset..end].copy_from_slice(bytes);
        self.writes += 1;
        for sector in offset / SECTOR..=(end - 1) / SECTOR {
            let bytes = sector_of(&self.now, sector).to_vec();
            let states = self.unsynced.entry(sector).or_default();
            states.push(State { write: self.writes, bytes });
            if states.len() > STATES_MAX {
                states.remove(0);
            }
        }
    }

    pub(crate) fn set_len(&mut self, length: usize) {
        if length != self.now.len() {
            self.now.resize(length, 0);
            self.lengths.push(length);
        }
    }

    pub(crate) fn sync(&mut self) {
        self.kept.resize(self.now.len(), 0);
        for (sector, _) in std::mem::take(&mut self.unsynced) {
            put(&mut self.kept, sector, self.now.get(sector * SECTOR..).unwrap_or_default());
        }
        self.lengths.clear();
    }

    /// Fails a sync: some of the data is written, and from now on all of it counts as clean. Readers mostly
    /// still get what was written, but sometimes the system has dropped the pages it takes for clean and
    /// reads them from the disk again.
    pub(crate) fn fail_sync(&mut self, random: &mut Random, together: usize) {
        self.leave_some(random, together);
        if random.thousandths(300) {
            self.now = self.kept.clone();
        }
    }

    /// Cuts the power: only some of the unsynced data survives.
    pub(crate) fn cut_power(&mut self, random: &mut Random, together: usize) -> CutSummary {
        let left = self.leave_some(random, together);
        self.now = self.kept.clone();
        left
    }

    /// Writes some of the unsynced data, always treating `together` sectors alike.
    fn leave_some(&mut self, random: &mut Random, together: usize) -> CutSummary {
        let lengths = std::mem::take(&mut self.lengths);
        if let Some(length) = lengths.get(random.below(lengths.len() as u64 + 1) as usize) {
            self.kept.resize(*length, 0);
        }
        // Mostly a part survives, but all and nothing must not be rare.
        let lost_thousandths = match random.below(5) {
            0 => 0,
            1 => 1000,
            _ => random.below(1001),
        };
        let mut blocks: BTreeMap<usize, Vec<(usize, Vec<State>)>> = BTreeMap::new();
        for (sector, states) in std::mem::take(&mut self.unsynced) {
            blocks.entry(sector / together).or_default().push((sector, states));
        }
        let torn = random.thousandths(500).then(|| random.below(blocks.len() as u64) as usize);
        let mut left = CutSummary::default();
        for (at, (_, sectors)) in blocks.iter().enumerate() {
            if Some(at) == torn {
                left.torn += 1;
                self.tear(random, sectors);
                continue;
            }
            if random.thousandths(lost_thousandths) {
                left.lost += 1;
                continue;
            }
            left.kept += 1;
            let writes: Vec<u64> = sectors.iter().flat_map(|(_, states)| states.iter().map(|state| state.write)).collect();
            let newest = writes.iter().copied().max().unwrap_or_default();
            // Mostly the state after the last write, sometimes an earlier one.
            let through = if random.thousandths(800) { newest } else { writes[random.below(writes.len() as u64) as usize] };
            for (sector, states) in sectors {
                if let Some(state) = states.iter().rfind(|state| state.write <= through) {
                    put(&mut self.kept, *sector, &state.bytes);
                }
            }
        }
        left
    }

    /// Tears a sector: the beginning of the new content is written and the end is not.
    fn tear(&mut self, random: &mut Random, sectors: &[(usize, Vec<State>)]) {
        let (whole, part) = (random.below(sectors.len() as u64) as usize, random.below(SECTOR as u64) as usize);
        for (at, (sector, states)) in sectors.iter().enumerate().take(whole + 1) {
            let Some(state) = states.last() else { continue };
            let length = if at < whole { state.bytes.len() } else { part.min(state.bytes.len()) };
            put(&mut self.kept, *sector, &state.bytes[..length]);
        }
    }
}

fn sector_of(file: &[u8], sector: usize) -> &[u8] {
    let start = (sector * SECTOR).min(file.len());
    &file[start..(start + SECTOR).min(file.len())]
}

/// Copies a sector's bytes into the file, up to the file's end.
fn put(file: &mut [u8], sector: usize, bytes: &[u8]) {
    let start = (sector * SECTOR).min(file.len());
    let count = bytes.len().min(SECTOR).min(file.len() - start);
    file[start..start + count].copy_from_slice(&bytes[..count]);
}
