import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { RequestMessage } from '@millrace/wire'
import { message } from './messages'
import { until } from './served'

/** Where the workflow `gated` is. */
export const gatedRepository = join(__dirname, '..', 'fixtures', 'gated')

/** What batches of the workflow `gated` wait for, and what they scored: files in a folder of their own. */
export class Gate {
  private readonly folder = mkdtempSync(join(tmpdir(), 'millrace-gate-'))
  private readonly file = join(this.folder, 'gate')
  private readonly log = join(this.folder, 'scored')

  /** A request of `gated`; a batch that begins with one that is not `open` runs until the gate is opened. */
  request(
    id: number,
    rows: readonly number[],
    fields: Omit<RequestMessage, 'objective' | 'inputs' | 'id'> & { readonly open?: boolean } = {},
  ): Uint8Array {
    const { open = true, ...rest } = fields
    const inputs = { gate: open ? '' : this.file, log: this.log, row: Int32Array.from(rows) }
    return message('gated', inputs, { id: BigInt(id), ...rest })
  }

  /** Lets every batch go on that waits, and those that come. */
  open(): void {
    writeFileSync(this.file, '')
  }

  /** Rows that were scored, a list a batch, in the order in which batches began. */
  get scored(): readonly number[][] {
    if (!existsSync(this.log)) return []
    const lines = readFileSync(this.log, 'utf8').split('\n').slice(0, -1)
    return lines.map((line) => line.split(' ').map(Number))
  }

  /** Resolves when a batch with this row has begun. */
  begun(row: number): Promise<void> {
    return until(`row ${row} is being scored`, () =>
      Promise.resolve(this.scored.flat().includes(row) || JSON.stringify(this.scored)),
    )
  }

  /** When nothing waits for it. */
  remove(): void {
    rmSync(this.folder, { recursive: true })
  }
}
