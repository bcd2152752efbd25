import { numbersOf, rivalOf } from '../program'
import { inEnvironment, installed } from '../python'

const environment = 'bentoml'

export const bentoml = rivalOf({
  name: 'BentoML',
  about: 'adaptive batching of up to 256, one worker, numpy arrays in JSON',
  ...installed(environment, ['bentoml', 'onnxruntime']),
  post: { path: '/score', contentType: 'application/json' },
  body: (features) => Buffer.from(JSON.stringify({ features: [numbersOf(features)] })),
  scoreOf: (body) => (JSON.parse(body.toString()) as number[][])[0]![0]!,
  program: (place) =>
    inEnvironment(environment, place, {
      command: 'bentoml',
      args: ['serve', 'bentoml_app:Mlp', '--host', '127.0.0.1', '--port', String(place.port)],
      env: { BENTOML_HOME: place.folder, BENTOML_DO_NOT_TRACK: 'True' },
    }),
})
