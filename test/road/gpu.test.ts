import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ScoreError, type Client } from '@millrace/client'
import { noVulkan, softwareVulkan } from '../contract/support/device-process'
import { describeWith } from '../support/extras'
import { check, echoCase, mlpCases, plainOutputs, type Case } from '../support/load-cases'
import { readMetrics } from '../support/metrics'
import { Random } from '../support/random'
import { fixtures, until } from '../support/served'
import { ServedProcess } from '../support/served-process'

/*
 * Two pools, CPUs and a GPU: what runs where, that clients cannot tell, and that one without the other goes on.
 */

const random = new Random()
const env = {
  MILLRACE_POOLS: 'gpu,cpu',
  MILLRACE_POOL_GPU_DEVICE: 'webgpu:0',
  MILLRACE_POOL_CPU_THREADS: '1',
  MILLRACE_OVERSUBSCRIBE: 'yes',
}

interface Placed {
  readonly name: string
  readonly state: string
  readonly pools: readonly { readonly pool: string; readonly state: string; readonly reason: string | null }[]
}

let repository: string
beforeAll(() => {
  repository = mkdtempSync(join(tmpdir(), 'millrace-gpu-'))
  for (const name of ['mlp', 'echo'])
    cpSync(join(fixtures, 'workflows', name), join(repository, 'workflows', name), { recursive: true })
  // Takes its thread, and with it the device, down when it is asked to.
  const fragile = join(repository, 'workflows/fragile/1')
  mkdirSync(fragile, { recursive: true })
  cpSync(join(fixtures, 'workflows/mlp/1/model.onnx'), join(fragile, 'model.onnx'))
  writeFileSync(
    join(fragile, 'workflow.ts'),
    `import { column, defineWorkflow, onnx } from '@millrace/workflow'
    export default defineWorkflow({
      inputs: { features: column('f32', { shape: [64] }) },
      outputs: { score: column('f32') },
      batch: { rowsMax: 8 },
      model: onnx('model.onnx', { inputs: { features: 'f32' }, outputs: { score: 'f32' } }),
      preprocess({ rows, inputs }, into) {
        if (inputs.features[0] === -1000) process.exit(3)
        if (inputs.features[0] === -2000) throw Object.assign(new Error('the device was lost'), { name: 'DeviceLost' })
        into.features([rows, 64], inputs.features)
      },
      postprocess: ({ outputs }, from) => outputs.score.set(from.score.data),
    })`,
  )
})
afterAll(() => rmSync(repository, { recursive: true }))

async function placed(served: ServedProcess): Promise<Record<string, Placed>> {
  const { workflows } = JSON.parse((await served.admin('/v1/workflows')).body.toString('utf8')) as {
    workflows: Placed[]
  }
  return Object.fromEntries(workflows.map((one) => [one.name, one]))
}

/** A network on a device of another kind may differ by 1e-5, all else not at all. */
async function ask(client: Client, one: Case, tolerance = 1e-5, objective = one.objective): Promise<void> {
  const { outputs } = await client.score({ objective, inputs: one.inputs, deadlineMs: 60_000 })
  check(one, { code: 'OK', outputs: plainOutputs(outputs) }, tolerance)
}

describe('a GPU pool without a GPU', () => {
  let served: ServedProcess
  beforeAll(async () => {
    // A driver's tool that knows two GPUs, one of which it knows little about.
    const bin = join(repository, 'bin')
    mkdirSync(bin)
    const smi =
      '#!/bin/sh\n[ "$2" = --format=csv,noheader,nounits ] || exit 9\necho 0, Test GPU, 512, 16384, 25\necho 1, Test GPU, 0, 16384, [N/A]\n'
    writeFileSync(join(bin, 'nvidia-smi'), smi, { mode: 0o755 })
    served = await ServedProcess.start(repository, { ...env, ...noVulkan, PATH: `${bin}:${process.env['PATH']}` })
  })
  afterAll(() => served.stop())

  test('is said, and the CPU pool serves', async () => {
    const { mlp, echo } = await placed(served)
    expect(mlp).toMatchObject({
      state: 'ready',
      pools: [
        { pool: 'gpu', state: 'failed' },
        { pool: 'cpu', state: 'ready' },
      ],
    })
    expect(mlp!.pools[0]!.reason).toMatch(/there is no WebGPU adapter for webgpu:0.*install libvulkan1/)
    expect(echo!.pools).toMatchObject([
      { pool: 'gpu', state: 'found', reason: 'it has no model, so it runs on CPUs' },
      { pool: 'cpu', state: 'ready' },
    ])
    expect((await served.admin('/v2/health/ready')).status).toBe(200)
    expect(served.stderr()).toMatch(/mlp@1 does not run on pool gpu: there is no WebGPU adapter/)
    const client = served.client()
    for (const one of [...(await mlpCases(random, [1, 40])), echoCase(random, 3)]) await ask(client, one, 1e-6)
    await client.close()
  })

  test('memory of GPUs is what the driver says', async () => {
    await until('the driver was asked', async () => {
      const page = readMetrics((await served.admin('/metrics')).body.toString('utf8')).series
      return page.has('millrace_gpu_memory_bytes{gpu="0",name="Test GPU"}') || 'not yet'
    })
    const page = readMetrics((await served.admin('/metrics')).body.toString('utf8')).series
    const gpus = Object.fromEntries([...page].filter(([key]) => key.startsWith('millrace_gpu_')))
    expect(gpus).toEqual({
      'millrace_gpu_memory_used_bytes{gpu="0",name="Test GPU"}': 512 * 2 ** 20,
      'millrace_gpu_memory_used_bytes{gpu="1",name="Test GPU"}': 0,
      'millrace_gpu_memory_bytes{gpu="0",name="Test GPU"}': 16384 * 2 ** 20,
      'millrace_gpu_memory_bytes{gpu="1",name="Test GPU"}': 16384 * 2 ** 20,
      'millrace_gpu_busy_ratio{gpu="0",name="Test GPU"}': 0.25,
    })
  })
})

test('a pool of cuda threads without cuda: the CPU pool serves, and what is missing is said', async () => {
  // Whoever names the devices that a process sees is believed that they are there.
  const cuda = { MILLRACE_POOL_GPU_DEVICE: 'cuda:0', CUDA_VISIBLE_DEVICES: '0' }
  const served = await ServedProcess.start(repository, { ...env, ...cuda })
  const { mlp } = await placed(served)
  expect(mlp).toMatchObject({ state: 'ready', pools: [{ device: 'cuda:0', state: 'failed' }, { state: 'ready' }] })
  expect(mlp!.pools[0]!.reason).toMatch(/libonnxruntime_providers_cuda\.so, which cuda:0 needs/)
  const client = served.client()
  for (const one of await mlpCases(random, [3])) await ask(client, one, 1e-6)
  await client.close()
  expect(await served.stop()).toBe(0)
})

describeWith('vulkan')('a GPU pool', () => {
  let served: ServedProcess
  let client: Client
  beforeAll(async () => {
    served = await ServedProcess.start(repository, {
      ...env,
      ...softwareVulkan,
      // What has a model runs on the GPU only, so that nobody else answers for it.
      MILLRACE_POOL_CPU_WORKFLOWS: 'echo',
      MILLRACE_BATCH_ROWS_MAX: '64',
    })
    client = served.client()
  })
  afterAll(async () => {
    await client.close()
    // A device that is open when the process ends must not end it otherwise.
    expect(await served.stop()).toBe(0)
  })

  async function metric(name: string): Promise<number | undefined> {
    return readMetrics((await served.admin('/metrics')).body.toString('utf8')).series.get(name)
  }

  test('answers what the CPU answers, beside a pool of CPUs', async () => {
    expect((await placed(served))['mlp']!.pools).toMatchObject([
      { pool: 'gpu', state: 'ready' },
      { pool: 'cpu', state: 'found' },
    ])
    const cases = await mlpCases(random, [1, 2, 63, 64, 65, 200, 7])
    await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        ask(client, i % 2 === 0 ? cases[(i / 2) % cases.length]! : echoCase(random, random.whole(1, 9))),
      ),
    )
  })

  test('shows the size of a batch that it found', async () => {
    const rows = await metric('millrace_batch_rows_limit{lane="0",pool="gpu",workflow="mlp",version="1"}')
    expect(rows).toBeGreaterThanOrEqual(1)
    expect(rows).toBeLessThanOrEqual(64)
    expect(await metric('millrace_pool_threads{lane="0",pool="gpu",device="webgpu:0",state="ready"}')).toBe(1)
  })

  test.each([
    ['dies', -1000],
    ['loses the device', -2000],
  ])('a thread that %s is replaced, with the device', async (_, how) => {
    const restarts = 'millrace_pool_thread_restarts_total{lane="0",pool="gpu"}'
    const before = (await metric(restarts)) ?? 0
    const features = { dtype: 'f32' as const, values: new Float32Array(64).fill(how), shape: [64] }
    const error: unknown = await client
      .score({ objective: 'fragile', inputs: { features } })
      .catch((one: unknown) => one)
    expect(error).toBeInstanceOf(ScoreError)
    expect(error).toMatchObject({ code: 'UNAVAILABLE' })
    // The other pool does not wait for it.
    await ask(client, echoCase(random, 3))
    const [one] = await mlpCases(random, [5])
    await ask(client, one!)
    expect(await metric(restarts)).toBe(before + 1)
    await until('every thread is back', async () => {
      const ready = await metric('millrace_pool_threads{lane="0",pool="gpu",device="webgpu:0",state="ready"}')
      return ready === 1 || String(ready)
    })
    await ask(client, one!, 1e-5, 'fragile')
  })
})
