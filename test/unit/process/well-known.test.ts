import t from 'tap'
import { wellKnown } from '../../../src/process/well-known.ts'

t.test('how a program was called is read from its title', async (t) => {
  const called = (title: string): unknown => wellKnown(title.split(/[\s:]/)[0] ?? '')?.calledAs?.(title)
  t.same(called('nginx: master process nginx -c /n.conf'), ['nginx', '-c', '/n.conf'])
  t.same(
    called('nginx: master process /usr/sbin/nginx -g daemon on; master_process on; -c /n.conf'),
    ['/usr/sbin/nginx', '-g', 'daemon on; master_process on;', '-c', '/n.conf'],
    'what follows -g is one argument',
  )
  t.equal(called('nginx: worker process'), undefined)
  t.same(called('redis-server 127.0.0.1:6379'), ['redis-server', '--bind', '127.0.0.1', '--port', '6379'])
  t.same(called('redis-server *:7000'), ['redis-server', '--port', '7000'])
  t.same(called('redis-server [::1]:7000'), ['redis-server', '--bind', '::1', '--port', '7000'])
  t.equal(called('redis-server *:26379 [sentinel]'), undefined, 'a mode that takes more than a port')
  t.same(called('sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups'), ['/usr/sbin/sshd', '-D'])
})

t.test('what keeps it in the foreground is said once', async (t) => {
  const kept = (...argv: string[]): unknown => wellKnown(argv[0] ?? '')?.inForeground?.(argv)
  t.same(kept('nginx', '-g', 'daemon on; master_process on;', '-c', '/n.conf'), [
    'nginx',
    '-c',
    '/n.conf',
    '-g',
    'daemon off; master_process on;',
  ])
  t.same(kept('nginx', '-g', 'pid /p; daemon off;'), ['nginx', '-g', 'daemon off; pid /p;'])
  t.same(kept('nginx'), ['nginx', '-g', 'daemon off;'])
  t.same(kept('redis-server', '--daemonize', 'yes', '--port', '1'), [
    'redis-server',
    '--port',
    '1',
    '--daemonize',
    'no',
  ])
  t.same(kept('/usr/sbin/sshd', '-D'), ['/usr/sbin/sshd', '-D'])
  t.same(kept('/usr/sbin/sshd', '-p', '22'), ['/usr/sbin/sshd', '-p', '22', '-D'])
})
