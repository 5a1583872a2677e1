import { createHash, webcrypto } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import { createTopic, type Topic } from '../base/topic.ts'

/** What a node shows to others on a link: its key and its self-signed certificate. Plain data, so that it can be kept. */
export interface LinkCertificate {
  readonly certPem: string
  /** Secret. */
  readonly keyPem: string
  /** SHA-256 of the certificate (DER), 64 lower-case hexadecimal digits. Others pin it, so no CA is needed. */
  readonly fingerprint: string
}

/** One that is replaced while the node runs: whoever reads it reads the one that is shown now. */
export interface ShownCertificate extends LinkCertificate {
  /** Another one is shown from now on. Left out where that does not happen. */
  readonly renewed?: Topic<undefined>
}

/** A certificate that `show` replaces. */
export function changingCertificate(first: LinkCertificate) {
  const renewed = createTopic<undefined>()
  let shown = plainCertificate(first)
  const certificate: ShownCertificate = {
    get certPem() {
      return shown.certPem
    },
    get keyPem() {
      return shown.keyPem
    },
    get fingerprint() {
      return shown.fingerprint
    },
    renewed,
  }
  const show = (next: LinkCertificate): void => {
    if (next.fingerprint === shown.fingerprint) return
    shown = plainCertificate(next)
    renewed.publish(undefined)
  }
  return { certificate, show }
}

/** The certificate as it is now, as plain data. */
export function plainCertificate({ certPem, keyPem, fingerprint }: LinkCertificate): LinkCertificate {
  return { certPem, keyPem, fingerprint }
}

const DAY_MS = 86_400_000

/** A peer whose clock is behind must not refuse a certificate made just now. */
const VALID_BEFORE_MS = DAY_MS

/** How long a link certificate is valid unless told. Trust comes from the pinned fingerprint: a peer looks at no date. */
const LINK_CERTIFICATE_MS = 365 * DAY_MS

const ECDSA_P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const

const SERIAL_BYTES = 16

/**
 * Makes a key pair (ECDSA P-256) and a certificate for it.
 * `commonName` is there for people to read: nothing is decided by it.
 */
export async function createLinkCertificate(
  clock: Clock,
  commonName: string,
  lifetimeMs: number = LINK_CERTIFICATE_MS,
): Promise<LinkCertificate> {
  const { X509CertificateGenerator } = await loadX509()
  const keys = await webcrypto.subtle.generateKey(ECDSA_P256, true, ['sign', 'verify'])
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: positiveSerial(),
      name: [{ CN: [commonName] }],
      notBefore: instant(clock.wallMs() - VALID_BEFORE_MS),
      notAfter: instant(clock.wallMs() + lifetimeMs),
      signingAlgorithm: ECDSA_P256,
      keys,
    },
    webcrypto as Parameters<typeof X509CertificateGenerator.createSelfSigned>[1],
  )
  const privateKey = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))
  return {
    certPem: certificate.toString('pem'),
    keyPem: toPem('PRIVATE KEY', privateKey),
    fingerprint: fingerprintOf(new Uint8Array(certificate.rawData)),
  }
}

/** The fingerprint of a certificate in DER: SHA-256 in lower-case hexadecimal digits. */
export function fingerprintOf(der: Uint8Array): string {
  return createHash('sha256').update(der).digest('hex')
}

/** The library takes its time and memory, and only a node with a mesh that has no certificate yet needs it. */
async function loadX509(): Promise<typeof import('@peculiar/x509')> {
  const withdraw = offerReflectMetadata()
  try {
    const library: object = await import('@peculiar/x509')
    // In a bundle, what a CommonJS package exports is all under its default export.
    const named = 'X509CertificateGenerator' in library ? library : (library as { default: unknown }).default
    return named as typeof import('@peculiar/x509')
  } finally {
    withdraw()
  }
}

/**
 * `tsyringe`, under `@peculiar/x509`, refuses to load without the `reflect-metadata` polyfill, although nothing in
 * x509 carries metadata. It gets two functions that know nothing, only while it loads: a program that embeds a node
 * may want the real polyfill, which does not replace functions that are there.
 */
function offerReflectMetadata(): () => void {
  const offered = ['getMetadata', 'getOwnMetadata'].filter((name) => !Reflect.has(Reflect, name))
  for (const name of offered) Object.defineProperty(Reflect, name, { value: () => undefined, configurable: true })
  return () => offered.forEach((name) => Reflect.deleteProperty(Reflect, name))
}

/** Random, and positive as RFC 5280 4.1.2.2 asks: the first bit is 0, the first byte is not. */
function positiveSerial(): string {
  const bytes = webcrypto.getRandomValues(Buffer.alloc(SERIAL_BYTES))
  bytes.writeUInt8((bytes.readUInt8(0) & 0x7f) | 0x40, 0)
  return bytes.toString('hex')
}

function toPem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}

/** The library wants dates; this reads no clock. */
function instant(wallMs: number): Date {
  // eslint-disable-next-line no-restricted-globals -- converts, does not ask for the time
  return new Date(wallMs)
}
