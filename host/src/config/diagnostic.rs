//! What is wrong with a configuration, said so that it can be put right.
//!
//! Owns the collection of errors and warnings, their order and how they are shown. Filled by the
//! parser, the decoder and by `build`; shown by `main`. Does not own when something is wrong.

use std::fmt::{self, Write as _};

use crate::config::document::Place;
use crate::config::source::{Sources, Span};
use crate::limits::CONFIG_SHOWN_COLUMNS;

/// Whether a configuration can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but surely not as it was meant.
    Warning,
}

impl Severity {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    severity: Severity,
    span: Option<Span>,
    source: String,
    path: String,
    message: String,
    hint: Option<String>,
    related: Option<(Span, String)>,
}

impl Diagnostic {
    /// Adds how to put it right.
    pub fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a second position that has to do with it, and what it has.
    pub fn related(&mut self, span: Span, label: impl Into<String>) -> &mut Self {
        self.related = Some((span, label.into()));
        self
    }

    /// Adds a second place that has to do with it, and what it has.
    pub fn related_place(&mut self, place: Place<'_>, label: impl Into<String>) -> &mut Self {
        if let Some(span) = place.span() {
            self.related(span, label);
        }
        self
    }

    /// Whether it keeps the configuration from running.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.severity
    }

    /// The position, where there is one.
    #[must_use]
    pub const fn span(&self) -> Option<Span> {
        self.span
    }

    /// The file, or what stands for the text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The path in the configuration, as `static_resources.listeners[0].name`; empty for what has
    /// to do with the text alone.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong, without its place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    fn order(&self) -> (bool, Option<Span>) {
        (self.span.is_none(), self.span)
    }
}

/// All that is wrong with a configuration.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    sources: Sources,
    items: Vec<Diagnostic>,
}

impl Diagnostics {
    pub(super) const fn new(sources: Sources) -> Self {
        Self {
            sources,
            items: Vec::new(),
        }
    }

    /// Adds an error at a place of the configuration; the result takes a hint.
    pub fn error(&mut self, place: Place<'_>, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Error, place.span(), place.path(), message.into())
    }

    /// Adds a warning at a place of the configuration; the result takes a hint.
    pub fn warning(&mut self, place: Place<'_>, message: impl Into<String>) -> &mut Diagnostic {
        self.push(
            Severity::Warning,
            place.span(),
            place.path(),
            message.into(),
        )
    }

    /// Adds an error that has to do with the text.
    pub(super) fn error_at(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Error, Some(span), String::new(), message.into())
    }

    pub(super) fn push(
        &mut self,
        severity: Severity,
        span: Option<Span>,
        path: String,
        message: String,
    ) -> &mut Diagnostic {
        let source = span.map_or_else(|| self.sources.first(), |span| self.sources.of(span));
        let source = source.map_or_else(String::new, |source| source.name().to_owned());
        let diagnostic = Diagnostic {
            severity,
            span,
            source,
            path,
            message,
            hint: None,
            related: None,
        };
        self.items.push_mut(diagnostic)
    }

    /// Whether the configuration cannot run.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.items
            .iter()
            .any(|item| item.severity == Severity::Error)
    }

    /// How many errors there are.
    #[must_use]
    pub fn error_count(&self) -> usize {
        self.items
            .iter()
            .filter(|item| item.severity == Severity::Error)
            .count()
    }

    /// Whether there is nothing to say.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// All, in the order of their positions. What several readers of one place have found, or of one
    /// that the text has once and refers to, is there once.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut items: Vec<&Diagnostic> = Vec::new();
        let is_same = |one: &Diagnostic, other: &Diagnostic| {
            one.span.is_some() && one.span == other.span && one.message == other.message
        };
        for item in &self.items {
            if !items.iter().any(|known| is_same(known, item)) {
                items.push(item);
            }
        }
        items.sort_by_key(|item| item.order());
        items
    }

    /// All as text, in the order of their positions, for a terminal with or without colours.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let style = Style { colour };
        let mut out = String::new();
        for item in self.sorted() {
            if !out.is_empty() {
                out.push('\n');
            }
            // Writing to a string cannot fail.
            let _ = self.show(item, style, &mut out);
        }
        out
    }

    fn show(&self, item: &Diagnostic, style: Style, out: &mut String) -> fmt::Result {
        let place = match item.span {
            Some(span) => format!("{}:{}:{}", item.source, span.line(), span.column()),
            None => item.source.clone(),
        };
        let severity = item.severity;
        let label = style.paint(Paint::of(severity), severity.as_str());
        let place = style.paint(Paint::Bold, &printable(&place));
        let message = style.paint(Paint::Bold, &printable(&item.message));
        writeln!(out, "{place}: {label}: {message}")?;
        if !item.path.is_empty() {
            writeln!(out, "  at {}", printable(&item.path))?;
        }
        if let Some(span) = item.span {
            self.show_line(span, Paint::of(severity), "", style, out)?;
        }
        if let Some((span, label)) = &item.related {
            self.show_line(*span, Paint::Related, label, style, out)?;
        }
        if let Some(hint) = &item.hint {
            writeln!(
                out,
                "  {}: {}",
                style.paint(Paint::Hint, "hint"),
                printable(hint)
            )?;
        }
        Ok(())
    }

    /// The line of the source and a caret below it.
    fn show_line(
        &self,
        span: Span,
        paint: Paint,
        label: &str,
        style: Style,
        out: &mut String,
    ) -> fmt::Result {
        let Some(line) = self
            .sources
            .of(span)
            .and_then(|source| source.line(span.line()))
        else {
            return Ok(());
        };
        let column = usize::try_from(span.column())
            .unwrap_or(usize::MAX)
            .saturating_sub(1);
        let width = usize::try_from(span.width()).unwrap_or(usize::MAX);
        let (shown, indent) = window(&printable(&line), column);
        let count = shown.chars().count();
        let carets = "^".repeat(width.clamp(1, count.saturating_sub(indent).max(1)));
        let number = span.line().to_string();
        let margin = " ".repeat(number.len());
        let bar = style.paint(Paint::Margin, "|");
        writeln!(out, " {margin} {bar}")?;
        writeln!(
            out,
            " {} {bar} {}",
            style.paint(Paint::Margin, &number),
            shown.trim_end()
        )?;
        let marked = if label.is_empty() {
            carets
        } else {
            format!("{carets} {label}")
        };
        writeln!(
            out,
            " {margin} {bar} {}{}",
            " ".repeat(indent),
            style.paint(paint, &marked)
        )
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl std::error::Error for Diagnostics {}

/// The part of a long line that is shown, from a little before the column, and the column in it.
fn window(line: &str, column: usize) -> (String, usize) {
    let length = line.chars().count();
    let skipped = if column < CONFIG_SHOWN_COLUMNS - CONFIG_SHOWN_COLUMNS / 4 {
        0
    } else {
        column.saturating_sub(CONFIG_SHOWN_COLUMNS / 2).min(length)
    };
    let mut shown: String = line
        .chars()
        .skip(skipped)
        .take(CONFIG_SHOWN_COLUMNS)
        .collect();
    let indent = column.saturating_sub(skipped).min(shown.chars().count());
    let lead = if skipped > 0 { "… " } else { "" };
    if length > skipped + CONFIG_SHOWN_COLUMNS {
        shown.push_str(" …");
    }
    (format!("{lead}{shown}"), indent + lead.chars().count())
}

/// Text of a configuration for a terminal: nothing in it may act as a control sequence, and every
/// character takes one column, so that the caret stands right.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() || is_direction(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// Characters that make a terminal show text in another order than it has.
const fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[derive(Clone, Copy)]
struct Style {
    colour: bool,
}

#[derive(Clone, Copy)]
enum Paint {
    Error,
    Warning,
    Related,
    Hint,
    Margin,
    Bold,
}

impl Paint {
    const fn of(severity: Severity) -> Self {
        match severity {
            Severity::Error => Self::Error,
            Severity::Warning => Self::Warning,
        }
    }
}

impl Style {
    fn paint(self, paint: Paint, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match paint {
            Paint::Error => "1;31",
            Paint::Warning => "1;33",
            Paint::Related | Paint::Margin => "34",
            Paint::Hint => "32",
            Paint::Bold => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}
