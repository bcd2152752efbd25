import { trafficClasses, type Code, type Strings, type StringsWriter } from '@millrace/base'
import { Header, type BatchColumns } from '@millrace/batch'
import type { BatchSink, Phase } from '@millrace/workflow'
import type { FailureLog } from './failure-log'

interface SlabAnswers {
  readonly header: Uint32Array
  readonly codes: Uint32Array
  readonly messages: StringsWriter
  readonly context: BatchColumns['context']
}

const messageCharsMax = 300

/** Writes a batch's refusals into its slab. One a batch; a batch without refusals touches nothing. */
export class SlabSink implements BatchSink {
  factsUs = 0
  scoreUs = 0

  constructor(
    private readonly slab: SlabAnswers,
    private readonly label: string,
    private readonly folder: string,
    private readonly log: FailureLog,
  ) {}

  refuse(request: number, code: Code, message: string): void {
    const { header, codes, messages } = this.slab
    if (header[Header.refused] === 0) {
      // The block was another batch's before; only now do codes and messages count.
      codes.fill(0)
      messages.spans.fill(0)
      header[Header.refused] = 1
    }
    codes[request] = code
    try {
      messages.set(request, message.slice(0, messageCharsMax))
    } catch (error) {
      // The heap is full: the code says enough.
      if (!(error instanceof RangeError)) throw error
    }
  }

  failed(phase: Phase, error: unknown): void {
    this.log.write(this.label, phase, error, this.folder, whoseOf(this.slab))
  }
}

const tenantsMax = 10

/** Whose requests a batch has: their traffic classes, and their tenants where the workflow reads them. */
function whoseOf({ header, context }: SlabAnswers): { traffic: readonly string[]; tenants?: readonly string[] } {
  const traffic = trafficClasses.filter((_, bit) => (header[Header.traffic]! & (1 << bit)) !== 0)
  const tenants = context['tenant'] as Strings | undefined
  return { traffic, ...(tenants && { tenants: [...new Set(tenants.toArray())].slice(0, tenantsMax) }) }
}
