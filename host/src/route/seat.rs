//! The place of a routing table: where requests take it from, and where another one is put.
//!
//! Owns that a change is seen by all later requests and by none that has begun, and costs readers
//! nothing. Called by `http` for each request. Does not own where tables come from.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::Table;

/// The place of a table.
#[derive(Debug)]
pub struct Seat(ArcSwap<Table>);

impl Seat {
    /// A place with this table.
    #[must_use]
    pub fn new(table: Arc<Table>) -> Self {
        Self(ArcSwap::new(table))
    }

    /// The table as it is now, to be kept for as long as a request lasts.
    #[must_use]
    #[inline]
    pub fn load(&self) -> Guard<Arc<Table>> {
        self.0.load()
    }

    /// Puts another table in its place. The old one lives until the last request that has it ends.
    pub fn replace(&self, table: Arc<Table>) {
        self.0.store(table);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
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
        let begun = seat.load();
        seat.replace(table(201));
        assert_eq!(status(&begun), 200);
        assert_eq!(status(&seat.load()), 201);
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
                        while !over.load(Ordering::Relaxed) {
                            let table = seat.load();
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
