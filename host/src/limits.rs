//! Every limit on what the network, a configuration or a guest may make the proxy hold.
//!
//! Owns the numbers and the reason for each. A limit that the configuration can change is the
//! default here.

use std::time::Duration;

/// `max_request_headers_kb` of the connection manager: 60 KiB, Envoy's default.
pub const REQUEST_HEADERS_KB: u32 = 60;
/// Largest `max_request_headers_kb` that Envoy accepts.
pub const REQUEST_HEADERS_KB_MAX: u32 = 8192;
/// `common_http_protocol_options.max_headers_count`: 100, Envoy's default; `host` counts.
pub const HEADERS_COUNT: u32 = 100;
/// Largest head of an upstream response over HTTP/1: 80 KiB, as in Envoy.
pub const RESPONSE_HEADERS_BYTES: usize = 80 * 1024;
/// Greatest `priority` of endpoints, as in Envoy less one: a set of levels is a number of 128 bits.
pub const PRIORITY_MAX: u32 = 127;
/// `per_connection_buffer_limit_bytes`: 1 MiB, Envoy's default.
pub const CONNECTION_BUFFER_BYTES: u32 = 1024 * 1024;
/// How much of a request's body is kept in case that an upstream closes the connection just now,
/// where no retry policy keeps more: 64 KiB.
pub const RACE_BODY_BYTES: usize = 64 * 1024;
/// What an HTTP/2 stream has queued at most where `per_connection_buffer_limit_bytes` allows more:
/// 64 KiB, as much as waits to be written over HTTP/1. All streams of a connection whose peer does not
/// read may have it at once.
pub const HTTP2_SEND_BUFFER_BYTES: usize = 64 * 1024;
/// The window of an HTTP/2 stream where `initial_stream_window_size` is not written, 16 MiB: Envoy's default. That
/// of an upstream's stream may become as large.
pub const HTTP2_STREAM_WINDOW: u32 = 16 * 1024 * 1024;
/// The window of an HTTP/2 connection where `initial_connection_window_size` is not written: 24 MiB, Envoy's
/// default.
pub const HTTP2_CONNECTION_WINDOW: u32 = 24 * 1024 * 1024;
/// The window of an upstream's stream, however small the cluster's `per_connection_buffer_limit_bytes`: 64 KiB, as
/// much as waits to be written.
pub const HTTP2_STREAM_WINDOW_MIN: u32 = 64 * 1024;
/// What small DATA frames of an HTTP/2 connection that nobody has taken yet may fall short of 256 bytes each, in all,
/// where half of its window is less: 4 MiB, which are some 16 000 frames. Beyond it the connection ends, as a queued
/// frame takes memory however small it is. Those whose receiver takes nothing do not count: they lie together.
pub const HTTP2_SMALL_FRAMES: usize = 4 * 1024 * 1024;
/// Interim responses (1xx) of one request that are passed on to its client; further ones are dropped.
pub const INTERIM_RESPONSES: u32 = 64;
/// What waits between an attempt that may be hedged and its stream, in each direction: 64 KiB, as much
/// as waits to be written.
pub const RELAY_BYTES: usize = 64 * 1024;
/// Pieces of a request's body that wait for a copy of it, beside the limit on their bytes.
pub const MIRROR_PIECES: usize = 1024;
/// How long a request waits in all for copies of it that have its whole buffer limit before them, 1 s.
pub const MIRROR_HOLD: Duration = Duration::from_secs(1);
/// How long copies wait for more of a request's body whose upstream has failed: so long may the client
/// pause before it gets its answer, 50 ms.
pub const MIRROR_PAUSE: Duration = Duration::from_millis(50);
/// How long that goes on in all, 1 s: no time of the request's own ends it.
pub const MIRROR_REST: Duration = Duration::from_secs(1);
/// What a header of the PROXY protocol tells beyond the addresses: 32 KiB, half of what it has room for.
pub const PROXY_HEADER_TLV_BYTES: usize = 32 * 1024;
/// Servers whose last TLS sessions a cluster keeps to resume them, where `max_session_keys` does not say.
pub const TLS_UPSTREAM_SESSIONS: usize = 256;
/// Tickets of one server that are kept; the library counts them in this unit.
pub const TLS_TICKETS_OF_SERVER: usize = 8;
/// A regular expression of the configuration when compiled, and the states that a search of it
/// caches: 1 MiB each.
pub const REGEX_BYTES: usize = 1024 * 1024;
/// The complete table of a regular expression that has to match all of a text: 128 KiB. One that
/// would be larger is matched with states that are made as they are met.
pub const REGEX_TABLE_BYTES: usize = 128 * 1024;
/// The table of regular expressions that are matched at once, and the work to make it, for each of
/// them: 16 KiB. Where it would be larger, the expressions are divided; so what dividing costs grows
/// with their number and not faster.
pub const REGEX_SET_BYTES: usize = 16 * 1024;
/// Largest inline or file body of a `direct_response`: 4096 bytes, as in Envoy.
pub const DIRECT_RESPONSE_BYTES: usize = 4096;

/// Most Wasm instances that live at once in the process. Each takes `WASM_MEMORY_BYTES_MAX` of
/// address space (256 GiB in all) and no memory until it is used. Of those that streams have for
/// themselves, one filter has at most as many as are still free, so that no filter takes all.
pub const WASM_INSTANCES: u32 = 1024;
/// `limits.memory` of a filter: 16 MiB.
pub const WASM_MEMORY_BYTES: usize = 16 * 1024 * 1024;
/// Largest `limits.memory`: the address space that each instance has.
pub const WASM_MEMORY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// `limits.cpu_per_call` of a filter: 5 ms.
pub const WASM_CPU_PER_CALL: Duration = Duration::from_millis(5);
/// Largest `limits.cpu_per_call`, and what `configure` has: a call blocks its worker.
pub const WASM_CPU_CONFIGURE: Duration = Duration::from_secs(1);
/// Stack of one call. The threads that call have 2 MiB.
pub const WASM_STACK_BYTES: usize = 512 * 1024;
/// Core instances inside of one component. Rust needs 4, interpreted languages some 30.
pub const WASM_CORE_INSTANCES: u32 = 64;
/// Memories inside of one component. Most have one.
pub const WASM_MEMORIES: u32 = 4;
/// Tables inside of one component. Rust needs 2.
pub const WASM_TABLES: u32 = 8;
/// Entries of one table: functions that a guest calls indirectly.
pub const WASM_TABLE_ELEMENTS: usize = 32 * 1024;
/// Bytes that the host copies out of a guest for one call, in all.
pub const WASM_LIFT_BYTES: usize = 8 * 1024 * 1024;
/// Names whose values a guest reads in one call.
pub const WASM_NAMES_AT_ONCE: usize = 32;
/// Names, attributes, formats, expressions, buckets, counters and sinks of one instance, each; all
/// configurations of routes together.
pub const WASM_INTERNED: usize = 8192;
/// Length of a name, key or format text that a guest passes.
pub const WASM_TEXT_BYTES: usize = 64 * 1024;
/// Names and values that guests may add to a block of fields, beside those that came.
pub const WASM_BLOCK_BYTES: usize = 128 * 1024;
/// Fields that guests may add to a block.
pub const WASM_BLOCK_FIELDS: usize = 256;
/// Dynamic metadata of one stream.
pub const WASM_METADATA_BYTES: usize = 64 * 1024;
/// What built-in filters have in place of [`WASM_MEMORY_BYTES`], [`WASM_BLOCK_BYTES`], [`WASM_BLOCK_FIELDS`],
/// [`WASM_METADATA_BYTES`] and [`WASM_LIFT_BYTES`]: they work on heads of up to 8 MiB, where a configuration lets
/// these in, and do no more than it says.
pub const WASM_BUILT_IN_MEMORY_BYTES: usize = 128 * 1024 * 1024;
/// See [`WASM_BUILT_IN_MEMORY_BYTES`].
pub const WASM_BUILT_IN_BLOCK_BYTES: usize = 64 * 1024 * 1024;
/// See [`WASM_BUILT_IN_MEMORY_BYTES`].
pub const WASM_BUILT_IN_BLOCK_FIELDS: usize = 16 * 1024;
/// See [`WASM_BUILT_IN_MEMORY_BYTES`].
pub const WASM_BUILT_IN_METADATA_BYTES: usize = 16 * 1024 * 1024;
/// See [`WASM_BUILT_IN_MEMORY_BYTES`].
pub const WASM_BUILT_IN_LIFT_BYTES: usize = 32 * 1024 * 1024;
/// A chunk or body that a guest puts in place of another, and the body of its local reply: the
/// connection's buffer limit.
pub const WASM_BODY_BYTES: usize = CONNECTION_BUFFER_BYTES as usize;
/// A chunk of a body that a guest is shown at once, where more is there because another filter holds
/// it whole: a quarter of what it may put in its place, as text of it is longer.
pub const WASM_CHUNK_BYTES: usize = WASM_BODY_BYTES / 4;
/// Length of one line that a guest logs; the rest is cut off.
pub const WASM_LOG_LINE_BYTES: usize = 8 * 1024;
/// Lines that one filter may log in a second on one worker, its failures included.
pub const WASM_LOG_LINES_PER_SECOND: u32 = 100;
/// A request's body that a filter holds back whole to look at it, where the filter says how large it may be.
/// One that it does not look at is as large as that says.
pub const WASM_HELD_BODY_BYTES: u32 = 64 * 1024 * 1024;
/// Counters that a filter names while streams are served, and so after what clients send.
pub const WASM_COUNTED_NAMES: usize = 1024;
/// Length of the name of such a counter: names of gRPC's services and methods fit, what is sent to
/// fill the memory does not.
pub const WASM_COUNTED_NAME_BYTES: usize = 512;
/// How often a filter waits in one stream, and how long at least each time: who asks for nothing but to
/// be called again must not keep a worker busy.
pub const WASM_WAITS: u32 = 1000;
/// See [`WASM_WAITS`].
pub const WASM_WAIT_LEAST: Duration = Duration::from_millis(1);
/// A text that an expression of a guest is matched against: 64 KiB, more than a head may be long, or as much as
/// a head of the stream where a longer one is allowed. The match blocks its worker, and nothing interrupts it.
pub const WASM_MATCHED_BYTES: usize = 64 * 1024;
/// The time of a match that is longer than this is counted as the call's, but for built-in filters.
pub const WASM_COUNTED_BYTES: usize = 4 * 1024;
/// Handles of WASI resources that one instance holds at once.
pub const WASM_HANDLES: u32 = 256;
/// Random bytes that a guest gets at once.
pub const WASM_RANDOM_BYTES: u64 = 64 * 1024;
/// Processor time of a start of an instance that is quick: one that failed is replaced at once.
pub const WASM_QUICK_START: Duration = Duration::from_millis(20);
/// Where a start is slower, the replacement of an instance that failed waits for so many times that.
pub const WASM_REST_FACTOR: u32 = 9;
/// Instances of one filter that a worker keeps for the next stream when its isolation is
/// `EXCLUSIVE`.
pub const WASM_IDLE_INSTANCES: usize = 16;
/// `max_consecutive_inbound_frames_with_empty_payload` of HTTP/2: 1, Envoy's default.
pub const HTTP2_EMPTY_FRAMES: u32 = 1;
/// `max_inbound_priority_frames_per_stream` of HTTP/2: 100, Envoy's default.
pub const HTTP2_PRIORITY_FRAMES: u32 = 100;
/// `max_inbound_window_update_frames_per_data_frame_sent` of HTTP/2: 10, Envoy's default.
pub const HTTP2_WINDOW_UPDATES: u32 = 10;
/// `max_outbound_frames` by default: frames of content that wait on a connection of HTTP/2 to be written, as in Envoy.
pub const HTTP2_WAITING_FRAMES: u32 = 10_000;
/// `hpack_table_size` of HTTP/2: 4096 bytes, Envoy's default and the protocol's.
pub const HTTP2_HEADER_TABLE_BYTES: u32 = 4096;
/// Entries of one `SETTINGS` frame: 32, as in Envoy, whose codec has no field for it.
pub const HTTP2_SETTINGS: usize = 32;
/// What a client of a TCP proxy has sent that is read before there is an endpoint, in bytes: `max_early_data_bytes`
/// may say less.
pub const TCP_EARLY_BYTES: usize = 16 * 1024;
/// A head of HTTP/2 that is larger than `max_request_headers_kb` by no more than this is logged and counted
/// like other requests that are refused.
pub const HTTP2_TOLD_BYTES: u32 = 64 * 1024;
/// Targets with bytes that no URL has, of streams of an HTTP/2 connection that wait to be served or that
/// the codec has refused since the last one was: in number, and in bytes together.
pub const HTTP2_ODD_TARGETS: usize = 2048;
/// See [`HTTP2_ODD_TARGETS`].
pub const HTTP2_ODD_TARGET_BYTES: usize = 1024 * 1024;
/// Bytes of targets that are too long for the codec and wait on a connection to an upstream for their heads to go: with
/// so many no other one is taken. Those of streams that were given up wait too, as their heads may still go.
pub const HTTP2_LONG_TARGET_BYTES: usize = 8 * 1024 * 1024;
/// Frames of an HTTP/2 head that is held back until it is whole. The codec refuses many more.
pub const HTTP2_HELD_FRAMES: usize = 64;
/// Streams of a client that are followed to know whether more is to come on them. A client has fewer, but for those
/// that are refused because they are too many.
pub const HTTP2_FOLLOWED_STREAMS: usize = 4096;
/// Streams of an HTTP/2 connection that may be reset early before half of them must not be: 500, as
/// Envoy's `overload.premature_reset_total_stream_count`.
pub const PREMATURE_RESETS: u64 = 500;
/// Streams that an HTTP/2 client may have reset before anybody has looked at them. They are counted by
/// [`PREMATURE_RESETS`] like the others; this bounds those of one look.
pub const UNSEEN_RESETS: usize = 500;
/// Streams of an HTTP/2 connection that were reset here within the last second, and whose frames that
/// are still under way are nothing bad. Of others 1024 frames end the connection.
pub const RESET_STREAMS: usize = 1024;
/// A stream that lived longer than this many seconds was not reset early, as in Envoy.
pub const PREMATURE_RESET_SECONDS: u64 = 1;
/// The line before an HTTP/1 chunk: its size and its extensions, which nobody reads.
pub const CHUNK_LINE_BYTES: usize = 4 * 1024;
/// How many bytes of framing an HTTP/1 body may have beyond 16 for each chunk and one for each two
/// bytes of data: a peer that sends bytes one at a time in honest chunks stays below, one that hides
/// megabytes in extensions does not.
pub const CHUNK_OVERHEAD_BYTES: u64 = 16 * 1024;
/// Up to this size the small HTTP/1 chunks that one read brought are put together into one.
pub const CHUNK_GATHER_BYTES: usize = 8 * 1024;
/// What the heads that a worker keeps for a next request may hold: the four of one request 32 KiB. One
/// whose heads have grown larger is let go.
pub const DESK_KEPT_BYTES: usize = 32 * 1024;
/// Largest buffer that an idle upstream connection keeps; a larger one is let go.
pub const IDLE_BUFFER_BYTES: usize = 16 * 1024;
/// How often an upstream connection may go from one request of a worker straight to the next while
/// other workers wait for the connection limit; then it is closed in their favour.
pub const HANDOFFS_WHILE_AWAITED: u32 = 16;
/// Longest path of a Unix socket, which the system's type for it has room for.
pub const UNIX_PATH_BYTES: usize = 107;
/// Connections that may wait to be accepted; the system caps it (`net.core.somaxconn`).
pub const LISTEN_BACKLOG: u32 = 4096;
/// Signatures that are looked at for one peer to find a way to its authority that is short enough: as many as
/// the library looks at to find one.
pub const TLS_PATH_SIGNATURES: usize = 100;
/// How long a client whose handshake failed may go on sending, so that it gets to read why.
pub const TLS_FAREWELL: Duration = Duration::from_secs(1);
/// What it may send meanwhile: more than the longest first message that there can be.
pub const TLS_FAREWELL_BYTES: usize = 128 * 1024;
/// Longest `ClientHello` that is waited for: 16 KiB, Envoy's default and most.
pub const HELLO_BYTES: u32 = 16 * 1024;
/// Bytes of the records that such a hello comes in: honest ones are larger than 64 bytes each.
pub const HELLO_RECORDS_BYTES: usize = 18 * 1024;
/// A first line of HTTP that is waited for before it is known which HTTP it is.
pub const REQUEST_LINE_BYTES: usize = 16 * 1024;

/// A file of certificates, keys or revoked certificates: lists of the largest authorities have some
/// megabytes.
pub const CERTIFICATE_BYTES: u64 = 64 * 1024 * 1024;
/// How often the files of certificates are looked at. What has changed is read at the next look that
/// finds it at rest.
pub const CERTIFICATE_WATCH: Duration = Duration::from_secs(1);
/// Sessions of TLS 1.2 clients without tickets that a context keeps, the last ones: 1024.
pub const TLS_SESSIONS: usize = 1024;
/// How long a session can be resumed by tickets of keys that the configuration names, where
/// `session_timeout` does not say: 2 h, as in Envoy for TLS 1.2.
pub const TLS_SESSION: Duration = Duration::from_secs(2 * 60 * 60);
/// How long a client has for its TLS handshake where `transport_socket_connect_timeout` does not say:
/// 15 s, as long as Envoy's listener filters have. Envoy itself waits for ever.
pub const TLS_HANDSHAKE: Duration = Duration::from_secs(15);

/// Size of one configuration file: the largest generated ones are some tens of megabytes.
pub const CONFIG_SOURCE_BYTES: u64 = 64 * 1024 * 1024;
/// How deep the lists and mappings of a configuration nest: protobuf's own limit, so Envoy's.
pub const CONFIG_DEPTH: usize = 100;
/// Values of a configuration, all sources together.
pub const CONFIG_NODES: usize = 4_000_000;
/// Values that aliases stand for, each use counted with all that it stands for, so that a few
/// lines of nested aliases cannot fill the memory.
pub const CONFIG_ALIASED_NODES: usize = 100_000;
/// Errors that are collected before loading a configuration gives up.
pub const CONFIG_ERRORS: usize = 100;
/// Characters of a source line that a diagnostic shows.
pub const CONFIG_SHOWN_COLUMNS: usize = 120;

/// How deep the objects and lists of a JSON log format nest.
pub const FORMAT_DEPTH: usize = 100;
/// How often it is told of one endpoint that connections to it begin to fail.
pub const TOLD_AGAIN_AFTER: Duration = Duration::from_mins(1);
/// Largest body that a health check reads to keep the connection; a longer one is cut off.
pub const HEALTH_CHECK_BODY_BYTES: usize = 64 * 1024;
/// Bytes of the body of an answer to a health check in which `receive` is looked for:
/// `response_buffer_size`.
pub const HEALTH_CHECK_MATCHED_BYTES: usize = 1024;
/// What is read at once of an answer to a health check; most are shorter.
pub const HEALTH_CHECK_READ_BYTES: usize = 4 * 1024;

/// Access-log lines that wait to be written, for each file: beyond it they are counted and lost.
pub const ACCESS_LOG_BUFFER_BYTES: usize = 1024 * 1024;
/// Waiting bytes at which an access log is written before its interval is over, as in Envoy.
pub const ACCESS_LOG_FLUSH_BYTES: usize = 64 * 1024;

/// How deep the folders of a directory of runtime values lie in each other, as in Envoy.
pub const RUNTIME_DEPTH: usize = 16;
/// Length of one file of such a directory: a value is a number or a few words.
pub const RUNTIME_FILE_BYTES: u64 = 64 * 1024;
/// Keys of one layer of runtime values that is a directory or that the admin page changes.
pub const RUNTIME_KEYS: usize = 100_000;
/// How often the link that leads to a directory of runtime values is looked at.
pub const RUNTIME_WATCH: Duration = Duration::from_millis(500);
/// Body of a request to the admin server: the form of `/runtime_modify`.
pub const ADMIN_FORM_BYTES: usize = 1024 * 1024;
/// Endpoints of one `ORIGINAL_DST` cluster, which requests name: each takes some 2 KiB, and is let go of
/// when nobody uses it.
pub const DESTINATIONS: usize = 16 * 1024;
/// The least time between two publications of such endpoints, each of which the workers follow: who names
/// many cannot keep them busy.
pub const DESTINATIONS_PERIOD: Duration = Duration::from_millis(100);
/// Endpoints that one request names for an `override_host` policy; further ones do not count.
pub const NAMED_ENDPOINTS: usize = 32;
/// A second signal that asks for the end and comes within that time of the first is the same wish: `timeout`
/// and the like send theirs to the process and to its group.
pub const SIGNAL_ECHO: Duration = Duration::from_millis(500);
/// How long the start waits for clusters before the log says for which.
pub const WARMING_IS_TOLD: Duration = Duration::from_secs(2);
