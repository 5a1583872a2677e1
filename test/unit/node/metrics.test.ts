import t from 'tap'
import { createMetricsPage, type Observed } from '../../../src/node/admin/metrics.ts'
import type { InstanceStatus } from '../../../src/process/index.ts'

const instance = (given: Partial<InstanceStatus>): InstanceStatus => ({
  unit: 'api',
  instance: 'api-0-a',
  replica: 0,
  kind: 'managed',
  state: 'up',
  want: 'up',
  retryAtMs: undefined,
  eventId: '',
  ready: true,
  pid: 7,
  startedAtMs: 5_000,
  restarts: 2,
  cpu: 0,
  rssBytes: 0,
  ports: {},
  limits: [],
  exit: undefined,
  reason: '',
  ...given,
})

const observed = (instances: readonly InstanceStatus[], more: Partial<Observed> = {}): Observed => ({
  instances,
  calls: [],
  faults: [],
  usage: { cpu: 0, cpuMs: 1_500, rssBytes: 60e6, processes: 1 },
  loopDelay: { meanMs: 1, p99Ms: 2, maxMs: 3 },
  node: { name: 'edge-a', version: '1.2.3', mesh: '', startedAtMs: 1_000 },
  ...more,
})

t.test('the metrics for Prometheus', async (t) => {
  const page = await createMetricsPage()
  const lines = async (given: Observed): Promise<string[]> =>
    (await page.render(given)).split('\n').filter((line) => line !== '' && !line.startsWith('#'))

  t.test('are in base units, by unit and replica', async (t) => {
    const usage = { cpu: 0.5, cpuMs: 2_500, rssBytes: 1_024, processes: 3, threads: 9, files: 12, ioWriteBytes: 4_096 }
    const text = await lines(observed([instance({ usage })]))
    for (const line of [
      'hsu_process_cpu_seconds_total{unit="api",replica="0"} 2.5',
      'hsu_process_resident_memory_bytes{unit="api",replica="0"} 1024',
      'hsu_process_processes{unit="api",replica="0"} 3',
      'hsu_process_threads{unit="api",replica="0"} 9',
      'hsu_process_open_fds{unit="api",replica="0"} 12',
      'hsu_process_io_written_bytes_total{unit="api",replica="0"} 4096',
      'hsu_process_start_time_seconds{unit="api",replica="0"} 5',
      'hsu_process_restarts_total{unit="api",replica="0"} 2',
      'hsu_process_ready{unit="api",replica="0"} 1',
      'hsu_node_cpu_seconds_total 1.5',
      'hsu_node_resident_memory_bytes 60000000',
      'hsu_node_event_loop_delay_p99_seconds 0.002',
      'hsu_node_units{state="up"} 1',
      'hsu_node_info{node="edge-a",version="1.2.3",mesh=""} 1',
    ])
      t.ok(text.includes(line), line)
  })

  t.test('have no sample for what is not known', async (t) => {
    const text = await lines(observed([instance({ startedAtMs: undefined })], { usage: undefined }))
    t.same(
      text.filter((line) => /^hsu_process_/.test(line)),
      ['hsu_process_restarts_total{unit="api",replica="0"} 2', 'hsu_process_ready{unit="api",replica="0"} 1'],
    )
    t.notOk(text.some((line) => /^hsu_node_(cpu|resident|proportional|open)/.test(line)))
  })

  t.test('forget what is gone, and a counter of a new instance begins anew', async (t) => {
    const usage = { cpu: 0, cpuMs: 9_000, rssBytes: 1, processes: 1 }
    await lines(observed([instance({ usage }), instance({ unit: 'old', usage })]))
    const text = await lines(observed([instance({ usage: { ...usage, cpuMs: 1_000 } })]))
    t.ok(text.includes('hsu_process_cpu_seconds_total{unit="api",replica="0"} 1'))
    t.notOk(text.some((line) => line.includes('old')))
  })
})
