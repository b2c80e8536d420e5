//! The place of a routing table: where requests take it from, and where another one is put.
//!
//! Owns that a change is seen by all later requests and by none that has begun, and costs readers
//! next to nothing: a connection remembers the table that it has seen last, and a request looks
//! whether that is still the one. Called by `http` for each request. Does not own where tables come
//! from.

use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};

use super::Table;

/// The place of a table.
#[derive(Debug)]
pub struct Seat {
    table: ArcSwap<Table>,
    /// Goes up behind each change.
    changes: AtomicU64,
}

impl Seat {
    /// A place with this table.
    #[must_use]
    pub fn new(table: Arc<Table>) -> Self {
        Self {
            table: ArcSwap::new(table),
            changes: AtomicU64::new(0),
        }
    }

    /// The table as it is now, for a short look.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    /// The table as it is now, for a connection to remember.
    #[must_use]
    pub fn look(&self) -> Seen {
        // A table that comes in between is looked at again.
        let changes = self.changes.load(Ordering::Acquire);
        Seen {
            table: Rc::new(self.table.load_full()),
            changes,
        }
    }

    /// The table as it is now, to be kept for as long as a request lasts. `seen` is what the
    /// connection remembers: where it is that one, nothing is touched that another thread writes.
    #[inline]
    pub fn current(&self, seen: &mut Seen) -> Seen {
        if self.changes.load(Ordering::Acquire) != seen.changes {
            *seen = self.look();
        }
        seen.clone()
    }

    /// Puts another table in its place. The old one lives until the last request that has it ends. Clusters are known by
    /// their indices in the snapshot that the workers have, which has to be the one that the table was made for.
    pub fn replace(&self, table: Arc<Table>) {
        self.table.store(table);
        self.changes.fetch_add(1, Ordering::Release);
    }
}

/// A table that one thread has seen.
#[derive(Clone, Debug)]
#[expect(
    clippy::redundant_allocation,
    reason = "counted without what other threads write"
)]
pub struct Seen {
    table: Rc<Arc<Table>>,
    /// How many changes there were before it, at least.
    changes: u64,
}

impl Deref for Seen {
    type Target = Table;

    fn deref(&self) -> &Table {
        &self.table
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::super::spec::TableSpec;
    use super::super::testing::{direct, facts, request, route, virtual_host};
    use super::*;
    use crate::route::Action;
    use crate::route::spec::{MatchSpec, PathSpec};

    /// A table whose only route answers with that status.
    fn table(status: u16) -> Arc<Table> {
        let prefix = MatchSpec::path(PathSpec::Prefix("/".to_owned()));
        let mut route = route(prefix, direct("x"));
        if let super::super::spec::ActionSpec::Direct(direct) = &mut route.action {
            direct.status = status;
        }
        let spec = TableSpec {
            virtual_hosts: vec![virtual_host("v", &["*"], vec![route])],
            ..TableSpec::default()
        };
        Arc::new(Table::new(&spec, &|_| None).unwrap())
    }

    fn status(table: &Table) -> u16 {
        let head = request("h", "/", &[]);
        match &table.find(&facts(&head)).unwrap().action {
            Action::Direct(direct) => direct.status,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_keeps_the_table_that_it_began_with() {
        let seat = Seat::new(table(200));
        let mut seen = seat.look();
        let begun = seat.current(&mut seen);
        seat.replace(table(201));
        assert_eq!(status(&begun), 200);
        assert_eq!(status(&seen), 200);
        assert_eq!(status(&seat.current(&mut seen)), 201);
        assert_eq!(status(&seen), 201);
        assert_eq!(status(&begun), 200);
    }

    #[test]
    fn a_change_under_load_loses_nothing() {
        let seat = Seat::new(table(200));
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let mut last = 200;
                        let mut seen = seat.look();
                        while !over.load(Ordering::Relaxed) {
                            let table = seat.current(&mut seen);
                            let (one, other) = (status(&table), status(&table));
                            assert_eq!(one, other);
                            assert!(one >= last, "an older table came back");
                            last = one;
                        }
                        last
                    })
                })
                .collect();
            for status in 201..=299 {
                seat.replace(table(status));
            }
            over.store(true, Ordering::Relaxed);
            for reader in readers {
                assert!(reader.join().unwrap() <= 299);
            }
            assert_eq!(status(&seat.load()), 299);
        });
    }
}
