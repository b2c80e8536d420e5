//! What TLS sessions outlive, and what they must not: resumption, revocation, and trust that changes.

#![expect(clippy::unwrap_used, reason = "helpers of a test suite")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::slice;

use nuncio_tests::admin;
use nuncio_tests::client::{Connection, Received};
use nuncio_tests::config::{Config, cluster, endpoint};
use nuncio_tests::eventually;
use nuncio_tests::message::Kind;
use nuncio_tests::process::Directory;
use nuncio_tests::scene::{Scene, get};
use nuncio_tests::tls::{self, Client, Known, folder, issue, named, of_folder, pair};
use nuncio_tests::tls_origin::TlsOrigin;
use rcgen::{CertifiedIssuer, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::version::{TLS12, TLS13};

/// Bytes of a key for session tickets.
const TICKET_KEY: usize = 80;

/// One request: whether its session was resumed; none where the client is refused.
fn ask(scene: &Scene, client: &Known) -> Option<bool> {
    let mut connection = Connection::open_known(scene.listener, client).ok()?;
    connection.send(get("/", "").as_bytes());
    match connection.receive(Kind::Response) {
        Received::Message(answer) => {
            assert_eq!(answer.status(), 200);
            Some(connection.is_resumed())
        }
        _ => None,
    }
}

fn write_key(path: &Path, byte: u8) {
    fs::write(path, [byte; TICKET_KEY]).unwrap();
}

/// A field of a context: keys in files.
fn ticket_keys(paths: &[PathBuf]) -> String {
    let keys: Vec<String> = paths
        .iter()
        .map(|path| format!("{{ filename: {path:?} }}"))
        .collect();
    format!(", session_ticket_keys: {{ keys: [ {} ] }}", keys.join(", "))
}

fn reloaded(scene: &Scene, times: u64) {
    eventually("the files are read again", || {
        admin::stat(&scene.proxy, "tls.reload_success") == times
    });
}

#[test]
fn sessions_are_resumed_by_all_who_know_the_key() {
    let made = Directory::create();
    let paths = ["a", "b", "c"].map(|name| made.path().join(name));
    for (path, byte) in paths.iter().zip([1, 2, 3]) {
        write_key(path, byte);
    }
    let start = |keys: &[PathBuf]| {
        Scene::start(&Config::new().tls(&of_folder("server"), &ticket_keys(keys)))
    };
    let [a, b, c] = &paths;
    let (first, second, third) = (
        start(slice::from_ref(a)),
        start(&[b.clone(), a.clone()]),
        start(slice::from_ref(c)),
    );
    for version in [&TLS12, &TLS13] {
        let client = Client {
            version: Some(version),
            ..Client::asks("a.test")
        };
        let client = client.remembers();
        assert_eq!(ask(&first, &client), Some(false));
        assert_eq!(ask(&first, &client), Some(true));
        assert_eq!(ask(&second, &client), Some(true));
        assert_eq!(ask(&third, &client), Some(false));
    }
    let address = first.listener.to_string().replace(':', "_");
    let reused = format!("listener.{address}.ssl.session_reused");
    assert_eq!(admin::stat(&first.proxy, &reused), 2);
}

#[test]
fn keys_of_tickets_are_read_again() {
    let made = Directory::create();
    let paths = ["new", "old"].map(|name| made.path().join(name));
    write_key(&paths[0], 1);
    write_key(&paths[1], 0);
    let config = Config::new().tls(&of_folder("server"), &ticket_keys(&paths));
    let scene = Scene::start(&config);
    let client = Client::asks("a.test").remembers();
    assert_eq!(ask(&scene, &client), Some(false));
    // The key becomes the old one, and makes no tickets any more.
    write_key(&paths[1], 1);
    reloaded(&scene, 1);
    write_key(&paths[0], 2);
    reloaded(&scene, 2);
    assert_eq!(ask(&scene, &client), Some(true));
    write_key(&paths[1], 3);
    reloaded(&scene, 3);
    assert_eq!(ask(&scene, &client), Some(true));
    write_key(&paths[0], 4);
    reloaded(&scene, 4);
    assert_eq!(ask(&scene, &client), Some(false));
    // What is no key leaves what was there.
    fs::write(&paths[0], "short").unwrap();
    eventually("it is noticed", || {
        admin::stat(&scene.proxy, "tls.reload_failure") == 1
    });
    assert_eq!(ask(&scene, &client), Some(true));
}

#[test]
fn a_session_is_no_way_around_a_certificate() {
    let made = Directory::create();
    let key = made.path().join("key");
    write_key(&key, 1);
    let keys = ticket_keys(&[key]);
    let trusted = format!(
        "{}, validation_context: {{ trusted_ca: {{ filename: {:?} }} }}",
        of_folder("server"),
        folder().join("ca.pem")
    );
    let open = Scene::start(&Config::new().tls(&of_folder("server"), &keys));
    let required = format!("{keys}, require_client_certificate: true");
    let strict = Scene::start(&Config::new().tls(&trusted, &required));
    for version in [&TLS12, &TLS13] {
        let client = Client {
            version: Some(version),
            ..Client::asks("a.test")
        };
        let client = client.remembers();
        assert_eq!(ask(&open, &client), Some(false));
        assert_eq!(ask(&open, &client), Some(true));
        assert_eq!(ask(&strict, &client), None);
    }
}

/// An authority with a server and a client, in a folder of its own.
struct Authority {
    made: Directory,
    issuer: CertifiedIssuer<'static, KeyPair>,
    client: [PathBuf; 2],
}

impl Authority {
    /// The client's serial number is 7.
    fn new() -> Self {
        let (made, issuer) = (Directory::create(), tls::authority("Its own"));
        let algorithm = &PKCS_ECDSA_P256_SHA256;
        let _path = made.write("ca.pem", &issuer.pem());
        let server = named("server", &["a.test"]);
        let [_, _] = issue(made.path(), "server", &server, &issuer, algorithm);
        let mut client = named("client", &["client.test"]);
        client.serial_number = Some(7.into());
        let client = issue(made.path(), "client", &client, &issuer, algorithm);
        Self {
            made,
            issuer,
            client,
        }
    }

    fn revokes(&self, serials: &[u64], until: i32) {
        let list = tls::revocations(&self.issuer, serials, until);
        let _path = self.made.write("crl.pem", &list);
    }

    fn scene(&self, more: &str) -> Scene {
        let at = |name: &str| self.made.path().join(name);
        let trusted = format!(
            "{}, validation_context: {{ trusted_ca: {{ filename: {:?} }}, crl: {{ filename: {:?} }} }}",
            pair(&at("server.pem"), &at("server.key")),
            at("ca.pem"),
            at("crl.pem"),
        );
        let more = format!("{more}, require_client_certificate: true");
        Scene::start(&Config::new().tls(&trusted, &more))
    }
}

#[test]
fn who_was_revoked_resumes_nothing() {
    let authority = Authority::new();
    let key = authority.made.path().join("ticket");
    write_key(&key, 1);
    for more in ["", &ticket_keys(&[key])] {
        authority.revokes(&[8], 2999);
        let scene = authority.scene(more);
        let client = Client::asks("a.test").remembers().shows(&authority.client);
        assert_eq!(ask(&scene, &client), Some(false));
        assert_eq!(ask(&scene, &client), Some(true));
        authority.revokes(&[7, 8], 2999);
        reloaded(&scene, 1);
        assert_eq!(ask(&scene, &client), None, "{more}");
        authority.revokes(&[9], 2999);
        reloaded(&scene, 2);
        assert_eq!(ask(&scene, &client), Some(false), "{more}");
    }
}

#[test]
fn an_old_list_lets_nobody_in_until_there_is_a_new_one() {
    let authority = Authority::new();
    authority.revokes(&[8], 2021);
    let scene = authority.scene("");
    let client = Client::asks("a.test").remembers().shows(&authority.client);
    assert_eq!(ask(&scene, &client), None);
    authority.revokes(&[8], 2999);
    reloaded(&scene, 1);
    assert_eq!(ask(&scene, &client), Some(false));
}

/// A proxy in front of a TLS server of that name, with the fields of the context, and what it finds the
/// system's authorities by.
fn upstream(server: &str, context: &str, authorities: Option<&str>) -> (Scene, TlsOrigin) {
    let port = format!("tls_{server}");
    let socket = format!(
        ", transport_socket: {{ name: envoy.transport_sockets.tls, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, {context} }} }}"
    );
    let config = Config::new()
        .cluster(cluster("origin", &[endpoint(&port, "")], &socket))
        .cluster(cluster("plain", &[endpoint("origin", "")], ""));
    let mut started = None;
    let scene = Scene::start_with(&config, |setup| {
        let inner = SocketAddr::from((Ipv4Addr::LOCALHOST, setup.port("origin").unwrap()));
        let port = setup.port(&port).unwrap();
        started = Some(TlsOrigin::start_on(port, server, inner, inner));
        match authorities {
            Some(name) => setup.environment("SSL_CERT_FILE", &folder().join(name)),
            None => setup,
        }
    });
    (scene, started.unwrap())
}

#[test]
fn servers_are_checked_by_the_systems_authorities() {
    for (authorities, context, status) in [
        ("ca.pem", "sni: a.test", 200),
        ("stranger-ca.pem", "sni: a.test", 503),
        ("ca.pem", "sni: b.test", 503),
        // Known by its address alone, which the certificate has not.
        ("ca.pem", "common_tls_context: {}", 503),
    ] {
        let (scene, _server) = upstream("server", context, Some(authorities));
        let answer = scene.get("/", "");
        assert_eq!(answer.status(), status, "{authorities} {context}");
    }
}

#[test]
fn refused_certificates_are_told_with_a_remedy() {
    for (authorities, name, why, remedy) in [
        (
            "stranger-ca.pem",
            "a.test",
            "UnknownIssuer",
            "ACCEPT_UNTRUSTED",
        ),
        (
            "ca.pem",
            "b.test",
            "not valid for name",
            "match_typed_subject_alt_names",
        ),
    ] {
        let (mut scene, _server) = upstream("server", &format!("sni: {name}"), Some(authorities));
        for _ in 0..2 {
            assert_eq!(scene.get("/", "").status(), 503);
        }
        let told = "connections to an endpoint fail";
        scene.proxy.wait_for_output(told);
        let output = scene.proxy.output();
        let lines: Vec<&str> = output.lines().filter(|line| line.contains(told)).collect();
        let [line] = lines[..] else {
            panic!("one line is enough: {output}")
        };
        for part in [
            "[warning][upstream]",
            "cluster=\"origin\"",
            "endpoint=127.0.0.1:",
            why,
            remedy,
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }
}

fn secret(name: &str, kind: &str) -> String {
    let secret = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
    format!("resources:\n- {{ \"@type\": {secret}, name: {name}, {kind} }}\n")
}

#[test]
fn secrets_of_upstreams_are_read_again() {
    let made = Directory::create();
    let trust = |name: &str| {
        let path = folder().join(name);
        let trusted = format!("validation_context: {{ trusted_ca: {{ filename: {path:?} }} }}");
        made.write("trust.yaml", &secret("trust", &trusted))
    };
    let shows = |name: &str| {
        let own = of_folder(name);
        let own = own
            .trim_start_matches("tls_certificates: [")
            .trim_end_matches(']');
        made.write(
            "own.yaml",
            &secret("own", &format!("tls_certificate: {own}")),
        )
    };
    let source =
        |path: PathBuf| format!("sds_config: {{ path_config_source: {{ path: {path:?} }} }}");
    let context = format!(
        "sni: a.test, common_tls_context: {{ validation_context_sds_secret_config: {{ name: trust, {} }}, \
         tls_certificate_sds_secret_configs: [ {{ name: own, {} }} ] }}",
        source(trust("stranger-ca.pem")),
        source(shows("stranger")),
    );
    let (scene, server) = upstream("wants", &context, None);
    assert_eq!(scene.get("/", "").status(), 503);
    let _path = trust("ca.pem");
    reloaded(&scene, 1);
    // Now it is the server that does not know the client.
    assert_eq!(scene.get("/", "").status(), 503);
    let _path = shows("client");
    reloaded(&scene, 2);
    assert_eq!(scene.get("/", "").status(), 200);
    let agreed = server.take_handshakes();
    assert!(agreed[0].ends_with("certificate client"), "{agreed:?}");
    let _path = made.write("trust.yaml", "resources: []\n");
    eventually("it is noticed", || {
        admin::stat(&scene.proxy, "tls.reload_failure") == 1
    });
    assert_eq!(scene.get("/", "").status(), 200);
}
