//! Reads two headers of the request and adds two: one to the request, one to the response.

use nuncio_sdk::{
    Filter, Flow, HeaderName, Interest, RequestHeaders, ResponseHeaders, Result, Setup,
};

struct Bench {
    path: HeaderName,
    user_agent: HeaderName,
    request: HeaderName,
    response: HeaderName,
}

impl Filter for Bench {
    type Config = Option<()>;
    type Stream = ();

    fn configure(_: Option<()>, setup: &mut Setup) -> Result<Self> {
        Ok(Self {
            path: setup.header_name(":path")?,
            user_agent: setup.header_name("user-agent")?,
            request: setup.header_name("x-bench-request")?,
            response: setup.header_name("x-bench-response")?,
        })
    }

    fn interest(&self) -> Interest {
        Interest::new().request_headers().response_headers()
    }

    fn on_request_headers(&self, _: &mut (), cx: &mut RequestHeaders<'_>) -> Result<Flow> {
        let values = cx.request().get_each([self.path, self.user_agent]);
        let [path, user_agent] = values.as_array().map(Option::unwrap_or_default);
        cx.request_mut()
            .append(self.request, [path, b"|", user_agent].concat())?;
        Ok(Flow::Next)
    }

    fn on_response_headers(&self, _: &mut (), cx: &mut ResponseHeaders<'_>) -> Result<Flow> {
        cx.response_mut().append(self.response, "1")?;
        Ok(Flow::Next)
    }
}

nuncio_sdk::export_filter!(Bench);
