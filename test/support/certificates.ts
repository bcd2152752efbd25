import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** PEM files of one certificate. */
export interface CertificateFiles {
  readonly cert: string
  readonly key: string
}

/** An authority made for one test, by the openssl command. No key outlives the folder that it is made in. */
export class Authority {
  private constructor(
    private readonly folder: string,
    readonly files: CertificateFiles,
  ) {}

  /** @param folder where it and what it issues are written */
  static make(folder: string, name = 'test authority'): Authority {
    const own = mkdtempSync(join(folder, 'authority-'))
    const files = { cert: join(own, 'ca.pem'), key: join(own, 'ca.key') }
    openssl('req', '-x509', ...newKey, '-keyout', files.key, '-out', files.cert, '-subj', `/CN=${name}`, '-days', '30')
    return new Authority(own, files)
  }

  /** PEM. */
  get text(): string {
    return readFileSync(this.files.cert, 'utf8')
  }

  /**
   * A certificate for servers at 127.0.0.1 and localhost, which clients may show as well.
   *
   * @param days how long it is valid; below zero it was
   */
  issue(commonName: string, days = 30, otherNames = 'DNS:localhost,IP:127.0.0.1'): CertificateFiles {
    const folder = mkdtempSync(join(this.folder, 'issued-'))
    const files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') }
    const request = join(folder, 'request.pem')
    const names = ['-subj', `/O=Test/CN=${commonName}`, '-addext', `subjectAltName=${otherNames}`]
    openssl('req', ...newKey, '-keyout', files.key, '-out', request, ...names)
    const by = ['-CA', this.files.cert, '-CAkey', this.files.key, '-CAcreateserial', '-copy_extensions', 'copy']
    openssl('x509', '-req', '-in', request, '-out', files.cert, '-days', String(days), ...by)
    return files
  }
}

/** As a renewal does: the certificate, then the key. */
export function exchangeFiles(there: CertificateFiles, by: CertificateFiles): void {
  copyFileSync(by.cert, there.cert)
  copyFileSync(by.key, there.key)
}

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { stdio: 'pipe' })
}
