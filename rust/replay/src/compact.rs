//! Copying a buffer to a new directory with another capacity.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use crate::buffer::{Buffer, CreateOptions};
use crate::column::{Column, Source};
use crate::columns::{Columns, Extras};
use crate::error::Result;
use crate::gather::{Filter, Gather, Horizon};
use crate::layout::{Item, RowLayout};
use crate::listing::{Listed, chains};
use crate::manifest::NameTable;
use crate::ring::Liveness;
use crate::stream_set::{AppendColumns, StreamSet};
use crate::word::Mark;

/// One row in private memory.
struct OneRow {
    fields: Vec<Vec<u8>>,
    next: Vec<Vec<u8>>,
    returns: [[u8; 4]; 2],
}

impl OneRow {
    fn new(layout: &RowLayout) -> Self {
        let memory = |items: &[Item]| -> Vec<Vec<u8>> {
            items.iter().map(|item| vec![0; item.size_bytes]).collect()
        };
        Self {
            fields: layout
                .spans
                .iter()
                .map(|span| vec![0; span.size_bytes])
                .collect(),
            next: memory(&layout.next),
            returns: [[0; 4]; 2],
        }
    }

    fn columns(&mut self, layout: &RowLayout) -> Columns<'_> {
        let [n_step_reward, discount] = &mut self.returns;
        Columns::new(
            layout,
            self.fields
                .iter_mut()
                .map(|field| Column::new(field))
                .collect(),
            self.next
                .iter_mut()
                .map(|field| Column::new(field))
                .collect(),
            [Column::new(n_step_reward), Column::new(discount)],
            Extras::default(),
        )
    }
}

impl Buffer {
    /// Copies the newest rows to a new buffer of another capacity: episode by episode in the order of their first
    /// `step_id`, with the name tables and the quarantine. Rows appended meanwhile may be left out.
    ///
    /// # Errors
    ///
    /// As [`Buffer::check`] and [`Buffer::create`].
    pub fn compact(&self, target: &Path, options: CreateOptions) -> Result<u64> {
        self.check()?;
        let chains = chains(self.ring());
        let copy = Self::create(target, self.schema(), options)?;
        for table in [
            NameTable::Slices,
            NameTable::Baselines,
            NameTable::Backbones,
        ] {
            for name in self.names(table)? {
                copy.name_index(table, &name)?;
            }
        }
        let lock = Arc::clone(copy.writing_lock()?);
        let mut streams = StreamSet::new(copy.ring().row(), 0, 1, lock.owner());
        let mut row = OneRow::new(self.ring().row());
        let (mut rows, mut barred) = (0, HashSet::new());
        for listed in chains.into_iter().flatten() {
            if !self.copy_row(listed, &mut row) {
                continue;
            }
            append(&copy, &mut streams, &row, lock.as_ref())?;
            rows += 1;
            if self.is_barred(listed) {
                barred.insert(row.fields[self.ring().row().key.step_id_field].clone());
            }
        }
        streams.release(copy.ring());
        if !barred.is_empty() {
            copy.quarantine_where(|step_id| barred.contains(&step_id.to_ne_bytes()[..]))?;
        }
        drop(lock);
        copy.close()?;
        Ok(rows)
    }

    fn copy_row(&self, listed: Listed, row: &mut OneRow) -> bool {
        let mut gather = Gather::new(Horizon {
            steps: 1,
            gamma: 1.0,
        });
        let mut columns = row.columns(self.ring().row());
        let copied = gather.row(self.ring(), listed.position, Filter::ALL, &mut columns, 0);
        copied == Some(listed.generation)
    }

    fn is_barred(&self, listed: Listed) -> bool {
        let mark = self
            .ring()
            .mark(listed.position.block, listed.position.place);
        mark.is_some_and(|mark| mark.has(Mark::QUARANTINED))
    }
}

fn append(
    copy: &Buffer,
    streams: &mut StreamSet,
    row: &OneRow,
    liveness: &impl Liveness,
) -> Result<()> {
    let fields: Vec<_> = row.fields.iter().map(|field| Source::new(field)).collect();
    let next: Vec<_> = row.next.iter().map(|field| Source::new(field)).collect();
    let columns = AppendColumns::new(copy.ring().row(), &fields, &next, None);
    streams.append(copy.ring(), &columns, liveness, || Ok(()))
}
