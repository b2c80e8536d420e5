//! One request, from its head to its log line.
//!
//! [`Stream::handle`] is the order of a request, the same for every protocol pair:
//!
//! 1. `admit`: hygiene, and the first match of the route
//! 2. `Chain::request`: the filters, to the terminal one
//! 3. `act`: what the route says: answer, redirect, or `forward::proxy` to an upstream
//! 4. `finish`: statistics, the log phase, the end of the filters' states
//!
//! Owns local replies and what an error becomes. Does not own the connection ([`super::connection`])
//! nor the conversation with the upstream ([`super::forward`]).

use std::borrow::Cow;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::choice::{duration, match_route, variants};
use super::downstream::Downstream;
use super::error::{Error, Kind, Side};
use super::forward;
use super::hygiene::{self, Asks, PathVerdict, Refusal};
use super::io::Reader;
use super::phases::{Chain, Walk};
use super::redirect::Next;
use super::refusal;
use super::reply::{ChangedBy, Reply, decimal};
use super::tally::{Short, is_read_whole};
use super::timer::{Timer, after};
use super::whole::Whole;
use crate::clock;
use crate::exchange::{Exchange, Flags, LogType, Protocol};
use crate::h1::encode::{self, CONNECTION};
use crate::h1::head::Reject;
use crate::h1::{BodyLength, MethodKind};
use crate::headers::{Headers, Known, Name, NameCase, NameFormat};
use crate::observe::metrics::{HttpStats, VirtualClusterStats};
use crate::observe::stats::Sharded;
use crate::route::{self, Action, EnvoyHeaders, Followed, NewCookies, Pick, Route, Table};
use crate::runtime::{ConnectionManager, HttpListener, Snapshot};
use crate::wasm::Upstream;
use crate::worker::Worker;

/// What a stream runs in.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) listener: &'a HttpListener,
    pub(crate) manager: &'a ConnectionManager,
    pub(crate) stats: &'a HttpStats,
    /// The table that the request began with: it keeps it, whatever comes meanwhile.
    pub(crate) routes: &'a Table,
    /// When the connection is old enough to be ended (`max_connection_duration`).
    pub(crate) old_at: Option<Instant>,
}

impl Surroundings<'_> {
    /// Whether the connection is to serve no more requests than those that are under way. Where that is
    /// left to chance it goes by `random`.
    fn is_draining(&self, random: u64) -> bool {
        self.worker.drain().since().is_some()
            || self.listener.is_failing(&self.snapshot.vitals)
            || self.listener.draining.ends(random)
            || self.old_at.is_some_and(|at| clock::now() >= at)
    }
}

/// What the codec knows about a request beside its fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming {
    /// The client's: what goes on may have another.
    pub(crate) method: MethodKind,
    /// Whether it is an extended CONNECT, shown as the upgrade that it stands for.
    pub(crate) extended_connect: bool,
    /// Whether a body (or trailers) follow the head.
    pub(crate) has_body: bool,
    /// Whether the connection may serve another request afterwards.
    pub(crate) keep_alive: bool,
    pub(crate) expect_continue: bool,
}

impl Incoming {
    /// A head that could not be read: nothing is known, and nothing may follow.
    pub(crate) const REFUSED: Self = Self {
        method: MethodKind::Other,
        extended_connect: false,
        has_body: false,
        keep_alive: false,
        expect_continue: false,
    };
}

/// What a request opens that has no end of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tunnel {
    /// A connection that speaks what `upgrade` names.
    Upgrade,
    /// The same where that is a WebSocket.
    WebSocket,
    /// A tunnel by `CONNECT`, which the upstream ends.
    Connect,
    /// A tunnel by `CONNECT`, which ends here: its bytes go to the upstream.
    Terminated,
}

impl Tunnel {
    /// Whether a response of that status opens it.
    pub(crate) const fn is_opened_by(self, status: u16) -> bool {
        match self {
            Self::Upgrade | Self::WebSocket => status == 101,
            Self::Connect | Self::Terminated => matches!(status, 200..=299),
        }
    }
}

/// What follows the head of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    Nothing,
    /// No content, but its end has not come yet, with which trailers may.
    End,
    /// Some, where the status has any and the request asks for it.
    Content,
}

/// How the stream left its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Ready for the next request.
    Reusable,
    /// To be closed behind a response that came from an upstream.
    Close,
    /// To be closed behind a local reply: the client may still be sending (`delayed_close_timeout`).
    CloseDelayed,
    /// In the middle of a response, or without one: to be closed at once.
    Cut,
    /// The client has left.
    Gone,
}

/// What came of a request that went through the chain.
pub(crate) enum Acted {
    /// The client has its response.
    Answered,
    /// The upstream's redirect is followed by that request, with this body.
    Redirected(Box<Next>, Option<Whole>),
}

/// One request. See the module's page.
pub(crate) struct Stream<'a, 'io> {
    pub(crate) around: Surroundings<'a>,
    pub(crate) chain: Chain<'a>,
    pub(crate) route: Option<&'a Route>,
    /// What was chosen on it.
    pub(crate) pick: Pick,
    /// What counts the request beside its cluster (`virtual_clusters`).
    pub(crate) group: Option<&'a Sharded<VirtualClusterStats>>,
    /// Cookies that the response gets (`hash_policy`).
    pub(crate) cookies: NewCookies,
    /// The stream's number: what is left to chance is decided by it, the same way each time.
    pub(crate) random: u64,
    pub(crate) reader: Reader<'io>,
    pub(crate) down: Downstream<'io>,
    pub(crate) timer: &'a mut Timer,
    pub(crate) incoming: Incoming,
    /// When the request under way began: later than the stream where a redirect was followed.
    pub(super) begun: Instant,
    /// How long the stream may last, from its first byte on.
    pub(crate) duration: Option<Duration>,
    /// The redirects that were followed.
    pub(super) followed: Followed,
    /// Whether a reply in the upstream's place says how often the request was sent.
    pub(crate) tells_attempts: bool,
    /// What it opens, if it does.
    pub(crate) tunnel: Option<Tunnel>,
    /// Whether filters have seen the request.
    chain_started: bool,
    /// Whether one of them failed, so that none of them sees what comes of it.
    chain_failed: bool,
    /// Whether an upstream has sent an interim response, after which no other is asked.
    pub(super) has_interim: bool,
    /// Whether the response's head was sent.
    pub(crate) responding: bool,
    /// Whether its end was logged.
    pub(super) is_over: bool,
    /// What it is short of.
    pub(super) short: Short,
    pub(crate) ended: Ended,
}

impl<'a, 'io> Stream<'a, 'io> {
    /// Before the request's head is looked at. Made where it stays: it is too large to be moved.
    #[inline]
    pub(crate) fn new(
        around: Surroundings<'a>,
        chain: Chain<'a>,
        reader: Reader<'io>,
        down: Downstream<'io>,
        timer: &'a mut Timer,
        incoming: Incoming,
    ) -> Self {
        Self {
            around,
            begun: chain.exchange.timing.started,
            chain,
            route: None,
            pick: Pick::default(),
            group: None,
            cookies: NewCookies::new(),
            random: around.worker.random(),
            reader,
            down,
            timer,
            incoming,
            duration: None,
            followed: Vec::new(),
            tells_attempts: false,
            tunnel: None,
            chain_started: false,
            chain_failed: false,
            has_interim: false,
            responding: false,
            is_over: false,
            short: Short::Nothing,
            ended: Ended::Gone,
        }
    }

    /// The request function. `head` is the codec's verdict.
    pub(crate) async fn handle(&mut self, head: Result<(), Error>) -> Ended {
        let exchange = &mut *self.chain.exchange;
        exchange.is_grpc = exchange.request.is_grpc();
        let result = match head {
            Ok(()) => self.run().await,
            Err(error) => {
                if !self.down.is_http2() && !is_read_whole(&error) {
                    self.short = Short::Request;
                }
                Err(error)
            }
        };
        if let Err(error) = result {
            self.fail(&error).await;
        }
        self.finish()
    }

    async fn run(&mut self) -> Result<(), Error> {
        let asks = self.end_hop();
        // A client that is refused for that is not told to go on. All else is found out behind it.
        let is_refused = matches!(asks, Err(Refusal::ConnectionHeader));
        if !self.around.manager.passes_interim && !is_refused {
            self.answer_expectation().await?;
        }
        let request = &mut self.chain.exchange.request;
        let asks = asks.map_err(|why| refusal::of_head(why, request, &mut self.incoming))?;
        self.admit(asks)?;
        loop {
            if self.around.manager.early_logs.at_start {
                self.chain.log(LogType::DownstreamStart);
            }
            self.chain_started = true;
            let choice = match self.filter_request().await? {
                Ok(choice) => choice,
                Err(reply) => return self.reply(*reply).await,
            };
            match self.act(choice).await? {
                Acted::Answered => return Ok(()),
                Acted::Redirected(next, body) => self.begin_again(next, body),
            }
        }
    }

    /// Takes out of the head what is about the connection that it came on.
    fn end_hop(&mut self) -> Result<Asks, Refusal> {
        let ignored = &*self.around.manager.hygiene.ignored_upgrades;
        let ignored = (!self.incoming.extended_connect).then_some(ignored);
        hygiene::end_of_hop(&mut self.chain.exchange.request, ignored)
    }

    /// Cleans the head of a request that `asks` so, and matches the route for the first time.
    fn admit(&mut self, asks: Asks) -> Result<(), Error> {
        let worker = self.around.worker;
        let exchange = &mut *self.chain.exchange;
        let manager = self.around.manager;
        let rules = &manager.hygiene;
        let opens = asks == Asks::Upgrade || self.incoming.method == MethodKind::Connect;
        // The client may be sending something else than HTTP already.
        self.incoming.keep_alive &= !opens;
        let request = &mut exchange.request;
        if request.known(Known::Method) == Some(b"QUERY") && !request.has(Known::ContentType) {
            return Err(Kind::QueryWithoutType.into());
        }
        settle_path(self.around, request)?;
        let local = exchange.connection.local.ip();
        hygiene::normalize_host(rules, request, local.map_or(0, |local| local.port()));
        if !rules.early.is_empty() {
            worker.with_scratch(|scratch| rules.early.apply(exchange, scratch));
        }
        let id = if rules.generate_request_id {
            worker.random_wide()
        } else {
            0
        };
        let internal_only = self.around.routes.internal_only_headers();
        let cleaned = hygiene::request(manager, exchange, internal_only, id);
        // Envoy routes nothing whose protocol is not known yet, and its log says so.
        if cleaned.is_ok() || exchange.request.has(Known::XForwardedProto) {
            (self.route, self.pick) = match_route(self.around, self.random, exchange);
            self.duration = duration(self.around, self.route, exchange);
        }
        cleaned.map_err(Kind::NoClientAddress)?;
        if opens {
            self.admit_tunnel(asks)?;
        }
        let exchange = &mut *self.chain.exchange;
        if !self.incoming.has_body {
            exchange.timing.request_received = Some(exchange.timing.started);
        }
        Ok(())
    }

    /// Looks whether route and connection manager allow what is asked for.
    fn admit_tunnel(&mut self, asks: Asks) -> Result<(), Error> {
        let request = &self.chain.exchange.request;
        let kind = match asks {
            Asks::Upgrade => request.known(Known::Upgrade).unwrap_or_default(),
            Asks::Nothing => route::CONNECT,
        };
        let of_route = self.route.and_then(|route| match &route.action {
            Action::Forward(forward) => forward.upgrades.find(kind),
            Action::Redirect(_) | Action::Direct(_) => None,
        });
        let of_manager = self.around.manager.upgrade(kind);
        let allowed = match (of_route, of_manager) {
            (Some(upgrade), _) => upgrade.enabled,
            (None, Some(upgrade)) => upgrade.enabled,
            (None, None) => false,
        };
        if !allowed && !self.down.is_http2() {
            // What it would open has begun: nobody knows of an end of the request.
            self.short = Short::Request;
        }
        if !allowed && self.route.is_none() {
            self.around.stats.rq_total.inc();
            return Err(Kind::NoRoute.into());
        }
        if !allowed {
            self.around.stats.downstream_rq_ws_on_non_ws_route.inc();
            return Err(Kind::UpgradeRefused.into());
        }
        self.tunnel = Some(match asks {
            Asks::Upgrade if kind.eq_ignore_ascii_case(b"websocket") => Tunnel::WebSocket,
            Asks::Upgrade => Tunnel::Upgrade,
            Asks::Nothing if of_route.is_some_and(|upgrade| upgrade.terminates) => {
                Tunnel::Terminated
            }
            Asks::Nothing => Tunnel::Connect,
        });
        if let Some((first, filters)) = of_manager.and_then(|upgrade| upgrade.filters.as_ref()) {
            self.chain.change(*first, filters);
        }
        self.incoming.has_body = true;
        self.reader.begin_tunnel();
        self.around.stats.downstream_cx_upgrades_total.inc();
        self.around.stats.downstream_cx_upgrades_active.inc();
        Ok(())
    }

    /// Whether HTTP ends here, and what follows the head goes to the upstream as it is.
    pub(super) fn ends_http(&self) -> bool {
        let is_post = || self.chain.exchange.request.known(Known::Method) == Some(b"POST");
        let takes_posts = || self.route.is_some_and(Route::takes_posts);
        self.tunnel == Some(Tunnel::Terminated) || (takes_posts() && is_post())
    }

    /// How long the stream may go without a byte in either direction.
    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        let route = self.route.and_then(|route| match &route.action {
            Action::Forward(forward) => forward.times.idle,
            Action::Redirect(_) | Action::Direct(_) => None,
        });
        route.unwrap_or(self.around.manager.stream_idle_timeout)
    }

    /// How long the client may take to receive the rest of a response; none where that is not said.
    pub(super) fn flush_timeout(&self) -> Option<Option<Duration>> {
        let route = self.route.and_then(|route| match &route.action {
            Action::Forward(forward) => forward.times.flush,
            Action::Redirect(_) | Action::Direct(_) => None,
        });
        route.or(self.around.manager.stream_flush_timeout)
    }

    /// Whether the client has sent all of its request, and it was read.
    pub(crate) fn has_whole_request(&self) -> bool {
        !self.incoming.has_body || self.reader.is_at_end()
    }

    /// Whether the client has sent all of its request, be it read or not.
    fn has_come_whole(&mut self) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        let is_here = self.chain.exchange.timing.request_received.is_some();
        is_here || !self.incoming.has_body || self.reader.has_come_whole(cx)
    }

    /// Whether what has come behind the head has shown already that this is no sound request.
    pub(super) fn is_broken(&mut self) -> bool {
        if !self.incoming.has_body || !self.down.is_http2() {
            return false;
        }
        let cx = &mut Context::from_waker(Waker::noop());
        let closed = self.down.poll_closed(cx, &mut self.reader);
        matches!(closed, Poll::Ready(Kind::BrokenBody))
    }

    /// When all of the request has to be there (`request_timeout`); none where it is.
    pub(crate) fn overdue_at(&self) -> Option<Instant> {
        let timeout = self.around.manager.request_timeout;
        let timeout = timeout.filter(|_| self.incoming.has_body && !self.reader.is_at_end());
        after(self.chain.exchange.timing.started, timeout)
    }

    /// Does what the route says, or what the terminal filter says in its place.
    async fn act(&mut self, choice: Upstream) -> Result<Acted, Error> {
        self.around.stats.rq_total.inc();
        if choice.cluster.is_some() {
            return forward::proxy(self, choice).await;
        }
        let Some(route) = self.route else {
            return Err(Kind::NoRoute.into());
        };
        match &route.action {
            Action::Forward(_) => forward::proxy(self, choice).await,
            Action::Redirect(redirect) => {
                let mut location = Vec::new();
                let exchange = &mut *self.chain.exchange;
                let envoy_headers = self.around.manager.envoy_headers;
                self.around.worker.with_scratch(|scratch| {
                    redirect.apply(exchange, envoy_headers, scratch, &mut location);
                });
                let mut reply = Reply::new(redirect.status(), "direct_response");
                reply.changed_by = ChangedBy::Answering;
                let reply = reply.header(Known::Location.into(), &location);
                self.around.stats.rq_direct_response.inc();
                self.reply(reply).await?;
                Ok(Acted::Answered)
            }
            Action::Direct(direct) => {
                let mut reply = Reply::new(direct.status, "direct_response");
                reply.changed_by = ChangedBy::Answering;
                reply.body = direct.body.clone();
                if let Some(body) = &direct.format {
                    reply = reply.format(self.chain.exchange, body);
                }
                let mut location = Vec::new();
                direct.write_location(&self.chain.exchange.request, &mut location);
                if !location.is_empty() {
                    reply = reply.header(Known::Location.into(), &location);
                }
                self.around.stats.rq_direct_response.inc();
                self.reply(reply).await?;
                Ok(Acted::Answered)
            }
        }
    }

    /// Answers in the upstream's place.
    pub(crate) async fn reply(&mut self, reply: Reply) -> Result<(), Error> {
        let (worker, pick) = (self.around.worker, self.pick);
        let route = self.route;
        let manager = self.around.manager;
        // A client that sends what is no request is not asked for another, as in Envoy.
        let must_close = reply.close || (reply.status == 400 && !manager.http1_stream_errors);
        let looks = manager
            .local_replies
            .as_ref()
            .map(|replies| (replies, worker));
        let compose = |reply: Reply, exchange: &mut Exchange| {
            let route = route.filter(|route| reply.changed_by.is_by(route));
            let change = |exchange: &mut Exchange| {
                if let Some(route) = route {
                    worker.with_scratch(|scratch| route.finalize_response(exchange, pick, scratch));
                }
            };
            reply.compose(exchange, change, looks)
        };
        let content = compose(reply, self.chain.exchange);
        let mut whole = Whole {
            content,
            has_trailers: false,
        };
        if !self.chain_failed {
            if !self.chain_started {
                // What filters give to every response, this one has to have too.
                let variants = variants(self.around, self.route, self.pick);
                self.chain.begin(variants.as_deref());
            }
            let end = whole.content.is_empty();
            let from = self.chain.len();
            let instead = match self.chain.response(from, end, Some(&mut whole)) {
                // A filter answers an answer: once, and the other filters have seen the first.
                Ok(Walk::Reply(other)) => Some(*other),
                Ok(Walk::Done | Walk::NeedBody { .. }) => None,
                Err(error) => Some(error.reply()),
            };
            if let Some(reply) = instead {
                whole.content = compose(reply, self.chain.exchange);
            }
        }
        let close = must_close || self.must_close();
        self.ended = if close {
            Ended::CloseDelayed
        } else {
            Ended::Reusable
        };
        let length = whole.content.len() as u64;
        let framing = self.framing(BodyLength::Length(length));
        let behind = if whole.content.is_empty() {
            Behind::Nothing
        } else {
            Behind::Content
        };
        self.send_head(framing, (close, behind), clock::now())?;
        self.send_whole(whole).await
    }

    /// This worker's part of what counts the request beside its cluster.
    pub(crate) fn group(&self) -> Option<&VirtualClusterStats> {
        let group = self.group?;
        Some(group.shard(self.around.worker.index))
    }

    /// Whether the connection cannot or may not serve another request.
    pub(crate) fn must_close(&self) -> bool {
        !self.down.is_http2()
            && (!self.incoming.keep_alive
                || (self.incoming.has_body && !self.reader.is_finished())
                || self.around.is_draining(self.random))
    }

    /// Whether the response that the exchange holds opens the tunnel that was asked for.
    pub(crate) fn opens_tunnel(&self) -> bool {
        let status = self.chain.exchange.status;
        self.tunnel
            .is_some_and(|tunnel| tunnel.is_opened_by(status))
    }

    /// How a body of length `source` is framed in this response.
    pub(crate) fn framing(&self, source: BodyLength) -> BodyLength {
        let exchange = &self.chain.exchange;
        let has_length = exchange.response.has(Known::ContentLength);
        match exchange.status {
            100..=199 | 204 | 304 => return BodyLength::None,
            _ if self.opens_tunnel() => return BodyLength::None,
            _ if self.incoming.method == MethodKind::Head => {
                return if has_length || exchange.protocol == Protocol::Http10 {
                    BodyLength::None
                } else {
                    BodyLength::Chunked
                };
            }
            _ => {}
        }
        match source {
            BodyLength::Length(length) => BodyLength::Length(length),
            BodyLength::None => BodyLength::Length(0),
            // HTTP/1.0 has no chunks.
            _ if exchange.protocol == Protocol::Http10 => BodyLength::UntilClose,
            BodyLength::Chunked | BodyLength::UntilClose => BodyLength::Chunked,
        }
    }

    /// Whether a response to this request has no content, whatever its head says.
    pub(crate) fn is_bodiless(&self) -> bool {
        !self.opens_tunnel()
            && (self.incoming.method == MethodKind::Head
                || !has_content(self.chain.exchange.status))
    }

    /// Sends the head that the exchange holds; the last changes are made here, `now`.
    pub(crate) fn send_head(
        &mut self,
        framing: BodyLength,
        (close, behind): (bool, Behind),
        now: Instant,
    ) -> Result<(), Error> {
        let exchange = &mut *self.chain.exchange;
        // HTTP/1.0 finds the end of a response by its length or by the connection's end.
        let ends =
            exchange.protocol == Protocol::Http10 && !exchange.response.has(Known::ContentLength);
        let close = close || ends;
        if ends {
            self.ended = Ended::Close;
        }
        let wall = exchange.timing.started_wall + now.duration_since(exchange.timing.started);
        let manager = self.around.manager;
        let had_content = has_content(exchange.status);
        self.around
            .worker
            .with_date(wall, |date| hygiene::response(manager, exchange, date));
        // `proxy_status_config` may have given another status to a head without content.
        let is_emptied = !had_content
            && has_content(exchange.status)
            && self.incoming.method != MethodKind::Head;
        let framing = if is_emptied {
            exchange.response.remove_known(Known::ContentLength);
            BodyLength::Length(0)
        } else {
            framing
        };
        exchange.timing.response_sent_first = Some(now);
        if let NameFormat::Case(case @ NameCase::Proper) = manager.rules.names {
            exchange.response.spell_unkept(case);
        }
        self.responding = true;
        if !self.down.is_http2() {
            let closes = close || framing == BodyLength::UntilClose;
            exchange.connection_bytes = encode::connection_field(exchange.protocol, closes)
                .map_or(0, |value| {
                    u8::try_from(CONNECTION.len() + value.len()).unwrap_or(u8::MAX)
                });
        }
        let end = match behind {
            Behind::Nothing => true,
            // Over HTTP/1 there is nothing that would be one.
            Behind::End => !self.down.is_http2(),
            Behind::Content => is_emptied || self.is_bodiless(),
        };
        let sent = self
            .down
            .send_head(self.chain.exchange, framing, close, end);
        sent.map_err(|error| Error::of_response_write(&error))?;
        self.count_head();
        Ok(())
    }

    /// Turns an error into what the client still can be told, and into what the log shows.
    async fn fail(&mut self, error: &Error) {
        let stats = self.around.stats;
        match error.kind {
            Kind::MaxDuration { .. } => stats.downstream_rq_max_duration_reached.inc(),
            Kind::RequestTooLarge => self.count_too_large(),
            Kind::ResponseTooLarge => stats.rs_too_large.inc(),
            Kind::LengthChanged(direction) => self.chain.tell_changed_length(direction),
            Kind::HeadersTimeout => stats.downstream_rq_header_timeout.inc(),
            Kind::RequestOverdue => stats.downstream_rq_timeout.inc(),
            Kind::StreamIdle => stats.downstream_rq_idle_timeout.inc(),
            Kind::Reset(details) => self.count_reset(details),
            Kind::Rejected(Reject::Fragment) => stats.downstream_rq_failed_path_normalization.inc(),
            Kind::Rejected(_) | Kind::ConnectionHeader | Kind::DownstreamFraming(_)
                if !self.down.is_http2() && !is_read_whole(error) =>
            {
                self.short = Short::Request;
                stats.downstream_cx_protocol_error.inc();
                self.count_underscore(error);
            }
            _ => {}
        }
        let is_reset = matches!(
            error.kind,
            Kind::Reset(_) | Kind::Malformed | Kind::BrokenBody
        );
        let request = &mut self.chain.exchange.request;
        if request.known(Known::Scheme) == Some(b"") {
            // Refused before it was known.
            request.remove_known(Known::Scheme);
        }
        if (is_reset && !self.chain_started) || matches!(error.kind, Kind::ConnectionHeader) {
            // Envoy's codec refuses these: its log knows nothing of the request.
            self.chain.exchange.request.clear();
        }
        if self.responding || is_reset || matches!(error.kind, Kind::DownstreamClosed) {
            if self.responding && self.down.is_http2() {
                self.let_go(error.side()).await;
            }
            self.cut(error);
            return;
        }
        let attempts = self.chain.exchange.upstream.attempts;
        let mut reply = error.reply_after(attempts);
        if self.has_interim {
            reply.details = reply.details.replace(BEFORE_START, AFTER_START).into();
        }
        if self.around.manager.envoy_headers != EnvoyHeaders::Add {
            let overloaded = Name::from(Known::XEnvoyOverloaded);
            reply.headers.retain(|(name, _)| *name != overloaded);
        }
        if self.tells_attempts && attempts > 0 && error.side() == Side::Upstream {
            let mut room = [0; 20];
            let text = decimal(attempts.into(), &mut room);
            reply = reply.header(Known::XEnvoyAttemptCount.into(), text);
        }
        if self.incoming.method == MethodKind::Connect {
            reply.close = true;
        }
        if matches!(error.kind, Kind::StreamIdle) && (!self.chain_started || !self.has_come_whole())
        {
            // The client, not the upstream, is the one that was waited for.
            reply.status = 408;
            reply.close = true;
        }
        if error.side() == Side::Filter {
            // Neither the filter that failed nor any other gets to see what comes of it.
            self.chain_failed = true;
        }
        if self.reply(reply).await.is_err() {
            self.cut(&Kind::DownstreamClosed.into());
        }
    }

    /// The response cannot be finished: all that is left is to say why in the log, and to make sure
    /// that the client does not take it for a whole one.
    fn cut(&mut self, error: &Error) {
        // A tunnel has no end that the client would know: it gets what came, and then the end.
        self.ended = match error.kind {
            Kind::UpstreamClosed | Kind::StreamIdle if self.tunnel.is_some() => Ended::Close,
            Kind::DownstreamClosed => Ended::Gone,
            _ => Ended::Cut,
        };
        self.short = Short::Response;
        let http2 = self.down.is_http2();
        let is_lost = self.down.has_lost_connection();
        self.down.abort(match error.kind {
            Kind::UpstreamClosed if self.tunnel.is_some() => h2::Reason::CONNECT_ERROR,
            Kind::Malformed | Kind::BrokenBody => h2::Reason::PROTOCOL_ERROR,
            _ => h2::Reason::INTERNAL_ERROR,
        });
        let exchange = &mut *self.chain.exchange;
        exchange.flags.insert(error.flags());
        let details = match &error.kind {
            Kind::DownstreamClosed if http2 && !is_lost => {
                exchange.flags = Flags::DOWNSTREAM_REMOTE_RESET;
                Cow::Borrowed("http2.remote_reset")
            }
            Kind::DownstreamClosed => Cow::Borrowed("downstream_remote_disconnect"),
            Kind::UpstreamProtocol => after_start("protocol_error"),
            Kind::UpstreamReset | Kind::Excess(_) => after_start("remote_reset"),
            Kind::UpstreamRefused => after_start("remote_refused_stream_reset"),
            Kind::UpstreamConnectError => after_start("remote_error_with_CONNECT_request"),
            Kind::UpstreamClosed => after_start("connection_termination"),
            _ => error.reply().details,
        };
        exchange.details = Some(details);
        if matches!(error.kind, Kind::DownstreamClosed | Kind::BrokenBody) && !self.responding {
            exchange.status = 0;
        }
        if self.responding && !matches!(error.kind, Kind::DownstreamClosed) {
            let stats = self.around.stats;
            stats.downstream_rq_tx_reset.inc();
            // Envoy counts those alone whose outcome would have stood in what was missing.
            if error.side() == Side::Upstream && exchange.request.is_grpc() {
                stats.rq_reset_after_downstream_response_started.inc();
            }
        }
    }
}

/// Whether a response of that status has content (RFC 9110 §6.4.1).
pub(super) const fn has_content(status: u16) -> bool {
    !matches!(status, 100..=199 | 204 | 304)
}

/// Makes the path what is routed, or says why it is not.
fn settle_path(around: Surroundings<'_>, request: &mut Headers) -> Result<(), Error> {
    if !matches!(request.known(Known::Path), Some([b'/', ..]) | None) {
        around.stats.downstream_rq_non_relative_path.inc();
        return Err(Kind::AbsolutePath.into());
    }
    match hygiene::normalize_path(around.manager.hygiene.path, request) {
        PathVerdict::Serve => Ok(()),
        PathVerdict::Redirect if !request.is_grpc() => {
            around
                .stats
                .downstream_rq_redirected_with_normalized_path
                .inc();
            let path = request.known(Known::Path).unwrap_or_default();
            Err(Kind::PathRedirect(path.to_vec()).into())
        }
        // A gRPC client does not follow.
        PathVerdict::Redirect | PathVerdict::Refuse => {
            around.stats.downstream_rq_failed_path_normalization.inc();
            Err(Kind::PathRefused.into())
        }
    }
}

/// How the details of an upstream that resets begin, without and with an answer before.
const BEFORE_START: &str = "upstream_reset_before_response_started";
const AFTER_START: &str = "upstream_reset_after_response_started";

fn after_start(reason: &str) -> Cow<'static, str> {
    Cow::Owned(format!("{AFTER_START}{{{reason}}}"))
}
