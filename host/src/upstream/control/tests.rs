//! Finding and checking endpoints, with a resolver that follows a script.

use std::collections::VecDeque;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::HeaderValue;
use http::uri::PathAndQuery;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::*;
use crate::upstream::balance::layout::State;
use crate::upstream::cluster::Outlets;
use crate::upstream::dns::{Answer, Resolving};
use crate::upstream::outlier::Report;
use crate::upstream::spec::{
    ClusterSpec, DestinationSpec, HealthCheck, OutlierSpec, StaticEndpoint,
};
use crate::upstream::testing::runtime;
use crate::values::{Layer, LayerSpec, Values};

fn run<T>(test: impl Future<Output = T>) -> T {
    runtime(false).block_on(async {
        tokio::time::timeout(Duration::from_secs(20), test)
            .await
            .expect("the test hangs")
    })
}

async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

/// Answers from a list, one for each call of [`Script::next`].
#[derive(Default)]
struct Script {
    answers: RefCell<VecDeque<Option<Vec<IpAddr>>>>,
    more: Notify,
}

impl Script {
    fn next(&self, answer: Option<&[u8]>) {
        let answer = answer.map(|last| last.iter().map(|n| [127, 0, 0, *n].into()).collect());
        self.answers.borrow_mut().push_back(answer);
        self.more.notify_one();
    }
}

struct Scripted(Rc<Script>);

impl Resolve for Scripted {
    fn resolve(&self, question: &Question) -> Resolving {
        let (script, host) = (Rc::clone(&self.0), Arc::clone(&question.host));
        Box::pin(async move {
            loop {
                let answer = script.answers.borrow_mut().pop_front();
                match answer {
                    Some(Some(addresses)) => return Ok(Answer::from((addresses, None))),
                    Some(None) => {
                        let cause = "nobody answers".into();
                        return Err(DnsError { host, cause });
                    }
                    None => script.more.notified().await,
                }
            }
        })
    }
}

fn dns_cluster(names: &[&str], port: u16, check: Option<HealthCheck>) -> Arc<Cluster> {
    let targets = names
        .iter()
        .map(|name| DnsTarget::new(name, port))
        .collect();
    let dns = DnsSpec {
        refresh: Duration::from_millis(1),
        ..DnsSpec::default()
    };
    let mut spec = ClusterSpec::new("c", Discovery::StrictDns { targets, dns });
    spec.health_checks.extend(check);
    spec.balancing.merge_window = Duration::ZERO;
    Cluster::new(spec, 1)
}

fn start(cluster: &Arc<Cluster>, script: &Rc<Script>) -> Handle {
    let resolver = Rc::new(Scripted(Rc::clone(script)));
    spawn(cluster, Settings { resolver, seed: 1 })
}

fn addresses(cluster: &Cluster) -> Vec<String> {
    cluster
        .endpoints()
        .endpoints
        .iter()
        .map(|endpoint| endpoint.now_at().to_string())
        .collect()
}

/// The indices of the endpoints that may be used.
fn healthy(cluster: &Cluster) -> Vec<u32> {
    let set = cluster.endpoints();
    let healthy = (0..).zip(&set.endpoints);
    let healthy = healthy.filter(|(_, endpoint)| endpoint.state() == State::Healthy);
    healthy.map(|(index, _)| index).collect()
}

#[test]
fn the_last_good_answer_stays_while_resolving_fails() {
    run(async {
        let (cluster, script) = (dns_cluster(&["a"], 80, None), Rc::new(Script::default()));
        assert!(!cluster.is_warm());
        let _handle = start(&cluster, &script);
        script.next(Some(&[1, 2]));
        cluster.warm().await;
        assert_eq!(addresses(&cluster), ["127.0.0.1:80", "127.0.0.2:80"]);
        let kept = Arc::clone(&cluster.endpoints().endpoints[1]);
        let stats = cluster.control_stats();
        let generation = cluster.endpoints().generation;

        script.next(None);
        script.next(None);
        until(|| stats.update_failure.get() == 2).await;
        assert_eq!((addresses(&cluster).len(), stats.dns_stale.get()), (2, 1));
        script.next(Some(&[2, 1]));
        until(|| stats.update_no_rebuild.get() == 1).await;
        assert_eq!(stats.dns_stale.get(), 0);
        assert_eq!(
            cluster.endpoints().generation,
            generation,
            "nothing to publish"
        );

        script.next(Some(&[2, 3]));
        until(|| addresses(&cluster) == ["127.0.0.2:80", "127.0.0.3:80"]).await;
        assert!(Arc::ptr_eq(&kept, &cluster.endpoints().endpoints[0]));
        assert_eq!(stats.membership_change.get(), 2);
        script.next(Some(&[]));
        until(|| addresses(&cluster).is_empty()).await;
        assert_eq!(
            (stats.membership_total.get(), stats.update_success.get()),
            (0, 4)
        );
    });
}

#[test]
fn a_name_that_does_not_resolve_does_not_hold_up_the_start() {
    run(async {
        let (cluster, script) = (
            dns_cluster(&["a", "b"], 80, None),
            Rc::new(Script::default()),
        );
        let _handle = start(&cluster, &script);
        script.next(None);
        until(|| cluster.control_stats().update_failure.get() == 1).await;
        assert!(!cluster.is_warm(), "nothing is known of the other name");
        script.next(Some(&[1]));
        script.next(Some(&[1]));
        cluster.warm().await;
        assert_eq!(addresses(&cluster), ["127.0.0.1:80"]);
    });
}

#[test]
fn a_static_cluster_without_checks_is_warm_from_the_start() {
    let endpoint = StaticEndpoint::new("127.0.0.1:1".parse().unwrap());
    let cluster = Cluster::new(ClusterSpec::new("c", Discovery::Static(vec![endpoint])), 1);
    assert!(cluster.is_warm());
    assert_eq!(cluster.control_stats().membership_healthy.get(), 1);
    assert_eq!(cluster.control_stats().membership_change.get(), 1);
}

#[test]
fn dropping_the_handle_stops_everything() {
    run(async {
        let (cluster, script) = (dns_cluster(&["a"], 80, None), Rc::new(Script::default()));
        let handle = start(&cluster, &script);
        script.next(Some(&[1]));
        cluster.warm().await;
        drop(handle);
        assert!(cluster.is_retired());
        until(|| Rc::strong_count(&script) == 1).await;
    });
}

fn check() -> HealthCheck {
    let mut check = HealthCheck::new(
        HeaderValue::from_static("c"),
        PathAndQuery::from_static("/"),
        Duration::from_secs(10),
        Duration::from_millis(1),
    );
    check.intervals.no_traffic = Duration::from_millis(1);
    check
}

/// Answers health checks with what `status` says.
async fn serve(listener: TcpListener, status: Rc<Cell<u16>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let status = Rc::clone(&status);
        tokio::task::spawn_local(async move {
            let mut buffer = [0; 512];
            while let Ok(1..) = stream.read(&mut buffer).await {
                let answer = format!("HTTP/1.1 {} x\r\ncontent-length: 0\r\n\r\n", status.get());
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    break;
                }
            }
        });
    }
}

async fn server() -> (SocketAddr, Rc<Cell<u16>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let status = Rc::new(Cell::new(200));
    tokio::task::spawn_local(serve(listener, Rc::clone(&status)));
    (address, status)
}

#[test]
fn a_checked_cluster_is_warm_after_the_first_round_and_follows_health() {
    run(async {
        let (a, a_status) = server().await;
        let (b, b_status) = server().await;
        b_status.set(500);
        let endpoints = vec![StaticEndpoint::new(a), StaticEndpoint::new(b)];
        let mut spec = ClusterSpec::new("c", Discovery::Static(endpoints));
        spec.health_checks = vec![check()];
        spec.balancing.merge_window = Duration::ZERO;
        let cluster = Cluster::new(spec, 1);
        assert!(!cluster.is_warm());
        assert_eq!(healthy(&cluster), [0_u32; 0]);
        let _handle = start(&cluster, &Rc::default());
        cluster.warm().await;
        assert_eq!(healthy(&cluster), [0]);
        let stats = cluster.control_stats();
        assert_eq!(
            (
                stats.membership_healthy.get(),
                stats.health_check_healthy.get()
            ),
            (1, 1)
        );
        b_status.set(200);
        until(|| healthy(&cluster) == [0, 1]).await;
        a_status.set(404);
        until(|| healthy(&cluster) == [1]).await;
        assert_eq!(stats.membership_change.get(), 1, "health is not membership");
    });
}

#[test]
fn a_healthy_endpoint_that_dns_drops_stays_until_it_fails() {
    run(async {
        let (address, status) = server().await;
        let cluster = dns_cluster(&["a"], address.port(), Some(check()));
        let script = Rc::new(Script::default());
        let _handle = start(&cluster, &script);
        script.next(Some(&[1]));
        cluster.warm().await;
        assert_eq!(healthy(&cluster), [0]);
        script.next(Some(&[]));
        let endpoint = Arc::clone(&cluster.endpoints().endpoints[0]);
        until(|| endpoint.health().has(Health::PENDING_DYNAMIC_REMOVAL)).await;
        assert_eq!(healthy(&cluster), [0]);
        status.set(503);
        until(|| cluster.endpoints().endpoints.is_empty()).await;
        let attempts = cluster.control_stats().health_check_attempt.get();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(
            cluster.control_stats().health_check_attempt.get() <= attempts + 1,
            "no more checks"
        );
    });
}

#[test]
fn an_outlier_is_left_out_for_a_while() {
    run(async {
        let (a, _) = server().await;
        let (b, _) = server().await;
        let endpoints = vec![StaticEndpoint::new(a), StaticEndpoint::new(b)];
        let mut spec = ClusterSpec::new("c", Discovery::Static(endpoints));
        spec.balancing.merge_window = Duration::ZERO;
        spec.outlier_detection = Some(OutlierSpec {
            interval: Duration::from_millis(10),
            base_ejection_time: Duration::from_millis(30),
            ..OutlierSpec::default()
        });
        let cluster = Cluster::new(spec, 1);
        let _handle = start(&cluster, &Rc::default());
        let [first, second] = &cluster.endpoints().endpoints[..] else {
            panic!("two")
        };
        for _ in 0..5 {
            cluster.report(first, Report::Status(500));
        }
        until(|| healthy(&cluster) == [1]).await;
        let stats = cluster.outlier_stats().unwrap();
        assert_eq!(stats.ejections_active.get(), 1);
        assert_eq!(cluster.control_stats().membership_healthy.get(), 1);
        // The last one stays, whatever it answers.
        for _ in 0..5 {
            cluster.report(second, Report::Failed);
        }
        until(|| stats.ejections_overflow.get() > 0).await;
        until(|| healthy(&cluster) == [0, 1]).await;
        assert_eq!(stats.ejections_active.get(), 0);
        assert_eq!(stats.ejections_enforced_total.get(), 1);
    });
}

#[test]
fn endpoints_that_requests_name_come_and_go() {
    run(async {
        let spec = DestinationSpec {
            cleanup: Duration::from_millis(1),
            ..DestinationSpec::default()
        };
        let spec = ClusterSpec::new("c", Discovery::OriginalDestination(spec));
        let cluster = Cluster::new(spec, 1);
        let handle = start(&cluster, &Rc::default());
        let destinations = cluster.destinations().unwrap();
        let endpoint = destinations.endpoint(([127, 0, 0, 1], 80).into()).unwrap();
        endpoint.counters.cx_active.inc();
        until(|| addresses(&cluster) == ["127.0.0.1:80"]).await;
        endpoint.counters.cx_active.dec();
        until(|| addresses(&cluster).is_empty()).await;
        assert!(destinations.all().is_empty());
        drop(handle);
    });
}

#[test]
fn runtime_values_say_when_endpoints_are_ejected() {
    run(async {
        let endpoints = [1_u8, 2, 3].map(|n| StaticEndpoint::new(([127, 0, 0, n], 80).into()));
        let mut spec = ClusterSpec::new("c", Discovery::Static(endpoints.to_vec()));
        spec.outlier_detection = Some(OutlierSpec::default());
        let admin = LayerSpec {
            name: "admin".to_owned(),
            layer: Layer::Admin,
        };
        let values = Arc::new(Values::new(vec![admin]));
        let outlets = Outlets {
            values: Arc::clone(&values),
            ..Outlets::new(&spec, 1)
        };
        let cluster = Cluster::with_outlets(spec, 1, outlets);
        let once = (
            "outlier_detection.consecutive_5xx".to_owned(),
            "1".to_owned(),
        );
        values.modify(&[once]).unwrap();
        let handle = start(&cluster, &Rc::default());
        let endpoint = Arc::clone(&cluster.endpoints().endpoints[1]);
        cluster.report(&endpoint, Report::Status(500));
        until(|| healthy(&cluster) == [0, 2]).await;
        drop(handle);
    });
}
