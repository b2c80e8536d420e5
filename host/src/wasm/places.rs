//! How many instances there may be, and who has them.
//!
//! Owns the count of an engine's instances and each filter's part of it. The engine's pool would end
//! at the same number, but without regard to who took it all: a filter whose streams have instances
//! of their own could leave none to others. `instance` takes a place before it starts one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::limits;

/// How many are taken.
#[derive(Debug, Default)]
pub(super) struct Places(AtomicU32);

/// A place that is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    all: Arc<Places>,
    of_filter: Arc<Places>,
}

/// There is none left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    /// In the process.
    #[error(
        "the proxy has {} instances of filters, which is all there may be",
        limits::WASM_INSTANCES
    )]
    All,
    /// For this filter: others need the rest.
    #[error("{0} streams have an instance of this filter, and only {1} are left for all filters")]
    Filter(u32, u32),
}

impl Places {
    fn taken(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Place {
    /// Takes one of `all` for a filter that has `of_filter`. One that streams share is always given;
    /// of those that a stream has for itself (`is_own`) the filter has no more than are left.
    pub(super) fn take(
        all: &Arc<Places>,
        of_filter: &Arc<Places>,
        is_own: bool,
    ) -> Result<Self, Full> {
        let free = limits::WASM_INSTANCES.saturating_sub(all.taken());
        if free == 0 {
            return Err(Full::All);
        }
        let has = of_filter.taken();
        if is_own && has >= free {
            return Err(Full::Filter(has, free));
        }
        // Two workers at once may both take the last one: the engine's pool refuses the second.
        all.0.fetch_add(1, Ordering::Relaxed);
        of_filter.0.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            all: Arc::clone(all),
            of_filter: Arc::clone(of_filter),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.0.fetch_sub(1, Ordering::Relaxed);
        self.of_filter.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_filter_takes_what_others_need() {
        let all = Arc::new(Places::default());
        let filters = [(); 3].map(|()| Arc::new(Places::default()));
        let fill = |filter: &Arc<Places>| {
            let mut taken = Vec::new();
            loop {
                match Place::take(&all, filter, true) {
                    Ok(place) => taken.push(place),
                    Err(full) => return (taken, full),
                }
            }
        };
        let half = limits::WASM_INSTANCES / 2;
        let (first, full) = fill(&filters[0]);
        assert_eq!(first.len(), half as usize);
        assert_eq!(full, Full::Filter(half, half));
        let (second, _) = fill(&filters[1]);
        assert_eq!(second.len(), half as usize / 2, "half of the rest");
        let shared: Vec<_> = (0..half / 2)
            .map(|_| Place::take(&all, &filters[2], false).unwrap())
            .collect();
        let full = Place::take(&all, &filters[2], false).unwrap_err();
        assert_eq!(full, Full::All);
        drop((first, second, shared));
        assert_eq!(all.taken(), 0);
        assert!(filters.iter().all(|filter| filter.taken() == 0));
    }
}
