import { join } from 'node:path'
import { numbersOf, rivalOf } from '../program'
import { inEnvironment, installed, programs } from '../python'

const environment = 'mlserver'

export const mlserver = rivalOf({
  name: 'MLServer',
  about: 'adaptive batching of up to 256 within 1 ms, in its own process, Open Inference Protocol over REST',
  ...installed(environment, ['mlserver', 'onnxruntime']),
  post: { path: '/v2/models/mlp/infer', contentType: 'application/json' },
  body: (features) =>
    Buffer.from(
      JSON.stringify({ inputs: [{ name: 'features', shape: [1, 64], datatype: 'FP32', data: numbersOf(features) }] }),
    ),
  scoreOf: (body) => (JSON.parse(body.toString()) as { outputs: { data: number[] }[] }).outputs[0]!.data[0]!,
  program: (place) =>
    inEnvironment(environment, place, {
      command: 'mlserver',
      args: ['start', '.'],
      cwd: join(programs, 'mlserver'),
      env: {
        MLSERVER_HOST: '127.0.0.1',
        MLSERVER_HTTP_PORT: String(place.port),
        MLSERVER_GRPC_PORT: '0',
        MLSERVER_METRICS_ENDPOINT: '',
        MLSERVER_PARALLEL_WORKERS: '0',
        MLSERVER_DEBUG: 'false',
      },
    }),
})
