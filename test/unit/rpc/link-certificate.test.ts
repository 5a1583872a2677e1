import { createPrivateKey, X509Certificate } from 'node:crypto'
import t from 'tap'
import { createLinkCertificate, fingerprintOf } from '../../../src/rpc/link-certificate.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'

t.test('a link certificate', async (t) => {
  const epochMs = Date.parse('2030-05-06T07:08:09Z')
  const made = await createLinkCertificate(new SimClock(epochMs), 'edge-a')
  const certificate = new X509Certificate(made.certPem)

  t.test('names the node and is signed by its own key', async (t) => {
    t.equal(certificate.subject, 'CN=edge-a')
    t.equal(certificate.issuer, 'CN=edge-a')
    t.ok(certificate.verify(certificate.publicKey))
    t.ok(certificate.checkPrivateKey(createPrivateKey(made.keyPem)))
    t.equal(certificate.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1')
    t.match(certificate.serialNumber, /^[4-7][0-9A-F]{31}$/)
  })

  t.test('has the fingerprint that others compute', async (t) => {
    t.equal(made.fingerprint, certificate.fingerprint256.replaceAll(':', '').toLowerCase())
    t.equal(made.fingerprint, fingerprintOf(certificate.raw))
  })

  t.test('is valid from a day ago for a year', async (t) => {
    t.equal(Date.parse(certificate.validFrom), epochMs - 86_400_000)
    t.equal(Date.parse(certificate.validTo), epochMs + 365 * 86_400_000)
  })

  t.test('is plain data', async (t) => {
    t.same(JSON.parse(JSON.stringify(made)), made)
  })

  t.test('leaves no metadata polyfill behind', async (t) => {
    t.notOk('getMetadata' in Reflect)
    t.notOk('getOwnMetadata' in Reflect)
  })

  t.test('is new each time', async (t) => {
    const other = await createLinkCertificate(new SimClock(), "o'brien, and + = co")
    t.not(other.fingerprint, made.fingerprint)
    t.match(new X509Certificate(other.certPem).subject, /o'brien/)
  })
})
