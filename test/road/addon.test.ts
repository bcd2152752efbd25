import { serve, stopServed } from '../support/served'

/* Native code that is not what it should be is not loaded (`uws-addon.ts`). */

afterAll(stopServed)

const other = { MILLRACE_UWS_SHA256: '0'.repeat(64) }

test('a server goes on with node:http and ws, one lane, and says so', async () => {
  const served = await serve({ ...other, MILLRACE_LANES: '2' })
  expect(served.logged).toContainEqual(expect.stringContaining('several lanes need uWebSockets.js; one serves'))
  const inputs = { id: 1, tag: 't', key: [2], text: ['x'] }
  expect(await served.json({ objective: 'echo', inputs })).toMatchObject({ status: 200 })
})

test('one that must have it does not start, and says why', async () => {
  await expect(serve({ ...other, MILLRACE_TRANSPORT: 'uws' })).rejects.toThrow(
    'is not the file that MILLRACE_UWS_SHA256 names',
  )
  await expect(serve({ MILLRACE_UWS_SHA256: 'abc' })).rejects.toThrow(
    'MILLRACE_UWS_SHA256: must be 64 hexadecimal digits',
  )
})
