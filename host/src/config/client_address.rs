//! Where a client's address comes from: `envoy.extensions.http.original_ip_detection`.

use serde::{Deserialize, Serialize};

use crate::config::address::CidrRange;
use crate::config::filter::HttpStatus;

/// An entry of `original_ip_detection_extensions`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.TypedExtensionConfig")]
pub struct OriginalIpDetection {
    /// Any name.
    pub name: String,
    /// The extension.
    #[serde(rename = "any:typed_config")]
    pub typed_config: OriginalIpDetectionConfig,
}

/// The extensions that there are.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:original IP detection")]
pub enum OriginalIpDetectionConfig {
    /// From `x-forwarded-for`.
    #[serde(rename = "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig")]
    Xff(XffConfig),
    /// From another field.
    #[serde(
        rename = "envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig"
    )]
    CustomHeader(CustomHeaderConfig),
}

/// `envoy.extensions.http.original_ip_detection.xff.v3.XffConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig")]
pub struct XffConfig {
    /// How many addresses at the end are those of proxies.
    #[serde(default)]
    pub xff_num_trusted_hops: u32,
    /// The addresses of proxies, in place of their number.
    #[serde(default)]
    pub xff_trusted_cidrs: Option<XffTrustedCidrs>,
    /// Whether the address of the connection is not added; true by default.
    #[serde(default)]
    pub skip_xff_append: Option<bool>,
}

/// `envoy.extensions.http.original_ip_detection.xff.v3.XffTrustedCidrs`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.http.original_ip_detection.xff.v3.XffTrustedCidrs")]
pub struct XffTrustedCidrs {
    /// The ranges.
    #[serde(default)]
    pub cidrs: Vec<CidrRange>,
}

/// `envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig")]
pub struct CustomHeaderConfig {
    /// The field.
    pub header_name: String,
    /// Whether such an address may be an internal one.
    #[serde(default)]
    pub allow_extension_to_set_address_as_trusted: bool,
    /// What a request without a good address is answered; it is served by default.
    #[serde(default)]
    pub reject_with_status: Option<HttpStatus>,
}
