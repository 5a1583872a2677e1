import t from 'tap'
import { ownsListener } from '../../../src/process/listeners.ts'
import { portableTable } from '../../../src/process/portable-table.ts'
import { parseProcNet } from '../../../src/process/proc-net.ts'
import { parseAuxv, parseProcStat } from '../../../src/process/proc-stat.ts'
import { identify, isSame, treeOf } from '../../../src/process/process-table.ts'
import { fakeTable, processInfo } from '../../support/fake-table.ts'
import { throwsReason } from '../../support/throws-reason.ts'

const pidsOf = (list: readonly { pid: number }[]): number[] => list.map(({ pid }) => pid).sort((a, b) => a - b)

t.test('/proc/<pid>/stat', async (t) => {
  const tail = 'S 1 42 41 0 -1 4194304 100 200 0 0 250 50 30 20 20 0 1 0 123456 9000000 777 18446744073709551615'

  t.test('is parsed field by field', async (t) => {
    t.same(parseProcStat(`42 (postgres) ${tail}`), {
      pid: 42,
      name: 'postgres',
      state: 'S',
      ppid: 1,
      pgid: 42,
      sessionId: 41,
      cpuTicks: 300,
      reapedCpuTicks: 50,
      startTicks: '123456',
      rssPages: 777,
      virtualBytes: 9_000_000,
      threads: 1,
    })
  })

  for (const name of ['a b', '((', ') S 9 (', 'x)\n(y', '']) {
    t.test(`the name may be ${JSON.stringify(name)}`, async (t) => {
      const stat = parseProcStat(`42 (${name}) ${tail}`)
      t.equal(stat?.name, name)
      t.equal(stat?.ppid, 1)
      t.equal(stat?.startTicks, '123456')
    })
  }

  t.test('a cut line is not a process', async (t) => {
    for (const text of ['', '42', '42 (x', '42 (x) S 1 2']) t.equal(parseProcStat(text), undefined, text)
  })
})

t.test('page size and tick come from the auxiliary vector, whatever the word and byte order', async (t) => {
  for (const bytes of [4, 8] as const) {
    for (const endianness of ['LE', 'BE'] as const) {
      const words = [33, 0x7ffe, 6, 16_384, 17, 250, 0, 0]
      const auxv = Buffer.concat(
        words.map((word) => {
          const buffer = Buffer.alloc(bytes)
          if (endianness === 'LE') buffer.writeUInt32LE(word, 0)
          else buffer.writeUInt32BE(word, bytes - 4)
          return buffer
        }),
      )
      t.same(parseAuxv(auxv, { bytes, endianness }), { pageBytes: 16_384, ticksPerSecond: 250 })
    }
  }
  t.same(parseAuxv(Buffer.alloc(0), { bytes: 8, endianness: 'LE' }), { pageBytes: 4_096, ticksPerSecond: 100 })
})

t.test('/proc/net', async (t) => {
  const head = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n'
  const row = (local: string, state: string, inode: number): string =>
    `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0 100 0\n`

  t.test('listening tcp sockets are found, connected ones are not', async (t) => {
    const text = head + row('0100007F:1F90', '0A', 11) + row('0100007F:1F91', '01', 12)
    t.same(parseProcNet('tcp', text, 'LE'), [{ protocol: 'tcp', address: '127.0.0.1', port: 8080, inode: '11' }])
  })

  t.test('bound udp sockets are found', async (t) => {
    t.match(parseProcNet('udp', head + row('00000000:14E9', '07', 13), 'LE'), [{ address: '0.0.0.0', port: 5353 }])
  })

  t.test('v6 addresses are written as people write them', async (t) => {
    const address = (hex: string): string | undefined =>
      parseProcNet('tcp', head + row(`${hex}:0050`, '0A', 1), 'LE')[0]?.address
    t.equal(address('00000000000000000000000000000000'), '::')
    t.equal(address('00000000000000000000000001000000'), '::1')
    t.equal(address('B80D0120000000000000000001000000'), '2001:db8::1')
  })

  t.test('a machine of the other byte order prints the words the other way round', async (t) => {
    t.match(parseProcNet('tcp', head + row('7F000001:1F90', '0A', 1), 'BE'), [{ address: '127.0.0.1' }])
  })
})

t.test('the tree of a process', async (t) => {
  t.test('holds descendants, and nobody else', async (t) => {
    const own = { pgid: 10, sessionId: 10 }
    const list = [
      processInfo({ pid: 10 }),
      processInfo({ pid: 11, ppid: 10, ...own }),
      processInfo({ pid: 12, ppid: 11, ...own }),
      processInfo({ pid: 20 }),
    ]
    t.same(pidsOf(treeOf(10, list)), [10, 11, 12])
    t.same(pidsOf(treeOf(11, list)), [11, 12])
  })

  t.test('holds those of its group or session whose parent has ended, also when it has ended itself', async (t) => {
    const list = [
      processInfo({ pid: 11, pgid: 10, sessionId: 10 }),
      processInfo({ pid: 12, ppid: 11, pgid: 12, sessionId: 12 }),
      processInfo({ pid: 13, pgid: 10, sessionId: 0 }),
    ]
    t.same(pidsOf(treeOf(10, list)), [11, 12, 13])
  })

  t.test('leaves out zombies, but not their children', async (t) => {
    const list = [processInfo({ pid: 10, state: 'Z' }), processInfo({ pid: 11, ppid: 10 })]
    t.same(pidsOf(treeOf(10, list)), [11])
  })
})

t.test('identity', async (t) => {
  t.test('holds while the process lives, and not for a zombie, another start or another boot', async (t) => {
    const table = fakeTable([processInfo({ pid: 10 })])
    const identity = await identify(table, 10)
    if (identity === undefined) throw new Error('not identified')
    t.equal(await isSame(table, identity), true)
    t.equal(await isSame(table, { ...identity, startTime: 'other' }), false)
    t.equal(await isSame(table, { ...identity, bootId: 'other' }), false)
    table.processes = [processInfo({ pid: 10, state: 'Z' })]
    t.equal(await isSame(table, identity), false)
    t.equal(await identify(table, 10), undefined)
    table.processes = []
    t.equal(await isSame(table, identity), false)
  })
})

t.test('ownership of a port', async (t) => {
  const table = fakeTable([processInfo({ pid: 10 }), processInfo({ pid: 11, ppid: 10 }), processInfo({ pid: 20 })])
  const listener = { protocol: 'tcp', address: '127.0.0.1', port: 80 } as const

  t.test('belongs to the tree when any of it listens, also next to a stranger', async (t) => {
    table.open = [
      { ...listener, pids: [20] },
      { ...listener, pids: [11] },
    ]
    t.equal(await ownsListener(table, 10, 80), true)
  })

  t.test('does not belong to it when a stranger listens, or nobody', async (t) => {
    table.open = [{ ...listener, pids: [20] }]
    t.equal(await ownsListener(table, 10, 80), false)
    t.equal(await ownsListener(table, 10, 81), false)
  })

  t.test('is not known when a process of the tree hides its sockets', async (t) => {
    table.open = [{ ...listener, pids: [], hidden: true }]
    t.equal(await ownsListener(table, 10, 80), undefined)
  })

  t.test('is not known where the system does not tell', async (t) => {
    const portable = portableTable(async () => ({ exit: { code: 0 }, stdout: '' }))
    t.equal(await ownsListener(portable, 10, 80), undefined)
    await throwsReason(t, 'UNSUPPORTED', () => portable.listeners())
  })
})

t.test('the portable table', async (t) => {
  t.test('reads what ps prints on macOS', async (t) => {
    const answers: Record<string, string> = {
      'ps who':
        '    1     0     1 Ss   408921344 Fri Nov 21 09:02:11 2025     /sbin/launchd\n  502   1   502 S+   34000 Sun Nov 23 21:00:00 2025     /Applications/My App.app/My App\n',
      'ps args': '    1 /sbin/launchd\n  502 /Applications/My App.app/My App --port 80\n',
      sysctl: '0A1B-2C3D\n',
    }
    const table = portableTable(async ([program, ...rest]) => {
      const key = program === 'ps' ? `ps ${rest.at(-1)?.includes('args') === true ? 'args' : 'who'}` : String(program)
      return { exit: { code: 0 }, stdout: answers[key] ?? '' }
    })
    t.equal(await table.bootId(), '0A1B-2C3D')
    t.match(await table.list(), [
      {
        pid: 1,
        ppid: 0,
        name: 'launchd',
        state: 'S',
        startTime: 'Fri Nov 21 09:02:11 2025',
        virtualBytes: 408_921_344 * 1_024,
      },
      { pid: 502, ppid: 1, name: 'My App', executable: '/Applications/My App.app/My App' },
    ])
  })
})
