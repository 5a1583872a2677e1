import type { EjectionConfig } from '../config.ts'
import type { ServiceFacts } from './facts.ts'
import { durationOf, type Message } from './fields.ts'

const [V3, EDS_TYPE] = [2, 3]

/** As envoy.config.cluster.v3.Cluster.LbPolicy has them. */
const [ROUND_ROBIN, LEAST_REQUEST, RING_HASH] = [0, 1, 2]

export const BY_ADS = { ads: {}, resource_api_version: V3 } as const

/** Without a value clients take 1,024 (gRFC A32): calls beyond that would fail although nobody asked for it. */
const NO_LIMIT = 0xffff_ffff

/** How often clients look who answers badly. */
const EJECTION_INTERVAL = durationOf(1_000)

/** An instance all of whose calls failed; gRPC ejects above the threshold, never at it (gRFC A50). */
const FAILURE_PERCENT = 99

/** The only instance there is stays in. */
const EJECTION_HOSTS = 2

/** How calls are spread over the endpoints of a name. */
export function clusterOf(facts: ServiceFacts): Message<'Cluster'> {
  const { name, route, features } = facts
  return {
    name,
    type: EDS_TYPE,
    eds_cluster_config: { eds_config: BY_ADS, service_name: name },
    lb_policy: lbPolicyOf(facts),
    circuit_breakers: { thresholds: [{ max_requests: { value: maxRequestsOf(facts) } }] },
    ...(route.ejection !== undefined &&
      features.outlierDetection && { outlier_detection: outlierDetection(route.ejection) }),
    // Load reports go to this same server.
    lrs_server: { self: {}, resource_api_version: V3 },
  }
}

function lbPolicyOf({ route: { policy }, features }: ServiceFacts): number {
  if (policy === 'consistent-hash' && features.ringHash) return RING_HASH
  return policy === 'least-request' && features.leastRequest ? LEAST_REQUEST : ROUND_ROBIN
}

/**
 * What one client may have under way. Where its calls go to units of this host that is the limit of the unit on one node, or on all that
 * have it when all are alike; where they go by the ingress, the nodes see to it.
 */
function maxRequestsOf({ direct, nodes, route: { limits, prefer } }: ServiceFacts): number {
  const { concurrency } = limits
  if (concurrency === undefined || direct.length === 0) return NO_LIMIT
  return Math.min(NO_LIMIT, concurrency * (prefer === 'none' ? Math.max(1, nodes) : 1))
}

/**
 * gRPC knows no failures in a row: out is who failed all calls of a second, if those were at least so many. It counts
 * every status that is not OK.
 */
function outlierDetection({ failures, time, max_share }: EjectionConfig): Message<'OutlierDetection'> {
  return {
    interval: EJECTION_INTERVAL,
    base_ejection_time: durationOf(time.minMs),
    max_ejection_time: durationOf(time.maxMs),
    max_ejection_percent: { value: Math.round(max_share * 100) },
    // Left out it would be 100: on.
    enforcing_success_rate: { value: 0 },
    enforcing_failure_percentage: { value: 100 },
    failure_percentage_threshold: { value: FAILURE_PERCENT },
    failure_percentage_minimum_hosts: { value: EJECTION_HOSTS },
    failure_percentage_request_volume: { value: failures },
  }
}
