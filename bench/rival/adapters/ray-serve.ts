import { jsonScore, rivalOf } from '../program'
import { inEnvironment, installed } from '../python'

const environment = 'ray-serve'

export const rayServe = rivalOf({
  name: 'Ray Serve',
  about: 'one replica with serve.batch of up to 256 within 1 ms, its own proxy',
  ...installed(environment, ['ray', 'onnxruntime']),
  ...jsonScore('/score'),
  program: (place) =>
    inEnvironment(environment, place, {
      command: 'python',
      args: ['ray_app.py'],
      env: { RAY_USAGE_STATS_ENABLED: '0', RAY_TMPDIR: place.folder },
    }),
})
