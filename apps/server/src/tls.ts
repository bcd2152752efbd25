import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto'
import { readFileSync, unwatchFile, watchFile } from 'node:fs'
import type { TLSSocket, TlsOptions } from 'node:tls'
import type { Config } from './config'
import type { Log } from './log'

/** The files of one port's TLS, and what begins the names of their variables. */
export interface TlsFiles {
  readonly variables: 'MILLRACE_TLS' | 'MILLRACE_ADMIN_TLS'
  readonly cert: string
  readonly key: string
  /** Empty: clients show no certificate. */
  readonly clientCa: string
}

/** What the files hold, PEM. */
export interface TlsTexts {
  readonly cert: string
  readonly key: string
  /** Empty: clients show no certificate. */
  readonly clientCa: string
}

/** Who the other side proved to be, by a certificate that the client CA signed. */
export interface Peer {
  /** The common name of its certificate's subject; empty where it has none. */
  readonly commonName: string
  /** Its other names, such as `URI:spiffe://example.org/billing` or `DNS:billing.example.org`. */
  readonly otherNames: readonly string[]
}

/** How often the files are looked at, and how long they must then stay as they are. */
const tlsPollMs = 1_000
const handshakeMsMax = 12_000
const daysToWarn = 14
const dayMs = 86_400_000

/** The files of the data port, or of the admin port; null where it speaks plain text. */
export function tlsFilesOf(config: Config, port: 'data' | 'admin'): TlsFiles | null {
  const files = filesOf(config, port)
  return files.cert === '' ? null : files
}

function filesOf(config: Config, port: 'data' | 'admin'): TlsFiles {
  return port === 'data'
    ? { variables: 'MILLRACE_TLS', cert: config.tlsCert, key: config.tlsKey, clientCa: config.tlsClientCa }
    : {
        variables: 'MILLRACE_ADMIN_TLS',
        cert: config.adminTlsCert,
        key: config.adminTlsKey,
        clientCa: config.adminTlsClientCa,
      }
}

/** Adds what is wrong with the files to `problems`, and what soon will be to `warnings`. */
export function checkTls(config: Config, problems: string[], warnings: string[]): void {
  for (const port of ['data', 'admin'] as const) {
    const files = filesOf(config, port)
    const { variables, cert, key, clientCa } = files
    if ((cert === '') !== (key === ''))
      problems.push(`${variables}_${cert === '' ? 'CERT' : 'KEY'}: is missing; a certificate and its key come together`)
    else if (cert === '' && clientCa !== '')
      problems.push(`${variables}_CLIENT_CA: is of no use without ${variables}_CERT and ${variables}_KEY`)
    if (cert === '' || key === '') continue
    try {
      warnings.push(...checkTexts(files, readTls(files), Date.now()))
    } catch (error) {
      problems.push((error as Error).message)
    }
  }
}

/** Throws an Error that names the variable when a file cannot be read. */
export function readTls(files: TlsFiles): TlsTexts {
  const text = (part: string, path: string): string => {
    try {
      return path === '' ? '' : readFileSync(path, 'utf8')
    } catch (error) {
      throw new Error(`${files.variables}_${part}=${path}: cannot be read: ${(error as Error).message}`, {
        cause: error,
      })
    }
  }
  return {
    cert: text('CERT', files.cert),
    key: text('KEY', files.key),
    clientCa: text('CLIENT_CA', files.clientCa),
  }
}

/**
 * Says what the operator should know of certificates that can be used; throws an Error that names the variable when
 * they cannot.
 *
 * @param nowMs milliseconds since 1970
 */
export function checkTexts(files: TlsFiles, texts: TlsTexts, nowMs: number): string[] {
  const certificate = certificateOf(`${files.variables}_CERT=${files.cert}`, texts.cert)
  if (files.clientCa !== '') certificateOf(`${files.variables}_CLIENT_CA=${files.clientCa}`, texts.clientCa)
  const keyName = `${files.variables}_KEY=${files.key}`
  let key: KeyObject
  try {
    key = createPrivateKey(texts.key)
  } catch (error) {
    const encrypted = /ENCRYPTED/.test(texts.key)
    const why = encrypted ? 'has a passphrase; a key without one is needed' : 'holds no private key in PEM'
    throw new Error(`${keyName}: ${why}`, { cause: error })
  }
  if (!certificate.checkPrivateKey(key))
    throw new Error(`${keyName}: is not the key of the certificate in ${files.variables}_CERT=${files.cert}`)
  const subject = `${files.variables}_CERT=${files.cert}: the certificate`
  const left = Date.parse(certificate.validTo) - nowMs
  if (left <= 0) return [`${subject} expired at ${certificate.validTo}: clients refuse it; renew it`]
  if (Date.parse(certificate.validFrom) > nowMs)
    return [`${subject} is not valid before ${certificate.validFrom}: clients refuse it until then`]
  if (left < daysToWarn * dayMs) return [`${subject} expires at ${certificate.validTo}: renew it`]
  return []
}

function certificateOf(name: string, text: string): X509Certificate {
  try {
    return new X509Certificate(text)
  } catch (error) {
    throw new Error(`${name}: holds no certificate in PEM`, { cause: error })
  }
}

/**
 * Looks at the files every second and hands on what is new and good, so that a renewed certificate needs no restart.
 * Of what is not good the log says why, and what was there before stays in force.
 *
 * @returns what ends it
 */
export function followTls(files: TlsFiles, log: Log, apply: (texts: TlsTexts) => void | Promise<void>): () => void {
  const renew = async (): Promise<void> => {
    try {
      const texts = readTls(files)
      for (const warning of checkTexts(files, texts, Date.now())) log.warn(warning)
      await apply(texts)
      log.info(`${files.variables}_CERT=${files.cert}: new connections get the certificate that is there now`)
    } catch (error) {
      log.error(`${(error as Error).message}; the certificate that was there before stays`)
    }
  }
  let timer: NodeJS.Timeout | undefined
  // A certificate and its key are two files, and seldom exchanged at once.
  const changed = (): void => {
    clearTimeout(timer)
    timer = setTimeout(() => void renew(), tlsPollMs).unref()
  }
  const paths = [files.cert, files.key, files.clientCa].filter((path) => path !== '')
  for (const path of paths) watchFile(path, { interval: tlsPollMs, persistent: false }, changed)
  return () => {
    clearTimeout(timer)
    for (const path of paths) unwatchFile(path, changed)
  }
}

/** What node:https is told of the files. */
export function secureOptions({ cert, key, clientCa }: TlsTexts): TlsOptions {
  const open = { cert, key, minVersion: 'TLSv1.2', handshakeTimeout: handshakeMsMax } as const
  return clientCa === '' ? open : { ...open, ca: clientCa, requestCert: true, rejectUnauthorized: true }
}

/** Who is at the other end of a connection; null where clients show no certificate. */
export function peerOf(connection: TLSSocket): Peer | null {
  if (!connection.authorized) return null
  const { subject, subjectaltname } = connection.getPeerCertificate()
  const { CN } = subject as { CN?: string | string[] }
  return {
    commonName: Array.isArray(CN) ? CN.join(', ') : (CN ?? ''),
    otherNames: subjectaltname === undefined ? [] : subjectaltname.split(', '),
  }
}
