//! What a route does to the headers of a request and of a response.
//!
//! Owns `…_headers_to_add` and `…_headers_to_remove` of one level ([`HeaderMutations`]) and the
//! order of levels. Called by `action` on the way upstream and on the way back. Does not own the
//! formats of values (`observe::format`).
//!
//! Within one level Envoy removes first, then reads all values and decides about all of them while
//! the head is unchanged, then overwrites, then appends. So an entry neither sees nor hinders
//! another one of its level, and two `ADD_IF_ABSENT` of one name both add.

use std::sync::Arc;

use super::error::{Problem, Report};
use super::spec::{HeaderAddSpec, MutationSpec};
use crate::exchange::Exchange;
use crate::headers::{self, Headers, Known, Name};
use crate::observe::format::Format;

/// `HeaderValueOption.append_action`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppendAction {
    /// `APPEND_IF_EXISTS_OR_ADD`.
    #[default]
    AppendIfExistsOrAdd,
    /// `ADD_IF_ABSENT`.
    AddIfAbsent,
    /// `OVERWRITE_IF_EXISTS_OR_ADD`.
    OverwriteIfExistsOrAdd,
    /// `OVERWRITE_IF_EXISTS`.
    OverwriteIfExists,
}

/// Buffers that mutations and rewrites work in. Kept by a worker, so that they grow once.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    pub(super) bytes: Vec<u8>,
    planned: Vec<Planned>,
}

impl Scratch {
    /// Puts `bytes` in place of what was there.
    pub(super) fn fill(&mut self, bytes: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
    }
}

/// An entry whose value is rendered.
#[derive(Clone, Copy, Debug)]
struct Planned {
    entry: usize,
    /// End of the value in the scratch bytes; it starts where the one before ends.
    end: usize,
    overwrite: bool,
}

/// Which head of an exchange is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Request,
    Response,
}

/// The changes of one level, compiled.
#[derive(Clone, Debug, Default)]
pub(super) struct HeaderMutations {
    remove: Box<[Name]>,
    add: Box<[Add]>,
}

#[derive(Clone, Debug)]
struct Add {
    name: Name,
    value: Format,
    action: AppendAction,
    keep_empty: bool,
}

impl HeaderMutations {
    /// Checks `spec`, whose two lists stand in the fields `add` and `remove` here.
    pub(super) fn build(
        spec: &MutationSpec,
        [add, remove]: [&'static str; 2],
        report: &mut Report,
    ) -> Self {
        let add = report.items(add, &spec.add, |report, spec: &HeaderAddSpec| {
            let name = report.field("header", |report| {
                report.field("key", |report| mutable_name(&spec.name, report))
            })?;
            let keep_empty = spec.keep_empty_value;
            Some(Add {
                name,
                value: spec.value.clone(),
                action: spec.action,
                keep_empty,
            })
        });
        let remove = report.items(remove, &spec.remove, |report, name: &String| {
            mutable_name(name, report)
        });
        Self { remove, add }
    }

    fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }

    /// Makes the changes to the head of the request.
    pub(super) fn apply_to_request(&self, exchange: &mut Exchange, scratch: &mut Scratch) {
        self.apply(Side::Request, exchange, scratch);
    }

    /// Makes the changes to the head of the response.
    pub(super) fn apply_to_response(&self, exchange: &mut Exchange, scratch: &mut Scratch) {
        self.apply(Side::Response, exchange, scratch);
    }

    fn apply(&self, side: Side, exchange: &mut Exchange, scratch: &mut Scratch) {
        let head = side.head_mut(exchange);
        for name in &self.remove {
            head.remove(name);
        }
        self.plan(side, exchange, scratch);
        let head = side.head_mut(exchange);
        let Scratch { bytes, planned } = scratch;
        for overwriting in [true, false] {
            let mut start = 0;
            for Planned {
                entry,
                end,
                overwrite,
            } in planned.iter().copied()
            {
                let value = start..end;
                start = end;
                if overwrite != overwriting {
                    continue;
                }
                let Some(entry) = self.add.get(entry) else {
                    continue;
                };
                let value = bytes.get(value).unwrap_or_default();
                if overwrite {
                    head.remove(&entry.name);
                    head.append(&entry.name, value);
                } else {
                    head.append_joined(&entry.name, value, |known| side.joins(known));
                }
            }
        }
    }

    /// Renders the values and decides what happens to each, all against the head as it is now.
    fn plan(&self, side: Side, exchange: &Exchange, scratch: &mut Scratch) {
        let Scratch { bytes, planned } = scratch;
        bytes.clear();
        planned.clear();
        for (index, entry) in self.add.iter().enumerate() {
            let overwrite = match entry.action {
                AppendAction::AppendIfExistsOrAdd => false,
                AppendAction::AddIfAbsent if !side.head(exchange).contains(&entry.name) => false,
                AppendAction::OverwriteIfExistsOrAdd => true,
                AppendAction::OverwriteIfExists if side.head(exchange).contains(&entry.name) => {
                    true
                }
                AppendAction::AddIfAbsent | AppendAction::OverwriteIfExists => continue,
            };
            let start = bytes.len();
            entry.value.render_header(exchange, bytes);
            let value = bytes.get(start..).unwrap_or_default();
            // What a filter left in the metadata may hold anything.
            let usable = headers::is_valid_value(value);
            if !usable || (value.is_empty() && !entry.keep_empty) {
                bytes.truncate(start);
                continue;
            }
            planned.push(Planned {
                entry: index,
                end: bytes.len(),
                overwrite,
            });
        }
    }
}

impl Side {
    const fn head(self, exchange: &Exchange) -> &Headers {
        match self {
            Self::Request => &exchange.request,
            Self::Response => &exchange.response,
        }
    }

    /// Whether Envoy keeps one line of such a field.
    const fn joins(self, known: Known) -> bool {
        match self {
            Self::Request => known.joins_in_request(),
            Self::Response => known.joins_in_response(),
        }
    }

    const fn head_mut(self, exchange: &mut Exchange) -> &mut Headers {
        match self {
            Self::Request => &mut exchange.request,
            Self::Response => &mut exchange.response,
        }
    }
}

/// The name of a header that a mutation may touch.
fn mutable_name(name: &str, report: &mut Report) -> Option<Name> {
    if name.starts_with(':') {
        return report.error(Problem::PseudoHeader);
    }
    match Name::parse(name.as_bytes()) {
        Ok(name) if name.is_pseudo() => report.error(Problem::PseudoHeader),
        parsed => report.take(parsed.map_err(Problem::HeaderName)),
    }
}

/// Both directions of one level.
#[derive(Clone, Debug, Default)]
pub(super) struct Level {
    pub(super) request: Option<Arc<HeaderMutations>>,
    pub(super) response: Option<Arc<HeaderMutations>>,
}

impl Level {
    /// No changes.
    pub(super) const NONE: Self = Self {
        request: None,
        response: None,
    };

    pub(super) fn build(
        request: &MutationSpec,
        response: &MutationSpec,
        report: &mut Report,
    ) -> Self {
        let [add, remove] = ["request_headers_to_add", "request_headers_to_remove"];
        let request = HeaderMutations::build(request, [add, remove], report);
        let [add, remove] = ["response_headers_to_add", "response_headers_to_remove"];
        let response = HeaderMutations::build(response, [add, remove], report);
        let some = |level: HeaderMutations| (!level.is_empty()).then(|| Arc::new(level));
        Self {
            request: some(request),
            response: some(response),
        }
    }

    /// On the request's head.
    pub(super) fn apply_request(&self, exchange: &mut Exchange, scratch: &mut Scratch) {
        if let Some(level) = &self.request {
            level.apply(Side::Request, exchange, scratch);
        }
    }

    /// On the response's head.
    pub(super) fn apply_response(&self, exchange: &mut Exchange, scratch: &mut Scratch) {
        if let Some(level) = &self.response {
            level.apply(Side::Response, exchange, scratch);
        }
    }
}

/// The levels that apply to one route, in the order in which they apply.
#[derive(Clone, Debug, Default)]
pub(super) struct Levels {
    request: Box<[Arc<HeaderMutations>]>,
    response: Box<[Arc<HeaderMutations>]>,
}

impl Levels {
    /// `levels` in the order in which they apply.
    pub(super) fn new(levels: [&Level; 3]) -> Self {
        Self {
            request: levels
                .iter()
                .filter_map(|level| level.request.clone())
                .collect(),
            response: levels
                .iter()
                .filter_map(|level| level.response.clone())
                .collect(),
        }
    }

    /// All of these, on the request's head.
    pub(super) fn apply_request(&self, exchange: &mut Exchange, scratch: &mut Scratch) {
        for level in &self.request {
            level.apply(Side::Request, exchange, scratch);
        }
    }

    /// The same on the response's head.
    pub(super) fn apply_response(&self, exchange: &mut Exchange, scratch: &mut Scratch) {
        for level in &self.response {
            level.apply(Side::Response, exchange, scratch);
        }
    }
}

#[cfg(test)]
mod tests;
