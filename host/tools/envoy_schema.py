#!/usr/bin/env python3
"""Writes host/src/config/schema/envoy.txt: the names and constraints of Envoy's v3 messages.

The proxy reads the table to tell a misspelt field from one that Envoy has and the proxy has not, and
to enforce the constraints that Envoy's own API declares. It holds names and numbers, no texts.

    python3 -m venv venv && venv/bin/pip install xds-protos==1.85.0
    venv/bin/python host/tools/envoy_schema.py > host/src/config/schema/envoy.txt

One line a message or enum, sorted by name so that a lookup is a binary search:

    <full name> <field> <field> ...       a message
    <full name> <VALUE>=<number> ...      an enum

A field is `name`, then any of these, in this order:

    |oneof       a member of that oneof
    =w           a wrapper (google.protobuf.UInt32Value and the like)
    {a,b,c}      constraints on its value:
                 len>=N len<=N          string and bytes
                 items>=N items<=N      lists and maps
                 >=N >N <=N <N          numbers; `s` after N: a duration
                 !=N                    enums
                 name value line        a header's name, its value, no line breaks
                 each.<constraint>      of every element

`-name` is a field of Envoy's v2 API that v3 has removed. Messages that only services, access-log
consumers or xDS servers see are left out.
"""

import importlib
import os
import sys
import warnings

warnings.filterwarnings("ignore")

import envoy  # noqa: E402
import udpa  # noqa: E402
import xds  # noqa: E402
from google.protobuf import descriptor_pb2  # noqa: E402
from validate import validate_pb2  # noqa: E402

WRAPPERS = {
    f"google.protobuf.{name}Value"
    for name in ("UInt32", "UInt64", "Int32", "Int64", "Bool", "Double", "Float", "String", "Bytes")
}
# What Envoy 1.40 has and the package has not yet: fields of known messages, and messages.
NEWER_FIELDS = {
    "envoy.config.route.v3.RouteMatch": ["cookies"],
    "envoy.extensions.filters.http.router.v3.Router": ["reject_connect_request_early_data"],
    "envoy.config.route.v3.RedirectAction": ["path_rewrite|path_rewrite_specifier"],
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager": [
        "forward_proto_config",
        "record_route_resolution_stats",
    ],
    "envoy.config.core.v3.HealthCheck": ["name"],
    "envoy.extensions.clusters.dns.v3.DnsCluster": ["dns_min_refresh_rate{>=1s}"],
    "envoy.config.listener.v3.Listener": ["tcp_keepalive"],
    "envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost": ["selected_host_key"],
    "envoy.extensions.filters.http.stateful_session.v3.StatefulSession": [
        "status_on_strict_destination_not_found"
    ],
}
NEWER_MESSAGES = [
    "envoy.extensions.filters.network.http_connection_manager.v3.ForwardProtoConfig"
    " https_destination_ports http_destination_ports",
    "envoy.config.route.v3.CookieMatcher name{len>=1} string_match invert_match",
    "envoy.extensions.clusters.original_dst.v3.OriginalDstCluster use_http_header http_header_name"
    " upstream_port_override=w{<=65535} metadata_key",
]
# Packages whose top-level messages a configuration can name in an `@type`.
ROOTS = ("envoy.config.", "envoy.extensions.", "envoy.type.", "xds.type.", "udpa.type.")


def modules():
    for root in (envoy, xds, udpa):
        for base in root.__path__:
            for folder, _, files in os.walk(base):
                for file in sorted(files):
                    if file.endswith("_pb2.py"):
                        path = os.path.relpath(os.path.join(folder, file), os.path.dirname(base))
                        yield importlib.import_module(path[:-3].replace("/", "."))


def number(value):
    text = repr(value)
    return text[:-2] if text.endswith(".0") else text


def seconds(value):
    return number(value.seconds + value.nanos / 1e9) + "s"


def bounds(rules, show):
    for key, sign in (("gt", ">"), ("gte", ">="), ("lt", "<"), ("lte", "<=")):
        if rules.HasField(key):
            yield sign + show(getattr(rules, key))


def constraints(rules):
    """The constraints of one FieldRules, as texts."""
    kind = rules.WhichOneof("type")
    if kind in ("string", "bytes"):
        inner = getattr(rules, kind)
        for key, text in (("min_len", "len>="), ("max_len", "len<="),
                          ("min_bytes", "len>="), ("max_bytes", "len<=")):
            if key in inner.DESCRIPTOR.fields_by_name and inner.HasField(key):
                yield text + str(getattr(inner, key))
        if kind == "string" and inner.HasField("well_known_regex"):
            strict = inner.strict if inner.HasField("strict") else True
            yield {1: "name", 2: "value"}[inner.well_known_regex] if strict else "line"
    elif kind in ("uint32", "uint64", "int32", "int64", "double", "float"):
        yield from bounds(getattr(rules, kind), number)
    elif kind == "duration":
        yield from bounds(rules.duration, seconds)
    elif kind == "enum":
        for value in rules.enum.not_in:
            yield f"!={value}"
    elif kind == "repeated":
        if rules.repeated.HasField("min_items"):
            yield f"items>={rules.repeated.min_items}"
        if rules.repeated.HasField("max_items"):
            yield f"items<={rules.repeated.max_items}"
        if rules.repeated.HasField("items"):
            for inner in constraints(rules.repeated.items):
                yield "each." + inner
    elif kind == "map" and rules.map.HasField("min_pairs"):
        yield f"items>={rules.map.min_pairs}"


def field_text(field):
    text = field.name
    oneof = field.containing_oneof
    if oneof and not (len(oneof.fields) == 1 and oneof.name.startswith("_")):
        text += "|" + oneof.name
    if field.message_type and field.message_type.full_name in WRAPPERS:
        text += "=w"
    options = field.GetOptions()
    if options.HasExtension(validate_pb2.rules):
        rules = list(constraints(options.Extensions[validate_pb2.rules]))
        if rules:
            text += "{" + ",".join(dict.fromkeys(rules)) + "}"
    return text


def main():
    messages, enums = {}, {}

    def add(message):
        if message.full_name in messages or message.full_name.startswith("google."):
            return
        if message.GetOptions().map_entry:
            for field in message.fields:
                follow(field)
            return
        messages[message.full_name] = message
        for field in message.fields:
            follow(field)
        for inner in message.nested_types:
            add(inner)

    def follow(field):
        if field.message_type:
            add(field.message_type)
        if field.enum_type and not field.enum_type.full_name.startswith("google."):
            enums[field.enum_type.full_name] = field.enum_type

    for module in modules():
        package = module.DESCRIPTOR.package + "."
        if package.startswith(ROOTS) and (package.startswith("xds.") or package.startswith("udpa.")
                                          or ".v3." in package):
            for message in module.DESCRIPTOR.message_types_by_name.values():
                add(message)

    lines = list(NEWER_MESSAGES)
    for name, message in messages.items():
        described = descriptor_pb2.DescriptorProto()
        message.CopyToProto(described)
        fields = [field_text(field) for field in message.fields
                  if not field.name.startswith("hidden_envoy_")]
        fields += NEWER_FIELDS.get(name, [])
        fields += ["-" + old for old in described.reserved_name if not old.startswith("hidden_")]
        lines.append(" ".join([name, *fields]))
    for name, enum in enums.items():
        values = [f"{value.name}={value.number}" for value in enum.values
                  if not value.name.startswith("hidden_envoy_")]
        lines.append(" ".join([name, *values]))
    sys.stdout.write("".join(line + "\n" for line in sorted(lines, key=lambda line: line.split(" ")[0])))


if __name__ == "__main__":
    main()
