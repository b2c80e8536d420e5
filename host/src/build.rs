//! From what was written to what runs.
//!
//! Owns every check that needs more than one message: names that must exist, addresses that must be
//! ones, formats that must compile, filters that must accept their configuration. It is the only code
//! that may name both `config` and `runtime`, and the only place where a configuration can still be
//! refused: all errors at once, each at its place. Called by `cli`.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::address::{Address, SocketAddress};
use crate::config::admin::Admin;
use crate::config::bootstrap::Watchdog;
use crate::config::tls::Secret;
use crate::config::{Bootstrap, Diagnostics, Loaded, Place, json as config_json};
use crate::observe::access_log::{Sink, Sinks};
use crate::observe::metrics::ServerStats;
use crate::observe::registry::{Registry, Scope};
use crate::route::TextCondition;
use crate::runtime::{Room, Snapshot};
use crate::tls::Contexts;
use crate::upstream::balance::zone::Home;
use crate::upstream::spec::{BindSpec, ResolverSpec};
use crate::upstream::{Cluster, Criteria};
use crate::values::Values;
use crate::vitals::Vitals;
use crate::wasm;

mod balancing;
mod chains;
mod cluster_policies;
mod clusters;
mod destination;
mod dns;
mod filters;
mod health;
mod http2;
mod listener_filters;
mod listeners;
mod manager;
mod matching;
mod metadata;
mod network;
mod per_filter;
mod policies;
mod routes;
mod socket_options;
mod statistics;
mod tls;
mod tries;
mod upstream_connection;
mod upstream_tls;
mod values;

pub(crate) use matching::header as header_spec;

/// What the command line says about how to build.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Worker threads; at least 1.
    pub workers: usize,
    /// How long access-log lines may wait before they are written.
    pub flush_interval: Duration,
    /// `--service-node`, in place of `node.id`.
    pub service_node: Option<String>,
    /// `--service-cluster`, in place of `node.cluster`.
    pub service_cluster: Option<String>,
}

/// What a configuration became.
pub struct Built {
    /// What the data path runs.
    pub snapshot: Arc<Snapshot>,
    /// `admin.address`.
    pub admin: Option<SocketAddr>,
    /// `admin.allow_paths`.
    pub admin_paths: Arc<[TextCondition]>,
    /// All statistics.
    pub registry: Arc<Registry>,
    /// `server.`
    pub server_stats: Arc<ServerStats>,
    /// All outputs of access logs.
    pub sinks: Arc<Sinks>,
    /// The runtime values.
    pub values: Arc<Values>,
    /// All TLS contexts, whose files are watched.
    pub contexts: Arc<Contexts>,
    /// The node as JSON, for `/server_info`.
    pub node: Value,
    /// The configuration as the text of JSON, for `/config_dump`; empty where nobody could ask.
    pub config_dump: Arc<str>,
}

/// What every part of the build needs.
struct Workshop<'a> {
    settings: &'a Settings,
    diagnostics: &'a mut Diagnostics,
    registry: Arc<Registry>,
    services: wasm::Services,
    engine: Arc<wasm::Engine>,
    /// Components by what they were made from, so that a file that two filters name is compiled once.
    components: HashMap<String, wasm::Component>,
    /// Indices of clusters by name.
    clusters: HashMap<String, usize>,
    machine_address: Option<IpAddr>,
    values: Arc<Values>,
    contexts: Arc<Contexts>,
    /// `static_resources.secrets`.
    secrets: Vec<Secret>,
    /// What routes ask of endpoints.
    criteria: Vec<Criteria>,
    node: NodeNames,
    /// Where outlier detection writes its events.
    outlier_log: Option<Arc<Sink>>,
    /// The cluster that this proxy is in itself.
    home: Option<Arc<Home>>,
    /// Who resolves names for clusters that do not say so themselves.
    default_resolver: Arc<ResolverSpec>,
    /// `cluster_manager.upstream_bind_config`.
    bind: BindSpec,
    /// How many connections all listeners may have together.
    room_of_all: Arc<Room>,
}

/// What this proxy is called, the command line heeded.
struct NodeNames {
    id: String,
    cluster: String,
}

impl NodeNames {
    fn new(bootstrap: &Bootstrap, settings: &Settings) -> Self {
        let node = bootstrap.node.clone().unwrap_or_default();
        Self {
            id: settings.service_node.clone().unwrap_or(node.id),
            cluster: settings.service_cluster.clone().unwrap_or(node.cluster),
        }
    }
}

/// Builds what runs. With it come the warnings.
///
/// # Errors
/// Everything that is wrong with the configuration.
pub fn build(loaded: Loaded, settings: &Settings) -> Result<(Built, Diagnostics), Diagnostics> {
    let Loaded {
        bootstrap,
        document,
        mut diagnostics,
    } = loaded;
    let registry = Arc::new(Registry::new(settings.workers));
    let sinks = Arc::new(Sinks::new(settings.flush_interval, &registry));
    let root = document.root();
    let engine = match wasm::Engine::new(wasm::Cache::of_user()) {
        Ok(engine) => Arc::new(engine),
        Err(error) => {
            diagnostics.error(
                root,
                format!("start the WebAssembly engine: {}", chain(&error)),
            );
            return Err(diagnostics);
        }
    };
    let node_names = NodeNames::new(&bootstrap, settings);
    let vitals = Arc::new(Vitals::new(node_names.cluster.as_str()));
    let values = values::values(&bootstrap, &node_names.cluster, root, &mut diagnostics);
    let services = wasm::Services {
        registry: Arc::clone(&registry),
        sinks: Arc::clone(&sinks),
        vitals: Arc::clone(&vitals),
        values: Arc::clone(&values),
    };
    registry.register(Scope::new("runtime."), values.stats());
    let contexts = Arc::new(Contexts::default());
    let mut shop = Workshop {
        settings,
        diagnostics: &mut diagnostics,
        registry: Arc::clone(&registry),
        services,
        engine,
        components: HashMap::new(),
        clusters: HashMap::new(),
        machine_address: machine_address(),
        node: node_names,
        values: Arc::clone(&values),
        contexts: Arc::clone(&contexts),
        secrets: bootstrap.static_resources.secrets.clone(),
        outlier_log: None,
        home: None,
        default_resolver: Arc::default(),
        bind: BindSpec::default(),
        room_of_all: Arc::new(Room::of_all(&values)),
        criteria: Vec::new(),
    };
    shop.take_defaults(&bootstrap, root);
    let resources = root.field("static_resources");
    let given = &bootstrap.static_resources;
    let clusters = shop.clusters(&given.clusters, resources.field("clusters"));
    let policies = shop.cluster_policies(&given.clusters, resources.field("clusters"));
    let listeners = shop.listeners(&given.listeners, resources.field("listeners"));
    let admin = shop.admin(&bootstrap, root.field("admin"));
    let admin_paths = shop.admin_paths(&bootstrap, root.field("admin"));
    let criteria = std::mem::take(&mut shop.criteria);
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    count_members(&vitals, &clusters);
    let snapshot = Snapshot::new(listeners, clusters, criteria, &values, vitals);
    values.publish();
    values::warn_of_unread(&bootstrap, &values, root, &mut diagnostics);
    let config_dump = admin.map(|_| config_json::to_string(&bootstrap));
    let server_stats = ServerStats::register(&registry, settings.workers);
    let built = Built {
        snapshot: Arc::new(snapshot.with_policies(policies)),
        admin,
        admin_paths,
        registry,
        server_stats,
        sinks,
        values,
        contexts,
        node: node(&bootstrap, settings),
        config_dump: config_dump.unwrap_or_default().into(),
    };
    Ok((built, diagnostics))
}

impl Workshop<'_> {
    /// Checks what is said about the process as a whole.
    fn check_process(&mut self, bootstrap: &Bootstrap, root: Place<'_>) {
        if !matches!(bootstrap.header_prefix.as_str(), "" | "x-envoy") {
            let message =
                "not supported by nuncio: control fields that begin with anything but 'x-envoy'";
            self.diagnostics.error(root.field("header_prefix"), message);
        }
        if bootstrap.stats_flush_interval.is_some() && bootstrap.stats_flush.is_some() {
            let message = "'stats_flush_interval' and 'stats_flush_on_admin' exclude each other";
            self.diagnostics
                .error(root.field("stats_flush_on_admin"), message);
        }
        if let Some(stats) = &bootstrap.stats_config {
            let naming = self.naming(stats, root.field("stats_config"));
            self.registry.name_by(naming);
        }
        if let Some(field) = bootstrap.admin.as_ref().and_then(Admin::log_field) {
            let message = "no effect: nuncio writes no access log of the admin pages";
            self.diagnostics
                .warning(root.field("admin").field(field), message);
        }
        let watchdogs = bootstrap.watchdogs.as_ref();
        let here = root.field("watchdogs");
        for (watchdog, place) in [
            (bootstrap.watchdog.as_ref(), root.field("watchdog")),
            (
                watchdogs.and_then(|both| both.main_thread_watchdog.as_ref()),
                here.field("main_thread_watchdog"),
            ),
            (
                watchdogs.and_then(|both| both.worker_watchdog.as_ref()),
                here.field("worker_watchdog"),
            ),
        ] {
            if let Some(field) = watchdog.and_then(Watchdog::kills) {
                let message = "no effect: nuncio does not kill itself when a thread hangs";
                self.diagnostics.warning(place.field(field), message);
            }
        }
    }

    /// Takes what the bootstrap says for all clusters, and checks what it says of the process.
    fn take_defaults(&mut self, bootstrap: &Bootstrap, root: Place<'_>) {
        self.check_process(bootstrap, root);
        let place = root.field("cluster_manager");
        self.outlier_log = self.outlier_log(bootstrap, place);
        self.home = self.home(bootstrap, place);
        self.default_resolver = self.default_resolver(bootstrap, root);
        let manager = bootstrap.cluster_manager.as_ref();
        if let Some(bind) = manager.and_then(|manager| manager.upstream_bind_config.as_ref()) {
            self.bind = self.bind(bind, place.field("upstream_bind_config"));
        }
    }

    fn home(&mut self, bootstrap: &Bootstrap, place: Place<'_>) -> Option<Arc<Home>> {
        let name = &bootstrap.cluster_manager.as_ref()?.local_cluster_name;
        if name.is_empty() {
            return None;
        }
        let clusters = &bootstrap.static_resources.clusters;
        let found = clusters.iter().find(|cluster| cluster.name == *name);
        if found.is_none() {
            let message = format!("local cluster \"{name}\" must be defined");
            self.diagnostics
                .error(place.field("local_cluster_name"), message);
        }
        let node = bootstrap.node.as_ref();
        let locality = node.and_then(|node| node.locality.as_ref());
        let locality = locality.map(balancing::locality_of).unwrap_or_default();
        Some(Arc::new(Home::new(name.as_str().into(), locality)))
    }

    fn outlier_log(&mut self, bootstrap: &Bootstrap, place: Place<'_>) -> Option<Arc<Sink>> {
        let events = bootstrap
            .cluster_manager
            .as_ref()?
            .outlier_detection
            .as_ref()?;
        if events.event_log_path.is_empty() {
            return None;
        }
        let at = place.field("outlier_detection").field("event_log_path");
        self.event_log(&events.event_log_path, at)
    }

    fn admin(&mut self, bootstrap: &Bootstrap, place: Place<'_>) -> Option<SocketAddr> {
        let address = bootstrap.admin.as_ref()?.address.as_ref()?;
        let at = place.field("address");
        let socket = self.not_a_pipe(address, at)?;
        self.literal(socket, at.field("socket_address"))
    }

    fn admin_paths(&mut self, bootstrap: &Bootstrap, place: Place<'_>) -> Arc<[TextCondition]> {
        let written = bootstrap.admin.iter().flat_map(|admin| &admin.allow_paths);
        let place = place.field("allow_paths");
        let paths = written.enumerate().filter_map(|(index, written)| {
            let built = TextCondition::new(&matching::string(written));
            self.of_routes(built, place.index(index))
        });
        paths.collect()
    }

    /// The host and port of an address that may not be a Unix socket.
    fn not_a_pipe<'w>(
        &mut self,
        address: &'w Address,
        place: Place<'_>,
    ) -> Option<&'w SocketAddress> {
        let socket = address.socket();
        if socket.is_none() {
            let message = "not supported by nuncio: a Unix socket here";
            self.diagnostics.error(place.field("pipe"), message);
        }
        socket
    }

    /// An address that must be a literal one.
    fn literal<P>(&mut self, address: &SocketAddress<P>, place: Place<'_>) -> Option<SocketAddr> {
        if let Ok(ip) = address.address.parse::<IpAddr>() {
            return Some(SocketAddr::new(ip, address.port()));
        }
        let text = &address.address;
        let message = format!("malformed IP address \"{text}\"");
        let error = self.diagnostics.error(place.field("address"), message);
        if text == "localhost" {
            error.hint("write 127.0.0.1 or ::1");
        } else {
            error.hint("only a literal IPv4 or IPv6 address can be used here");
        }
        None
    }
}

/// Tells `vitals` where the endpoints of clusters are counted.
fn count_members(vitals: &Vitals, clusters: &[Arc<Cluster>]) {
    let named = |cluster: &Arc<Cluster>| (Arc::clone(&cluster.name), Arc::clone(cluster));
    let clusters: HashMap<Arc<str>, Arc<Cluster>> = clusters.iter().map(named).collect();
    vitals.count_members(move |name| clusters.get(name).map(|cluster| cluster.members()));
}

/// An address of this machine that is not loopback: Envoy shows a loopback peer under it.
fn machine_address() -> Option<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().ok()?;
    let mut addresses = interfaces.iter().map(if_addrs::Interface::ip);
    addresses.find(|address| address.is_ipv4() && !address.is_loopback())
}

fn node(bootstrap: &Bootstrap, settings: &Settings) -> Value {
    let NodeNames { id, cluster } = NodeNames::new(bootstrap, settings);
    json!({
        "id": id,
        "cluster": cluster,
        "user_agent_name": "nuncio",
    })
}

/// An error and its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
