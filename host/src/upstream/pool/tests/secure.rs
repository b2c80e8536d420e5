//! TLS to endpoints: which certificates are accepted, what is asked for and chosen, and what is counted.

use ::http::HeaderValue;
use ::http::uri::PathAndQuery;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::observe::metrics::TlsStats;
use crate::observe::stats::Sharded;
use crate::tls::{
    Client, ClientSpec, ClientStats, IdentitySpec, Names, Parameters, ParametersSpec, Source,
    SubjectName, TrustSpec, Version, Whence,
};
use crate::upstream::connect::Target;
use crate::upstream::demand::Demand;
use crate::upstream::spec::{DestinationSpec, HealthCheck, Policy, TlsDial};

/// An authority and what it certifies.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
struct Certified {
    chain: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn certify(&self, name: &str, until: i32) -> Certified {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        Certified {
            chain: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    fn pem(&self) -> Source {
        Source::Inline(self.0.pem().into_bytes().into())
    }
}

impl Certified {
    fn source(&self) -> IdentitySpec {
        IdentitySpec {
            chain: Source::Inline(self.chain.clone().into_bytes().into()),
            key: Source::Inline(self.key.clone().into_bytes().into()),
            staple: None,
        }
    }
}

/// A server that shows `certified`, speaks `alpn`, and asks clients for certificates of `clients`.
fn server(certified: &Certified, alpn: &[&str], clients: Option<&Authority>) -> TlsAcceptor {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let chain = CertificateDer::from_pem_slice(certified.chain.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(certified.key.as_bytes()).unwrap();
    let builder = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.0.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(vec![chain], key).unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// A client that looks at names where it asks for one, or at none.
fn client(mut trust: TrustSpec, names: Names, identity: Option<&Certified>) -> Arc<Client> {
    if names == Names::Any {
        trust.names = vec![SubjectName::new("any", Arc::new(|_| true))];
    }
    let parameters = ParametersSpec {
        min: Version::Tls12,
        max: Version::Tls13,
        ciphers: &[],
        groups: &[],
        signatures: &[],
        alpn: &[],
    };
    let spec = ClientSpec {
        identity: identity.map(|identity| Whence::Here(identity.source())),
        trust: Whence::Here(trust),
        parameters: Parameters::new(&parameters).unwrap(),
        sessions: 8,
    };
    let stats = ClientStats {
        tls: Arc::new(Sharded::new(1)),
        negotiated: Arc::new(Sharded::new(1)),
        signatures: Arc::default(),
    };
    Arc::new(Client::load(String::new(), spec, stats).unwrap())
}

fn trusting(authority: &Authority) -> TrustSpec {
    TrustSpec {
        authorities: Some(authority.pem()),
        ..TrustSpec::default()
    }
}

fn cluster_of(address: SocketAddr, client: &Arc<Client>, sni: Option<&str>) -> Arc<Cluster> {
    let mut spec = spec(&[address]);
    spec.dial.transport.tls = Some(TlsDial {
        client: Arc::clone(client),
        server_name: sni.map(Into::into),
        asks_for_host: false,
    });
    Cluster::new(spec, 1)
}

/// What a server saw of a connection: the name it was asked for.
async fn serve(listener: &TcpListener, acceptor: &TlsAcceptor) -> Option<String> {
    let (socket, _) = listener.accept().await.unwrap();
    let mut stream = acceptor.accept(socket).await.ok()?;
    let name = stream.get_ref().1.server_name().map(str::to_owned);
    // Tickets go out with the first write; who closes without one leaves none behind.
    let _written = stream.write_all(b"x").await;
    let mut end = [0];
    let _end = stream.read(&mut end).await;
    Some(name.unwrap_or_default())
}

fn stats(client: &Client) -> &TlsStats {
    client.stats().tls.shard(0)
}

/// The reason why there is no connection; none where there is one.
async fn refusal(
    cluster: &Arc<Cluster>,
    listener: &TcpListener,
    acceptor: &TlsAcceptor,
) -> Option<String> {
    let pools = pools();
    let wish = Wish::default();
    let connect = async {
        let lease = pools.acquire(cluster, Priority::Default, &wish).await;
        lease
            .map(drop)
            .err()
            .map(|error| error.transport_failure().unwrap_or_default().into_owned())
    };
    tokio::join!(connect, serve(listener, acceptor)).0
}

#[test]
fn certificates_are_checked() {
    worker(async {
        let (authority, stranger) = (Authority::new(), Authority::new());
        let good = authority.certify("a.test", 4000);
        let expired = authority.certify("a.test", 2021);
        let strange = stranger.certify("a.test", 4000);
        type Seen = fn(&TlsStats) -> u64;
        let (handshake, error, name): (Seen, Seen, Seen) = (
            |stats| stats.handshake.get(),
            |stats| stats.fail_verify_error.get(),
            |stats| stats.fail_verify_san.get(),
        );
        for (certified, sni, names, reason, counted) in [
            (&good, Some("a.test"), Names::IfNamed, None, handshake),
            (
                &good,
                Some("b.test"),
                Names::IfNamed,
                Some("not valid for name"),
                name,
            ),
            (&good, Some("b.test"), Names::Any, None, handshake),
            (&good, None, Names::IfNamed, None, handshake),
            (
                &expired,
                Some("a.test"),
                Names::IfNamed,
                Some("expired"),
                error,
            ),
            (
                &strange,
                Some("a.test"),
                Names::Any,
                Some("invalid peer certificate"),
                error,
            ),
        ] {
            let (listener, address) = listen().await;
            let client = client(trusting(&authority), names, None);
            let cluster = cluster_of(address, &client, sni);
            let found = refusal(&cluster, &listener, &server(certified, &[], None)).await;
            match (&found, reason) {
                (None, None) => {}
                (Some(found), Some(reason)) => {
                    assert!(found.starts_with("TLS_error:|"), "{found}");
                    assert!(found.contains(reason), "{found} for {reason}");
                }
                _ => panic!("{found:?} for {reason:?}"),
            }
            assert_eq!(counted(stats(&client)), 1, "{sni:?} {names:?} {found:?}");
        }
    });
}

#[test]
fn checks_are_switched_off_in_words() {
    worker(async {
        let strange = Authority::new().certify("b.test", 2021);
        let (listener, address) = listen().await;
        let trust = TrustSpec {
            accept_untrusted: true,
            ..TrustSpec::default()
        };
        let client = client(trust, Names::IfNamed, None);
        let cluster = cluster_of(address, &client, Some("a.test"));
        let acceptor = server(&strange, &[], None);
        assert_eq!(refusal(&cluster, &listener, &acceptor).await, None);
    });
}

#[test]
fn a_server_that_asks_gets_the_certificate() {
    worker(async {
        let authority = Authority::new();
        let own = authority.certify("client.test", 4000);
        let acceptor = server(&authority.certify("a.test", 4000), &[], Some(&authority));
        for (identity, served) in [(Some(&own), true), (None, false)] {
            let (listener, address) = listen().await;
            let client = client(trusting(&authority), Names::IfNamed, identity);
            let cluster = cluster_of(address, &client, Some("a.test"));
            let pools = pools();
            let connect = async {
                let lease = pools
                    .acquire(&cluster, Priority::Default, &Wish::default())
                    .await;
                lease.ok().map(|lease| lease.facts().tls.clone().unwrap())
            };
            let (tls, name) = tokio::join!(connect, serve(&listener, &acceptor));
            assert_eq!(name.is_some(), served);
            // In TLS 1.3 the client is done before the server has looked at its certificate.
            let tls = tls.unwrap();
            assert_eq!(tls.local.is_some(), served);
            assert_eq!(tls.peer.as_ref().unwrap().certificate.names.dns, ["a.test"]);
        }
    });
}

#[test]
fn the_server_chooses_the_version_of_http() {
    worker(async {
        let authority = Authority::new();
        let certified = authority.certify("a.test", 4000);
        for (alpn, http2) in [
            (&["h2", "http/1.1"][..], true),
            (&["http/1.1"], false),
            (&[], false),
        ] {
            let (listener, address) = listen().await;
            let client = client(trusting(&authority), Names::IfNamed, None);
            let mut spec = cluster_of(address, &client, Some("a.test")).spec().clone();
            spec.protocol = Protocol::Negotiated(Http2Settings::default());
            let (cluster, pools) = (Cluster::new(spec, 1), pools());
            let acceptor = server(&certified, alpn, None);
            let wish = Wish::default();
            let acquire = pools.acquire(&cluster, Priority::Default, &wish);
            let accept = async {
                let (socket, _) = listener.accept().await.unwrap();
                acceptor.accept(socket).await.unwrap()
            };
            let (lease, _server) = tokio::join!(acquire, accept);
            assert_eq!(matches!(lease.unwrap(), Lease::Http2(_)), http2, "{alpn:?}");
            let counts = cluster.stats(0);
            let counts = (
                counts.upstream_cx_http1_total.get(),
                counts.upstream_cx_http2_total.get(),
            );
            assert_eq!(counts, (u64::from(!http2), u64::from(http2)));
        }
    });
}

#[test]
fn requests_ask_for_names_of_their_own() {
    worker(async {
        let authority = Authority::new();
        let acceptor = server(&authority.certify("a.test", 4000), &[], None);
        let (listener, address) = listen().await;
        let by_name = client(trusting(&authority), Names::IfNamed, None);
        let by_trust = client(trusting(&authority), Names::Any, None);
        let pools = pools();
        for (client, asked, verified, succeeds) in [
            (&by_name, None, None, true),
            (&by_name, Some("a.test"), None, true),
            (&by_name, Some("b.test"), None, false),
            (&by_name, Some("b.test"), Some("a.test"), true),
            (&by_name, None, Some("b.test"), false),
            (&by_name, None, Some("127.0.0.1"), false),
            // What a context that looks at no names has accepted is not resumed where one counts.
            (&by_trust, Some("b.test"), None, true),
            (&by_trust, Some("b.test"), Some("b.test"), false),
            (&by_trust, Some("a.test"), Some("a.test"), true),
        ] {
            let cluster = cluster_of(address, client, Some("a.test"));
            let demand = Demand {
                server_name: asked.map(Into::into),
                verified_name: verified.map(Into::into),
                ..Demand::default()
            };
            let wish = Wish {
                demand: Some(&demand),
                ..Wish::default()
            };
            let connect = async {
                let lease = pools.acquire(&cluster, Priority::Default, &wish).await;
                lease.map(drop).is_ok()
            };
            let (connected, name) = tokio::join!(connect, serve(&listener, &acceptor));
            let names = client.names();
            assert_eq!(connected, succeeds, "{names:?} {asked:?} {verified:?}");
            if succeeds {
                assert_eq!(name.as_deref(), Some(asked.unwrap_or("a.test")));
            }
        }
    });
}

#[test]
fn a_name_that_is_none_says_nothing_of_the_endpoint() {
    worker(async {
        let (listener, address) = listen().await;
        let client = client(trusting(&Authority::new()), Names::IfNamed, None);
        let mut spec = cluster_of(address, &client, Some("a..test")).spec().clone();
        spec.outlier_detection = Some(crate::upstream::spec::OutlierSpec {
            consecutive_5xx: 1,
            ..Default::default()
        });
        let (cluster, pools) = (Cluster::new(spec, 1), pools());
        let woken = || cluster.outlier_tripped().now_or_never().is_some();
        let wish = Wish::default();
        let failed = async || {
            let (priority, wish) = (Priority::Default, &wish);
            let request = pools.acquire(&cluster, priority, wish).await;
            let bytes = pools.connect(&cluster, priority, wish).await;
            [request.map(drop), bytes.map(drop)].map(|result| match result.unwrap_err().kind {
                ErrorKind::ConnectFailure(cause) => cause.kind(),
                other => panic!("{other}"),
            })
        };
        assert_eq!(failed().await, [io::ErrorKind::InvalidInput; 2]);
        assert!(!woken());
        drop(listener);
        assert_eq!(failed().await, [io::ErrorKind::ConnectionRefused; 2]);
        assert!(woken());
    });
}

#[test]
fn sessions_are_resumed() {
    worker(async {
        let authority = Authority::new();
        let acceptor = server(&authority.certify("a.test", 4000), &[], None);
        let (listener, address) = listen().await;
        let client = client(trusting(&authority), Names::IfNamed, None);
        let (cluster, pools) = (cluster_of(address, &client, Some("a.test")), pools());
        for resumed in [0, 1] {
            let connect = async {
                let mut lease = http1(&pools, &cluster).await;
                let (stream, ..) = lease.parts();
                let mut one = [0];
                stream.read_exact(&mut one).await.unwrap();
            };
            tokio::join!(connect, serve(&listener, &acceptor));
            assert_eq!(stats(&client).session_reused.get(), resumed);
        }
    });
}

#[test]
fn endpoints_that_requests_name_are_not_asked_for_by_what_they_are_called() {
    worker(async {
        let authority = Authority::new();
        let acceptor = server(&authority.certify("a.test", 4000), &[], None);
        let client = client(trusting(&authority), Names::Any, None);
        for (sni, asks_for_host, seen) in [
            (None, false, ""),
            (None, true, ""),
            (Some("a.test"), true, "a.test"),
        ] {
            let (listener, address) = listen().await;
            let destination = Discovery::OriginalDestination(DestinationSpec::default());
            let mut spec = ClusterSpec::new("c", destination);
            spec.balancing.policy = Policy::Provided;
            spec.dial.transport.tls = Some(TlsDial {
                client: Arc::clone(&client),
                server_name: sni.map(Into::into),
                asks_for_host,
            });
            let (cluster, pools) = (Cluster::new(spec, 1), pools());
            let wish = Wish {
                destination: Some(address),
                ..Wish::default()
            };
            let connect = async {
                let lease = pools.acquire(&cluster, Priority::Default, &wish).await;
                drop(lease.unwrap());
            };
            let ((), name) = tokio::join!(connect, serve(&listener, &acceptor));
            assert_eq!(name.as_deref(), Some(seen));
        }
    });
}

#[test]
fn checks_over_tls_ask_by_https() {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let client = client(trusting(&Authority::new()), Names::IfNamed, None);
    let check = HealthCheck::new(
        HeaderValue::from_static("c"),
        PathAndQuery::from_static("/"),
        Duration::from_secs(1),
        Duration::from_secs(1),
    );
    for (cluster, scheme) in [
        (cluster_of(address, &client, None), "https"),
        (Cluster::new(spec(&[address]), 1), "http"),
    ] {
        let endpoint = Arc::clone(&cluster.endpoints().endpoints[0]);
        let target = Target::of(&cluster, &endpoint, &address.into(), &check);
        assert_eq!(target.scheme().as_str(), scheme);
    }
}
