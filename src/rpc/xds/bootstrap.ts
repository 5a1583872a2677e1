import { REGION } from './resources.ts'

/** What a program must know to be an xDS client of its node. */
export interface BootstrapFacts {
  /** `unix:///path` or `127.0.0.1:9474`. */
  readonly server: string
  /** Names the client in what it reports and in what is logged of it. */
  readonly client: string
  readonly mesh: string
  readonly node: string
  /** Label `zone` of the node; empty without one. */
  readonly zone: string
}

/**
 * The bootstrap configuration of gRPC's xDS clients (gRFC A27). Node's needs id and locality, others do without.
 * What a socket of mode 0600 and loopback let in needs no credentials.
 */
export function bootstrapJson({ server, client, mesh, node, zone }: BootstrapFacts): string {
  const servers = [{ server_uri: server, channel_creds: [{ type: 'insecure' }], server_features: ['xds_v3'] }]
  const locality = { region: REGION, zone, sub_zone: node }
  return JSON.stringify({ xds_servers: servers, node: { id: client, cluster: mesh, locality } })
}
