import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** What a batch takes on a device before its first row, and for each row, milliseconds. */
export interface Device {
  readonly batchMs: number
  readonly rowMs: number
  readonly rowsMax: number
}

/**
 * Writes version 1 of a workflow that runs on a device which is none of this machine's CPUs: its thread sleeps until a batch
 * is done. What requests notice is then what they wait for, not that few cores serve, compute and make the load. It takes
 * what `mlp-64` takes. Returns its folder.
 */
export function writeDevice(repository: string, workflow: string, { batchMs, rowMs, rowsMax }: Device): string {
  const folder = join(repository, 'workflows', workflow, '1')
  mkdirSync(folder, { recursive: true })
  writeFileSync(
    join(folder, 'workflow.ts'),
    `import { column, defineWorkflow } from '@millrace/workflow'

const never = new Int32Array(new SharedArrayBuffer(4))

export default defineWorkflow({
  inputs: { features: column('f32', { shape: [64] }) },
  outputs: { score: column('f32') },
  batch: { rowsMax: ${rowsMax} },
  postprocess({ rows, inputs, outputs }) {
    Atomics.wait(never, 0, 0, ${batchMs} + rows * ${rowMs})
    for (let row = 0; row < rows; row++) outputs.score[row] = inputs.features[64 * row]!
  },
})
`,
  )
  return folder
}
