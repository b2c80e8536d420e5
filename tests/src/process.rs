//! Starting, waiting for and stopping the programs under test.
//!
//! Owns where nuncio and Envoy are found, one child process at a time with its ports, its directory
//! and what it printed. Knows nothing of what the configuration says. Called by the suites and by
//! [`crate::compare`].

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::client;
use crate::ports::{self, Port};

/// Longest wait for a process to become ready, or to end.
const PROCESS_PATIENCE: Duration = Duration::from_secs(20);
/// Pause between two looks at a process that is starting.
const POLL: Duration = Duration::from_millis(5);

/// A program under test.
#[derive(Clone, Debug)]
pub struct Binary {
    path: PathBuf,
    envoy: bool,
}

impl Binary {
    /// Nuncio: `$NUNCIO_BIN`, else built once with cargo, in the profile of this harness.
    #[must_use]
    pub fn nuncio() -> Self {
        static BUILT: OnceLock<PathBuf> = OnceLock::new();
        let path = BUILT.get_or_init(|| match std::env::var_os("NUNCIO_BIN") {
            Some(path) => PathBuf::from(path),
            None => build_nuncio(),
        });
        assert!(path.is_file(), "nuncio is not at {}", path.display());
        Self {
            path: path.clone(),
            envoy: false,
        }
    }

    /// Envoy: `$ENVOY_BIN`, else where `tests/tools/fetch-envoy` puts it; `None` when it is not there.
    #[must_use]
    pub fn envoy() -> Option<Self> {
        let path = match std::env::var_os("ENVOY_BIN") {
            Some(path) => PathBuf::from(path),
            None => {
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/fetch-envoy");
                let output = Command::new(script).arg("--offline").output().ok()?;
                PathBuf::from(String::from_utf8(output.stdout).ok()?.trim())
            }
        };
        path.is_file().then_some(Self { path, envoy: true })
    }

    /// The program with arguments, to be run as the caller likes.
    #[must_use]
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.path);
        command.args(arguments);
        command
    }
}

/// What a program that came to its end printed.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; none after a signal.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Ran {
    /// Runs nuncio to its end.
    #[must_use]
    pub fn nuncio<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        let output = Binary::nuncio().command(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Standard error must say so.
    #[track_caller]
    pub fn says(&self, text: &str) {
        assert!(
            self.stderr.contains(text),
            "no {text:?} in:\n{}",
            self.stderr
        );
    }
}

fn build_nuncio() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(&root)
        .args(["build", "--quiet", "--package", "nuncio", "--bin", "nuncio"]);
    command
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit());
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "building nuncio failed");
    let messages = String::from_utf8_lossy(&output.stdout);
    let executables = messages.split(r#""executable":""#).skip(1);
    let last = executables.last().and_then(|rest| rest.split('"').next());
    PathBuf::from(last.expect("cargo names the executable it built"))
}

/// A directory of its own under the system's temporary one, removed at the end.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// Makes one.
    #[must_use]
    pub fn create() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("nuncio-tests-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it.
    #[must_use]
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// What a template needs to become a running process. The default has no ports and leaves the number
/// of workers to the program.
#[derive(Debug, Default)]
pub struct Setup {
    ports: BTreeMap<String, Port>,
    arguments: Vec<String>,
    environment: Vec<(&'static str, PathBuf)>,
    concurrency: Option<usize>,
}

impl Setup {
    /// Reserves a port for every `@PORT:name@` of a template.
    #[must_use]
    pub fn for_template(template: &str) -> Self {
        let names = ports::names(template).into_iter();
        let ports = names
            .map(|name| (name.to_owned(), Port::reserve()))
            .collect();
        Self {
            ports,
            concurrency: Some(1),
            ..Self::default()
        }
    }

    /// The port of that name, if the template has it.
    #[must_use]
    pub fn port(&self, name: &str) -> Option<u16> {
        self.ports.get(name).map(Port::number)
    }

    /// Names and numbers of all ports.
    pub fn ports(&self) -> impl Iterator<Item = (&str, u16)> {
        let ports = self.ports.iter();
        ports.map(|(name, port)| (name.as_str(), port.number()))
    }

    /// Adds command-line arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Sets a variable of the environment to a path.
    #[must_use]
    pub fn environment(mut self, name: &'static str, path: &Path) -> Self {
        self.environment.push((name, path.to_owned()));
        self
    }

    /// Number of workers; one for a template unless told otherwise.
    #[must_use]
    pub fn concurrency(mut self, workers: usize) -> Self {
        self.concurrency = Some(workers);
        self
    }
}

/// A running proxy. Dropping it kills the process.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    ports: BTreeMap<String, Port>,
    directory: Directory,
    output: Output,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit status.
    pub status: ExitStatus,
    /// All that it wrote to stdout and stderr.
    pub output: String,
    /// Content of the file that `@LOG@` named, bytes that are not printable ASCII as `\\xNN`.
    pub log: String,
}

impl Proxy {
    /// Runs a program on a template and waits until its admin interface (`@PORT:admin@`) answers
    /// `/ready` with 200.
    #[must_use]
    pub fn start(binary: &Binary, template: &str) -> Self {
        Self::start_with(binary, template, Setup::for_template(template))
    }

    /// Like [`Proxy::start`] with ports that the caller knows already.
    #[must_use]
    pub fn start_with(binary: &Binary, template: &str, setup: Setup) -> Self {
        let mut proxy = Self::spawn(binary, template, setup);
        proxy.wait_until_ready();
        proxy
    }

    /// Like [`Proxy::start_with`], without waiting.
    #[must_use]
    pub fn spawn(binary: &Binary, template: &str, setup: Setup) -> Self {
        let Setup {
            ports,
            arguments,
            environment,
            concurrency,
        } = setup;
        let directory = Directory::create();
        let numbers = ports
            .iter()
            .map(|(name, port)| (name.clone(), port.number()))
            .collect();
        let log = directory.path().join("access.log");
        let values = [
            ("LOG", log.to_str().unwrap()),
            ("DIRECTORY", directory.path().to_str().unwrap()),
        ];
        let file = directory.write("proxy.yaml", &ports::fill(template, &numbers, &values));
        let mut command = binary.command([OsStr::new("-c"), file.as_os_str()]);
        if let Some(workers) = concurrency {
            command.args(["--concurrency", &workers.to_string()]);
        }
        command.args(arguments).envs(environment);
        // Entries are in the file soon: some cases wait for one.
        command.args(["--file-flush-interval-msec", "20"]);
        if binary.envoy {
            command.args(["--disable-hot-restart", "-l", "off"]);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("starting {}: {error}", binary.path.display()));
        let output = Output::collect(&mut child);
        Self {
            child,
            ports,
            directory,
            output,
        }
    }

    fn wait_until_ready(&mut self) {
        let admin = self.address("admin");
        let deadline = Instant::now() + PROCESS_PATIENCE;
        loop {
            if std::net::TcpStream::connect(admin).is_ok()
                && client::get(admin, "/ready").status() == 200
            {
                return;
            }
            let ended = self.output.ended_within(POLL);
            let text = self.output.text();
            assert!(!ended, "the process ended while it started:\n{text}");
            assert!(
                Instant::now() < deadline,
                "not ready in {PROCESS_PATIENCE:?}:\n{text}"
            );
        }
    }

    /// The loopback address of a named port.
    #[must_use]
    pub fn address(&self, name: &str) -> SocketAddr {
        let port = self
            .ports
            .get(name)
            .unwrap_or_else(|| panic!("no port is named {name:?}"));
        SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()))
    }

    /// Names and numbers of all ports.
    pub fn ports(&self) -> impl Iterator<Item = (&str, u16)> {
        self.ports
            .iter()
            .map(|(name, port)| (name.as_str(), port.number()))
    }

    /// The directory that `@DIRECTORY@` names.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What the process printed so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.output.text()
    }

    /// Waits until the process prints a line that contains `text`.
    pub fn wait_for_output(&mut self, text: &str) {
        let deadline = Instant::now() + PROCESS_PATIENCE;
        while !self.output.text().contains(text) {
            let ended = self.output.ended_within(POLL);
            let found = self.output.text().contains(text);
            assert!(
                found || !ended,
                "ended without saying {text:?}:\n{}",
                self.output.text()
            );
            assert!(
                Instant::now() < deadline,
                "never said {text:?}:\n{}",
                self.output.text()
            );
        }
    }

    /// The most memory that was resident since [`Proxy::forget_peak`], or since the start, in KiB.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|rest| rest.trim().strip_suffix(" kB"));
        kib.expect("Linux tells the peak").parse().unwrap()
    }

    /// Lets the peak begin anew at what is resident now.
    pub fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the process takes a signal");
    }

    /// Waits for the process to end by itself.
    #[must_use]
    pub fn wait(mut self) -> Ended {
        let deadline = Instant::now() + PROCESS_PATIENCE;
        while !self.output.ended_within(POLL) {
            assert!(
                Instant::now() < deadline,
                "the process does not end:\n{}",
                self.output.text()
            );
        }
        let status = self.child.wait().unwrap();
        let log = fs::read(self.directory.path().join("access.log"));
        Ended {
            status,
            output: self.output.text(),
            log: visible(&log.unwrap_or_default()),
        }
    }

    /// Sends SIGTERM and waits for the end.
    #[must_use]
    pub fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.wait()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn visible(bytes: &[u8]) -> String {
    let text = |byte: &u8| match byte {
        b'\n' | b' '..=b'~' => char::from(*byte).to_string(),
        other => format!("\\x{other:02x}"),
    };
    bytes.iter().map(text).collect()
}

/// Envoy prints its whole configuration after an error, in one line.
fn cut(line: &[u8]) -> &[u8] {
    const LONGEST_LINE: usize = 2_000;
    &line[..line.len().min(LONGEST_LINE)]
}

/// Collects what a child prints; its end is known by both pipes being closed.
#[derive(Debug)]
struct Output {
    text: Arc<Mutex<String>>,
    lines: mpsc::Receiver<()>,
    ended: bool,
}

impl Output {
    fn collect(child: &mut Child) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = mpsc::channel();
        let pipes: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|pipe| Box::new(pipe) as _),
            child.stderr.take().map(|pipe| Box::new(pipe) as _),
        ];
        for pipe in pipes.into_iter().flatten() {
            let text = Arc::clone(&text);
            let sender = sender.clone();
            thread::spawn(move || {
                let mut pipe = BufReader::new(pipe);
                let mut line = Vec::new();
                while pipe
                    .read_until(b'\n', &mut line)
                    .is_ok_and(|count| count > 0)
                {
                    text.lock()
                        .unwrap()
                        .push_str(&String::from_utf8_lossy(cut(&line)));
                    line.clear();
                    if sender.send(()).is_err() {
                        return;
                    }
                }
            });
        }
        Self {
            text,
            lines,
            ended: false,
        }
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// Waits for the next line or for `time`; true when the process closed its outputs.
    fn ended_within(&mut self, time: Duration) -> bool {
        self.ended = self.ended
            || matches!(
                self.lines.recv_timeout(time),
                Err(RecvTimeoutError::Disconnected)
            );
        self.ended
    }
}
