import { decode, type Message, type MessageName, typeUrl } from '../../src/rpc/xds/fields.ts'

/** The resources of a response, decoded. */
export function resourcesOf<Name extends MessageName>(
  name: Name,
  response: Message<'DiscoveryResponse'> | undefined,
): Message<Name>[] {
  return (response?.resources ?? []).map(({ type_url, value = new Uint8Array() }) => {
    if (type_url !== typeUrl(name)) throw new Error(`${String(type_url)} is no ${name}`)
    return decode(name, value)
  })
}

/** An assignment in short: a line for each locality, `priority place weight address health...` */
export function linesOf({ endpoints = [] }: Message<'ClusterLoadAssignment'>): string[] {
  return endpoints.map(({ locality, load_balancing_weight, priority = 0, lb_endpoints = [] }) => {
    const places = lb_endpoints.map(
      ({ endpoint, health_status = 0 }) => `${textOf(endpoint?.address)} ${health_status}`,
    )
    return `${priority} ${locality?.sub_zone ?? ''} ${load_balancing_weight?.value ?? 0} ${places.join(' ')}`
  })
}

function textOf({ pipe, socket_address }: Message<'Address'> = {}): string {
  return pipe?.path ?? `${socket_address?.address ?? ''}:${socket_address?.port_value ?? ''}`
}
