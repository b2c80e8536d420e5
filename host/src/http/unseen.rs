//! Requests over HTTP/2 that the codec ends before it shows them, because they break the rules.
//!
//! Owns which these are, by what comes and what the codec sends, and what is counted and logged of them: as in
//! Envoy, for which a stream begins with its first frame. Does not own those that are served: they end by themselves
//! (`stream`). Called by `http2`.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::error::{Error, Kind};
use super::phases::Chain;
use super::tally::count_start;
use crate::clock;
use crate::exchange::{Connection, Protocol, Timing};
use crate::runtime::HttpListener;
use crate::worker::Worker;

/// The streams of a connection, as far as they are not served.
#[derive(Debug, Default)]
pub(super) struct Unseen {
    /// The newest stream whose head has begun to come.
    newest: Cell<u32>,
    /// The newest that is served, or was told of.
    known: Cell<u32>,
    /// Those behind it that the codec has reset. They are as few as it resets by itself on a connection.
    reset: RefCell<Vec<u32>>,
}

impl Unseen {
    /// A head begins, of this stream or an older one.
    pub(super) fn note_newest(&self, stream: u32) {
        self.newest.set(stream);
    }

    /// The codec resets a stream for what came on it.
    pub(super) fn note_reset(&self, stream: u32) {
        if (self.known.get() + 1..=self.newest.get()).contains(&stream) {
            self.reset.borrow_mut().push(stream);
        }
    }

    /// A stream is served.
    pub(super) fn note_served(&self, stream: u32) {
        self.known.set(stream);
        let mut reset = self.reset.borrow_mut();
        if !reset.is_empty() {
            reset.retain(|other| *other != stream);
        }
    }

    /// The connection ends for what came on it.
    pub(super) fn note_broken(&self) {
        let newest = self.newest.get();
        let mut reset = self.reset.borrow_mut();
        if newest > self.known.get() && !reset.contains(&newest) {
            reset.push(newest);
        }
    }

    /// Tells of those that the codec will not show any more, which it has nothing else to show for.
    pub(super) fn tell(
        &self,
        worker: &Worker,
        listener: &HttpListener,
        connection: &Arc<Connection>,
    ) {
        let mut reset = self.reset.borrow_mut();
        for stream in reset.drain(..) {
            self.known.set(self.known.get().max(stream));
            tell(worker, listener, connection);
        }
    }
}

/// Counts and logs a request of which nothing else is known.
fn tell(worker: &Worker, listener: &HttpListener, connection: &Arc<Connection>) {
    let manager = &*listener.manager;
    let stats = manager.stats.shard(worker.index);
    count_start(stats, Protocol::Http2);
    let now = clock::now();
    let timing = Timing::starting(now, clock::wall());
    let mut desk = worker.take_desk(connection, Protocol::Http2, timing);
    let error = Error::from(Kind::Malformed);
    desk.exchange.timing.ended = Some(now);
    desk.exchange.flags.insert(error.flags());
    desk.exchange.details = Some(error.reply().details);
    Chain::new(worker, manager, &mut desk.exchange, &mut desk.states).finish();
    worker.put_desk(desk);
    stats.downstream_rq_active.dec();
    stats.downstream_rq_rx_reset.inc();
    stats.downstream_rq_time.record(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(unseen: &Unseen) -> Vec<u32> {
        unseen.reset.borrow().clone()
    }

    #[test]
    fn what_is_shown_after_all_is_not_told_of() {
        let unseen = Unseen::default();
        unseen.note_newest(7);
        for stream in [1, 3, 5] {
            unseen.note_reset(stream);
        }
        unseen.note_served(3);
        assert_eq!(waiting(&unseen), [1, 5]);
        // One that is served ends by itself, and one whose head never came is none.
        unseen.note_reset(3);
        unseen.note_reset(9);
        assert_eq!(waiting(&unseen), [1, 5]);
    }

    #[test]
    fn a_connection_breaks_off_in_its_newest_stream() {
        let unseen = Unseen::default();
        unseen.note_broken();
        assert!(waiting(&unseen).is_empty());
        unseen.note_newest(1);
        unseen.note_served(1);
        unseen.note_broken();
        assert!(waiting(&unseen).is_empty());
        unseen.note_newest(3);
        unseen.note_broken();
        unseen.note_broken();
        assert_eq!(waiting(&unseen), [3]);
    }
}
