//! Interim responses (1xx): `100 Continue` of the proxy's own, and those of upstreams on their way to the
//! client.
//!
//! Owns which of them are passed on, and with what: nothing of what other responses get is done to
//! them, and filters do not see them. Called by [`super::stream`] and [`super::conversation`]. Does not
//! own how they are read ([`super::side`]).

use super::counts::count_response;
use super::error::{Error, Kind};
use super::hygiene;
use super::stream::Stream;
use super::timer::after;
use crate::clock;
use crate::headers::Known;
use crate::limits;
use crate::upstream::ClusterStats;

impl Stream<'_, '_> {
    /// Answers `expect: 100-continue` in the upstream's place.
    pub(super) async fn answer_expectation(&mut self) -> Result<(), Error> {
        let expects = self.chain.exchange.request.sole(Known::Expect);
        // `connection` may have named it: then it was for the hop before.
        if !expects.is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue")) {
            return Ok(());
        }
        if self.incoming.expect_continue {
            // A client that asks on and reads nothing must not keep the stream.
            let idle = after(clock::now(), self.around.manager.stream_idle_timeout);
            match self.timer.limit(idle, self.down.send_continue()).await {
                Some(told) => told.map_err(|error| Error::of_response_write(&error))?,
                None => return Err(Kind::StreamIdle.into()),
            }
            self.count_response(100);
        }
        self.chain.exchange.request.remove_known(Known::Expect);
        Ok(())
    }

    /// Counts an interim response, the `number`th of its request, and passes it on where that is
    /// wanted. Its head is in the exchange.
    pub(super) fn pass_interim(
        &mut self,
        stats: &ClusterStats,
        status: u16,
        number: u32,
    ) -> Result<(), Error> {
        self.has_interim = true;
        // Others are unknown to Envoy too, and 101 is none that anybody asked for.
        if !matches!(status, 100 | 102..=104) || number > limits::INTERIM_RESPONSES {
            return Ok(());
        }
        let around = self.around;
        let exchange = &mut *self.chain.exchange;
        // A client that does not read is not waited for: more may come than anybody wants to hold.
        let is_passed = around.manager.passes_interim && self.down.has_room();
        // Envoy knows of no other than the first.
        if is_passed || number == 1 {
            let group = self.group;
            let group = group.map(|group| group.shard(around.worker.index));
            count_response(stats, group, exchange, status);
        }
        if is_passed {
            hygiene::end_of_hop_in_response(&mut exchange.response, false);
            hygiene::tell_request_id(around.manager, exchange);
            let sent = self
                .down
                .send_interim(exchange.protocol, status, &exchange.response);
            sent.map_err(|error| Error::of_response_write(&error))?;
            self.count_response(status);
        }
        Ok(())
    }
}
