//! A tiny ring on the heap for tests: one-number observations, every row tells which one it is.

use crate::column::Column;
use crate::columns::{Columns, Extras};
use crate::gather::{Filter, Gather, Horizon, Position};
use crate::layout::{FIELDS, Geometry, RowLayout};
use crate::ring::{Liveness, Ring};
use crate::schema::{Dtype, Field, Schema};
use crate::staging::{RowSource, Staging};
use crate::storage::heap::HeapStorage;
use crate::stream::Stream;

/// Everybody lives.
pub struct Immortal;

impl Liveness for Immortal {
    fn is_alive(&self, _owner: u16) -> bool {
        true
    }
}

/// A ring over heap memory.
pub type HeapRing = Ring<HeapStorage>;

/// `obs` u64 linked, and the required fields.
pub fn schema() -> Schema {
    let scalar = |name: &str, dtype, linked| Field::new(name, dtype, &[], linked);
    Schema::new(vec![
        scalar("obs", Dtype::U64, true),
        scalar("reward", Dtype::F32, false),
        scalar("terminated", Dtype::Bool, false),
        scalar("truncated", Dtype::Bool, false),
        scalar("episode_id", Dtype::U64, false),
        scalar("step_id", Dtype::U64, false),
    ])
    .expect("the test schema is sound")
}

/// An empty ring.
pub fn ring(blocks: u64, block_rows: u32) -> HeapRing {
    let schema = schema();
    let row = RowLayout::new(&schema).expect("small");
    let geometry = Geometry::new(&row, blocks * u64::from(block_rows), block_rows).expect("small");
    Ring::new(HeapStorage::new(&geometry), row, geometry, schema.hash())
}

/// A transition of the tests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TestRow {
    pub obs: u64,
    pub next_obs: u64,
    pub reward: f32,
    pub terminated: bool,
    pub truncated: bool,
    pub episode_id: u64,
    pub step_id: u64,
}

impl TestRow {
    fn rest(&self, layout: &RowLayout) -> Vec<u8> {
        let mut bytes = vec![0; layout.end];
        let mut put = |field: usize, value: &[u8]| {
            bytes[layout.spans[field].offset..][..value.len()].copy_from_slice(value);
        };
        put(1, &self.reward.to_ne_bytes());
        put(2, &[u8::from(self.terminated)]);
        put(3, &[u8::from(self.truncated)]);
        put(4, &self.episode_id.to_ne_bytes());
        put(5, &self.step_id.to_ne_bytes());
        bytes.split_off(layout.linked_end.max(FIELDS))
    }
}

impl RowSource for TestRow {
    fn copy_linked(&self, _layout: &RowLayout, target: &mut [u8]) {
        target.copy_from_slice(&self.obs.to_ne_bytes());
    }

    fn copy_rest(&self, layout: &RowLayout, target: &mut [u8]) {
        target.copy_from_slice(&self.rest(layout));
    }

    fn copy_next(&self, _layout: &RowLayout, target: &mut [u8]) {
        target.copy_from_slice(&self.next_obs.to_ne_bytes());
    }

    fn linked_is(&self, _layout: &RowLayout, image: &[u8]) -> bool {
        image == self.obs.to_ne_bytes()
    }
}

/// Appends a row to a stream.
pub fn append(ring: &HeapRing, stream: &mut Stream, row: &TestRow) {
    let mut staging = Staging::new(ring.row());
    stream
        .reserve(ring, row, &mut staging, &Immortal)
        .expect("a free block");
    stream.commit(ring, row, &mut staging);
}

/// One row with its return, as a sampler would give it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampled {
    pub row: TestRow,
    pub n_step_reward: f32,
    pub discount: f32,
}

/// Reads one place.
pub fn read(ring: &HeapRing, at: Position, horizon: Horizon, filter: Filter) -> Option<Sampled> {
    let (sampled, generation) = filled(ring, 1, |columns| {
        Gather::new(horizon).row(ring, at, filter, columns, 0)
    });
    generation.map(|_| sampled[0])
}

/// What something fills columns of so many rows with, and what it returns.
pub fn filled<T>(
    ring: &HeapRing,
    rows: usize,
    fill: impl FnOnce(&mut Columns<'_>) -> T,
) -> (Vec<Sampled>, T) {
    let mut fields = [8, 4, 1, 1, 8, 8].map(|size_bytes| vec![0_u8; size_bytes * rows]);
    let mut next = vec![0_u8; 8 * rows];
    let mut returns = [vec![0_u8; 4 * rows], vec![0_u8; 4 * rows]];
    let told = fill(&mut Columns::new(
        ring.row(),
        fields.iter_mut().map(|field| Column::new(field)).collect(),
        vec![Column::new(&mut next)],
        returns.each_mut().map(|column| Column::new(column)),
        Extras::default(),
    ));
    let sampled = (0..rows).map(|at| Sampled {
        row: TestRow {
            obs: u64::from_ne_bytes(item(&fields[0], at)),
            next_obs: u64::from_ne_bytes(item(&next, at)),
            reward: f32::from_ne_bytes(item(&fields[1], at)),
            terminated: item(&fields[2], at) == [1],
            truncated: item(&fields[3], at) == [1],
            episode_id: u64::from_ne_bytes(item(&fields[4], at)),
            step_id: u64::from_ne_bytes(item(&fields[5], at)),
        },
        n_step_reward: f32::from_ne_bytes(item(&returns[0], at)),
        discount: f32::from_ne_bytes(item(&returns[1], at)),
    });
    (sampled.collect(), told)
}

fn item<const N: usize>(column: &[u8], at: usize) -> [u8; N] {
    column.as_chunks::<N>().0[at]
}
