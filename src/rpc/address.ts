import { HsuError } from '../base/error.ts'

/** Where a socket leads, in the form node:net takes it. */
export type SocketAddress = { readonly path: string } | { readonly host: string; readonly port: number }

/** Reads `unix:/path`, `host:port` or `[IPv6]:port`. @throws HsuError `CONFIG_INVALID` */
export function parseAddress(address: string): SocketAddress {
  if (address.startsWith('unix:')) return { path: address.slice('unix:'.length) }
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(address) ?? []
  const host = bracketed ?? plain
  const port = Number(digits)
  if (host === undefined || port > 65_535) {
    throw new HsuError('CONFIG_INVALID', `'${address}' is not an address; write host:port or unix:/path`)
  }
  return { host: host === '' ? '127.0.0.1' : host, port }
}

/** `host:port`, with brackets around an IPv6 address. */
export function formatAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
