//! The statistics of a cluster (`cluster.<name>.`).
//!
//! Owns which there are. The pools, discovery and the health checker count into a worker's shard;
//! the data path adds what only it can know (statuses, times, resets, retries). What circuit
//! breakers show is read from the breakers themselves.

use crate::observe::stats::stats;

stats! {
    /// One shard of a cluster's statistics. Names are Envoy's.
    pub struct ClusterStats {
        counter health_check_attempt = "health_check.attempt",
        counter health_check_failure = "health_check.failure",
        counter health_check_network_failure = "health_check.network_failure",
        counter health_check_passive_failure = "health_check.passive_failure",
        counter health_check_success = "health_check.success",
        counter health_check_verify_cluster = "health_check.verify_cluster",
        gauge health_check_degraded = "health_check.degraded",
        gauge health_check_healthy = "health_check.healthy",

        gauge dns_stale,
        gauge dns_stale_seconds,
        counter lb_healthy_panic,
        counter lb_local_cluster_not_ok,
        counter lb_recalculate_zone_structures,
        gauge lb_subsets_active,
        counter lb_subsets_created,
        counter lb_subsets_fallback,
        counter lb_subsets_fallback_panic,
        counter lb_subsets_removed,
        counter lb_subsets_selected,
        counter lb_zone_cluster_too_small,
        counter lb_zone_no_capacity_left,
        counter lb_zone_number_differs,
        counter lb_zone_routing_all_directly,
        counter lb_zone_routing_cross_zone,
        counter lb_zone_routing_sampled,
        gauge max_host_weight,
        counter membership_change,
        gauge membership_degraded,
        gauge membership_excluded,
        gauge membership_healthy,
        gauge membership_total,
        counter original_dst_host_invalid,
        counter retry_or_shadow_abandoned,
        counter update_attempt,
        counter update_empty,
        counter update_failure,
        counter update_no_rebuild,
        counter update_success,
        gauge warming_state,

        counter upstream_flow_control_backed_up_total,
        counter upstream_flow_control_drained_total,
        counter upstream_flow_control_paused_reading_total,
        counter upstream_flow_control_resumed_reading_total,

        gauge upstream_cx_active,
        counter upstream_cx_connect_attempts_exceeded,
        counter upstream_cx_connect_fail,
        counter upstream_cx_connect_timeout,
        counter upstream_cx_destroy,
        counter upstream_cx_destroy_local,
        counter upstream_cx_destroy_local_with_active_rq,
        counter upstream_cx_destroy_remote,
        counter upstream_cx_destroy_remote_with_active_rq,
        counter upstream_cx_destroy_with_active_rq,
        counter upstream_cx_http1_total,
        counter upstream_cx_http2_total,
        counter upstream_cx_idle_timeout,
        counter upstream_cx_max_duration_reached,
        counter upstream_cx_max_requests,
        counter upstream_cx_none_healthy,
        counter upstream_cx_overflow,
        counter upstream_cx_pool_overflow,
        counter upstream_cx_protocol_error,
        counter upstream_cx_rx_bytes_total,
        counter upstream_cx_total,
        counter upstream_cx_tx_bytes_total,
        histogram upstream_cx_connect_ms,
        histogram upstream_cx_length_ms,

        counter upstream_internal_redirect_failed_total,
        counter upstream_internal_redirect_succeeded_total,
        gauge upstream_rq_active,
        counter upstream_rq_active_overflow,
        counter upstream_rq_cancelled,
        counter upstream_rq_completed,
        counter upstream_rq_maintenance_mode,
        counter upstream_rq_max_duration_reached,
        gauge upstream_rq_pending_active,
        counter upstream_rq_pending_failure_eject,
        counter upstream_rq_pending_overflow,
        counter upstream_rq_pending_total,
        counter upstream_rq_per_try_idle_timeout,
        counter upstream_rq_per_try_timeout,
        counter upstream_rq_retry,
        counter upstream_rq_retry_backoff_exponential,
        counter upstream_rq_retry_backoff_ratelimited,
        counter upstream_rq_retry_limit_exceeded,
        counter upstream_rq_retry_overflow,
        counter upstream_rq_retry_success,
        counter upstream_rq_rx_reset,
        counter upstream_rq_timeout,
        counter upstream_rq_total,
        counter upstream_rq_tx_reset,
        histogram upstream_rq_per_cx,
        histogram upstream_rq_time,

        counter retry_upstream_rq_completed = "retry.upstream_rq_completed",
        codes retry_upstream_rq_by_code = "retry.upstream_rq",
        codes upstream_rq_by_code = "upstream_rq",
        codes canary_upstream_rq_by_code = "canary.upstream_rq",
        codes internal_upstream_rq_by_code = "internal.upstream_rq",
        codes external_upstream_rq_by_code = "external.upstream_rq",
        histogram canary_upstream_rq_time = "canary.upstream_rq_time",
        histogram internal_upstream_rq_time = "internal.upstream_rq_time",
        histogram external_upstream_rq_time = "external.upstream_rq_time",
        counter canary_upstream_rq_completed = "canary.upstream_rq_completed",
        counter internal_upstream_rq_completed = "internal.upstream_rq_completed",
        counter external_upstream_rq_completed = "external.upstream_rq_completed",
    }
}

stats! {
    /// What a cluster with `request_response_sizes` has besides: of each attempt.
    pub struct SizeStats {
        histogram upstream_rq_body_size,
        histogram upstream_rq_headers_count,
        histogram upstream_rq_headers_size,
        histogram upstream_rs_body_size,
        histogram upstream_rs_headers_count,
        histogram upstream_rs_headers_size,
    }
}

stats! {
    /// What a cluster with `timeout_budgets` has besides, in percent.
    pub struct BudgetStats {
        histogram upstream_rq_timeout_budget_per_try_percent_used,
        histogram upstream_rq_timeout_budget_percent_used,
    }
}

stats! {
    /// What a cluster besides has that may speak HTTP/2.
    pub struct Http2Stats {
        counter header_list_size_too_large = "http2.header_list_size_too_large",
        counter header_overflow = "http2.header_overflow",
        counter inbound_empty_frames_flood = "http2.inbound_empty_frames_flood",
        counter inbound_priority_frames_flood = "http2.inbound_priority_frames_flood",
        counter inbound_window_update_frames_flood = "http2.inbound_window_update_frames_flood",
        counter keepalive_timeout = "http2.keepalive_timeout",
        counter rx_messaging_error = "http2.rx_messaging_error",
        counter rx_reset = "http2.rx_reset",
        gauge streams_active = "http2.streams_active",
        counter tx_reset = "http2.tx_reset",
    }
}

stats! {
    /// What a `RING_HASH` cluster has besides.
    pub struct RingStats {
        gauge size = "ring_hash_lb.size",
        gauge min_hashes_per_host = "ring_hash_lb.min_hashes_per_host",
        gauge max_hashes_per_host = "ring_hash_lb.max_hashes_per_host",
    }
}

stats! {
    /// What a `MAGLEV` cluster has besides.
    pub struct MaglevStats {
        gauge min_entries_per_host = "maglev_lb.min_entries_per_host",
        gauge max_entries_per_host = "maglev_lb.max_entries_per_host",
    }
}

stats! {
    /// What a cluster with outlier detection has besides. The control thread writes them.
    pub struct OutlierStats {
        gauge ejections_active = "outlier_detection.ejections_active",
        counter ejections_consecutive_5xx = "outlier_detection.ejections_consecutive_5xx",
        counter detected_consecutive_5xx = "outlier_detection.ejections_detected_consecutive_5xx",
        counter detected_consecutive_gateway_failure = "outlier_detection.ejections_detected_consecutive_gateway_failure",
        counter detected_consecutive_local_origin_failure = "outlier_detection.ejections_detected_consecutive_local_origin_failure",
        counter detected_failure_percentage = "outlier_detection.ejections_detected_failure_percentage",
        counter detected_local_origin_failure_percentage = "outlier_detection.ejections_detected_local_origin_failure_percentage",
        counter detected_local_origin_success_rate = "outlier_detection.ejections_detected_local_origin_success_rate",
        counter detected_success_rate = "outlier_detection.ejections_detected_success_rate",
        counter enforced_consecutive_5xx = "outlier_detection.ejections_enforced_consecutive_5xx",
        counter enforced_consecutive_gateway_failure = "outlier_detection.ejections_enforced_consecutive_gateway_failure",
        counter enforced_consecutive_local_origin_failure = "outlier_detection.ejections_enforced_consecutive_local_origin_failure",
        counter enforced_failure_percentage = "outlier_detection.ejections_enforced_failure_percentage",
        counter enforced_local_origin_failure_percentage = "outlier_detection.ejections_enforced_local_origin_failure_percentage",
        counter enforced_local_origin_success_rate = "outlier_detection.ejections_enforced_local_origin_success_rate",
        counter enforced_success_rate = "outlier_detection.ejections_enforced_success_rate",
        counter ejections_enforced_total = "outlier_detection.ejections_enforced_total",
        counter ejections_overflow = "outlier_detection.ejections_overflow",
        counter ejections_success_rate = "outlier_detection.ejections_success_rate",
        counter ejections_total = "outlier_detection.ejections_total",
    }
}
