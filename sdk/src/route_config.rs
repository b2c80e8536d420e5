//! What is written for some routes in place of, or on top of, a filter's configuration.
//!
//! Given to [`Filter::configure_route`](crate::Filter::configure_route). Owns nothing but the
//! documents and their order; how they are read is the business of `instance`.

use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::instance::read;

/// All that is written for a route on the way to it: at the route configuration, its virtual host,
/// the route itself and the chosen one of its weighted clusters. There is at least one.
#[derive(Debug)]
pub struct RouteConfig<'a> {
    levels: &'a [RouteLevel],
}

/// One of the places where a filter is configured for routes.
#[derive(Clone, Debug)]
pub struct RouteLevel {
    id: u32,
    document: String,
}

impl<'a> RouteConfig<'a> {
    pub(crate) const fn new(levels: &'a [RouteLevel]) -> Self {
        Self { levels }
    }

    /// Reads the most specific one.
    ///
    /// # Errors
    /// It does not fit the type; the message says where.
    pub fn read<C: DeserializeOwned>(&self) -> Result<C> {
        match self.levels.last() {
            Some(level) => level.read(),
            None => Ok(read("")?),
        }
    }

    /// The number of the place of the most specific one: see [`RouteLevel::id`].
    #[must_use]
    pub fn id(&self) -> u32 {
        self.levels.last().map_or(0, |level| level.id)
    }

    /// All of them, from the route configuration inwards: the last is the most specific.
    #[must_use]
    pub const fn levels(&self) -> &'a [RouteLevel] {
        self.levels
    }
}

impl RouteLevel {
    pub(crate) const fn new(id: u32, document: String) -> Self {
        Self { id, document }
    }

    /// Tells this place from all others where the filter is configured, in every instance. What is to
    /// be shared by all workers, and with no other route, such as a token bucket, is named after it.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Reads what is written here.
    ///
    /// # Errors
    /// It does not fit the type; the message says where.
    pub fn read<C: DeserializeOwned>(&self) -> Result<C> {
        Ok(read(&self.document)?)
    }
}
