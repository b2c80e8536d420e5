//! `setup`: names, attributes and formats, looked up once while a filter is configured.
//!
//! Formats are compiled once for all instances of a filter and kept with it.

use std::sync::Arc;

use super::super::bindings::setup::Host;
use super::super::slot::FormatText;
use super::super::state::State;
use super::{check_text, intern};
use crate::headers::Name;
use crate::observe::format::Attribute;

impl Host for State {
    fn intern_header(&mut self, name: String) -> Result<u32, String> {
        check_text(self, &name)?;
        let name = Name::parse(name.as_bytes()).map_err(|error| error.to_string())?;
        intern(&mut self.opened.names, name, PartialEq::eq)
    }

    fn find_attribute(&mut self, name: String) -> Result<u32, String> {
        check_text(self, &name)?;
        let attribute = Attribute::parse(&name).map_err(|error| error.to_string())?;
        intern(&mut self.opened.attributes, attribute, PartialEq::eq)
    }

    fn compile_format(&mut self, text: String) -> Result<u32, String> {
        check_text(self, &text)?;
        let format = self.shared.format(FormatText::Text(text))?;
        intern(&mut self.opened.formats, format, Arc::ptr_eq)
    }

    fn compile_json_format(&mut self, document: String, omit_empty: bool) -> Result<u32, String> {
        check_text(self, &document)?;
        let format = self.shared.format(FormatText::Json {
            document,
            omit_empty,
        })?;
        intern(&mut self.opened.formats, format, Arc::ptr_eq)
    }
}
