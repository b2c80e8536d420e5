//! Listeners that are to accept no more connections: `/drain_listeners`.
//!
//! Owns what was asked for, until the control thread takes it up, and the drain time before it where
//! that is to be graceful. Does not own how clients are sent away (`runtime`) or listeners stopped
//! (`server`). As in Envoy the process stays, live: that is how it is taken out from outside.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::Notify;

use super::pages::Query;
use super::{Admin, Page};
use crate::clock;
use crate::runtime::Listener;

/// Which listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Directions {
    /// Those whose `traffic_direction` is `INBOUND`.
    Inbound,
    /// All of them.
    All,
}

impl Directions {
    /// Whether that listener is one of them.
    pub(crate) fn has(self, listener: &Listener) -> bool {
        self == Self::All || listener.is_inbound
    }
}

/// What the control thread has not seen to yet.
#[derive(Debug, Default)]
pub(crate) struct Stops {
    asked: Cell<Option<Directions>>,
    told: Notify,
    /// Whose clients are sent away already: asking again for some of these begins nothing anew.
    draining: Cell<Option<Directions>>,
}

impl Stops {
    /// Asks for it.
    fn ask(&self, which: Directions) {
        // All of them are the inbound ones too.
        let asked = self.asked.get().filter(|asked| *asked == Directions::All);
        self.asked.set(asked.or(Some(which)));
        self.told.notify_one();
    }

    /// Notes that clients are sent away. Whether those of some listener are not yet.
    fn begins(&self, which: Directions) -> bool {
        let draining = self.draining.get();
        let is_known = draining == Some(Directions::All) || draining == Some(which);
        if !is_known {
            self.draining.set(Some(which));
        }
        !is_known
    }

    /// Waits until it is asked for.
    pub(crate) async fn next(&self) -> Directions {
        loop {
            if let Some(which) = self.asked.take() {
                return which;
            }
            self.told.notified().await;
        }
    }
}

/// `/drain_listeners`.
pub(super) fn page(admin: &Admin, query: &Query) -> Page {
    let which = match query.has("inboundonly") {
        true => Directions::Inbound,
        false => Directions::All,
    };
    let stays = query.has("skip_exit");
    if !query.has("graceful") && !stays {
        admin.stops.ask(which);
    } else if admin.stops.begins(which) {
        send_away(admin, which, stays);
    }
    Page::text("OK\n".to_owned())
}

/// Lets clients go over the drain time. Then the listeners are stopped, unless they are to stay.
fn send_away(admin: &Admin, which: Directions, stays: bool) {
    let (now, time) = (clock::now(), admin.options.drain_time);
    let listeners = admin.snapshot.listeners.iter();
    for listener in listeners.filter(|listener| which.has(listener)) {
        listener.start_drain(now, time);
    }
    if !stays {
        let stops = Rc::clone(&admin.stops);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(time).await;
            stops.ask(which);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_of_them_are_not_forgotten_for_some() {
        let stops = Stops::default();
        for (asked, expected) in [
            (&[Directions::Inbound][..], Directions::Inbound),
            (&[Directions::All, Directions::Inbound], Directions::All),
            (&[Directions::Inbound, Directions::All], Directions::All),
        ] {
            asked.iter().for_each(|which| stops.ask(*which));
            assert_eq!(stops.next().await, expected, "{asked:?}");
        }
    }

    #[test]
    fn a_drain_of_some_does_not_stand_for_one_of_all() {
        let stops = Stops::default();
        assert!(stops.begins(Directions::Inbound));
        assert!(!stops.begins(Directions::Inbound));
        assert!(stops.begins(Directions::All));
        assert!(!stops.begins(Directions::All) && !stops.begins(Directions::Inbound));
    }
}
