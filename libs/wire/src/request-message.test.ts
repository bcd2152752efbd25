import { Strings } from '@millrace/base'
import { encodeReply, encodeRequest } from './encode'
import { denseColumn, raggedColumn, type RequestMessage } from './message'
import { decodeRequest, withRequestId } from './request-message'

const whole: RequestMessage = {
  id: 2n ** 64n - 1n,
  objective: 'title-ranking',
  objectiveHash: 2n ** 63n + 5n,
  subject: 'account-42',
  context: { country: 'US', age: 30.5, kids: false },
  inputs: [
    denseColumn('features', 'f32', Float32Array.of(1, 2, 3, 4), [2]),
    raggedColumn('title', 'string', Strings.of(['a', 'longer', ''])),
  ],
  deadlineUs: 50_000,
  priority: 'bulk',
  override: { cell: 'treatment', experiment: 'network' },
  timings: true,
  dryRun: true,
  decision: Uint8Array.of(1, 2, 3),
}
/** Comparable: numbers for bytes, texts for what JSON has no numbers for. */
const plain = (request: RequestMessage): unknown => {
  const inputs = request.inputs?.map((column) => ({
    ...column,
    data: [...column.data],
    ...(column.offsets && { offsets: [...column.offsets] }),
  }))
  const json = JSON.stringify({ ...request, inputs }, (_, value: unknown) =>
    typeof value === 'bigint' ? String(value) : value,
  )
  return JSON.parse(json)
}

it.each<[string, RequestMessage]>([
  ['everything', whole],
  [
    'a number as subject, a version by override',
    { ...whole, subject: 77n, override: { workflow: 'price', version: 2 } },
  ],
  ['the hash alone', { id: 7n, objectiveHash: 9n, inputs: [] }],
])('a request is read as it was written: %s', (_, request) => {
  const read = decodeRequest(encodeRequest(request))
  expect(plain(decodeRequest(encodeRequest(read)))).toEqual(plain(read))
  expect(plain(read)).toMatchObject(plain(request) as object)
})

it('another id leaves the rest, also of a request that has none', () => {
  for (const id of [undefined, 3n]) {
    const changed = decodeRequest(withRequestId(encodeRequest({ ...whole, id }), 2n ** 40n))
    expect(plain(changed)).toEqual(plain({ ...decodeRequest(encodeRequest(whole)), id: 2n ** 40n }))
  }
})

it('says what is no request', () => {
  const reply = encodeReply({ id: 1n, code: 'OK', message: '', route: null, outputs: [], timings: null })
  expect(() => decodeRequest(reply)).toThrow('identifier')
  expect(() => decodeRequest(new Uint8Array(3))).toThrow()
})
