import { jsonScore, rivalOf } from '../program'
import { inEnvironment, installed } from '../python'

const environment = 'litserve'

export const litserve = rivalOf({
  name: 'LitServe',
  about: 'batches of up to 256 within 1 ms, one worker, one API server, its fast queue',
  ...installed(environment, ['litserve', 'onnxruntime']),
  ...jsonScore('/score'),
  program: (place) => inEnvironment(environment, place, { command: 'python', args: ['litserve_app.py'] }),
})
