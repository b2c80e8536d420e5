//! The downstream side over HTTP/2: in clear text by prior knowledge, or over TLS.
//!
//! Owns one connection for each call. It can only send what the `h2` crate accepts: malformed
//! frames are the matter of h2spec. Called by the suites and by [`crate::compare`].

use std::future::poll_fn;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Uri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsConnector;

use crate::client::PATIENCE;
use crate::h2_origin::{header_lines, read_body};
use crate::message::summary;
use crate::tls;
use crate::varying;

/// A request to send.
#[derive(Clone, Debug)]
pub struct H2Send {
    method: String,
    scheme: String,
    authority: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    trailers: Vec<(String, String)>,
    protocol: Option<String>,
}

impl H2Send {
    /// A request to `http://a.example` without body; the path may hold a query, or be `*`.
    #[must_use]
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            scheme: "http".to_owned(),
            authority: "a.example".to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: None,
            trailers: Vec::new(),
            protocol: None,
        }
    }

    /// A plain CONNECT.
    #[must_use]
    pub fn connect(authority: &str) -> Self {
        Self {
            authority: authority.to_owned(),
            ..Self::new("CONNECT", "")
        }
    }

    /// An extended CONNECT (RFC 8441) for that protocol.
    #[must_use]
    pub fn extended(protocol: &str, path: &str) -> Self {
        Self {
            protocol: Some(protocol.to_owned()),
            ..Self::new("CONNECT", path)
        }
    }

    /// A gRPC request with one empty message.
    #[must_use]
    pub fn grpc(path: &str) -> Self {
        Self::new("POST", path)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body([0; 5])
    }

    /// Replaces scheme and authority, for instance `https://b.example:8080`.
    #[must_use]
    pub fn base(mut self, base: &str) -> Self {
        let (scheme, authority) = base.split_once("://").expect("scheme and authority");
        self.scheme = scheme.to_owned();
        self.authority = authority.to_owned();
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body; an empty one is an empty DATA frame.
    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    /// Adds a trailer.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn trailer_map(&self) -> Option<HeaderMap> {
        let mut trailers = HeaderMap::new();
        for (name, value) in &self.trailers {
            let name: http::HeaderName = name.parse().unwrap();
            trailers.append(name, value.parse().unwrap());
        }
        (!trailers.is_empty()).then_some(trailers)
    }

    fn request(&self) -> Request<()> {
        let mut uri = Uri::builder().authority(self.authority.as_str());
        if !self.path.is_empty() {
            uri = uri
                .scheme(self.scheme.as_str())
                .path_and_query(self.path.as_str());
        }
        let mut request = Request::builder()
            .method(self.method.as_str())
            .uri(uri.build().unwrap());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(protocol) = &self.protocol {
            request = request.extension(h2::ext::Protocol::from(protocol.as_str()));
        }
        request.body(()).unwrap()
    }
}

/// Sends a request whose body is in `chunks`, each of which is sent when the one before has come back
/// from an upstream that echoes, and then its trailers. The answer, as from [`send`].
#[must_use]
pub fn converse(address: SocketAddr, request: &H2Send, chunks: &[&str]) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = LocalSet::new();
    let echoed = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = spawn_local(connection);
        let mut client = client.ready().await.unwrap();
        let (response, mut up) = client.send_request(request.request(), false).unwrap();
        let (head, mut down) = response.await.unwrap().into_parts();
        let mut lines = vec![format!("HTTP/2 {}", head.status.as_u16())];
        for chunk in chunks {
            up.send_data(Bytes::from((*chunk).to_owned()), false)
                .unwrap();
            let mut back = Vec::new();
            while back.len() < chunk.len() {
                let data = down.data().await.expect("the echo goes on").unwrap();
                down.flow_control().release_capacity(data.len()).unwrap();
                back.extend_from_slice(&data);
            }
            assert_eq!(back, chunk.as_bytes());
            lines.push(format!("[chunk] {chunk}"));
        }
        match request.trailer_map() {
            Some(trailers) => up.send_trailers(trailers).unwrap(),
            None => up.send_data(Bytes::new(), true).unwrap(),
        }
        let (rest, trailers) = read_body(&mut down).await.unwrap();
        assert!(rest.is_empty(), "more came back than was sent: {rest:?}");
        lines.extend(
            trailers
                .iter()
                .flat_map(|map| header_lines(map, "trailer ")),
        );
        connection.abort();
        lines
    };
    let bounded = async { tokio::time::timeout(PATIENCE, echoed).await };
    let lines = runtime.block_on(local.run_until(bounded));
    lines.expect("an echo does not come")
}

/// What a client does with a tunnel.
#[derive(Clone, Debug)]
pub enum H2Step {
    /// Sends bytes.
    Send(&'static str),
    /// Reads that many bytes.
    Receive(usize),
    /// Ends its direction.
    End,
    /// Reads what still comes, to the end of the stream.
    ReceiveToEnd,
}

/// Opens a tunnel on a connection that is open already and takes the steps; what comes, line by
/// line.
#[must_use]
pub fn tunnel_on(stream: std::net::TcpStream, request: &H2Send, steps: &[H2Step]) -> Vec<String> {
    on(stream, async |stream, lines| {
        tunnel(stream, request, steps, lines).await
    })
}

async fn tunnel(
    stream: TcpStream,
    send: &H2Send,
    steps: &[H2Step],
    lines: &mut Vec<String>,
) -> Result<(), h2::Error> {
    let (client, connection) = h2::client::handshake(stream).await?;
    let connection = spawn_local(connection);
    let mut client = client.ready().await?;
    let (response, mut up) = client.send_request(send.request(), false)?;
    let (head, mut down) = response.await?.into_parts();
    lines.push(format!("HTTP/2 {}", head.status.as_u16()));
    lines.extend(header_lines(&head.headers, ""));
    let mut came = Vec::new();
    for step in steps {
        match step {
            H2Step::Send(text) => up.send_data(Bytes::from_static(text.as_bytes()), false)?,
            H2Step::Receive(count) => {
                while came.len() < *count
                    && let Some(data) = down.data().await.transpose()?
                {
                    down.flow_control().release_capacity(data.len())?;
                    came.extend_from_slice(&data);
                }
                let rest = came.split_off((*count).min(came.len()));
                lines.push(format!("[bytes] {}", varying::raw(&came)));
                came = rest;
            }
            H2Step::End => up.send_data(Bytes::new(), true)?,
            H2Step::ReceiveToEnd => {
                while let Some(data) = down.data().await.transpose()? {
                    down.flow_control().release_capacity(data.len())?;
                    came.extend_from_slice(&data);
                }
                lines.push(format!("[bytes] {}, end", varying::raw(&came)));
            }
        }
    }
    drop(client);
    connection.abort();
    Ok(())
}

/// Sends one request on a connection of its own. The answer, line by line: status, headers, body,
/// trailers, or how the stream or the connection failed.
#[must_use]
pub fn send(address: SocketAddr, request: &H2Send) -> Vec<String> {
    let stream = std::net::TcpStream::connect(address);
    send_on(
        stream.unwrap_or_else(|error| panic!("connecting to {address}: {error}")),
        request,
    )
}

/// Like [`send`], on a connection that is open already.
#[must_use]
pub fn send_on(stream: std::net::TcpStream, request: &H2Send) -> Vec<String> {
    on(stream, async |stream, lines| {
        exchange(stream, request, lines).await
    })
}

/// Like [`send_on`] over TLS; what was agreed on comes first.
#[must_use]
pub fn send_over_tls(
    stream: std::net::TcpStream,
    client: &tls::Client,
    request: &H2Send,
) -> Vec<String> {
    on(stream, async |stream, lines| {
        let connector = TlsConnector::from(client.config());
        match connector.connect(client.name(), stream).await {
            Ok(stream) => {
                lines.push(tls::agreed(stream.get_ref().1));
                exchange(stream, request, lines).await
            }
            Err(_) => {
                lines.push("refused".to_owned());
                Ok(())
            }
        }
    })
}

/// Runs `with` on a connection, for as long as anybody would wait.
fn on(
    stream: std::net::TcpStream,
    with: impl AsyncFnOnce(TcpStream, &mut Vec<String>) -> Result<(), h2::Error>,
) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_nonblocking(true).unwrap();
    let local = LocalSet::new();
    runtime.block_on(local.run_until(async {
        let stream = TcpStream::from_std(stream).unwrap();
        let mut lines = Vec::new();
        match tokio::time::timeout(PATIENCE, with(stream, &mut lines)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => lines.push(failure(&error)),
            Err(_) => lines.push("[silence]".to_owned()),
        }
        lines
    }))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    send: &H2Send,
    lines: &mut Vec<String>,
) -> Result<(), h2::Error> {
    let (client, connection) = h2::client::handshake(stream).await?;
    let connection = spawn_local(connection);
    let mut client = client.ready().await?;
    let ends_with_head = send.body.is_none() && send.trailers.is_empty();
    let (mut response, mut body) = client.send_request(send.request(), ends_with_head)?;
    if let Some(bytes) = &send.body {
        body.send_data(Bytes::from(bytes.clone()), send.trailers.is_empty())?;
    }
    if let Some(trailers) = send.trailer_map() {
        body.send_trailers(trailers)?;
    }
    while let Some(interim) = poll_fn(|cx| response.poll_informational(cx)).await {
        let interim = interim?;
        lines.push(format!("HTTP/2 {}", interim.status().as_u16()));
        lines.extend(header_lines(interim.headers(), ""));
    }
    let (head, mut body) = response.await?.into_parts();
    lines.push(format!("HTTP/2 {}", head.status.as_u16()));
    lines.extend(header_lines(&head.headers, ""));
    if body.is_end_stream() {
        lines.push("[no body]".to_owned());
    } else {
        let (bytes, trailers) = read_body(&mut body).await?;
        lines.push(format!("[body] {}", summary(&bytes)));
        lines.extend(
            trailers
                .iter()
                .flat_map(|trailers| header_lines(trailers, "trailer ")),
        );
    }
    drop(client);
    connection.abort();
    Ok(())
}

/// One line for a failure, with what tells one from another and nothing that timing decides.
fn failure(error: &h2::Error) -> String {
    match error.reason() {
        Some(reason) if error.is_reset() => format!("[stream reset] {reason:?}"),
        Some(reason) if error.is_go_away() => format!("[goaway] {reason:?}"),
        _ => "[connection ended]".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h2_origin::{H2Origin, H2Reply};

    #[test]
    fn what_is_sent_arrives_and_what_is_answered_comes_back() {
        let origin = H2Origin::start_on(0);
        let reply = H2Reply::status(404)
            .header("x-a", "1")
            .body("gone")
            .trailer("x-t", "2");
        origin.reply_with([reply]);
        let request = H2Send::new("POST", "/p?q")
            .header("x-b", "3")
            .body("abc")
            .trailer("x-u", "4");
        let answer = send(origin.address(), &request);
        assert_eq!(
            answer,
            ["HTTP/2 404", "x-a: 1", "[body] gone", "trailer x-t: 2"]
        );
        let lines = origin.take_requests().remove(0).lines;
        let expected = [
            "POST /p?q HTTP/2",
            ":scheme http",
            ":authority a.example",
            "x-b: 3",
            "[body] abc",
            "trailer x-u: 4",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn resets_are_told_from_other_ends() {
        let origin = H2Origin::start_on(0);
        let early = H2Reply::status(200).reset(h2::Reason::REFUSED_STREAM);
        let late = H2Reply::status(200).body("abc").reset(h2::Reason::CANCEL);
        origin.reply_with([early, late]);
        let request = H2Send::new("GET", "/");
        assert_eq!(
            send(origin.address(), &request),
            ["[stream reset] REFUSED_STREAM"]
        );
        assert_eq!(
            send(origin.address(), &request),
            ["HTTP/2 200", "[stream reset] CANCEL"]
        );
        assert_eq!(origin.connections(), 2);
    }
}
