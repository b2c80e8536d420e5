//! What was written: a configuration of Envoy's v3 API, as types.
//!
//! Owns reading YAML and JSON into the model, and telling what is wrong with it so that it can be
//! put right: all errors at once, each with its file, line, column and path. Called by `main`, and
//! by `build`, which turns the model into what runs and adds its own errors to the same
//! [`Diagnostics`] by the [`Place`] they belong to. Does not own what needs more than one message
//! to check, such as a route's cluster.
//!
//! In reading order: [`source`] (texts), [`document`] (the tree of what was written), `schema`
//! (what Envoy's API has), `de` (from the tree to the model), then the model, a file for a noun:
//! [`bootstrap`], [`listener`], [`http_connection_manager`], [`route`], [`cluster`] and so on. A
//! type of the model has the fields that the proxy implements; every other field of Envoy's API is
//! an error that says so.

pub mod access_log;
pub mod address;
pub mod admin;
pub mod bootstrap;
pub mod chain_matcher;
pub mod circuit_breaker;
pub mod client_address;
pub mod client_cert_matcher;
pub mod cluster;
mod de;
pub mod diagnostic;
pub mod dns;
pub mod document;
pub mod endpoint;
pub mod filter;
pub mod header;
pub mod health_check;
pub mod http_connection_manager;
pub mod json;
mod lexical;
pub mod listener;
pub mod listener_filter;
pub mod load_balancing;
pub mod load_balancing_policy;
pub mod local_reply;
pub mod log_filter;
pub mod matcher;
pub mod metadata_key;
pub mod network;
pub mod outlier_detection;
pub mod protocol;
pub mod retry;
pub mod route;
pub mod route_tests;
pub mod scalar;
mod schema;
pub mod socket_option;
pub mod source;
pub mod tls;
pub mod upstream_connection;
pub mod upstream_tls;

pub use crate::config::bootstrap::Bootstrap;
pub use crate::config::diagnostic::{Diagnostic, Diagnostics, Severity};
pub use crate::config::document::{Document, Place};
pub use crate::config::source::{ReadError, Source, Span};

use serde::de::DeserializeOwned;

use crate::config::route_tests::RouteTests;
use crate::config::source::Sources;
use crate::config::tls::SecretFile;

/// A configuration that could be read.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub bootstrap: Bootstrap,
    /// How it was written, to say where something stands.
    pub document: Document,
    /// What is wrong with it so far; `build` adds to it, and refuses it where there are errors.
    pub diagnostics: Diagnostics,
}

/// Reads a configuration from its sources. A later source is laid over an earlier one as protobuf
/// merges messages: what is in both is replaced, messages are merged, lists are joined.
///
/// # Errors
///
/// All that is wrong with the texts, or else all that is wrong with what they say.
pub fn load(sources: Vec<Source>) -> Result<Loaded, Diagnostics> {
    let (bootstrap, document, diagnostics) = decode(sources)?;
    Ok(Loaded {
        bootstrap,
        document,
        diagnostics,
    })
}

/// Reads a file of tests for routes.
///
/// # Errors
///
/// All that is wrong with it.
pub fn load_route_tests(source: Source) -> Result<RouteTests, Diagnostics> {
    let (tests, _, diagnostics) = decode(vec![source])?;
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    Ok(tests)
}

/// Reads a file of secrets.
///
/// # Errors
///
/// All that is wrong with it.
pub fn load_secrets(source: Source) -> Result<SecretFile, Diagnostics> {
    let (secrets, _, diagnostics) = decode(vec![source])?;
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    Ok(secrets)
}

/// The message that the sources hold, how it was written, and what is wrong with it although it can
/// be looked at further.
fn decode<T: DeserializeOwned>(
    sources: Vec<Source>,
) -> Result<(T, Document, Diagnostics), Diagnostics> {
    let sources = Sources::new(sources);
    let mut diagnostics = Diagnostics::new(sources.clone());
    let mut document = Document::empty();
    let empty = document.root_id();
    for (index, source) in sources.iter().enumerate() {
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        match source.text() {
            Ok(text) => {
                if source.is_json() {
                    document.note_json(index);
                }
                let parsed = document::parse::parse(&mut document, text, index, &mut diagnostics);
                let Some(root) = parsed else { continue };
                if document.root_id() == empty {
                    document.set_root(root);
                } else {
                    let under = document.root_id();
                    document::merge::merge(&mut document, under, root);
                }
            }
            Err(span) => {
                diagnostics.error_at(span.in_source(index), "not UTF-8 text");
            }
        }
    }
    // A text that is broken says too little to be checked any further.
    let readable = !diagnostics.has_errors();
    match de::decode(&document, &mut diagnostics) {
        Some(message) if readable => Ok((message, document, diagnostics)),
        _ => Err(diagnostics),
    }
}

#[cfg(test)]
mod tests;
