//! TLS end to end: certificates that change under load, what is wrong with them, clients that others
//! wrote, and how connections end.

#![expect(clippy::unwrap_used, reason = "helpers of a test suite")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use nuncio_tests::admin;
use nuncio_tests::client::{Connection, Received};
use nuncio_tests::config::{Config, cluster, endpoint};
use nuncio_tests::eventually;
use nuncio_tests::process::{Binary, Directory, Proxy, Ran, Setup};
use nuncio_tests::scene::{self, Scene};
use nuncio_tests::tls::{self, Client, folder, issue, named, of_folder, pair};
use rcgen::{CertifiedIssuer, KeyPair, PKCS_ECDSA_P256_SHA256};

/// The subject of the certificate that a client is shown.
fn shown(scene: &Scene) -> String {
    let client = Client::asks("a.test");
    let connection = Connection::open_tls(scene.listener, &client).unwrap();
    connection.subject()
}

/// Versions of a certificate in folders of their own, and links to the one that counts, as Kubernetes
/// makes them.
struct Volume {
    directory: Directory,
}

impl Volume {
    fn new() -> Self {
        let directory = Directory::create();
        let authority = tls::authority("Tests' authority");
        for version in ["v1", "v2", "v3"] {
            let folder = directory.path().join(version);
            fs::create_dir(&folder).unwrap();
            let params = named(version, &["a.test"]);
            issue(&folder, "tls", &params, &authority, &PKCS_ECDSA_P256_SHA256);
        }
        symlink("v1", directory.path().join("..data")).unwrap();
        for file in ["tls.pem", "tls.key"] {
            symlink(format!("..data/{file}"), directory.path().join(file)).unwrap();
        }
        Self { directory }
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn swap(&self, to: &str) {
        symlink(to, self.at("..next")).unwrap();
        fs::rename(self.at("..next"), self.at("..data")).unwrap();
    }

    fn scene(&self) -> Scene {
        let context = pair(&self.at("tls.pem"), &self.at("tls.key"));
        Scene::start(&Config::new().tls(&context, ""))
    }
}

#[test]
fn certificates_change_under_load_and_nobody_notices() {
    let volume = Volume::new();
    let scene = volume.scene();
    assert_eq!(shown(&scene), "v1");
    let (ends, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // One connection that lives through all of it, and new ones all the time.
                let client = Client::asks("a.test");
                let mut kept = Connection::open_tls(scene.listener, &client).unwrap();
                while !ends.load(Ordering::Relaxed) {
                    let mut fresh = Connection::open_tls(scene.listener, &client).unwrap();
                    for connection in [&mut kept, &mut fresh] {
                        let answer = connection.exchange(scene::get("/", "").as_bytes());
                        assert_eq!(answer.status(), 200);
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        for version in ["v2", "v3"] {
            volume.swap(version);
            eventually(version, || shown(&scene) == version);
        }
        ends.store(true, Ordering::Relaxed);
    });
    assert!(served.into_inner() > 0);
    eventually("both are counted", || {
        admin::stat(&scene.proxy, "tls.reload_success") == 2
    });
    assert_eq!(admin::stat(&scene.proxy, "tls.reload_failure"), 0);
}

#[test]
fn what_is_broken_leaves_what_was_there() {
    let volume = Volume::new();
    let mut scene = volume.scene();
    fs::write(volume.at("v2/tls.key"), "-----BEGIN PRIVATE KEY-----\n").unwrap();
    volume.swap("v2");
    eventually("it is noticed", || {
        admin::stat(&scene.proxy, "tls.reload_failure") == 1
    });
    assert_eq!(admin::stat(&scene.proxy, "tls.contexts_stale"), 1);
    assert_eq!(shown(&scene), "v1");
    scene.proxy.wait_for_output("tls.key");
    scene
        .proxy
        .wait_for_output("what was there before stays in use");
    // A key that belongs to another certificate is no better.
    fs::copy(volume.at("v1/tls.key"), volume.at("v2/tls.key")).unwrap();
    eventually("it is noticed again", || {
        admin::stat(&scene.proxy, "tls.reload_failure") == 2
    });
    assert_eq!(shown(&scene), "v1");
    volume.swap("v3");
    eventually("it is mended", || {
        admin::stat(&scene.proxy, "tls.reload_success") == 1
    });
    assert_eq!(shown(&scene), "v3");
    assert_eq!(admin::stat(&scene.proxy, "tls.contexts_stale"), 0);
}

#[test]
fn certificates_are_listed_with_their_ends() {
    let scene = Scene::start(&Config::new().tls(
        &format!(
            "{}, validation_context: {{ trusted_ca: {{ filename: {:?} }} }}",
            of_folder("server"),
            folder().join("ca.pem")
        ),
        "",
    ));
    let page = admin::page(&scene.proxy, "/certs");
    for part in [
        "server.pem",
        "ca.pem",
        "\"dns\": \"a.test\"",
        "\"uri\": \"spiffe://tests/server\"",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let address = scene.listener.to_string().replace(':', "_");
    for file in ["server.pem", "ca.pem"] {
        let path = folder().join(file);
        let name = format!(
            "listener.{address}.ssl.certificate.{}.expiration_unix_time_seconds",
            path.display()
        );
        assert!(admin::stat(&scene.proxy, &name) > 0, "{file}");
    }
    assert!(admin::stat(&scene.proxy, "server.days_until_first_cert_expiring") > 300);
    let stats = admin::page(&scene.proxy, "/stats/prometheus?filter=expiration");
    let name = "envoy_listener_ssl_certificate_expiration_unix_time_seconds{envoy_tls_certificate=";
    assert!(stats.contains(name), "{stats}");
}

/// The second at which a year begins, and a certificate that ends then.
fn ends_with(folder: &Path, authority: &CertifiedIssuer<'_, KeyPair>, year: i32) -> u64 {
    let end = rcgen::date_time_ymd(year, 1, 1);
    let mut params = named("client", &["client.test"]);
    params.not_after = end;
    issue(
        folder,
        "client",
        &params,
        authority,
        &PKCS_ECDSA_P256_SHA256,
    );
    end.unix_timestamp().try_into().unwrap()
}

#[test]
fn the_ends_of_certificates_for_upstreams_are_counted() {
    let made = Directory::create();
    let authority = tls::authority("Tests' authority");
    let trusted = made.write("trusted.pem", &(authority.pem() + &authority.pem()));
    let end = ends_with(made.path(), &authority, 2100);
    let [certificate, key] = ["pem", "key"].map(|kind| made.path().join(format!("client.{kind}")));
    let context = |more: &str| {
        format!(
            "transport_socket: {{ name: tls, typed_config: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, \
             common_tls_context: {{ {}, validation_context: {{ trusted_ca: {{ filename: {trusted:?} }} }} }}{more} }} }}",
            pair(&certificate, &key)
        )
    };
    // Two contexts with the same files count once.
    let more = format!(
        ", {}, transport_socket_matches: [ {{ name: other, match: {{ of: other }}, {} }} ]",
        context(""),
        context(", sni: a.test")
    );
    let config = Config::new().cluster(cluster("origin", &[endpoint("origin", "")], &more));
    let scene = Scene::start(&config);
    let counted = |path: &Path| {
        let path = path.display();
        let name = format!("cluster.origin.ssl.certificate.{path}.expiration_unix_time_seconds");
        admin::stat(&scene.proxy, &name)
    };
    assert_eq!(counted(&certificate), end);
    assert!(counted(&trusted) > end);
    let prometheus = admin::page(&scene.proxy, "/stats/prometheus?filter=expiration");
    let lines = prometheus
        .lines()
        .filter(|line| line.contains("client.pem"));
    assert_eq!(lines.count(), 1, "{prometheus}");
    assert!(admin::page(&scene.proxy, "/certs").contains("2100-01-01T00:00:00Z"));
    let end = ends_with(made.path(), &authority, 2101);
    eventually("the new ones are read", || counted(&certificate) == end);
    assert!(admin::page(&scene.proxy, "/certs").contains("2101-01-01T00:00:00Z"));
    // What is broken does not count.
    fs::write(&certificate, "broken").unwrap();
    eventually("it is noticed", || {
        admin::stat(&scene.proxy, "tls.contexts_stale") == 2
    });
    assert_eq!(counted(&certificate), end);
}

/// The text with that listener's filter chain twice, the first for clients from elsewhere, and with a name
/// for the listener's statistics.
fn with_two_chains(config: &Config) -> String {
    let text = config.text();
    let (head, rest) = text.split_once("    - filters:").unwrap();
    let (chain, clusters) = rest.split_once("  clusters:").unwrap();
    format!(
        "{head}    - filter_chain_match: {{ source_type: EXTERNAL }}\n      filters:{chain}    \
         - filters:{chain}    stat_prefix: edge\n  clusters:{clusters}"
    )
}

#[test]
fn statistics_of_a_listener_are_under_its_name_and_of_a_certificate_once() {
    let config = Config::new().tls(&of_folder("server"), "");
    let proxy = Proxy::start(&Binary::nuncio(), &with_two_chains(&config));
    let stats = admin::page(&proxy, "/stats?filter=^listener[.]");
    let ends = |proxy: &Proxy| {
        let text = admin::page(proxy, "/stats?filter=expiration");
        let (_, ends) = text.trim_end().rsplit_once(": ").unwrap();
        ends.parse::<u64>().unwrap()
    };
    assert_eq!(ends(&proxy), ends(&Scene::start(&config).proxy));
    for name in [
        "listener.edge.downstream_cx_total: 0",
        "listener.edge.worker_0.downstream_cx_total: 0",
        "listener.edge.http.ingress.downstream_rq_completed: 0",
    ] {
        assert!(stats.lines().any(|line| line == name), "{name} in {stats}");
    }
    assert!(stats.lines().all(|line| line.starts_with("listener.edge.")));
}

#[test]
fn a_broken_pair_is_told_before_it_is_used() {
    let made = Directory::create();
    let good = |kind: &str| folder().join(format!("server.{kind}"));
    let write = |name: &str, text: &str| made.write(name, text);
    let certificate = fs::read_to_string(good("pem")).unwrap();
    let key = fs::read_to_string(good("key")).unwrap();
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (chain, key, told) in [
        (
            good("pem"),
            folder().join("client.key"),
            "is not that of the certificate in",
        ),
        (good("pem"), write("empty", ""), "empty\" is empty"),
        (write("none", ""), good("key"), "none\" is empty"),
        (
            write("no.pem", "no PEM"),
            good("key"),
            "no.pem\" has no certificate in PEM form",
        ),
        (
            good("pem"),
            write("no.key", "no PEM"),
            "no.key\" has no private key in PEM form",
        ),
        (
            good("pem"),
            good("pem"),
            "server.pem\" has no private key in PEM form",
        ),
        (
            write("key.pem", &key),
            good("key"),
            "key.pem\" has no certificate in PEM form",
        ),
        (
            good("pem"),
            write("encrypted", encrypted),
            "the private key in",
        ),
        (good("pem"), write("old", old), "is encrypted"),
        (
            write("garbage", garbage),
            good("key"),
            "garbage\": not a certificate",
        ),
        (
            made.path().join("gone"),
            good("key"),
            "gone\": No such file or directory",
        ),
        (good("pem"), made.path().to_owned(), "Is a directory"),
    ] {
        let config = Config::new().tls(&pair(&chain, &key), "").text();
        let ran = validate(&made, &config);
        assert_eq!(ran.code, Some(1), "{told}: {}", ran.stderr);
        ran.says(told);
        ran.says("tls_certificates[0].");
    }
    let chain = write("chain.pem", &(certificate.clone() + &certificate));
    let ran = validate(
        &made,
        &Config::new().tls(&pair(&chain, &good("key")), "").text(),
    );
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{}", ran.stdout);
    let ran = validate(&made, &Config::new().tls(&of_folder("expired"), "").text());
    assert_eq!(ran.code, Some(0));
    ran.says("expired.pem has expired on 2021-01-01");
}

#[test]
fn parameters_that_there_are_not_are_told_before_they_are_used() {
    let made = Directory::create();
    for (fields, told) in [
        (
            "cipher_suites: [ECDHE-RSA-AES128-GCM-SHA256, AES128-SHA]",
            "cipher \"AES128-SHA\", which is not considered safe any more",
        ),
        ("cipher_suites: [RC4]", "unknown cipher \"RC4\""),
        (
            "ecdh_curves: [P-256, P-521]",
            "not supported by nuncio: group \"P-521\"",
        ),
        ("ecdh_curves: [x25519]", "unknown group \"x25519\""),
        (
            "tls_minimum_protocol_version: TLSv1_1",
            "not supported by nuncio: 'TLSv1_1'",
        ),
        (
            "tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_2",
            "the newest version is older than the oldest one",
        ),
        (
            "signature_algorithms: [ecdsa_sha1]",
            "not supported by nuncio: signature algorithm \"ecdsa_sha1\"",
        ),
        (
            "signature_algorithms: [rsa]",
            "unknown signature algorithm \"rsa\"",
        ),
    ] {
        let common = format!("{}, tls_params: {{ {fields} }}", of_folder("server"));
        let ran = validate(&made, &Config::new().tls(&common, "").text());
        assert_eq!(ran.code, Some(1), "{told}: {}", ran.stderr);
        ran.says(told);
    }
}

#[test]
fn what_contexts_lack_is_told_before_they_are_used() {
    let made = Directory::create();
    let short = made.write("short.key", "short");
    let stapled = |name: &str, staple: &Path| {
        let pair = of_folder(name);
        let pair = pair.trim_end_matches("} ]");
        format!("{pair}, ocsp_staple: {{ filename: {staple:?} }} }} ]")
    };
    let server = of_folder("server");
    let good = folder().join("good.ocsp");
    let key = format!(", session_ticket_keys: {{ keys: [ {{ filename: {short:?} }} ] }}");
    for (common, more, told) in [
        (
            server.clone(),
            ", session_ticket_keys: { keys: [] }",
            "there is no key",
        ),
        (server.clone(), &key, "has 80 bytes, and this has 5"),
        (
            server.clone(),
            ", session_ticket_keys_sds_secret_config: { name: nobody }",
            "unknown secret \"nobody\"",
        ),
        (
            server,
            ", ocsp_staple_policy: MUST_STAPLE",
            "has to come with an OCSP response",
        ),
        (stapled("server", &short), "", "not an OCSP response"),
        (
            stapled("second", &good),
            "",
            "an OCSP response about another certificate",
        ),
    ] {
        let ran = validate(&made, &Config::new().tls(&common, more).text());
        assert_eq!(ran.code, Some(1), "{told}: {}", ran.stderr);
        ran.says(told);
    }
    let config = Config::new().tls(
        &stapled("server", &good),
        ", ocsp_staple_policy: MUST_STAPLE",
    );
    let ran = validate(&made, &config.text());
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{}", ran.stdout);
}

#[test]
fn what_is_here_and_in_a_secret_is_judged_together() {
    let made = Directory::create();
    let at = |name: &str| folder().join(name);
    let secret = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
    let file = made.write(
        "trust.yaml",
        &format!(
            "resources:\n- {{ \"@type\": {secret}, name: trust, validation_context: {{ trusted_ca: {{ filename: {:?} }} }} }}\n",
            at("ca.pem")
        ),
    );
    let context = |name: &str| {
        format!(
            "{}, combined_validation_context: {{ default_validation_context: {{ crl: {{ filename: {:?} }} }}, \
             validation_context_sds_secret_config: {{ name: {name}, sds_config: {{ path_config_source: \
             {{ path: {file:?} }} }} }} }}",
            of_folder("server"),
            at("crl.pem")
        )
    };
    let ran = validate(&made, &Config::new().tls(&context("trust"), "").text());
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{}", ran.stdout);
    let ran = validate(&made, &Config::new().tls(&context("other"), "").text());
    assert_eq!(ran.code, Some(1));
    ran.says("it has no secret \"other\"");
}

fn validate(directory: &Directory, template: &str) -> Ran {
    let text = template
        .replace("@PORT:listener@", "0")
        .replace("@PORT:admin@", "0")
        .replace("@PORT:origin@", "1");
    let path = directory.write("nuncio.yaml", &text);
    Ran::nuncio(["-c", path.to_str().unwrap(), "--mode", "validate"])
}

/// A file of secrets whose only one is a certificate of the folder.
fn secrets(certificate: &str) -> String {
    let secret = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
    let pair = of_folder(certificate)
        .replace("tls_certificates: [", "")
        .replace(" ]", "");
    format!("resources:\n- {{ \"@type\": {secret}, name: own, tls_certificate: {pair} }}\n")
}

#[test]
fn a_file_of_secrets_is_read_again() {
    let made = Directory::create();
    let file = made.write("sds.yaml", &secrets("server"));
    let source = format!("{{ path_config_source: {{ path: {file:?} }} }}");
    let context =
        format!("tls_certificate_sds_secret_configs: [ {{ name: own, sds_config: {source} }} ]");
    let config = Config::new().tls(&context, "");
    let scene = Scene::start(&config);
    assert_eq!(shown(&scene), "server");
    let next = made.write("next.yaml", &secrets("second"));
    fs::rename(next, &file).unwrap();
    eventually("it is read", || shown(&scene) == "second");
    let _broken = made.write("sds.yaml", "resources: []\n");
    eventually("it is noticed", || {
        admin::stat(&scene.proxy, "tls.reload_failure") == 1
    });
    assert_eq!(shown(&scene), "second");
    let ran = validate(&made, &config.text());
    assert_eq!(ran.code, Some(1));
    ran.says("it has no secret \"own\"");
}

#[test]
fn names_need_an_authority_that_vouches_for_them() {
    let made = Directory::create();
    let names = "[ { san_type: DNS, matcher: { exact: a.test } } ]";
    let context = format!(
        "{}, validation_context: {{ match_typed_subject_alt_names: {names} }}",
        of_folder("server")
    );
    let ran = validate(&made, &Config::new().tls(&context, "").text());
    assert_eq!(ran.code, Some(1));
    ran.says("names of certificates say nothing without a 'trusted_ca'");
}

#[test]
fn the_old_form_works_with_a_note() {
    let old = format!(
        "tls_context: {{ common_tls_context: {{ {} }} }}",
        of_folder("server")
    );
    let mut scene = Scene::start(&Config::new().chain(old));
    scene
        .proxy
        .wait_for_output("'tls_context' is the form of Envoy's v2 API");
    assert_eq!(shown(&scene), "server");
}

#[test]
fn an_idle_client_is_told_that_it_ends() {
    let scene = Scene::start_with(
        &Config::new()
            .manager("drain_timeout: 0.1s")
            .tls(&of_folder("server"), ""),
        |setup: Setup| setup.arguments(&["--drain-time-s", "10"]),
    );
    let client = Client::asks("a.test");
    let mut connection = Connection::open_tls(scene.listener, &client).unwrap();
    let answer = connection.exchange(scene::get("/", "").as_bytes());
    assert_eq!(answer.status(), 200);
    let ended = thread::scope(|scope| {
        let ended = scope.spawn(move || {
            let (rest, end) = connection.receive_to_end();
            assert!(rest.is_empty());
            assert!(matches!(end, Received::Closed), "{end:?}");
            connection.was_told_of_the_end()
        });
        assert!(scene.stop().status.success());
        ended.join().unwrap()
    });
    assert!(ended, "an end without close_notify");
}

/// Records of a handshake whose message has that many bytes, all of them zeros behind its head.
fn records_of(length: usize) -> Vec<u8> {
    let [.., high, middle, low] = length.to_be_bytes();
    let mut message = vec![1, high, middle, low, 3, 3];
    message.resize(length + 4, 0);
    let mut sent = Vec::new();
    for part in message.chunks(1 << 14) {
        sent.extend([22, 3, 1]);
        sent.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
        sent.extend(part);
    }
    sent
}

#[test]
fn who_is_refused_gets_to_read_why() {
    const DECODE_ERROR: u8 = 50;
    const ILLEGAL_PARAMETER: u8 = 47;
    const UNEXPECTED_MESSAGE: u8 = 10;
    let scene = Scene::start(&Config::new().tls(&of_folder("server"), ""));
    // The first byte of a message, and then data.
    let interleaved = [22, 3, 1, 0, 1, 1, 23, 3, 3, 0, 1, 0].to_vec();
    let long_record = [&[22, 3, 1, 0xff, 0xff][..], &[0; 70_000]].concat();
    for (name, sent, alert) in [
        ("a short one", records_of(100), DECODE_ERROR),
        ("one of two records", records_of(20_000), DECODE_ERROR),
        ("the longest", records_of(65_000), DECODE_ERROR),
        (
            "one that is too long",
            records_of(65_533),
            ILLEGAL_PARAMETER,
        ),
        (
            "one that is much too long",
            records_of(100_000),
            ILLEGAL_PARAMETER,
        ),
        ("a record that is too long", long_record, DECODE_ERROR),
        ("data within a message", interleaved, UNEXPECTED_MESSAGE),
    ] {
        let mut client = TcpStream::connect(scene.listener).unwrap();
        client.write_all(&sent).unwrap();
        let mut told = Vec::new();
        let ended = client.read_to_end(&mut told);
        assert!(ended.is_ok(), "{name}: {ended:?}");
        assert_eq!(told, [21, 3, 3, 0, 2, 2, alert], "{name}");
    }
    let address = scene.listener.to_string().replace(':', "_");
    let refused = format!("listener.{address}.ssl.connection_error");
    assert_eq!(admin::stat(&scene.proxy, &refused), 7);
}

#[test]
fn a_client_that_says_nothing_is_let_go() {
    let config = Config::new()
        .tls(&of_folder("server"), "")
        .chain("transport_socket_connect_timeout: 0.2s");
    let scene = Scene::start(&config);
    let mut silent = Connection::open(scene.listener);
    // A record that never becomes whole is no better than none.
    silent.send(&[22, 3, 1, 1, 0, 1]);
    assert!(matches!(silent.drain(), Received::Closed | Received::Reset));
    let address = scene.listener.to_string().replace(':', "_");
    let name = format!("listener.{address}.downstream_cx_transport_socket_connect_timeout");
    // The connection ends just before that is counted.
    eventually("it is counted", || admin::stat(&scene.proxy, &name) == 1);
}

/// None for a program that is not there, which nothing may pass over in CI.
fn missing<T>(name: &str) -> Option<T> {
    assert!(std::env::var_os("CI").is_none(), "{name} is not installed");
    None
}

/// Runs a program that may not be there; what it printed.
fn program(name: &str, arguments: &[&str]) -> Option<String> {
    let ran = Command::new(name)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let Ok(ran) = ran else {
        return missing(name);
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(text(&ran.stdout) + &text(&ran.stderr))
}

#[test]
fn curl_is_served() {
    let trusted = format!("trusted_ca: {{ filename: {:?} }}", folder().join("ca.pem"));
    let context = format!(
        "{}, alpn_protocols: [\"h2,http/1.1\"], validation_context: {{ {trusted} }}",
        of_folder("server")
    );
    let required = ", require_client_certificate: true";
    let scene = Scene::start(&Config::new().tls(&context, required));
    let (port, at) = (scene.listener.port(), |name: &str| folder().join(name));
    let resolve = format!("a.test:{port}:127.0.0.1");
    let url = format!("https://a.test:{port}/");
    let [ca, pem, key] = ["ca.pem", "client.pem", "client.key"].map(at);
    let common = [
        "-sv",
        "--resolve",
        &resolve,
        "--cacert",
        ca.to_str().unwrap(),
        "--cert",
        pem.to_str().unwrap(),
        "--key",
        key.to_str().unwrap(),
        &url,
    ];
    for (option, says) in [
        ("--http2", "HTTP/2 200"),
        ("--http1.1", "HTTP/1.1 200 OK"),
        ("--tlsv1.3", "TLSv1.3"),
        ("--tls-max=1.2", "TLSv1.2"),
    ] {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let mut arguments = common.to_vec();
        arguments.push(name);
        arguments.extend((!value.is_empty()).then_some(value));
        let Some(printed) = program("curl", &arguments) else {
            return;
        };
        assert!(printed.contains(says), "{option}: {printed}");
        assert!(printed.contains("SSL certificate verify ok"), "{printed}");
    }
}

#[test]
fn openssl_resumes_sessions() {
    let scene = Scene::start(&Config::new().tls(&of_folder("server"), ""));
    let server = scene.listener.to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let made = Directory::create();
        let session = made.path().join("session");
        let session = session.to_str().unwrap();
        let connect = |option: &str| {
            let connect = [
                "s_client",
                "-connect",
                &server,
                "-servername",
                "a.test",
                version,
            ];
            let mut child = Command::new("openssl")
                .args(connect)
                .args([option, session, "-ign_eof"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .ok()?;
            let mut stdin = child.stdin.take().unwrap();
            let request = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
            std::io::Write::write_all(&mut stdin, request).unwrap();
            let output = child.wait_with_output().unwrap();
            drop(stdin);
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let Some(first) = connect("-sess_out").or_else(|| missing("openssl")) else {
            return;
        };
        assert!(first.contains("New, "), "{first}");
        let second = connect("-sess_in").unwrap_or_else(|| panic!("openssl was there"));
        assert!(second.contains("Reused, "), "{version}: {second}");
        assert!(second.contains("HTTP/1.1 200 OK"), "{second}");
    }
}
