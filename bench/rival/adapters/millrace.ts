import { cpSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from '@millrace/client'
import type { Transport } from '@millrace/load'
import { encodeRequest } from '@millrace/wire'
import { hashOf } from '../../objective-hash'
import { startMillrace } from '../../servers'
import type { Rival, RivalModel, RivalServer } from '../rival'

const objective = 'scored'

export const millraceWebSocket: Rival = adapter('Millrace, WebSocket', 'websocket')
export const millraceHttp: Rival = adapter('Millrace, HTTP', 'http')

function adapter(name: string, transport: Transport): Rival {
  return {
    name,
    about: 'one lane, one pool thread, FlatBuffers',
    missing: () => null,
    start: (model) => start(model, transport),
  }
}

async function start({ onnx, folder }: RivalModel, transport: Transport): Promise<RivalServer> {
  const version = join(folder, 'workflows', objective, '1')
  mkdirSync(version, { recursive: true })
  cpSync(onnx, join(version, 'model.onnx'))
  const server = await startMillrace({ MILLRACE_REPOSITORY: folder })
  const client = new Client({ url: `http://127.0.0.1:${server.port}`, transport })
  return {
    pid: server.pid,
    ports: server.ports,
    versions: [],
    transport,
    encode: (features, id) =>
      encodeRequest({
        id: BigInt(id),
        objectiveHash: hashOf(objective),
        inputs: [{ name: 'features', dtype: 'f32', shape: [1, 64], data: bytesOf(features) }],
      }),
    score: async (features) => {
      const { outputs } = await client.score({
        objective,
        inputs: { features: { dtype: 'f32', values: features, shape: [64] } },
      })
      return Number(outputs['score']![0])
    },
    stop: async () => {
      await client.close()
      await server.stop()
    },
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}
