//! `envoy.type.v3.HttpStatus`.

use serde::{Deserialize, Deserializer};

use crate::scalar::Enum;

/// A response status, by the names of `envoy.type.v3.StatusCode` or by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u16);

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct HttpStatus {
            code: Enum,
        }

        let code = HttpStatus::deserialize(deserializer)?.code;
        code.pick(STATUS_CODES)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

/// The statuses that Envoy accepts; 418, for one, is not among them.
const STATUS_CODES: &[(&str, i32, u16)] = &[
    ("Continue", 100, 100),
    ("OK", 200, 200),
    ("Created", 201, 201),
    ("Accepted", 202, 202),
    ("NonAuthoritativeInformation", 203, 203),
    ("NoContent", 204, 204),
    ("ResetContent", 205, 205),
    ("PartialContent", 206, 206),
    ("MultiStatus", 207, 207),
    ("AlreadyReported", 208, 208),
    ("IMUsed", 226, 226),
    ("MultipleChoices", 300, 300),
    ("MovedPermanently", 301, 301),
    ("Found", 302, 302),
    ("SeeOther", 303, 303),
    ("NotModified", 304, 304),
    ("UseProxy", 305, 305),
    ("TemporaryRedirect", 307, 307),
    ("PermanentRedirect", 308, 308),
    ("BadRequest", 400, 400),
    ("Unauthorized", 401, 401),
    ("PaymentRequired", 402, 402),
    ("Forbidden", 403, 403),
    ("NotFound", 404, 404),
    ("MethodNotAllowed", 405, 405),
    ("NotAcceptable", 406, 406),
    ("ProxyAuthenticationRequired", 407, 407),
    ("RequestTimeout", 408, 408),
    ("Conflict", 409, 409),
    ("Gone", 410, 410),
    ("LengthRequired", 411, 411),
    ("PreconditionFailed", 412, 412),
    ("PayloadTooLarge", 413, 413),
    ("URITooLong", 414, 414),
    ("UnsupportedMediaType", 415, 415),
    ("RangeNotSatisfiable", 416, 416),
    ("ExpectationFailed", 417, 417),
    ("MisdirectedRequest", 421, 421),
    ("UnprocessableEntity", 422, 422),
    ("Locked", 423, 423),
    ("FailedDependency", 424, 424),
    ("UpgradeRequired", 426, 426),
    ("PreconditionRequired", 428, 428),
    ("TooManyRequests", 429, 429),
    ("RequestHeaderFieldsTooLarge", 431, 431),
    ("InternalServerError", 500, 500),
    ("NotImplemented", 501, 501),
    ("BadGateway", 502, 502),
    ("ServiceUnavailable", 503, 503),
    ("GatewayTimeout", 504, 504),
    ("HTTPVersionNotSupported", 505, 505),
    ("VariantAlsoNegotiates", 506, 506),
    ("InsufficientStorage", 507, 507),
    ("LoopDetected", 508, 508),
    ("NotExtended", 510, 510),
    ("NetworkAuthenticationRequired", 511, 511),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_name_or_a_number() {
        for (json, expected) in [
            (r#"{"code": "TooManyRequests"}"#, Some(429)),
            (r#"{"code": "toomanyrequests"}"#, Some(429)),
            (r#"{"code": 503}"#, Some(503)),
            (r#"{"code": 418}"#, None),
            (r#"{"code": "Teapot"}"#, None),
            ("{}", None),
        ] {
            let read: Option<Status> = serde_json::from_str(json).ok();
            assert_eq!(read.map(|status| status.0), expected, "{json}");
        }
    }

    #[test]
    fn every_number_is_its_own_status() {
        for (name, number, status) in STATUS_CODES {
            assert_eq!(i32::from(*status), *number, "{name}");
        }
    }
}
