import { createRequire } from 'node:module'
import { join } from 'node:path'
import { jsonScore, rivalOf, type ProgramRival } from '../program'

/* What a developer of Node would write: Fastify and onnxruntime-node in one process, a run for each request. */

const alike: Pick<ProgramRival, 'missing' | 'versions' | 'program'> = {
  missing: () => null,
  versions: () => [...['fastify', 'onnxruntime-node'].map(versionOf), `node ${process.version}`],
  program: ({ port, onnx, folder }) => ({
    command: process.execPath,
    args: [join(__dirname, '../fastify-app.js')],
    cwd: folder,
    env: { RIVAL_PORT: String(port), RIVAL_MODEL: onnx, NODE_ENV: 'production' },
  }),
}

export const fastify = rivalOf({
  name: 'Fastify, JSON',
  about: 'schemas, onnxruntime-node in its process, a run for each request',
  ...jsonScore('/score'),
  ...alike,
})

export const fastifyBinary = rivalOf({
  name: 'Fastify, binary',
  about: 'the same, with floats as they lie in memory',
  post: { path: '/score-binary', contentType: 'application/octet-stream' },
  body: ({ buffer, byteOffset, byteLength }) => Buffer.from(buffer, byteOffset, byteLength),
  scoreOf: (body) => body.readFloatLE(0),
  ...alike,
})

function versionOf(name: string): string {
  const { version } = createRequire(__filename)(`${name}/package.json`) as { version: string }
  return `${name} ${version}`
}
