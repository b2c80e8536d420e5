//! The stream that the current hook is about: its blocks of fields, and what can be asked in every
//! phase.
//!
//! Nothing here holds anything: each value stands for a call into the proxy, and lives as long as
//! the hook.

use std::marker::PhantomData;
use std::ops::Deref;

use crate::error::HostError;
use crate::filter::Interest;
use crate::host::{Block, Current, Host, Members, RouteKind};
use crate::resources::Sink;
use crate::setup::{Attribute, Format, HeaderName};

/// A request with its response, in any phase. Every hook's context gives access to it.
#[derive(Debug)]
pub struct Exchange<'a> {
    hook: PhantomData<&'a mut ()>,
}

impl Exchange<'_> {
    #[inline]
    pub(crate) const fn current() -> Self {
        Self { hook: PhantomData }
    }

    /// A fact about the stream; none where it is not known (yet).
    #[inline]
    #[must_use]
    pub fn attribute(&self, attribute: Attribute) -> Option<Vec<u8>> {
        Current.attribute(attribute.0)
    }

    /// Renders a format. What is missing is empty, as in a header's value.
    #[inline]
    #[must_use]
    pub fn render(&self, format: Format) -> Vec<u8> {
        Current.render(format.0)
    }

    /// Renders a format straight into a sink. What is missing is `-`, as in an access log.
    #[inline]
    pub fn write_format(&self, to: Sink, format: Format) {
        Current.write_format(to.0, format.0);
    }

    /// What a filter before this one, or this one, has left under a key.
    #[inline]
    #[must_use]
    pub fn metadata(&self, namespace: &str, key: &str) -> Option<Vec<u8>> {
        Current.metadata(namespace, key)
    }

    /// Leaves a value for later filters and for logs (`%DYNAMIC_METADATA(namespace:key)%`).
    ///
    /// # Errors
    /// [`HostError::TooLarge`].
    #[inline]
    pub fn set_metadata(
        &mut self,
        namespace: &str,
        key: &str,
        value: impl AsRef<[u8]>,
    ) -> Result<(), HostError> {
        Current.set_metadata(namespace, key, value.as_ref())
    }

    /// Adds to a counter whose name is known only now, such as that of a method; one that
    /// [`Setup::counter`](crate::Setup::counter) gives costs less. A filter has at most 1024 of them.
    pub fn count(&self, name: &str, n: u64) {
        Current.count(name, n);
    }

    /// Sets a response flag (`%RESPONSE_FLAGS%`), by Envoy's short name, such as `DI`.
    pub fn set_response_flag(&mut self, short_name: &str) {
        Current.set_response_flag(short_name);
    }

    /// Slows the response down: its body is sent on at that many bytes in a second, in pieces 50 ms apart.
    /// Of several rates the lowest counts. In the hooks of the request and of the response's headers.
    pub fn limit_response_rate(&mut self, bytes_per_second: u64) {
        Current.limit_response_rate(bytes_per_second);
    }

    /// Says what this filter wants of the current stream from the next hook on, in place of what its
    /// configuration said: less, because the stream is none of its business, or more. Whether a body
    /// comes, and how, is settled once the hook for its headers is over: then it can only be done without.
    #[inline]
    pub fn set_interest(&mut self, interest: Interest) {
        Current.set_interest(interest);
    }

    /// Whether the proxy is to be sent no more requests: somebody said so (`/healthcheck/fail`), or it
    /// is draining.
    #[must_use]
    pub fn is_proxy_failing(&self) -> bool {
        Current.is_failing()
    }

    /// The endpoints of a cluster as they are now. None where there is no such cluster.
    #[must_use]
    pub fn members(&self, cluster: &str) -> Option<Members> {
        Current.members(cluster)
    }

    /// Says that the request is about nothing but health: statistics of responses leave it out, and so
    /// do access logs that want no health checks.
    pub fn set_health_check(&mut self) {
        Current.set_health_check();
    }

    /// What the matched route does; none where no route matches.
    #[inline]
    #[must_use]
    pub fn route(&self) -> Option<RouteKind> {
        Current.route()
    }
}

/// One block of fields, to be read.
#[derive(Debug)]
pub struct Fields<'a> {
    at: Block,
    hook: PhantomData<&'a ()>,
}

impl Fields<'_> {
    #[inline]
    pub(crate) const fn at(at: Block) -> Self {
        Self {
            at,
            hook: PhantomData,
        }
    }

    /// First value of a name.
    #[inline]
    #[must_use]
    pub fn get(&self, name: HeaderName) -> Option<Vec<u8>> {
        Current.get(self.at, name.0)
    }

    /// First value of a name, as text. Bytes that are not UTF-8 become U+FFFD, so that a value which
    /// is there is never taken for one which is not.
    #[inline]
    #[must_use]
    pub fn get_str(&self, name: HeaderName) -> Option<String> {
        let value = self.get(name)?;
        Some(match String::from_utf8(value) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }

    /// First value of each of these names, in their order, in one call into the proxy: of several
    /// fields this costs less than [`get`](Self::get) for each. At most 32 names: of more, none is
    /// read.
    ///
    /// ```no_run
    /// # use nuncio_sdk::{HeaderName, RequestHeaders};
    /// # fn read(path: HeaderName, agent: HeaderName, cx: &RequestHeaders<'_>) {
    /// let values = cx.request().get_each([path, agent]);
    /// let [path, agent] = values.as_array();
    /// # }
    /// ```
    #[inline]
    #[must_use]
    pub fn get_each<const N: usize>(&self, names: [HeaderName; N]) -> Values<N> {
        Values::unpack(Current.get_each(self.at, &names.map(|name| name.0)))
    }

    /// All values of a name, in order.
    #[inline]
    #[must_use]
    pub fn get_all(&self, name: HeaderName) -> Vec<Vec<u8>> {
        Current.get_all(self.at, name.0)
    }

    /// Whether there is a field of that name.
    #[inline]
    #[must_use]
    pub fn contains(&self, name: HeaderName) -> bool {
        self.get(name).is_some()
    }

    /// All fields in order, pseudo-header fields first. Costs several microseconds where there are
    /// many: prefer [`get`](Self::get).
    #[must_use]
    pub fn entries(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        Current.entries(self.at)
    }
}

/// What [`Fields::get_each`] answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values<const N: usize> {
    packed: Vec<u8>,
    /// Where each value is.
    places: [Option<(usize, usize)>; N],
}

impl<const N: usize> Values<N> {
    /// Takes the lengths off, as `get-each` in `wit/filter.wit` says that they come.
    #[inline]
    fn unpack(packed: Vec<u8>) -> Self {
        let mut end = N * size_of::<u32>();
        let (lengths, _) = packed.as_chunks::<{ size_of::<u32>() }>();
        let mut places = [None; N];
        for (place, length) in places.iter_mut().zip(lengths) {
            let length = u32::from_le_bytes(*length);
            if length != u32::MAX {
                let start = end;
                end += length as usize;
                *place = Some((start, end));
            }
        }
        Self { packed, places }
    }

    /// The value of the name at `index` of those that were asked for; none where there is no such
    /// field.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let (start, end) = (*self.places.get(index)?)?;
        self.packed.get(start..end)
    }

    /// All of them, in the order in which they were asked for.
    #[inline]
    #[must_use]
    pub fn as_array(&self) -> [Option<&[u8]>; N] {
        std::array::from_fn(|index| self.get(index))
    }
}

/// One block of fields, to be read and changed.
#[derive(Debug)]
pub struct FieldsMut<'a> {
    fields: Fields<'a>,
}

impl<'a> Deref for FieldsMut<'a> {
    type Target = Fields<'a>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.fields
    }
}

impl FieldsMut<'_> {
    #[inline]
    pub(crate) const fn at(at: Block) -> Self {
        Self {
            fields: Fields::at(at),
        }
    }

    /// One field in place of all of that name.
    ///
    /// # Errors
    /// [`HostError`]: the block has been sent, the name may not be changed, or the value is too long
    /// or not one that HTTP allows.
    #[inline]
    pub fn set(&mut self, name: HeaderName, value: impl AsRef<[u8]>) -> Result<(), HostError> {
        Current.set(self.at, name.0, value.as_ref())
    }

    /// One more field of that name, or one more value in the line of a name of which Envoy keeps one.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    #[inline]
    pub fn append(&mut self, name: HeaderName, value: impl AsRef<[u8]>) -> Result<(), HostError> {
        Current.append(self.at, name.0, value.as_ref())
    }

    /// Takes all fields of that name out; none is fine.
    ///
    /// # Errors
    /// [`HostError`]: the block has been sent, or the name may not be removed.
    #[inline]
    pub fn remove(&mut self, name: HeaderName) -> Result<(), HostError> {
        Current.remove(self.at, name.0)
    }
}
