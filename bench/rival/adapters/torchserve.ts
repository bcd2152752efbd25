import { execFileSync, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { rivalOf, type Place } from '../program'
import { inEnvironment, installed, programs, toolOf } from '../python'

const environment = 'torchserve'
const { missing, versions } = installed(environment, ['torchserve', 'onnxruntime'])

export const torchserve = rivalOf({
  name: 'TorchServe',
  about: 'a handler of batches of up to 256 within 1 ms, one worker, bytes; no tokens, no log of requests',
  missing: () => missing() ?? (spawnSync('java', ['-version']).status === 0 ? null : 'there is no java, 11 or newer'),
  versions,
  post: { path: '/predictions/mlp', contentType: 'application/octet-stream' },
  body: ({ buffer, byteOffset, byteLength }) => Buffer.from(buffer, byteOffset, byteLength),
  scoreOf: (body) => body.readFloatLE(),
  program: (place) => {
    const { folder } = place
    pack(place)
    return inEnvironment(environment, place, {
      command: 'torchserve',
      args: [
        ...['--foreground', '--ncs', '--model-store', folder, '--models', 'mlp=mlp.mar'],
        // Else each request shows a token, which the others do not ask for either.
        '--disable-token-auth',
        // Else each request writes some lines, which cost more than its score.
        ...['--log-config', join(programs, 'torchserve_log4j2.xml')],
      ],
      env: { LOG_LOCATION: folder, METRICS_LOCATION: folder, TS_CONFIG_FILE: join(folder, 'config.properties') },
      cwd: folder,
    })
  },
})

/** Packs the handler as TorchServe wants it, and writes its configuration. */
function pack({ port, onnx, folder }: Place): void {
  execFileSync(toolOf(environment, 'torch-model-archiver'), [
    ...['--model-name', 'mlp', '--version', '1.0', '--serialized-file', onnx],
    ...['--handler', join(programs, 'torchserve_handler.py'), '--export-path', folder],
  ])
  const batching = { minWorkers: 1, maxWorkers: 1, batchSize: 256, maxBatchDelay: 1 }
  const models = { mlp: { '1.0': { defaultVersion: true, marName: 'mlp.mar', ...batching } } }
  writeFileSync(
    join(folder, 'config.properties'),
    [
      `inference_address=http://127.0.0.1:${port}`,
      'management_address=http://127.0.0.1:0',
      'metrics_address=http://127.0.0.1:0',
      'job_queue_size=4096',
      'async_logging=true',
      `models=${JSON.stringify(models)}`,
      '',
    ].join('\n'),
  )
}
