import { decodeMessage, encodeMessage, type Scalar, type Table } from './wire.ts'

/**
 * The part of xDS v3 that gRPC clients read and this control plane writes, by the short names used here. Field names are
 * those of the real protos; a test compares number, type and cardinality of each with them.
 */
// biome-ignore format: a table reads by column
export const FIELDS = {
  // Discovery
  DiscoveryRequest:     { version_info: [1, 'string'], node: [2, 'Node'], resource_names: [3, 'string', 'list'], type_url: [4, 'string'], response_nonce: [5, 'string'], error_detail: [6, 'Status'] },
  DiscoveryResponse:    { version_info: [1, 'string'], resources: [2, 'Any', 'list'], type_url: [4, 'string'], nonce: [5, 'string'], control_plane: [6, 'ControlPlane'] },
  ControlPlane:         { identifier: [1, 'string'] },
  Node:                 { id: [1, 'string'], cluster: [2, 'string'], locality: [4, 'Locality'], user_agent_name: [6, 'string'], user_agent_version: [7, 'string'] },
  Locality:             { region: [1, 'string'], zone: [2, 'string'], sub_zone: [3, 'string'] },
  // Well-known
  Any:                  { type_url: [1, 'string'], value: [2, 'bytes'] },
  Duration:             { seconds: [1, 'i64'], nanos: [2, 'i32'] },
  UInt32Value:          { value: [1, 'u32'] },
  UInt64Value:          { value: [1, 'u64'] },
  Status:               { code: [1, 'i32'], message: [2, 'string'] },
  // Core
  Address:              { socket_address: [1, 'SocketAddress'], pipe: [2, 'Pipe'] },
  SocketAddress:        { address: [2, 'string'], port_value: [3, 'u32', 'set'] },
  Pipe:                 { path: [1, 'string'] },
  ConfigSource:         { ads: [3, 'AggregatedSource'], self: [5, 'SelfSource'], resource_api_version: [6, 'enum'] },
  AggregatedSource:     {},
  SelfSource:           {},
  TransportSocket:      { name: [1, 'string'], typed_config: [3, 'Any'] },
  FractionalPercent:    { numerator: [1, 'u32'], denominator: [2, 'enum'] },
  RuntimeFraction:      { default_value: [1, 'FractionalPercent'] },
  // Listener
  Listener:             { name: [1, 'string'], api_listener: [19, 'ApiListener'] },
  ApiListener:          { api_listener: [1, 'Any'] },
  ConnectionManager:    { rds: [3, 'Rds'], http_filters: [5, 'HttpFilter', 'list'] },
  Rds:                  { config_source: [1, 'ConfigSource'], route_config_name: [2, 'string'] },
  HttpFilter:           { name: [1, 'string'], typed_config: [4, 'Any'] },
  Router:               {},
  // Routes
  RouteConfiguration:   { name: [1, 'string'], virtual_hosts: [2, 'VirtualHost', 'list'] },
  VirtualHost:          { name: [1, 'string'], domains: [2, 'string', 'list'], routes: [3, 'Route', 'list'], retry_policy: [16, 'RetryPolicy'] },
  Route:                { match: [1, 'RouteMatch'], route: [2, 'RouteAction'], name: [14, 'string'] },
  RouteMatch:           { prefix: [1, 'string', 'set'], path: [2, 'string', 'set'], headers: [6, 'HeaderMatcher', 'list'], runtime_fraction: [9, 'RuntimeFraction'] },
  HeaderMatcher:        { name: [1, 'string'], exact_match: [4, 'string', 'set'], present_match: [7, 'bool', 'set'], invert_match: [8, 'bool'], prefix_match: [9, 'string', 'set'] },
  RouteAction:          { cluster: [1, 'string', 'set'], weighted_clusters: [3, 'WeightedCluster'], retry_policy: [9, 'RetryPolicy'], hash_policy: [15, 'HashPolicy', 'list'], max_stream_duration: [36, 'MaxStreamDuration'] },
  MaxStreamDuration:    { max_stream_duration: [1, 'Duration'], grpc_timeout_header_max: [2, 'Duration'] },
  HashPolicy:           { header: [1, 'HashHeader'] },
  HashHeader:           { header_name: [1, 'string'] },
  WeightedCluster:      { clusters: [1, 'ClusterWeight', 'list'], total_weight: [3, 'UInt32Value'] },
  ClusterWeight:        { name: [1, 'string'], weight: [2, 'UInt32Value'] },
  RetryPolicy:          { retry_on: [1, 'string'], num_retries: [2, 'UInt32Value'], retry_back_off: [8, 'RetryBackOff'] },
  RetryBackOff:         { base_interval: [1, 'Duration'], max_interval: [2, 'Duration'] },
  // Clusters
  Cluster:              { name: [1, 'string'], type: [2, 'enum', 'set'], eds_cluster_config: [3, 'EdsClusterConfig'], lb_policy: [6, 'enum'], circuit_breakers: [10, 'CircuitBreakers'], outlier_detection: [19, 'OutlierDetection'], ring_hash_lb_config: [23, 'RingHashConfig'], transport_socket: [24, 'TransportSocket'], lrs_server: [42, 'ConfigSource'] },
  EdsClusterConfig:     { eds_config: [1, 'ConfigSource'], service_name: [2, 'string'] },
  RingHashConfig:       { minimum_ring_size: [1, 'UInt64Value'], hash_function: [3, 'enum'], maximum_ring_size: [4, 'UInt64Value'] },
  CircuitBreakers:      { thresholds: [1, 'Thresholds', 'list'] },
  Thresholds:           { priority: [1, 'enum'], max_requests: [4, 'UInt32Value'] },
  OutlierDetection:     { interval: [2, 'Duration'], base_ejection_time: [3, 'Duration'], max_ejection_percent: [4, 'UInt32Value'], enforcing_success_rate: [6, 'UInt32Value'], failure_percentage_threshold: [16, 'UInt32Value'], enforcing_failure_percentage: [17, 'UInt32Value'], failure_percentage_minimum_hosts: [19, 'UInt32Value'], failure_percentage_request_volume: [20, 'UInt32Value'], max_ejection_time: [21, 'Duration'] },
  UpstreamTlsContext:   { common_tls_context: [1, 'CommonTlsContext'] },
  CommonTlsContext:     { validation_context: [3, 'ValidationContext'], tls_certificate_provider_instance: [14, 'CertificateProvider'] },
  CertificateProvider:  { instance_name: [1, 'string'], certificate_name: [2, 'string'] },
  ValidationContext:    { match_subject_alt_names: [9, 'StringMatcher', 'list'], ca_certificate_provider_instance: [13, 'CertificateProvider'] },
  StringMatcher:        { exact: [1, 'string', 'set'] },
  // Endpoints
  ClusterLoadAssignment: { cluster_name: [1, 'string'], endpoints: [2, 'LocalityLbEndpoints', 'list'] },
  LocalityLbEndpoints:  { locality: [1, 'Locality'], lb_endpoints: [2, 'LbEndpoint', 'list'], load_balancing_weight: [3, 'UInt32Value'], priority: [5, 'u32'] },
  LbEndpoint:           { endpoint: [1, 'Endpoint'], health_status: [2, 'enum'] },
  Endpoint:             { address: [1, 'Address'] },
  // Load reports
  LoadStatsRequest:     { node: [1, 'Node'], cluster_stats: [2, 'ClusterStats', 'list'] },
  LoadStatsResponse:    { load_reporting_interval: [2, 'Duration'], send_all_clusters: [4, 'bool'] },
  ClusterStats:         { cluster_name: [1, 'string'], upstream_locality_stats: [2, 'LocalityStats', 'list'], load_report_interval: [4, 'Duration'], cluster_service_name: [6, 'string'] },
  LocalityStats:        { locality: [1, 'Locality'], total_successful_requests: [2, 'u64'], total_requests_in_progress: [3, 'u64'], total_error_requests: [4, 'u64'], total_issued_requests: [8, 'u64'] },
} as const satisfies Table

const HCM = 'envoy.extensions.filters.network.http_connection_manager.v3'
const TLS = 'envoy.extensions.transport_sockets.tls.v3'
const ROUTE = 'envoy.config.route.v3'
const CLUSTER = 'envoy.config.cluster.v3'
const ENDPOINT = 'envoy.config.endpoint.v3'
const CORE = 'envoy.config.core.v3'

/** The full names of the messages. */
// biome-ignore format: a table reads by column
export const FULL_NAMES: Readonly<Record<MessageName, string>> = {
  DiscoveryRequest: 'envoy.service.discovery.v3.DiscoveryRequest', DiscoveryResponse: 'envoy.service.discovery.v3.DiscoveryResponse',
  ControlPlane: `${CORE}.ControlPlane`, Node: `${CORE}.Node`, Locality: `${CORE}.Locality`,
  Any: 'google.protobuf.Any', Duration: 'google.protobuf.Duration', UInt32Value: 'google.protobuf.UInt32Value',
  UInt64Value: 'google.protobuf.UInt64Value', Status: 'google.rpc.Status',
  Address: `${CORE}.Address`, SocketAddress: `${CORE}.SocketAddress`, Pipe: `${CORE}.Pipe`, ConfigSource: `${CORE}.ConfigSource`,
  AggregatedSource: `${CORE}.AggregatedConfigSource`, SelfSource: `${CORE}.SelfConfigSource`, TransportSocket: `${CORE}.TransportSocket`,
  FractionalPercent: 'envoy.type.v3.FractionalPercent', RuntimeFraction: `${CORE}.RuntimeFractionalPercent`,
  Listener: 'envoy.config.listener.v3.Listener', ApiListener: 'envoy.config.listener.v3.ApiListener',
  ConnectionManager: `${HCM}.HttpConnectionManager`, Rds: `${HCM}.Rds`, HttpFilter: `${HCM}.HttpFilter`,
  Router: 'envoy.extensions.filters.http.router.v3.Router',
  RouteConfiguration: `${ROUTE}.RouteConfiguration`, VirtualHost: `${ROUTE}.VirtualHost`, Route: `${ROUTE}.Route`,
  RouteMatch: `${ROUTE}.RouteMatch`, HeaderMatcher: `${ROUTE}.HeaderMatcher`, RouteAction: `${ROUTE}.RouteAction`,
  MaxStreamDuration: `${ROUTE}.RouteAction.MaxStreamDuration`, HashPolicy: `${ROUTE}.RouteAction.HashPolicy`,
  HashHeader: `${ROUTE}.RouteAction.HashPolicy.Header`, WeightedCluster: `${ROUTE}.WeightedCluster`,
  ClusterWeight: `${ROUTE}.WeightedCluster.ClusterWeight`, RetryPolicy: `${ROUTE}.RetryPolicy`, RetryBackOff: `${ROUTE}.RetryPolicy.RetryBackOff`,
  Cluster: `${CLUSTER}.Cluster`, EdsClusterConfig: `${CLUSTER}.Cluster.EdsClusterConfig`, RingHashConfig: `${CLUSTER}.Cluster.RingHashLbConfig`,
  CircuitBreakers: `${CLUSTER}.CircuitBreakers`, Thresholds: `${CLUSTER}.CircuitBreakers.Thresholds`, OutlierDetection: `${CLUSTER}.OutlierDetection`,
  UpstreamTlsContext: `${TLS}.UpstreamTlsContext`, CommonTlsContext: `${TLS}.CommonTlsContext`,
  CertificateProvider: `${TLS}.CertificateProviderPluginInstance`, ValidationContext: `${TLS}.CertificateValidationContext`,
  StringMatcher: 'envoy.type.matcher.v3.StringMatcher',
  ClusterLoadAssignment: `${ENDPOINT}.ClusterLoadAssignment`, LocalityLbEndpoints: `${ENDPOINT}.LocalityLbEndpoints`,
  LbEndpoint: `${ENDPOINT}.LbEndpoint`, Endpoint: `${ENDPOINT}.Endpoint`,
  LoadStatsRequest: 'envoy.service.load_stats.v3.LoadStatsRequest', LoadStatsResponse: 'envoy.service.load_stats.v3.LoadStatsResponse',
  ClusterStats: `${ENDPOINT}.ClusterStats`, LocalityStats: `${ENDPOINT}.UpstreamLocalityStats`,
}

export type MessageName = keyof typeof FIELDS

type Value<Type> = Type extends 'string'
  ? string
  : Type extends 'bytes'
    ? Uint8Array
    : Type extends 'bool'
      ? boolean
      : Type extends Scalar
        ? number
        : Type extends MessageName
          ? Message<Type>
          : never

type FieldValue<Spec> = Spec extends readonly [number, infer Type, 'list']
  ? readonly Value<Type>[]
  : Spec extends readonly [number, infer Type, ...unknown[]]
    ? Value<Type>
    : never

/** A message by its short name, as the table has it. */
export type Message<Name extends MessageName> = {
  readonly [Field in keyof (typeof FIELDS)[Name]]?: FieldValue<(typeof FIELDS)[Name][Field]> | undefined
}

export function encode<Name extends MessageName>(name: Name, message: Message<Name>): Uint8Array {
  return encodeMessage(FIELDS, name, message)
}

/** @throws WireError */
export function decode<Name extends MessageName>(name: Name, bytes: Uint8Array): Message<Name> {
  return decodeMessage(FIELDS, name, bytes) as Message<Name>
}

export function typeUrl(name: MessageName): string {
  return `type.googleapis.com/${FULL_NAMES[name]}`
}

export function packed<Name extends MessageName>(name: Name, message: Message<Name>): Message<'Any'> {
  return { type_url: typeUrl(name), value: encode(name, message) }
}

export function durationOf(ms: number): Message<'Duration'> {
  return { seconds: Math.floor(ms / 1_000), nanos: Math.round((ms % 1_000) * 1e6) }
}

/** The name by which the resolver of this package introduces itself. */
export const HSU_RESOLVER = 'hsu-resolver'
