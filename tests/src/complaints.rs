//! What a scripted server has against its peer, and what went wrong with the server itself.
//!
//! A server works in threads and tasks of its own, and a panic there fails no test. So all of them note here what
//! must not be, and whoever drops the server fails with it. Called by the servers.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use tokio::task::spawn_local;

/// The complaints of one server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Complaints(Arc<Mutex<Vec<String>>>);

impl Complaints {
    /// Adds one.
    pub(crate) fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    /// Adds an error of HTTP/2 where it is one that this side has found.
    pub(crate) fn note_h2(&self, error: &h2::Error) {
        if error.is_library() {
            self.note(format!("a proxy sent what is not HTTP/2: {error}"));
        }
    }

    /// Those since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// Works in a thread; a panic is a complaint.
    pub(crate) fn thread(&self, work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
        let complaints = self.clone();
        thread::spawn(move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
                complaints.note(said(&*panic));
            }
        })
    }

    /// Works in a task of this thread; a panic is a complaint.
    pub(crate) fn task(&self, work: impl Future<Output = ()> + 'static) {
        let complaints = self.clone();
        let work = spawn_local(work);
        spawn_local(async move {
            // One that is cancelled ends with the server.
            let panic = work
                .await
                .err()
                .and_then(|error| error.try_into_panic().ok());
            if let Some(panic) = panic {
                complaints.note(said(&*panic));
            }
        });
    }

    /// Ends the test where there is one, unless it is ending already.
    pub(crate) fn expect_none(&self) {
        let complaints = self.take();
        assert!(
            complaints.is_empty() || thread::panicking(),
            "{complaints:#?}"
        );
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!(
        "a scripted server failed: {}",
        text.unwrap_or("without a word")
    )
}

#[cfg(test)]
mod tests {
    use tokio::task::{LocalSet, yield_now};

    use super::*;

    #[test]
    fn panics_of_threads_and_tasks_are_complaints() {
        let complaints = Complaints::default();
        complaints.expect_none();
        let thread = complaints.thread(|| panic!("in a {}", "thread"));
        thread.join().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread();
        let local = LocalSet::new();
        let task = async {
            complaints.task(async { panic!("in a task") });
            while complaints.0.lock().unwrap().len() < 2 {
                yield_now().await;
            }
        };
        local.block_on(&{ runtime }.build().unwrap(), task);
        let of = |whose: &str| format!("a scripted server failed: in a {whose}");
        assert_eq!(complaints.take(), [of("thread"), of("task")]);
    }

    #[test]
    #[should_panic(expected = "what must not be")]
    fn a_complaint_ends_the_test() {
        let complaints = Complaints::default();
        complaints.note("what must not be".to_owned());
        complaints.expect_none();
    }
}
