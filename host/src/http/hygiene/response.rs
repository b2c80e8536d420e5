//! What becomes of the heads of responses: those of upstreams, and all that leave.

use super::{OF_HOP, append_list};
use crate::exchange::Exchange;
use crate::headers::{Headers, Known};
use crate::runtime::{ConnectionManager, ServerHeader};

/// What a response may not say of a client's connection, because its own codec does. `keep-alive` is not
/// of these: clients of HTTP/1 make what they will of it.
const OF_CONNECTIONS: [Known; 4] = [
    Known::Connection,
    Known::ProxyConnection,
    Known::TransferEncoding,
    Known::Upgrade,
];

/// Takes what belongs to one connection alone out of a response. One that changes the protocol keeps the
/// two fields that say so.
pub(crate) fn end_of_hop_in_response(headers: &mut Headers, switches: bool) {
    if !headers.has_any(OF_HOP) {
        return;
    }
    headers.retain(|field| match field.known {
        Some(Known::Connection | Known::Upgrade) => switches,
        Some(Known::KeepAlive | Known::ProxyConnection | Known::TransferEncoding) => false,
        _ => true,
    });
}

/// Gives a response, an interim one too, the request's identifier, where that is wanted.
pub(crate) fn tell_request_id(manager: &ConnectionManager, exchange: &mut Exchange) {
    let wanted =
        manager.always_set_request_id_in_response || exchange.request.has(Known::XEnvoyForceTrace);
    if wanted && let Some(id) = exchange.request.known(Known::XRequestId) {
        exchange.response.set_known(Known::XRequestId, id);
    }
}

/// The last touches of every response, local ones included: `date`, `server`, `via`,
/// `x-request-id`. What a route says of the connection goes: that is not its own.
pub(crate) fn response(manager: &ConnectionManager, exchange: &mut Exchange, date: &[u8]) {
    let headers = &mut exchange.response;
    for name in OF_CONNECTIONS {
        let switches = exchange.status == 101 && matches!(name, Known::Connection | Known::Upgrade);
        if headers.has(name) && !switches {
            headers.remove_known(name);
        }
    }
    if !headers.has(Known::Date) {
        headers.append_known(Known::Date, date);
    }
    match manager.server_header {
        ServerHeader::Overwrite => headers.set_known(Known::Server, &manager.server_name),
        ServerHeader::AppendIfAbsent if !headers.has(Known::Server) => {
            headers.append_known(Known::Server, &manager.server_name);
        }
        ServerHeader::AppendIfAbsent | ServerHeader::PassThrough => {}
    }
    tell_request_id(manager, exchange);
    if let Some(via) = &manager.via {
        append_list(&mut exchange.response, Known::Via, via, b", ");
    }
    if let Some(proxy_status) = &manager.proxy_status {
        proxy_status.apply(exchange);
    }
}
