import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readGolden } from './golden'
import { runRepository } from './offline-repository'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'offline-'))
  mkdirSync(join(folder, 'workflows', 'parts', '1'), { recursive: true })
})
afterEach(() => rmSync(folder, { recursive: true }))

/** Answers, for each row, how many rows of its request are in the batch and how many rows the batch has. */
const parts = `
import { column, defineWorkflow } from '@millrace/workflow'

export default defineWorkflow({
  inputs: { x: column('f32') },
  outputs: { together: column('u32'), batch: column('u32') },
  batch: { rowsMax: 4 },
  postprocess({ rows, requestOf, outputs }) {
    const sizes = new Map<number, number>()
    for (const request of requestOf) sizes.set(request, (sizes.get(request) ?? 0) + 1)
    for (let row = 0; row < rows; row++) outputs.together[row] = sizes.get(requestOf[row]!)!
    outputs.batch.fill(rows)
  },
})
`

test('a request that fits into a batch is never cut, as in the server', async () => {
  writeFileSync(join(folder, 'workflows', 'parts', '1', 'workflow.ts'), parts)
  const rows = [3, 3, 1, 4, 9, 1, 2, 2]
  const answers = await runRepository(
    folder,
    'parts',
    1,
    rows.map((n) => ({ x: new Array<number>(n).fill(0) })),
  )
  expect(answers.map(({ outputs }) => outputs)).toEqual([
    { together: [3, 3, 3], batch: [3, 3, 3] },
    { together: [3, 3, 3], batch: [4, 4, 4] },
    { together: [1], batch: [4] },
    { together: [4, 4, 4, 4], batch: [4, 4, 4, 4] },
    // Larger than a batch: its last row shares one with those behind it.
    { together: [4, 4, 4, 4, 4, 4, 4, 4, 1], batch: [4, 4, 4, 4, 4, 4, 4, 4, 4] },
    { together: [1], batch: [4] },
    { together: [2, 2], batch: [4, 4] },
    { together: [2, 2], batch: [2, 2] },
  ])
})

test('golden requests that are not JSON say so with what the parser said as the cause', () => {
  const version = join(folder, 'workflows', 'parts', '1')
  writeFileSync(join(version, 'golden.json'), '{')
  let thrown: unknown
  try {
    readGolden(version)
  } catch (error) {
    thrown = error
  }
  expect((thrown as Error).message).toContain('golden.json is not JSON')
  expect((thrown as Error).cause).toMatchObject({ name: 'SyntaxError' })
})
