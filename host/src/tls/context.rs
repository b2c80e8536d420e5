//! All TLS contexts of the process: their files are watched, and their certificates listed.
//!
//! Owns the list, the watch, and what statistics and the admin page say about certificates. A context
//! whose files are new is read again as a whole, apart from the connections; what cannot be read leaves
//! what it was in place, so that a broken file breaks nobody. Called by `server` and `admin`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::UNIX_EPOCH;

use super::identity::Identity;
use super::trust::Trust;
use crate::clock;
use crate::limits::CERTIFICATE_WATCH;
use crate::observe::stats::{Name, Reading, SharedCounter, SharedGauge, Stats};
use crate::watched::{Stamp, Watched};

/// Seconds of a day.
const DAY: i64 = 24 * 60 * 60;
/// What Envoy shows for the days that are left where there is no certificate.
const NO_CERTIFICATE: i64 = 0xffff_ffff;

/// A context of either side, as it is watched and listed.
pub trait TlsContext: Send + Sync {
    /// Where it stands in the configuration.
    fn owner(&self) -> &str;

    /// Its files, in the states in which they were read last.
    fn files(&self) -> Arc<Files>;

    /// Reads all files again. What cannot be used stays as it was; the answer says what that is, and why.
    fn reload(&self) -> Vec<String>;

    /// What it shows of itself.
    fn identities(&self) -> Vec<Arc<Identity>>;

    /// What it trusts; nothing where it asks nothing of peers.
    fn trust(&self) -> Option<Arc<Trust>>;
}

/// Files with the states in which they were read.
#[derive(Debug, Default)]
pub struct Files {
    pub(super) paths: Vec<PathBuf>,
    pub(super) stamps: Vec<Stamp>,
}

impl Files {
    /// Adds a file that is read next.
    pub(super) fn add(&mut self, path: &Path) {
        self.paths.push(path.to_owned());
        self.stamps.push(Stamp::of(path));
    }
}

/// The contexts of the process.
#[derive(Default)]
pub struct Contexts {
    listed: Mutex<Vec<Arc<Listed>>>,
    /// Contexts that were read again without an error.
    reloads: SharedCounter,
    /// Contexts of which something could not be read.
    failures: SharedCounter,
    /// Contexts that go by older files than there are.
    stale: SharedGauge,
}

/// An entry of the list.
struct Listed {
    /// Held weakly: a context is listed for as long as what it belongs to.
    context: Weak<dyn TlsContext>,
    state: Mutex<State>,
}

struct State {
    watched: Watched,
    /// What could not be read at the last time; empty where all could.
    wrong: Vec<String>,
}

impl Contexts {
    /// Lists a context for as long as somebody else holds it.
    pub fn add<T: TlsContext + 'static>(&self, context: &Arc<T>) {
        let context = Arc::clone(context) as Arc<dyn TlsContext>;
        let state = State {
            watched: Watched::new(context.files().stamps.clone()),
            wrong: Vec::new(),
        };
        lock(&self.listed).push(Arc::new(Listed {
            context: Arc::downgrade(&context),
            state: Mutex::new(state),
        }));
    }

    /// Those that there are.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<dyn TlsContext>> {
        let mut listed = lock(&self.listed);
        listed.retain(|listed| listed.context.strong_count() > 0);
        let contexts = listed.iter().map(|listed| listed.context.upgrade());
        contexts.flatten().collect()
    }

    /// Reads again what is new. Waits for the disk.
    fn look(&self) {
        let listed = lock(&self.listed).clone();
        for listed in listed {
            let Some(context) = listed.context.upgrade() else {
                continue;
            };
            let files = context.files();
            let now = files.paths.iter().map(|path| Stamp::of(path)).collect();
            let mut state = lock(&listed.state);
            // What is broken may be mended in ways that a file does not show, such as a folder's rights.
            if state.watched.look(&files.stamps, now) || !state.wrong.is_empty() {
                self.reload(&*context, &mut state);
            }
        }
    }

    fn reload(&self, context: &dyn TlsContext, state: &mut State) {
        let owner = context.owner();
        let wrong = context.reload();
        if !wrong.is_empty() && wrong == state.wrong {
            return;
        }
        match (state.wrong.is_empty(), wrong.is_empty()) {
            (true, false) => self.stale.inc(),
            (false, true) => self.stale.dec(),
            _ => {}
        }
        for problem in &wrong {
            tracing::warn!(target: "tls", "read the certificates of {owner} anew: {problem}; what was there before stays in use");
        }
        if wrong.is_empty() {
            self.reloads.inc();
            tracing::info!(target: "tls", "read the certificates of {owner} anew");
        } else {
            self.failures.inc();
        }
        state.wrong = wrong;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks after the files of all contexts until the control thread ends.
pub async fn watch(contexts: Arc<Contexts>) {
    loop {
        tokio::time::sleep(CERTIFICATE_WATCH).await;
        if lock(&contexts.listed).is_empty() {
            continue;
        }
        let contexts = Arc::clone(&contexts);
        // The files may lie on a slow disk: other work of this thread goes on meanwhile.
        let looked = tokio::task::spawn_blocking(move || contexts.look()).await;
        if let Err(error) = looked {
            tracing::error!(target: "tls", "watch certificates: {error}");
        }
    }
}

impl Stats for Contexts {
    fn visit(&self, visit: &mut dyn FnMut(Name, Reading)) {
        visit(
            "reload_success".into(),
            Reading::Counter(self.reloads.get()),
        );
        visit(
            "reload_failure".into(),
            Reading::Counter(self.failures.get()),
        );
        let value = self.stale.get();
        visit(
            "contexts_stale".into(),
            Reading::Gauge { value, used: true },
        );
    }
}

/// `server.days_until_first_cert_expiring`.
pub struct FirstToExpire(pub Arc<Contexts>);

impl Stats for FirstToExpire {
    fn visit(&self, visit: &mut dyn FnMut(Name, Reading)) {
        let now = seconds();
        let contexts = self.0.all();
        let days = contexts.iter().flat_map(|context| {
            let shown = context.identities();
            let mut ends: Vec<i64> = shown.iter().map(|one| one.certificate.not_after).collect();
            if let Some(trust) = context.trust() {
                ends.extend(trust.authorities().iter().map(|one| one.not_after));
            }
            ends
        });
        let first = days.map(|last| days_left(last, now)).min();
        visit(
            "days_until_first_cert_expiring".into(),
            Reading::Gauge {
                value: first.unwrap_or(NO_CERTIFICATE),
                used: true,
            },
        );
    }
}

/// `ssl.certificate.<file>.expiration_unix_time_seconds` of the contexts of one listener or cluster: of
/// certificates and of the authorities that are named, the first to end of each file.
pub struct Expiry(pub Vec<Arc<dyn TlsContext>>);

impl Stats for Expiry {
    fn visit(&self, visit: &mut dyn FnMut(Name, Reading)) {
        let mut ends = BTreeMap::new();
        let mut add = |path: &str, end: i64| {
            let first = ends.entry(path.to_owned()).or_insert(end);
            *first = end.min(*first);
        };
        for context in &self.0 {
            for identity in context.identities() {
                add(&identity.path, identity.certificate.not_after);
            }
            if let Some(trust) = context.trust() {
                let authorities = trust.authorities().iter();
                authorities.for_each(|one| add(trust.path(), one.not_after));
            }
        }
        for (path, value) in ends {
            let name = Name::Labelled {
                before: "ssl.certificate",
                label: "envoy_tls_certificate",
                value: path.into(),
                after: "expiration_unix_time_seconds",
            };
            // Others may show the same certificate under the same name.
            visit(name, Reading::Moment(value));
        }
    }
}

/// Whole days until `last`; 0 where that is past.
#[must_use]
pub fn days_left(last: i64, now: i64) -> i64 {
    (last.saturating_sub(now) / DAY).max(0)
}

/// Seconds since 1970.
pub(crate) fn seconds() -> i64 {
    let since = clock::wall().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
