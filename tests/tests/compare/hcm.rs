//! The connection manager's options: what the groups about them share.

use nuncio_tests::compare::case::{Case, Group};

const FRAME: &str = include_str!("../../cases/hcm.yaml");
const LISTENER: &str = include_str!("../../cases/hcm_listener.yaml");

/// A listener whose connection manager has `options`, lines of YAML.
pub(crate) struct With {
    pub(crate) name: &'static str,
    pub(crate) options: &'static str,
    /// `access_log[0].filter`, lines of YAML; empty for none.
    pub(crate) log_filter: &'static str,
}

/// A listener that logs everything.
pub(crate) const fn with(name: &'static str, options: &'static str) -> With {
    With {
        name,
        options,
        log_filter: "",
    }
}

/// A group over these listeners. The first is named `listener`.
pub(crate) fn group(name: &'static str, listeners: &[With], cases: Vec<Case>) -> Group {
    let written: String = listeners
        .iter()
        .map(|listener| {
            let options = indented(listener.options, 10);
            let filter = indented(listener.log_filter, 12);
            LISTENER
                .replace("          #@OPTIONS@\n", &options)
                .replace("            #@LOG_FILTER@\n", &filter)
                .replace("@NAME@", listener.name)
        })
        .collect();
    let template = FRAME.replace("#@LISTENERS@\n", &written);
    Group::new(name, &template, cases)
}

/// `lines` that far to the right.
fn indented(lines: &str, by: usize) -> String {
    let lines = lines.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| format!("{:by$}{line}\n", "")).collect()
}
