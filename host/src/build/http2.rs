//! How HTTP/2 is spoken: `envoy.config.core.v3.Http2ProtocolOptions`.
//!
//! Owns the defaults of both sides, and which settings a file may add to the codec's. Called by the builders of
//! listeners and of clusters.

use std::collections::HashMap;
use std::time::Duration;

use super::Workshop;
use crate::config::Place;
use crate::config::protocol::{Http2ProtocolOptions, KeepaliveSettings, SettingsParameter};
use crate::frames::custom::{self, CustomSettings};
use crate::frames::watch::FrameLimits;
use crate::keepalive::Keepalive;
use crate::limits;
use crate::runtime::Http2Settings;
use crate::upstream::spec::{Http2Settings as UpstreamHttp2Settings, StreamWindow};

/// Envoy's share of the interval between two pings that is added at random.
const PING_JITTER_PERCENT: f64 = 15.0;
/// What is said of METADATA frames, on either side.
pub(super) const NO_METADATA: &str = "no effect: METADATA frames are not passed on";
/// Sizes of frames and windows that there are (RFC 9113 §6.5.2).
const FRAME_BYTES: std::ops::RangeInclusive<u32> = 16_384..=16_777_215;
/// As many as leave room for the codec's in the number that this proxy and Envoy take of others.
const CUSTOM_SETTINGS: usize = limits::HTTP2_SETTINGS - 8;
const MAX_WINDOW_BYTES: u32 = i32::MAX as u32;

impl Workshop<'_> {
    /// How HTTP/2 is spoken to clients.
    pub(super) fn http2_to_clients(
        &mut self,
        written: &Http2ProtocolOptions,
        place: Place<'_>,
    ) -> Http2Settings {
        let or = |written: Option<u32>, default| written.unwrap_or(default);
        Http2Settings {
            max_concurrent_streams: or(written.max_concurrent_streams, 1024),
            stream_window: or(
                written.initial_stream_window_size,
                limits::HTTP2_STREAM_WINDOW,
            ),
            kept: written.initial_stream_window_size,
            connection_window: or(
                written.initial_connection_window_size,
                limits::HTTP2_CONNECTION_WINDOW,
            ),
            header_table: or(written.hpack_table_size, limits::HTTP2_HEADER_TABLE_BYTES),
            allow_connect: written.allow_connect,
            frames: frame_limits(written),
            waiting_frames: or(written.max_outbound_frames, limits::HTTP2_WAITING_FRAMES),
            keepalive: written.connection_keepalive.as_ref().and_then(keepalive),
            custom: self.custom_settings(written, place),
        }
    }

    /// How it is spoken to upstreams, but for how large the head of an answer may be.
    pub(super) fn http2_to_upstreams(
        &mut self,
        written: &Http2ProtocolOptions,
        place: Place<'_>,
    ) -> UpstreamHttp2Settings {
        let default = UpstreamHttp2Settings::default();
        let or = |written: Option<u32>, default| written.unwrap_or(default);
        UpstreamHttp2Settings {
            max_concurrent_streams: or(
                written.max_concurrent_streams,
                default.max_concurrent_streams,
            ),
            stream_window: written
                .initial_stream_window_size
                .map_or(default.stream_window, StreamWindow::Fixed),
            initial_connection_window: or(
                written.initial_connection_window_size,
                default.initial_connection_window,
            ),
            header_table: or(written.hpack_table_size, default.header_table),
            keepalive: written.connection_keepalive.as_ref().and_then(keepalive),
            frames: frame_limits(written),
            waiting_frames: or(written.max_outbound_frames, default.waiting_frames),
            custom: self.custom_settings(written, place),
            ..default
        }
    }

    /// What a file adds to the settings of a side.
    fn custom_settings(
        &mut self,
        written: &Http2ProtocolOptions,
        place: Place<'_>,
    ) -> CustomSettings {
        let place = place.field("custom_settings_parameters");
        let mut seen: HashMap<u16, (usize, u32)> = HashMap::new();
        let mut settings = Vec::new();
        let asked = written.custom_settings_parameters.iter().enumerate();
        for (index, &SettingsParameter { identifier, value }) in asked {
            let here = place.index(index);
            if let Some((first, said)) = seen.get(&identifier) {
                if *said != value {
                    let message = format!("setting {identifier} is to be {value}, and {said}");
                    self.diagnostics
                        .error(here.field("value"), message)
                        .related_place(place.index(*first), "the other");
                }
                continue;
            }
            seen.insert(identifier, (index, value));
            self.check_setting((identifier, value), written, here);
            settings.push((identifier, value));
        }
        if settings.len() > CUSTOM_SETTINGS {
            let message = format!(
                "{} settings: more than {CUSTOM_SETTINGS} are refused by peers, beside those that are said anyway",
                settings.len()
            );
            self.diagnostics.error(place, message);
        }
        CustomSettings::new(&settings)
    }

    fn check_setting(
        &mut self,
        (identifier, value): (u16, u32),
        written: &Http2ProtocolOptions,
        place: Place<'_>,
    ) {
        let (field, is_said) = match identifier {
            custom::HEADER_TABLE_SIZE => ("hpack_table_size", written.hpack_table_size.is_some()),
            custom::MAX_CONCURRENT_STREAMS => (
                "max_concurrent_streams",
                written.max_concurrent_streams.is_some(),
            ),
            custom::INITIAL_WINDOW_SIZE => (
                "initial_stream_window_size",
                written.initial_stream_window_size.is_some(),
            ),
            custom::ENABLE_PUSH if value != 0 => {
                let message = "nothing is pushed, and nothing that is pushed is taken";
                self.diagnostics.error(place.field("value"), message);
                return;
            }
            custom::ENABLE_CONNECT_PROTOCOL => {
                let message = "whether extended CONNECT is offered is for 'allow_connect' to say";
                self.diagnostics.error(place.field("identifier"), message);
                return;
            }
            custom::MAX_FRAME_SIZE if !FRAME_BYTES.contains(&value) => {
                let message = format!(
                    "a frame has at most 16384 to 16777215 bytes, not {value} (RFC 9113 section 6.5.2)"
                );
                self.diagnostics.error(place.field("value"), message);
                return;
            }
            _ => return,
        };
        if is_said {
            let message = format!("setting {identifier} is said by '{field}' too");
            self.diagnostics.error(place.field("identifier"), message);
        } else if identifier == custom::INITIAL_WINDOW_SIZE && value > MAX_WINDOW_BYTES {
            let message =
                format!("a window has at most {MAX_WINDOW_BYTES} bytes (RFC 9113 section 6.5.2)");
            self.diagnostics.error(place.field("value"), message);
        } else {
            let message = format!(
                "no effect: setting {identifier} is said again behind it, by the default of '{field}', as in Envoy"
            );
            self.diagnostics
                .warning(place.field("identifier"), message)
                .hint(format!("write '{field}: {value}'"));
        }
    }
}

/// How many frames that bring nothing a peer may send.
fn frame_limits(written: &Http2ProtocolOptions) -> FrameLimits {
    let default = FrameLimits::default();
    FrameLimits {
        empty_in_a_row: written
            .max_consecutive_inbound_frames_with_empty_payload
            .unwrap_or(default.empty_in_a_row),
        priorities_per_stream: written
            .max_inbound_priority_frames_per_stream
            .unwrap_or(default.priorities_per_stream),
        window_updates_per_data: written
            .max_inbound_window_update_frames_per_data_frame_sent
            .unwrap_or(default.window_updates_per_data),
    }
}

/// Pings, where an interval asks for them.
fn keepalive(written: &KeepaliveSettings) -> Option<Keepalive> {
    let interval = written.interval.and_then(|interval| interval.non_zero());
    let idle = written.connection_idle_interval;
    let idle = idle.and_then(|idle| idle.non_zero());
    let percent = written
        .interval_jitter
        .map_or(PING_JITTER_PERCENT, |percent| percent.value);
    let seconds = interval.unwrap_or_default().as_secs_f64();
    (interval.is_some() || idle.is_some()).then(|| Keepalive {
        interval,
        jitter: Duration::from_secs_f64(seconds * percent / 100.0),
        timeout: written.timeout.get(),
        idle,
    })
}
