import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeOnnx } from '@millrace/engine'
import { serve, stopServed } from '../support/served'

/* A folder with nothing but a model of strings, served: text in, text out, without a line of code. */

const repository = mkdtempSync(join(tmpdir(), 'strings-'))
afterAll(async () => {
  await stopServed()
  rmSync(repository, { recursive: true })
})

test('strings of many requests at once come back to their own', async () => {
  const folder = join(repository, 'workflows/echo-text/1')
  mkdirSync(folder, { recursive: true })
  writeFileSync(
    join(folder, 'model.onnx'),
    writeOnnx({
      inputs: [{ name: 'text', dtype: 'string', shape: ['N'] }],
      outputs: [{ name: 'same', dtype: 'string', shape: ['N'] }],
      weights: {},
      nodes: [{ op: 'Identity', inputs: ['text'], outputs: ['same'] }],
    }),
  )
  const served = await serve({}, repository)
  const client = served.client()
  const requests = Array.from({ length: 200 }, (_, i) =>
    Array.from({ length: 1 + (i % 7) }, (_, j) => (i % 5 === 0 ? '' : `row ${j} of ${i}, ${'x'.repeat(i)}`)),
  )
  const answers = await Promise.all(requests.map((text) => client.score({ objective: 'echo-text', inputs: { text } })))
  answers.forEach(({ outputs }, i) => expect(outputs['same']).toEqual(requests[i]))
  expect((await served.json({ objective: 'echo-text', inputs: { text: ['json'] } })).body).toMatchObject({
    outputs: { same: ['json'] },
  })
  await served.idle()
})
