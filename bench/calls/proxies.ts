import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { childrenOf } from '../../test/support/stranger.ts'
import { BenchNode, configOf, freePort, until } from '../nodes.ts'
import { cpuUs, has, type LoadPrograms, LOAD_CORE, PROXY_CORE, startOn, stop } from './tools.ts'

/** A way from the load to the unit. */
export interface Path {
  readonly port: number
  /** Processor time of what is on the way, in us since it started. */
  cpuUs(): number
  /** Memory of what is on the way. */
  rssBytes(): number
  stop(): Promise<void>
}

/** All ways that are measured, by the names of the columns. */
export type Paths = Readonly<Partial<Record<'hsu' | 'haproxy' | 'nginx' | 'direct', Path>>>

/** A unit as HSU runs it; it is not to share the core of the proxy. */
function echoUnit({ echo }: LoadPrograms): object {
  return {
    kind: 'integrated',
    run: ['taskset', '-c', String(LOAD_CORE), echo, '{port.grpc}'],
    ports: { grpc: 'auto' },
    services: ['echo.Echo'],
    probes: { ready: { tcp: '127.0.0.1:{port.grpc}', every: '1s' } },
  }
}

async function ready({ control }: BenchNode, units: number): Promise<void> {
  await until(async () => {
    const { services } = await control.listServices({})
    return services.some(({ endpoints }) => endpoints.filter((each) => each.ready).length === units)
  })
}

/** The ingress of a node that is alone, before a unit of its own. */
export async function hsuPath(home: string, programs: LoadPrograms): Promise<Path> {
  const port = await freePort()
  const node = new BenchNode(join(home, 'hsu'), port, configOf('hsu', port, undefined, { echo: echoUnit(programs) }), [
    'taskset',
    '-c',
    String(PROXY_CORE),
  ])
  node.node.launch()
  await ready(node, 1)
  return {
    port,
    cpuUs: () => ownCpuUs(node.node.pid),
    rssBytes: () => rssBytes(node.node.pid),
    stop: () => node.stop(),
  }
}

/** The ingress of a node whose unit is on another node: both on the proxy's core. */
export async function hsuTwoPath(
  home: string,
  programs: LoadPrograms,
): Promise<Path & { readonly nodes: readonly BenchNode[] }> {
  const keyFile = join(home, 'two.key')
  const prefix = ['taskset', '-c', String(PROXY_CORE)]
  const ports = [await freePort(), await freePort()]
  const [near = 0, far = 0] = ports
  const nodes = [
    new BenchNode(join(home, 'near'), near, configOf('near', near, keyFile), prefix),
    new BenchNode(join(home, 'far'), far, configOf('far', far, keyFile, { echo: echoUnit(programs) }), prefix),
  ]
  await nodes[0]?.node.hsu('mesh', 'create', '--out', keyFile)
  for (const { node } of nodes) node.launch()
  for (const node of nodes) await ready(node, 1)
  return {
    nodes,
    port: near,
    cpuUs: () => nodes.reduce((sum, { node }) => sum + ownCpuUs(node.pid), 0),
    rssBytes: () => nodes.reduce((sum, { node }) => sum + rssBytes(node.pid), 0),
    async stop() {
      for (const node of nodes) await node.stop()
    },
  }
}

/** Without its units, which are its children. */
function ownCpuUs(pid: number): number {
  return cpuUs(pid, false)
}

export async function directPath({ echo }: LoadPrograms, home: string): Promise<Path> {
  const port = await freePort()
  const child = await startOn(LOAD_CORE, [echo, String(port)], port, home)
  return { port, cpuUs: () => 0, rssBytes: () => 0, stop: () => stop(child) }
}

export async function haproxyPath(home: string, unitPort: number): Promise<Path | undefined> {
  if (!has('haproxy')) return undefined
  const port = await freePort()
  const file = join(home, 'haproxy.cfg')
  writeFileSync(file, haproxyConfig(port, unitPort))
  return proxyPath(['haproxy', '-f', file], port, home)
}

export async function nginxPath(home: string, unitPort: number): Promise<Path | undefined> {
  if (!has('nginx')) return undefined
  const port = await freePort()
  return proxyPath(
    nginxCommand(home, 'nginx', nginxServer(`127.0.0.1:${port} http2`, `grpc://127.0.0.1:${unitPort}`)),
    port,
    home,
  )
}

/** One nginx before another, over TLS, both on the proxy's core. */
export async function nginxTwoPath(home: string, unitPort: number): Promise<Path | undefined> {
  if (!has('nginx') || !has('openssl')) return undefined
  const [key, certificate] = [join(home, 'two.pem'), join(home, 'two.crt')]
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1']
  spawnSync('openssl', [
    'req',
    '-x509',
    ...ec,
    '-nodes',
    '-keyout',
    key,
    '-out',
    certificate,
    '-days',
    '2',
    '-subj',
    '/CN=two',
  ])
  const [nearPort, farPort] = [await freePort(), await freePort()]
  const tls = `ssl_certificate ${certificate}; ssl_certificate_key ${key}; ssl_protocols TLSv1.3; ssl_verify_client optional_no_ca;`
  const far = nginxServer(`127.0.0.1:${farPort} ssl http2`, `grpc://127.0.0.1:${unitPort}`, tls)
  const show = `grpc_ssl_certificate ${certificate}; grpc_ssl_certificate_key ${key}; grpc_ssl_protocols TLSv1.3;`
  const near = nginxServer(`127.0.0.1:${nearPort} http2`, `grpcs://127.0.0.1:${farPort}`, show)
  const second = await proxyPath(nginxCommand(home, 'far', far), farPort, home)
  const first = await proxyPath(nginxCommand(home, 'near', near), nearPort, home)
  return {
    port: nearPort,
    cpuUs: () => first.cpuUs() + second.cpuUs(),
    rssBytes: () => first.rssBytes() + second.rssBytes(),
    async stop() {
      await first.stop()
      await second.stop()
    },
  }
}

async function proxyPath(command: readonly string[], port: number, home: string): Promise<Path> {
  const child = await startOn(PROXY_CORE, command, port, home)
  const pid = child.pid ?? 0
  return { port, cpuUs: () => cpuUs(pid), rssBytes: () => treeRssBytes(pid), stop: () => stop(child) }
}

function nginxCommand(home: string, name: string, config: string): string[] {
  const file = join(home, `${name}.conf`)
  writeFileSync(file, config.replaceAll('NAME', join(home, name)))
  return ['nginx', '-p', home, '-c', file, '-e', join(home, `${name}.err`)]
}

/** Tuned for calls: many streams, connections that are kept, no log. */
function nginxServer(listen: string, to: string, more = ''): string {
  const [scheme = '', address = ''] = to.split('://')
  return `worker_processes 1; daemon off; pid NAME.pid; error_log NAME.err crit; worker_rlimit_nofile 20000;
events { worker_connections 8192; }
http {
  access_log off; client_body_temp_path NAME_b; proxy_temp_path NAME_p; fastcgi_temp_path NAME_f; scgi_temp_path NAME_s; uwsgi_temp_path NAME_u;
  http2_max_concurrent_streams 10000; keepalive_requests 1000000000; keepalive_timeout 3600;
  client_max_body_size 0; client_body_buffer_size 128k; grpc_read_timeout 3600; grpc_send_timeout 3600;
  upstream unit { server ${address}; keepalive 1000; keepalive_requests 1000000000; }
  server { listen ${listen}; ${more} location / { grpc_pass ${scheme}://unit; } }
}
`
}

function haproxyConfig(port: number, unitPort: number): string {
  return `global
  maxconn 8000
  nbthread 1
  tune.h2.initial-window-size 1048576
  tune.h2.max-concurrent-streams 1000
defaults
  mode http
  timeout client 3600s
  timeout server 3600s
  timeout connect 5s
  option http-no-delay
frontend calls
  bind 127.0.0.1:${port} proto h2
  default_backend unit
backend unit
  http-reuse always
  server unit 127.0.0.1:${unitPort} proto h2 pool-max-conn 1000
`
}

/** With its children: a proxy may be a master and a worker. */
function treeRssBytes(pid: number): number {
  return [pid, ...childrenOf(pid)].reduce((sum, each) => sum + rssBytes(each), 0)
}

function rssBytes(pid: number): number {
  const kb = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kb) * 1024
}
