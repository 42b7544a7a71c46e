//! Where everything lies: the bytes of a row, the rows of a block, the words of the table.
//!
//! ```text
//! row    | mark word | linked checksum | linked fields .. | unlinked fields .. | pad to 64 |
//! block  | row 0 | row 1 | ... | row R-1 | spare: linked part only |
//! table  | header A (4 KiB) | header B (4 KiB) | live words (4 KiB) | block words | block entries (64 B each)
//!        | snapshot A | snapshot B |
//! ```

use crate::error::{Error, Result};
use crate::schema::Schema;
use crate::word::MAX_BLOCK_ROWS;

/// Offset of the linked checksum in a row.
pub const LINKED_CHECKSUM: usize = 8;
/// Offset of the first field in a row.
pub const FIELDS: usize = 16;
/// Bytes of the table before its live words: two header copies.
pub const HEADERS_BYTES: usize = 8192;
/// Table word: tickets handed out.
pub const HEAD: usize = 0;
/// Table words: the machine's boot at the last opening for writing.
pub const BOOT: [usize; 2] = [1, 2];
/// Table word: 1 after an orderly close of the last writer.
pub const CLEAN: usize = 3;
/// Words of a page.
pub const PAGE_WORDS: usize = 512;
/// First block word: the live page has 512 words.
pub const BLOCK_WORDS: usize = PAGE_WORDS;
/// Words that a flush keeps of a block: its word and its books.
pub const SNAPSHOT_WORDS: usize = 2;
/// Words of a block's entry.
pub const ENTRY_WORDS: usize = 8;
/// Entry word: rows of earlier generations (40 bits) and the low 24 bits of the last generation among them.
pub const ENTRY_TOTAL: usize = 0;
/// Entry word: the block in which the stream went on.
pub const ENTRY_LINK: usize = 1;
/// Entry word: the stream's number.
pub const ENTRY_STREAM: usize = 2;
/// Entry word: no row of the block has a lower `step_id`.
pub const ENTRY_LEAST_STEP: usize = 3;
/// Entry word: how many of the block's rows are quarantined.
pub const ENTRY_BARRED: usize = 4;

/// A field's place in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset from the row's start.
    pub offset: usize,
    /// Length.
    pub size_bytes: usize,
}

/// A field's bytes within one part of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Index of the field's column: among all fields, or among the linked ones for next values.
    pub column: usize,
    /// Offset from the row's start.
    pub offset: usize,
    /// Length.
    pub size_bytes: usize,
}

/// The bytes of a row.
#[derive(Clone, Debug)]
pub struct RowLayout {
    /// Place of each field, in schema order.
    pub spans: Vec<Span>,
    /// The linked fields.
    pub linked: Vec<Item>,
    /// The other fields.
    pub rest: Vec<Item>,
    /// The linked fields as next values: their columns are counted among themselves.
    pub next: Vec<Item>,
    /// End of the linked part, a multiple of 8: the spare of a block ends here.
    pub linked_end: usize,
    /// End of the row's content, a multiple of 8.
    pub end: usize,
    /// Distance of rows, a multiple of 64.
    pub stride: usize,
    /// The fields that sampling reads.
    pub key: KeyOffsets,
}

/// Offsets (and two indices) of the fields with a meaning.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyOffsets {
    /// Of `reward`, f32.
    pub reward: usize,
    /// Of `terminated`, bool.
    pub terminated: usize,
    /// Of `truncated`, bool.
    pub truncated: usize,
    /// Of `episode_id`, u64.
    pub episode_id: usize,
    /// Of `step_id`, u64.
    pub step_id: usize,
    /// Of `weight`, f32, if the schema has it.
    pub weight: Option<usize>,
    /// Of `quarantined`, bool, if the schema has it.
    pub quarantined: Option<usize>,
    /// Index of the field `terminated`.
    pub terminated_field: usize,
    /// Index of the field `truncated`.
    pub truncated_field: usize,
    /// Index of the field `quarantined`.
    pub quarantined_field: Option<usize>,
    /// Index of the field `step_id`.
    pub step_id_field: usize,
    /// Of `slice_id`, u16, if the schema has it.
    pub slice_id: Option<usize>,
}

fn align(offset: usize, to: usize) -> Option<usize> {
    offset.checked_next_multiple_of(to)
}

impl RowLayout {
    /// Places the fields of a schema: linked ones first, each aligned to its element.
    ///
    /// # Errors
    ///
    /// [`Error::Schema`] if a row would be too long to address.
    pub fn new(schema: &Schema) -> Result<Self> {
        Self::place(schema).ok_or_else(|| Error::Schema("a row is too long to address".into()))
    }

    fn place(schema: &Schema) -> Option<Self> {
        let fields = schema.fields();
        let mut spans = vec![
            Span {
                offset: 0,
                size_bytes: 0
            };
            fields.len()
        ];
        let mut end = FIELDS;
        let mut linked_end = FIELDS;
        for is_linked in [true, false] {
            for (span, field) in spans
                .iter_mut()
                .zip(fields)
                .filter(|(_, field)| field.linked == is_linked)
            {
                let size_bytes = field.checked_size_bytes()?;
                let offset = align(end, field.dtype.size_bytes())?;
                *span = Span { offset, size_bytes };
                end = offset.checked_add(size_bytes)?;
            }
            end = align(end, 8)?;
            if is_linked {
                linked_end = end;
            }
        }
        let index_of = |name: &str| fields.iter().position(|field| field.name == name);
        let offset_of = |name: &str| index_of(name).map(|index| spans[index].offset);
        let key = KeyOffsets {
            reward: offset_of("reward")?,
            terminated: offset_of("terminated")?,
            truncated: offset_of("truncated")?,
            episode_id: offset_of("episode_id")?,
            step_id: offset_of("step_id")?,
            weight: offset_of("weight"),
            quarantined: offset_of("quarantined"),
            terminated_field: index_of("terminated")?,
            truncated_field: index_of("truncated")?,
            quarantined_field: index_of("quarantined"),
            step_id_field: index_of("step_id")?,
            slice_id: offset_of("slice_id"),
        };
        let items = |is_linked: bool| -> Vec<Item> {
            let chosen = (0..fields.len()).filter(|&index| fields[index].linked == is_linked);
            chosen
                .map(|column| Item {
                    column,
                    offset: spans[column].offset,
                    size_bytes: spans[column].size_bytes,
                })
                .collect()
        };
        let linked = items(true);
        let next = linked
            .iter()
            .enumerate()
            .map(|(column, item)| Item { column, ..*item })
            .collect();
        Some(Self {
            linked,
            rest: items(false),
            next,
            linked_end,
            end,
            stride: align(end, 64)?,
            spans,
            key,
        })
    }
}

/// The size of the ring and where its parts lie in the two files.
#[derive(Clone, Debug)]
pub struct Geometry {
    /// Rows in a block.
    pub block_rows: u32,
    /// Blocks in the ring.
    pub blocks: u32,
    /// Distance of blocks in the data file.
    pub block_stride: usize,
    /// Length of the data file.
    pub data_bytes: usize,
    /// Words of the table after its headers.
    pub table_words: usize,
    entries: usize,
    snapshots: [usize; 2],
}

impl Geometry {
    /// Computes the geometry of a ring of at least `capacity_rows` rows.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a block size out of range, fewer than two blocks, or a ring too large to address.
    pub fn new(row: &RowLayout, capacity_rows: u64, block_rows: u32) -> Result<Self> {
        if !(2..=MAX_BLOCK_ROWS).contains(&block_rows) {
            return Err(Error::Argument(format!(
                "block_rows is {block_rows}; it must lie in 2..={MAX_BLOCK_ROWS}"
            )));
        }
        let blocks = capacity_rows.div_ceil(u64::from(block_rows));
        let blocks = u32::try_from(blocks).ok().filter(|&blocks| blocks >= 2).ok_or_else(|| {
            Error::Argument(format!(
                "capacity_rows is {capacity_rows}, that is {blocks} blocks of {block_rows} rows; \
                 it must give 2 to {} blocks",
                u32::MAX
            ))
        })?;
        Self::place(row, blocks, block_rows).ok_or_else(|| {
            Error::Argument(format!(
                "capacity_rows {capacity_rows} is too large to address"
            ))
        })
    }

    fn place(row: &RowLayout, blocks: u32, block_rows: u32) -> Option<Self> {
        let spare = align(row.linked_end, 64)?;
        let block_stride = row
            .stride
            .checked_mul(block_rows as usize)?
            .checked_add(spare)?;
        let data_bytes = block_stride.checked_mul(blocks as usize)?;
        let entries = align(BLOCK_WORDS + blocks as usize, ENTRY_WORDS)?;
        let entries_end = entries.checked_add(ENTRY_WORDS.checked_mul(blocks as usize)?)?;
        // Each on pages of its own: the live table's are written by the kernel whenever it likes.
        let first_snapshot = align(entries_end, PAGE_WORDS)?;
        let snapshot_words = align(SNAPSHOT_WORDS * blocks as usize, PAGE_WORDS)?;
        let second_snapshot = first_snapshot.checked_add(snapshot_words)?;
        let table_words = second_snapshot.checked_add(snapshot_words)?;
        // File offsets are signed.
        isize::try_from(data_bytes).ok()?;
        Some(Self {
            block_rows,
            blocks,
            block_stride,
            data_bytes,
            table_words,
            entries,
            snapshots: [first_snapshot, second_snapshot],
        })
    }

    /// Length of the table file.
    pub fn table_bytes(&self) -> usize {
        HEADERS_BYTES + 8 * self.table_words
    }

    /// Rows the ring holds when full of unbroken episodes.
    pub fn capacity_rows(&self) -> u64 {
        u64::from(self.blocks) * u64::from(self.block_rows)
    }

    /// Index of a block's word.
    pub fn block_word(&self, block: u32) -> usize {
        BLOCK_WORDS + block as usize
    }

    /// Index of a word of a block's entry.
    pub fn entry(&self, block: u32, word: usize) -> usize {
        self.entries + ENTRY_WORDS * block as usize + word
    }

    /// The words of a flush's copy of the table: copy 0 or 1.
    pub fn snapshot(&self, copy: usize) -> std::ops::Range<usize> {
        let first = self.snapshots[copy];
        first..first + SNAPSHOT_WORDS * self.blocks as usize
    }

    /// Offset of a row's place (the spare is row `block_rows`) in the data file.
    pub fn row_offset(&self, row: &RowLayout, block: u32, place: u32) -> usize {
        debug_assert!(block < self.blocks && place <= self.block_rows);
        self.block_stride * block as usize + row.stride * place as usize
    }
}
