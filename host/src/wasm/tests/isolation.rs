//! Which streams share an instance, and what a trap in one of them costs the others.

use super::super::SlotState;
use super::super::outcome::{FailureKind, Outcome};
use super::super::slot::{FailurePolicy, Isolation};
use super::*;

fn keeping(isolation: Isolation, policy: FailurePolicy) -> FilterSlot {
    slot("state", "", |spec| {
        spec.isolation = isolation;
        spec.failure_policy = policy;
    })
}

/// A stream under way.
struct Stream<'a> {
    worker: &'a Instances,
    slot: &'a FilterSlot,
    exchange: Box<Exchange>,
    state: SlotState,
    started: Outcome,
}

impl<'a> Stream<'a> {
    fn start(worker: &'a Instances, slot: &'a FilterSlot, path: &str) -> Self {
        let (mut exchange, mut state) = (stream(path, &[]), SlotState::default());
        let started = worker.on_request_headers(slot, &mut state, &mut exchange, true);
        Self {
            worker,
            slot,
            exchange,
            state,
            started,
        }
    }

    fn respond(&mut self) -> Outcome {
        let (slot, state) = (self.slot, &mut self.state);
        self.worker
            .on_response_headers(slot, state, &mut self.exchange, true)
    }

    /// What the guest shows: the path that it kept, and how many it keeps.
    fn shown(&mut self) -> String {
        let outcome = self.respond();
        assert!(matches!(outcome, Outcome::Next), "{outcome:?}");
        field(&self.exchange.response, "x-path").unwrap_or_default()
    }

    fn end(mut self) {
        self.worker
            .on_log(self.slot, &mut self.state, &mut self.exchange);
        self.worker.on_done(self.slot, &mut self.state);
    }
}

#[test]
fn streams_that_share_an_instance_keep_their_state_apart() {
    let slot = keeping(Isolation::Shared, FailurePolicy::FailClosed);
    let worker = worker();
    let mut one = Stream::start(&worker, &slot, "/one");
    let mut two = Stream::start(&worker, &slot, "/two");
    assert_eq!(
        (one.shown(), two.shown()),
        ("/one 2".to_owned(), "/two 2".to_owned())
    );
    one.end();
    assert_eq!(two.shown(), "/two 1", "the end of a stream frees its state");
    two.end();
    assert_eq!(slot.stats().shard(0).created.get(), 1);
}

#[test]
fn a_trap_loses_the_state_of_streams_that_share_the_instance() {
    for policy in [FailurePolicy::FailClosed, FailurePolicy::FailOpen] {
        let slot = keeping(Isolation::Shared, policy);
        let worker = worker();
        let mut kept = Stream::start(&worker, &slot, "/kept");
        let mut none = Stream::start(&worker, &slot, "/none");
        let trapped = Stream::start(&worker, &slot, "/trap");
        let fails = policy == FailurePolicy::FailClosed;
        assert_eq!(matches!(trapped.started, Outcome::Failed(_)), fails);
        let after = Stream::start(&worker, &slot, "/after");
        assert!(matches!(after.started, Outcome::Next));
        match kept.respond() {
            Outcome::Failed(failure) if fails => assert_eq!(failure.kind, FailureKind::StateLost),
            Outcome::Next if !fails => {}
            outcome => panic!("{outcome:?}"),
        }
        assert_eq!(none.shown(), "1", "who kept nothing lost nothing");
        assert_eq!(slot.stats().shard(0).state_lost.get(), 1);
        for stream in [kept, none, trapped, after] {
            stream.end();
        }
        let stats = slot.stats().shard(0);
        assert_eq!(
            (stats.traps.get(), stats.created.get(), stats.active.get()),
            (1, 2, 1)
        );
        let mut last = Stream::start(&worker, &slot, "/last");
        assert_eq!(
            last.shown(),
            "/last 1",
            "the new instance keeps nothing of the old streams"
        );
    }
}

#[test]
fn the_end_of_a_stream_whose_instance_is_gone_is_not_told_to_the_next() {
    let slot = keeping(Isolation::Shared, FailurePolicy::FailClosed);
    let worker = worker();
    let old = Stream::start(&worker, &slot, "/old");
    Stream::start(&worker, &slot, "/trap").end();
    let mut new = Stream::start(&worker, &slot, "/new");
    // Both have the token 1, of different instances.
    old.end();
    assert_eq!(new.shown(), "/new 1");
}

#[test]
fn an_exclusive_instance_serves_one_stream_at_a_time_and_is_used_again() {
    let slot = keeping(Isolation::Exclusive, FailurePolicy::FailClosed);
    let worker = worker();
    let mut one = Stream::start(&worker, &slot, "/one");
    let mut two = Stream::start(&worker, &slot, "/two");
    assert_eq!(
        (one.shown(), two.shown()),
        ("/one 1".to_owned(), "/two 1".to_owned())
    );
    let trapped = Stream::start(&worker, &slot, "/trap");
    assert!(matches!(trapped.started, Outcome::Failed(_)));
    assert_eq!(one.shown(), "/one 1", "a trap costs its own stream alone");
    one.end();
    two.end();
    trapped.end();
    Stream::start(&worker, &slot, "/three").end();
    let stats = slot.stats().shard(0);
    assert_eq!(
        (
            stats.created.get(),
            stats.active.get(),
            stats.state_lost.get()
        ),
        (3, 2, 0)
    );
}

#[test]
fn a_stream_that_trapped_late_has_lost_its_state() {
    let slot = keeping(Isolation::Exclusive, FailurePolicy::FailClosed);
    let worker = worker();
    let mut late = Stream::start(&worker, &slot, "/late");
    assert!(
        matches!(late.respond(), Outcome::Failed(failure) if failure.kind == FailureKind::Trap)
    );
    late.end();
    assert_eq!(
        slot.stats().shard(0).active.get(),
        1,
        "the log hook has an instance"
    );
}

#[test]
fn a_fresh_instance_serves_one_stream() {
    let slot = keeping(Isolation::Fresh, FailurePolicy::FailClosed);
    let worker = worker();
    for _ in 0..10 {
        let mut stream = Stream::start(&worker, &slot, "/x");
        assert_eq!(stream.shown(), "/x 1");
        stream.end();
    }
    let stats = slot.stats().shard(0);
    assert_eq!((stats.created.get(), stats.active.get()), (10, 0));
}

#[test]
fn a_stream_that_is_dropped_gives_its_instance_back() {
    for isolation in [Isolation::Exclusive, Isolation::Fresh] {
        let slot = keeping(isolation, FailurePolicy::FailClosed);
        let worker = worker();
        drop(Stream::start(&worker, &slot, "/x"));
        assert_eq!(slot.stats().shard(0).active.get(), 0, "{isolation:?}");
    }
}

#[test]
fn instances_end_with_their_filter() {
    let worker = worker();
    let slot = keeping(Isolation::Shared, FailurePolicy::FailClosed);
    worker.warm(&slot);
    let stats = Arc::clone(slot.stats());
    worker.sweep();
    assert_eq!(stats.shard(0).active.get(), 1);
    drop(slot);
    worker.sweep();
    assert_eq!(stats.shard(0).active.get(), 0);
}

#[test]
fn an_instance_that_cannot_be_had_is_a_failure() {
    let slot = keeping(Isolation::Fresh, FailurePolicy::FailClosed);
    let worker = worker();
    let mut streams = Vec::new();
    let failure = loop {
        let stream = Stream::start(&worker, &slot, "/x");
        if let Outcome::Failed(failure) = stream.started {
            break failure;
        }
        streams.push(stream);
        assert!(streams.len() <= crate::limits::WASM_INSTANCES as usize);
    };
    let neighbour = keeping(Isolation::Fresh, FailurePolicy::FailClosed);
    assert!(
        matches!(
            Stream::start(&worker, &neighbour, "/x").started,
            Outcome::Next
        ),
        "other filters have theirs"
    );
    assert_eq!(failure.kind, FailureKind::NotStarted);
    assert!(
        failure.to_string().starts_with("no new instance: "),
        "{failure}"
    );
    drop(streams);
    assert!(matches!(
        Stream::start(&worker, &slot, "/x").started,
        Outcome::Next
    ));
}
