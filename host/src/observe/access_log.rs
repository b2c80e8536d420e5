//! Where access-log lines go: files, standard output and standard error.
//!
//! Owns the sinks. A worker hands a line over with a copy into a buffer and never waits for a disk
//! or a pipe; each sink has a thread that writes the buffer out when 64 KiB wait, when the flush
//! interval is over, and at once for the first line, so that somebody who tries the proxy sees
//! it. What does not fit into the buffer is counted and lost.
//!
//! Does not own: what a line says (`observe::format`) or which filter writes it (`wasm`).

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::registry::{Registry, Scope};
use super::stats::stats;
use crate::limits;

/// What a sink writes to. The same target opened twice is the same sink.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A file, which lines are appended to.
    File(PathBuf),
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Target {
    /// The standard streams are written through the open descriptors: a process that changed its
    /// user, or whose streams are sockets, cannot open `/dev/stdout` again.
    fn canonical(self) -> Self {
        match self {
            Self::File(path) if path == Path::new("/dev/stdout") => Self::Stdout,
            Self::File(path) if path == Path::new("/dev/stderr") => Self::Stderr,
            other => other,
        }
    }

    fn open(&self) -> Result<Output, OpenError> {
        match self {
            Self::Stdout => Ok(Output::Stdout),
            Self::Stderr => Ok(Output::Stderr),
            Self::File(path) => {
                let failed = |cause| OpenError {
                    path: path.clone(),
                    cause,
                };
                if let Some(parent) = path
                    .parent()
                    .filter(|parent| !parent.as_os_str().is_empty())
                {
                    std::fs::create_dir_all(parent).map_err(failed)?;
                }
                let file = OpenOptions::new().append(true).create(true).open(path);
                file.map(Output::File).map_err(failed)
            }
        }
    }
}

/// A file could not be opened to append to it.
#[derive(Debug, thiserror::Error)]
#[error("open access log \"{}\": {cause}", path.display())]
pub struct OpenError {
    /// The file.
    pub path: PathBuf,
    /// Why not. It is part of the message, which also reaches filters.
    pub cause: io::Error,
}

stats! {
    /// Statistics of the files that are written (`filesystem.`), as in Envoy.
    pub struct FilesystemStats {
        shared_counter flushed_by_timer,
        shared_counter reopen_failed,
        shared_counter write_buffered,
        shared_counter write_completed,
        shared_counter write_failed,
        shared_gauge write_total_buffered,
    }
}

stats! {
    /// Statistics of the access logs that Envoy has no name for (`nuncio_access_log_`).
    pub struct AccessLogStats {
        shared_counter lines_dropped,
    }
}

#[derive(Debug, Default)]
struct SinkStats {
    filesystem: Arc<FilesystemStats>,
    access_log: Arc<AccessLogStats>,
}

/// All sinks of the process.
#[derive(Debug)]
pub struct Sinks {
    interval: Duration,
    stats: Arc<SinkStats>,
    open: Mutex<Vec<Weak<Sink>>>,
}

impl Sinks {
    /// No sinks yet. Lines wait for at most `interval` (`--file-flush-interval-msec`).
    #[must_use]
    pub fn new(interval: Duration, registry: &Registry) -> Self {
        let stats = Arc::new(SinkStats::default());
        registry.register(Scope::new("filesystem."), &stats.filesystem);
        registry.register(Scope::nuncio("access_log."), &stats.access_log);
        Self {
            interval,
            stats,
            open: Mutex::default(),
        }
    }

    /// The sink for `target`; creates the file and the directories above it where they are missing.
    ///
    /// # Errors
    /// When the file cannot be opened for appending, or no thread can be started for it.
    pub fn open(&self, target: Target) -> Result<Arc<Sink>, OpenError> {
        let target = target.canonical();
        let mut open = lock(&self.open);
        open.retain(|sink| sink.strong_count() > 0);
        let found = open
            .iter()
            .filter_map(Weak::upgrade)
            .find(|sink| sink.shared.target == target);
        if let Some(found) = found {
            return Ok(found);
        }
        let sink = Arc::new(Sink::start(target, self.interval, Arc::clone(&self.stats))?);
        open.push(Arc::downgrade(&sink));
        Ok(sink)
    }

    /// Writes out everything that waits; for the end of the process.
    pub fn flush_all(&self) {
        for sink in self.all() {
            sink.flush();
        }
    }

    /// Opens every file anew, after they were moved away (SIGUSR1). One that cannot be opened goes
    /// on with the file that it has.
    pub fn reopen(&self) {
        for sink in self.all() {
            sink.reopen();
        }
    }

    fn all(&self) -> Vec<Arc<Sink>> {
        lock(&self.open).iter().filter_map(Weak::upgrade).collect()
    }
}

/// One output. Dropping the last handle writes out what waits.
#[derive(Debug)]
pub struct Sink {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    target: Target,
    stats: Arc<SinkStats>,
    waiting: Mutex<Waiting>,
    /// Told when there is something to do for the thread.
    wake: Condvar,
    /// Taken before `waiting`, for as long as bytes are being written, which keeps their order.
    output: Mutex<(Output, Vec<u8>)>,
}

/// Lines that are not written yet.
#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Lines in `bytes`.
    lines: u64,
    /// Whether a line was ever taken.
    used: bool,
    urgent: bool,
    stopping: bool,
}

#[derive(Debug)]
enum Output {
    File(File),
    Stdout,
    Stderr,
}

impl Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_all(bytes),
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()
            }
            Self::Stderr => io::stderr().lock().write_all(bytes),
        }
    }
}

impl Sink {
    fn start(target: Target, interval: Duration, stats: Arc<SinkStats>) -> Result<Self, OpenError> {
        let output = target.open()?;
        let shared = Arc::new(Shared {
            target,
            stats,
            waiting: Mutex::default(),
            wake: Condvar::new(),
            output: Mutex::new((output, Vec::new())),
        });
        let thread = thread::Builder::new().name("access-log".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run(interval)
        });
        match thread {
            Ok(thread) => Ok(Self {
                shared,
                thread: Some(thread),
            }),
            Err(cause) => Err(OpenError {
                path: shared.path().to_owned(),
                cause,
            }),
        }
    }

    /// Hands one or more whole lines over. Never waits for the output; the lines are lost, and
    /// counted, when they would make more than [`limits::ACCESS_LOG_BUFFER_BYTES`] wait.
    pub fn write(&self, lines: &[u8]) {
        let mut waiting = lock(&self.shared.waiting);
        let before = waiting.bytes.len();
        let after = before.saturating_add(lines.len());
        if after > limits::ACCESS_LOG_BUFFER_BYTES {
            drop(waiting);
            self.shared.stats.access_log.lines_dropped.inc();
            return;
        }
        waiting.bytes.extend_from_slice(lines);
        waiting.lines += 1;
        let full = limits::ACCESS_LOG_FLUSH_BYTES;
        let urgent = !waiting.used || (before < full && after >= full);
        waiting.used = true;
        waiting.urgent |= urgent;
        drop(waiting);
        if urgent || before == 0 {
            self.shared.wake.notify_one();
        }
    }

    /// Writes out everything that waits; back when it is written.
    pub fn flush(&self) {
        self.shared.flush();
    }

    fn reopen(&self) {
        let mut output = lock(&self.shared.output);
        self.shared.write_waiting(&mut output);
        match self.shared.target.open() {
            Ok(fresh) => output.0 = fresh,
            Err(error) => {
                self.shared.stats.filesystem.reopen_failed.inc();
                tracing::warn!(target: "file", "{error}; the old file stays in use");
            }
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        lock(&self.shared.waiting).stopping = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to wait for.
            let _ended = thread.join();
        }
    }
}

impl Shared {
    /// Writes out until the sink is dropped.
    fn run(&self, interval: Duration) {
        loop {
            let waiting = lock(&self.waiting);
            let waiting = self
                .wake
                .wait_while(waiting, |waiting| {
                    waiting.bytes.is_empty() && !waiting.stopping
                })
                .unwrap_or_else(PoisonError::into_inner);
            let (waiting, timeout) = self
                .wake
                .wait_timeout_while(waiting, interval, |waiting| {
                    !waiting.urgent && !waiting.stopping
                })
                .unwrap_or_else(PoisonError::into_inner);
            let stopping = waiting.stopping;
            drop(waiting);
            if timeout.timed_out() {
                self.stats.filesystem.flushed_by_timer.inc();
            }
            self.flush();
            if stopping {
                return;
            }
        }
    }

    fn flush(&self) {
        self.write_waiting(&mut lock(&self.output));
    }

    fn write_waiting(&self, (output, buffer): &mut (Output, Vec<u8>)) {
        let lines = {
            let mut waiting = lock(&self.waiting);
            std::mem::swap(&mut waiting.bytes, buffer);
            waiting.urgent = false;
            std::mem::take(&mut waiting.lines)
        };
        if buffer.is_empty() {
            return;
        }
        let stats = &self.stats.filesystem;
        stats.write_buffered.add(lines);
        stats
            .write_total_buffered
            .set(i64::try_from(buffer.len()).unwrap_or(i64::MAX));
        match output.write(buffer) {
            Ok(()) => stats.write_completed.inc(),
            Err(error) => {
                stats.write_failed.inc();
                self.stats.access_log.lines_dropped.add(lines);
                let path = self.path().display();
                tracing::warn!(target: "file", "write access log \"{path}\": {error}");
            }
        }
        stats.write_total_buffered.set(0);
        buffer.clear();
    }

    fn path(&self) -> &Path {
        match &self.target {
            Target::File(path) => path,
            Target::Stdout => Path::new("/dev/stdout"),
            Target::Stderr => Path::new("/dev/stderr"),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, PipeReader};
    use std::os::fd::AsRawFd as _;

    use super::*;

    const NEVER: Duration = Duration::from_secs(3600);

    fn sinks(interval: Duration) -> Sinks {
        Sinks::new(interval, &Registry::new(1))
    }

    /// A sink whose output can be waited for.
    fn piped(sinks: &Sinks) -> (Arc<Sink>, BufReader<PipeReader>) {
        let (reader, writer) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let sink = sinks.open(Target::File(path.into())).unwrap();
        (sink, BufReader::new(reader))
    }

    fn line(reader: &mut impl BufRead) -> String {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line
    }

    #[test]
    fn the_first_line_is_written_at_once_and_later_ones_by_size() {
        let sinks = sinks(NEVER);
        let (sink, mut reader) = piped(&sinks);
        sink.write(b"first\n");
        assert_eq!(line(&mut reader), "first\n");
        sink.write(b"second\n");
        let big = [
            b"x".repeat(limits::ACCESS_LOG_FLUSH_BYTES - 100),
            b"\n".to_vec(),
        ]
        .concat();
        thread::scope(|scope| {
            scope.spawn(|| {
                sink.write(&big);
                sink.write(&[b'y'; 99]);
                sink.write(b"\n");
            });
            assert_eq!(line(&mut reader), "second\n");
            assert_eq!(line(&mut reader).len(), big.len());
        });
    }

    #[test]
    fn the_interval_writes_what_is_left() {
        let sinks = sinks(Duration::from_millis(1));
        let (sink, mut reader) = piped(&sinks);
        for text in ["one\n", "two\n", "three\n"] {
            sink.write(text.as_bytes());
            assert_eq!(line(&mut reader), text);
        }
        assert!(sinks.stats.filesystem.flushed_by_timer.get() >= 2);
    }

    #[test]
    fn directories_are_made_lines_appended_and_files_shared() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/access.log");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "old\n").unwrap();
        let sinks = sinks(NEVER);
        let sink = sinks.open(Target::File(path.clone())).unwrap();
        let same = sinks.open(Target::File(path.clone())).unwrap();
        assert!(Arc::ptr_eq(&sink, &same));
        sink.write(b"1\n");
        same.write(b"2\n");
        sinks.flush_all();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old\n1\n2\n");
        sink.write(b"3\n");
        drop((sink, same));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old\n1\n2\n3\n");
        let other = directory.path().join("c/d.log");
        sinks
            .open(Target::File(other.clone()))
            .unwrap()
            .write(b"x\n");
        assert_eq!(std::fs::read_to_string(other).unwrap(), "x\n");
        assert_eq!(sinks.stats.filesystem.write_buffered.get(), 4);
        assert_eq!(
            lock(&sinks.open).len(),
            1,
            "sinks that nobody uses are forgotten"
        );
    }

    #[test]
    fn reopening_follows_a_file_that_was_moved() {
        let directory = tempfile::tempdir().unwrap();
        let (path, moved) = (directory.path().join("log"), directory.path().join("log.1"));
        let sinks = sinks(NEVER);
        let sink = sinks.open(Target::File(path.clone())).unwrap();
        sink.write(b"before\n");
        std::fs::rename(&path, &moved).unwrap();
        sink.write(b"between\n");
        sinks.reopen();
        sink.write(b"after\n");
        sinks.flush_all();
        assert_eq!(
            std::fs::read_to_string(&moved).unwrap(),
            "before\nbetween\n"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "after\n");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        sinks.reopen();
        sink.write(b"still there\n");
        sinks.flush_all();
        assert_eq!(sinks.stats.filesystem.reopen_failed.get(), 1);
        assert_eq!(sinks.stats.filesystem.write_failed.get(), 0);
    }

    #[test]
    fn an_output_that_does_not_take_lines_costs_lines_and_no_time() {
        let sinks = sinks(NEVER);
        let (sink, mut reader) = piped(&sinks);
        let block = [
            b"x".repeat(limits::ACCESS_LOG_FLUSH_BYTES - 1),
            b"\n".to_vec(),
        ]
        .concat();
        // The pipe takes one block at most, the buffer and the thread's own sixteen each.
        let blocks = 2 + 2 * limits::ACCESS_LOG_BUFFER_BYTES / block.len();
        for _ in 0..2 * blocks {
            sink.write(&block);
        }
        let lost = &sinks.stats.access_log.lines_dropped;
        assert!(lost.get() >= blocks as u64 - 2, "{}", lost.get());
        thread::scope(|scope| {
            scope.spawn(move || sink.flush());
            for _ in lost.get()..2 * blocks as u64 {
                assert_eq!(line(&mut reader).len(), block.len());
            }
        });
    }

    #[test]
    fn an_output_that_fails_is_counted() {
        let sinks = sinks(NEVER);
        let sink = sinks.open(Target::File("/dev/full".into())).unwrap();
        sink.write(b"x\n");
        sink.flush();
        assert_eq!(sinks.stats.filesystem.write_failed.get(), 1);
        assert_eq!(sinks.stats.access_log.lines_dropped.get(), 1);
    }

    #[test]
    fn devices_and_standard_streams_open() {
        let sinks = sinks(NEVER);
        let null = sinks.open(Target::File("/dev/null".into())).unwrap();
        null.write(b"x\n");
        null.flush();
        assert_eq!(sinks.stats.filesystem.write_failed.get(), 0);
        let by_path = sinks.open(Target::File("/dev/stdout".into())).unwrap();
        assert!(Arc::ptr_eq(&by_path, &sinks.open(Target::Stdout).unwrap()));
        let by_path = sinks.open(Target::File("/dev/stderr".into())).unwrap();
        assert!(Arc::ptr_eq(&by_path, &sinks.open(Target::Stderr).unwrap()));
        let error = sinks.open(Target::File("/proc/nope/x".into())).unwrap_err();
        let message = error.to_string();
        assert!(
            message.starts_with("open access log \"/proc/nope/x\": No such file"),
            "{message}"
        );
        assert!(sinks.open(Target::File(PathBuf::new())).is_err());
    }
}
