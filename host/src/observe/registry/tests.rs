//! Tests of the registry.

use super::*;
use crate::observe::stats::stats;

stats! {
    /// For these tests.
    struct Sample1 {
        counter total,
        gauge active,
        histogram time,
    }
}

fn counter(registry: &Registry, name: &str) -> Option<u64> {
    match registry.read().get(name)?.reading {
        Reading::Counter(value) => Some(value),
        _ => None,
    }
}

fn counts(registry: &Registry, name: &str) -> (u64, u64) {
    let samples = registry.read();
    let sample = &samples[name];
    let Reading::Histogram(all) = &sample.reading else {
        panic!("{name} is no histogram")
    };
    (sample.interval.as_ref().unwrap().count(), all.count())
}

#[test]
fn one_scope_has_one_block() {
    let registry = Registry::new(2);
    let a = registry.sharded::<Sample1>(Scope::http("a"));
    let again = registry.sharded::<Sample1>(Scope::http("a"));
    let b = registry.sharded::<Sample1>(Scope::http("b"));
    assert!(Arc::ptr_eq(&a, &again));
    a.shard(0).total.inc();
    again.shard(1).total.inc();
    b.shard(0).total.add(5);
    assert_eq!(counter(&registry, "http.a.total"), Some(2));
    assert_eq!(counter(&registry, "http.b.total"), Some(5));
    drop((a, again));
    assert_eq!(counter(&registry, "http.a.total"), None);
    let fresh = registry.sharded::<Sample1>(Scope::http("a"));
    assert_eq!(fresh.shard(0).total.get(), 0);
}

#[test]
fn blocks_under_one_name_are_summed() {
    let registry = Registry::new(1);
    let first = Arc::new(Sharded::<Sample1>::new(1));
    let second = Arc::new(Sharded::<Sample1>::new(1));
    registry.register(Scope::cluster("c"), &first);
    registry.register(Scope::cluster("c"), &second);
    first.shard(0).total.inc();
    second.shard(0).total.inc();
    second.shard(0).active.inc();
    assert_eq!(counter(&registry, "cluster.c.total"), Some(2));
    assert_eq!(
        registry.read()["cluster.c.active"].reading,
        Reading::Gauge {
            value: 1,
            used: true
        }
    );
}

#[test]
fn a_block_in_several_scopes_is_shown_in_each_and_is_nobodys_else() {
    let registry = Registry::new(1);
    let both = registry.sharded_in_all::<Sample1>([Scope::http("a"), Scope::http("b")]);
    let own = registry.sharded::<Sample1>(Scope::http("a"));
    both.shard(0).total.inc();
    own.shard(0).total.add(5);
    assert_eq!(counter(&registry, "http.a.total"), Some(6));
    assert_eq!(counter(&registry, "http.b.total"), Some(1));
    drop(both);
    assert_eq!(counter(&registry, "http.b.total"), None);
}

#[test]
fn counters_by_name_are_kept() {
    let registry = Registry::new(1);
    registry.counter("rl.http_local_rate_limit.ok").inc();
    registry.counter("rl.http_local_rate_limit.ok").inc();
    registry.counter("plain").inc();
    let samples = registry.read();
    let limiter = &samples["rl.http_local_rate_limit.ok"];
    assert_eq!(limiter.reading, Reading::Counter(2));
    assert_eq!(limiter.name.to_string(), "ok");
    assert_eq!(samples["plain"].name.to_string(), "plain");
}

#[test]
fn intervals_of_histograms() {
    let registry = Registry::new(1);
    let stats = registry.sharded::<Sample1>(Scope::new("x."));
    stats.shard(0).time.record(1);
    assert_eq!(
        counts(&registry, "x.time"),
        (1, 1),
        "before the first interval is over"
    );
    registry.latch();
    stats.shard(0).time.record(2);
    assert_eq!(counts(&registry, "x.time"), (1, 2));
    registry.latch();
    assert_eq!(counts(&registry, "x.time"), (1, 2));
    registry.latch();
    assert_eq!(counts(&registry, "x.time"), (0, 2));
}

#[test]
fn counters_begin_anew_and_nothing_else_does() {
    let registry = Registry::new(2);
    let block = registry.sharded::<Sample1>(Scope::http("a"));
    let shared = registry.counter("b.total");
    block.shard(0).total.add(3);
    block.shard(1).active.add(2);
    block.shard(0).time.record(5);
    shared.add(7);
    registry.reset_counters();
    let counts = |names: [&str; 2]| names.map(|name| counter(&registry, name));
    assert_eq!(counts(["http.a.total", "b.total"]), [Some(0); 2]);
    block.shard(1).total.inc();
    shared.add(2);
    assert_eq!(counts(["http.a.total", "b.total"]), [Some(1), Some(2)]);
    registry.reset_counters();
    assert_eq!(counts(["http.a.total", "b.total"]), [Some(0); 2]);
    let samples = registry.read();
    let gauge = &samples["http.a.active"].reading;
    assert_eq!(
        *gauge,
        Reading::Gauge {
            value: 2,
            used: true
        }
    );
    assert!(samples["http.a.time"].reading.is_used());
    drop(block);
    // Another of that name starts below what the first one had.
    let fresh = registry.sharded::<Sample1>(Scope::http("a"));
    fresh.shard(0).total.inc();
    assert_eq!(counter(&registry, "http.a.total"), Some(1));
}

#[test]
fn of_several_moments_the_first_is_shown() {
    struct Ends(i64);
    impl Stats for Ends {
        fn visit(&self, visit: &mut dyn FnMut(Name, Reading)) {
            visit("ends".into(), Reading::Moment(self.0));
        }
    }
    let registry = Registry::new(1);
    let blocks = [5, 3, 4].map(|at| Arc::new(Ends(at)));
    for block in &blocks {
        registry.register(Scope::new("x."), block);
    }
    assert_eq!(registry.read()["x.ends"].reading, Reading::Moment(3));
}
