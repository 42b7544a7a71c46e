//! Power cuts, page by page: what `flush` acknowledged is there, everything else is whole or gone, and what is gone
//! stays gone.
//!
//! The disk is a second copy of the two files. A page reaches it when the simulated kernel writes it back, at any time
//! and in any order, or when it is synced. A power cut leaves the disk as it is; pages of the table that were on their
//! way may be torn, since the kernel rewrites those all the time.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use proptest::prelude::*;

use crate::checks;
use crate::flush::{self, Disk};
use crate::gather::{Filter, Horizon, Position};
use crate::header::Header;
use crate::layout::{Geometry, HEADERS_BYTES, PAGE_WORDS, RowLayout};
use crate::ring::Ring;
use crate::storage::heap::HeapStorage;
use crate::stream::Stream;
use crate::test_ring::{HeapRing, TestRow, append, read, schema};

const BLOCK_ROWS: u32 = 8;
const BLOCKS: u64 = 12;
const STREAMS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// A row to a stream; whether it ends its episode.
    Append(usize, bool),
    /// The kernel writes some pages back: those whose number hashes under the share.
    WriteBack(u64, u8),
    Flush,
    /// A flush during which the power fails, at its n-th sync, some of that sync's pages written.
    FailingFlush(usize, u64),
    /// The power fails; the number says which pages of the table are torn, if any.
    Cut(u64, bool),
}

fn hash(seed: u64, number: u64) -> u64 {
    let mixed =
        (seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed ^ mixed >> 29
}

/// The disk below a ring: table and rows.
struct SimulatedDisk<'a> {
    ring: &'a HeapRing,
    files: RefCell<[Vec<u64>; 2]>,
    /// Syncs until the power fails, and which pages of that sync still get through.
    fuse: Cell<Option<(usize, u64)>>,
}

impl SimulatedDisk<'_> {
    fn write_back(
        &self,
        file: usize,
        pages: std::ops::Range<usize>,
        is_written: impl Fn(usize) -> bool,
    ) {
        let memory = &self.ring.storage().files()[file];
        let disk = &mut self.files.borrow_mut()[file];
        for page in pages.filter(|&page| is_written(page)) {
            let words = page * PAGE_WORDS..((page + 1) * PAGE_WORDS).min(memory.len());
            disk[words.clone()].copy_from_slice(&memory[words]);
        }
    }

    fn sync(&self, file: usize, pages: std::ops::Range<usize>) -> io::Result<()> {
        match self.fuse.get() {
            Some((0, seed)) => {
                self.write_back(file, pages, |page| {
                    hash(seed, page as u64).is_multiple_of(2)
                });
                Err(io::Error::other("the power failed"))
            }
            Some((left, seed)) => {
                self.fuse.set(Some((left - 1, seed)));
                self.write_back(file, pages, |_| true);
                Ok(())
            }
            None => {
                self.write_back(file, pages, |_| true);
                Ok(())
            }
        }
    }

    fn pages(&self, file: usize) -> usize {
        self.files.borrow()[file].len().div_ceil(PAGE_WORDS)
    }
}

impl Disk for SimulatedDisk<'_> {
    fn sync_rows(&self) -> io::Result<()> {
        self.sync(1, 0..self.pages(1))
    }

    fn sync_table(&self, offset: usize, size_bytes: usize) -> io::Result<()> {
        let page_bytes = 8 * PAGE_WORDS;
        self.sync(
            0,
            offset / page_bytes..(offset + size_bytes).div_ceil(page_bytes),
        )
    }
}

/// One machine through several power cuts.
struct Machine {
    geometry: Geometry,
    row: RowLayout,
    hash: u64,
    next_number: u64,
    episodes: u64,
    /// Every row ever appended, by `step_id`.
    history: BTreeMap<u64, TestRow>,
    /// Rows that were not there after some cut: they must never come back.
    lost: BTreeSet<u64>,
}

impl Machine {
    fn new() -> Self {
        let schema = schema();
        let row = RowLayout::new(&schema).expect("small");
        let geometry =
            Geometry::new(&row, BLOCKS * u64::from(BLOCK_ROWS), BLOCK_ROWS).expect("small");
        Self {
            geometry,
            row,
            hash: schema.hash(),
            next_number: 0,
            episodes: 0,
            history: BTreeMap::new(),
            lost: BTreeSet::new(),
        }
    }

    fn ring(&self, files: &[Vec<u64>; 2]) -> HeapRing {
        let storage = HeapStorage::from_files(&self.geometry, files);
        Ring::new(storage, self.row.clone(), self.geometry.clone(), self.hash)
    }

    fn fresh_files(&self) -> [Vec<u64>; 2] {
        let mut table = vec![0; HEADERS_BYTES / 8 + self.geometry.table_words];
        let header = Header::new(self.hash, &self.geometry).encode();
        for (word, bytes) in [header.clone(), header]
            .concat()
            .as_chunks::<8>()
            .0
            .iter()
            .enumerate()
        {
            table[word] = u64::from_ne_bytes(*bytes);
        }
        [table, vec![0; self.geometry.data_bytes / 8]]
    }

    /// Runs until the power fails; returns the disk and the rows that a flush vouches for.
    fn run(
        &mut self,
        files: [Vec<u64>; 2],
        steps: &mut impl Iterator<Item = Step>,
    ) -> ([Vec<u64>; 2], BTreeSet<u64>) {
        let ring = self.ring(&files);
        let disk = SimulatedDisk {
            ring: &ring,
            files: RefCell::new(files),
            fuse: Cell::new(None),
        };
        let mut streams: Vec<Stream> = (0..STREAMS).map(|id| Stream::new(id as u32, 1)).collect();
        let mut open: Vec<Option<(u64, u64)>> = vec![None; STREAMS];
        // Rows that the last flush saw, with the block and generation in which they lie.
        let mut flushed: Vec<(u64, u32, u32)> = Vec::new();
        for step in steps {
            match step {
                Step::Append(stream, is_done) => {
                    self.append(
                        &ring,
                        &mut streams[stream],
                        &mut open[stream],
                        stream,
                        is_done,
                    );
                }
                Step::WriteBack(seed, share) => {
                    for file in 0..2 {
                        disk.write_back(file, 0..disk.pages(file), |page| {
                            hash(seed ^ file as u64, page as u64) as u8 <= share
                        });
                    }
                }
                Step::Flush => {
                    flush::flush(&ring, &disk).expect("the power is on");
                    flushed = stored(&ring);
                }
                Step::FailingFlush(syncs, seed) => {
                    disk.fuse.set(Some((syncs, seed)));
                    if flush::flush(&ring, &disk).is_ok() {
                        flushed = stored(&ring);
                    }
                    break;
                }
                Step::Cut(seed, is_tearing) => {
                    if is_tearing {
                        tear(&self.geometry, &mut disk.files.borrow_mut()[0], seed);
                    }
                    break;
                }
            }
        }
        let vouched = flushed
            .into_iter()
            .filter(|&(_, block, generation)| ring.word(block).generation == generation)
            .map(|(number, _, _)| number)
            .collect();
        (disk.files.into_inner(), vouched)
    }

    fn append(
        &mut self,
        ring: &HeapRing,
        stream: &mut Stream,
        open: &mut Option<(u64, u64)>,
        id: usize,
        is_done: bool,
    ) {
        let (episode_id, obs) = open.unwrap_or_else(|| {
            self.episodes += 1;
            (
                self.episodes,
                1_000_000 * (id as u64 + 1) + 1000 * self.episodes,
            )
        });
        let row = TestRow {
            obs,
            next_obs: obs + 1,
            reward: (self.next_number % 13) as f32,
            terminated: is_done,
            truncated: false,
            episode_id,
            step_id: self.next_number,
        };
        append(ring, stream, &row);
        self.history.insert(self.next_number, row);
        self.next_number += 1;
        *open = (!is_done).then_some((episode_id, obs + 1));
    }

    /// Starts again after a power cut and checks what is there.
    fn restart(
        &mut self,
        files: [Vec<u64>; 2],
        vouched: &BTreeSet<u64>,
    ) -> Result<[Vec<u64>; 2], TestCaseError> {
        let ring = self.ring(&files);
        checks::rebuild(&ring, flush::last_snapshot(&ring).as_ref());
        let mut there = BTreeSet::new();
        for block in 0..ring.geometry().blocks {
            for place in 0..BLOCK_ROWS {
                let horizon = Horizon {
                    steps: 1,
                    gamma: 1.0,
                };
                let Some(sampled) = read(&ring, Position { block, place }, horizon, Filter::ALL)
                else {
                    continue;
                };
                let appended = self.history.get(&sampled.row.step_id);
                prop_assert_eq!(appended, Some(&sampled.row), "a row that nobody appended");
                prop_assert!(
                    there.insert(sampled.row.step_id),
                    "row {} is there twice",
                    sampled.row.step_id
                );
            }
        }
        let missing: Vec<_> = vouched.difference(&there).collect();
        prop_assert!(missing.is_empty(), "flushed rows {missing:?} are gone");
        let risen: Vec<_> = there.intersection(&self.lost).collect();
        prop_assert!(risen.is_empty(), "rows {risen:?} came back");
        prop_assert_eq!(checks::verify(&ring).bad_count, 0);
        prop_assert_eq!(ring.size(), there.len() as u64);
        self.lost
            .extend(self.history.keys().filter(|number| !there.contains(number)));
        // Opening syncs what it mended before anybody appends.
        Ok(ring.storage().files())
    }
}

/// Every stored row's number, block and generation.
fn stored(ring: &HeapRing) -> Vec<(u64, u32, u32)> {
    let mut found = Vec::new();
    for block in 0..ring.claimed_blocks() {
        let word = ring.word(block);
        for place in 0..u32::from(word.count) {
            if ring
                .mark(block, place)
                .is_some_and(crate::word::Mark::is_row)
            {
                let step = ring.read_number(block, place, ring.row().key.step_id);
                found.push((u64::from_ne_bytes(step), block, word.generation));
            }
        }
    }
    found
}

/// Fills pieces of the live table with rubbish. Headers and snapshots aren't on their way outside a flush.
fn tear(geometry: &Geometry, table: &mut [u64], seed: u64) {
    let live = HEADERS_BYTES / 8..HEADERS_BYTES / 8 + geometry.snapshot(0).start;
    for word in live {
        if hash(seed, word as u64 / 64).is_multiple_of(3) {
            table[word] = hash(seed, word as u64);
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        60 => (0..STREAMS, prop::bool::weighted(0.15)).prop_map(|(stream, is_done)| Step::Append(stream, is_done)),
        6 => (any::<u64>(), any::<u8>()).prop_map(|(seed, share)| Step::WriteBack(seed, share)),
        3 => Just(Step::Flush),
        1 => (0..5_usize, any::<u64>()).prop_map(|(syncs, seed)| Step::FailingFlush(syncs, seed)),
        1 => (any::<u64>(), any::<bool>()).prop_map(|(seed, is_tearing)| Step::Cut(seed, is_tearing)),
    ];
    prop::collection::vec(step, 1..400)
}

/// `CARLA_ONLINE_REPLAY_POWER_CUTS` raises the number of sessions.
fn sessions() -> u32 {
    let asked = std::env::var("CARLA_ONLINE_REPLAY_POWER_CUTS");
    asked.ok().and_then(|text| text.parse().ok()).unwrap_or(150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(sessions()))]

    #[test]
    fn flushed_rows_survive_power_cuts_and_nothing_torn_or_lost_is_served(steps in steps()) {
        let mut machine = Machine::new();
        let mut files = machine.fresh_files();
        let mut steps = steps.into_iter().peekable();
        while steps.peek().is_some() {
            let (disk, vouched) = machine.run(files, &mut steps);
            files = machine.restart(disk, &vouched)?;
        }
    }
}
