//! `envoy.access_loggers.{file, stdout, stderr}`: writes one line for each stream when it has ended.

mod config;
#[cfg(test)]
mod tests;

use nuncio_sdk::{Filter, Format, Interest, Log, Result, Setup, Sink};

pub use config::{Config, DataSource, Layout, SubstitutionFormatString};

/// The filter.
#[derive(Debug)]
pub struct AccessLog {
    sink: Sink,
    format: Format,
    /// Whether what is missing is nothing in place of `-`.
    missing_is_empty: bool,
}

impl Filter for AccessLog {
    type Config = Config;
    type Stream = ();

    fn configure(config: Config, setup: &mut Setup) -> Result<Self> {
        let target = config.target()?;
        let (format, missing_is_empty) = match config.layout()? {
            Layout::Text { format, omit_empty } => (setup.format(&format)?, omit_empty),
            Layout::Json {
                document,
                omit_empty,
            } => (setup.json_format(&document, omit_empty)?, false),
        };
        // Last, so that a bad format leaves no file behind.
        Ok(Self {
            sink: setup.log_sink(&target)?,
            format,
            missing_is_empty,
        })
    }

    fn interest(&self) -> Interest {
        Interest::new().log()
    }

    fn on_log(&self, _: &mut (), cx: &mut Log<'_>) -> Result<()> {
        if self.missing_is_empty {
            self.sink.write(&cx.render(self.format));
        } else {
            cx.write_format(self.sink, self.format);
        }
        Ok(())
    }
}

nuncio_sdk::export_filter!(AccessLog);
