//! Options of sockets.
//!
//! Owns finding each by its numbers, and the error for one that is not known. Called by whoever builds
//! what has sockets.

use super::Workshop;
use crate::config::Place;
use crate::config::socket_option::{
    SocketOption as Written, SocketOptionValue, SocketState, TcpKeepalive,
};
use crate::socket_option::{KeepAlive, Moment, SocketOption};

impl Workshop<'_> {
    /// The options that the system knows.
    pub(super) fn socket_options(
        &mut self,
        written: &[Written],
        place: Place<'_>,
    ) -> Option<Box<[SocketOption]>> {
        let options: Vec<Option<SocketOption>> = written
            .iter()
            .enumerate()
            .map(|(index, option)| self.socket_option(option, place.index(index)))
            .collect();
        options.into_iter().collect()
    }

    fn socket_option(&mut self, written: &Written, place: Place<'_>) -> Option<SocketOption> {
        let moment = match written.state {
            SocketState::Prebind => Moment::BeforeBind,
            SocketState::Bound => Moment::Bound,
            SocketState::Listening => Moment::Listening,
        };
        let (level, name) = (written.level, written.name);
        let option = match &written.value {
            SocketOptionValue::IntValue(value) => u32::try_from(*value)
                .ok()
                .and_then(|value| SocketOption::number(moment, level, name, value)),
            SocketOptionValue::BufValue(value) => {
                SocketOption::text(moment, level, name, value.get())
            }
        };
        if option.is_none() {
            let message = format!(
                "not supported by nuncio: option {name} of level {level} with such a value"
            );
            self.diagnostics.error(place, message);
        }
        option
    }
}

/// When silent connections are asked whether somebody is there.
pub(super) fn keep_alive(written: TcpKeepalive) -> KeepAlive {
    KeepAlive {
        time: written.keepalive_time,
        interval: written.keepalive_interval,
        probes: written.keepalive_probes,
    }
}
