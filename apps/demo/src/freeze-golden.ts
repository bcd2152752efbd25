import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runRepository } from '@millrace/workflow'
import { goldenRequests } from './golden-requests'
import { repositoryFolder } from './repository-folder'

/*
 * Writes `golden.json` of every version from what it answers now. After training, and only then: it makes whatever
 * the version does the expected answer.
 */

async function freeze(): Promise<void> {
  for (const { workflow, versions, tolerance, inputs } of goldenRequests)
    for (const version of versions) {
      const file = join(repositoryFolder, 'workflows', workflow, String(version), 'golden.json')
      rmSync(file, { force: true })
      const answers = await runRepository(repositoryFolder, workflow, version, inputs)
      const goldens = answers.map(({ code, outputs }, i) =>
        code === 'OK' ? { inputs: inputs[i], outputs, tolerance } : { inputs: inputs[i], code },
      )
      // Six decimals are below every tolerance.
      const rounded = JSON.stringify(goldens, (_, value: unknown) =>
        typeof value === 'number' ? +value.toFixed(6) : value,
      )
      writeFileSync(file, `${rounded}\n`)
    }
}

void freeze()
