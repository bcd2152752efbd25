import { jsonScore, rivalOf } from '../program'
import { inEnvironment, installed } from '../python'

const environment = 'fastapi'

/** What most people write. */
export const fastapi = rivalOf({
  name: 'FastAPI',
  about: 'pydantic, uvicorn with uvloop and httptools, one worker, a run for each request',
  ...installed(environment, ['fastapi', 'uvicorn', 'onnxruntime']),
  ...jsonScore('/score'),
  program: (place) =>
    inEnvironment(environment, place, {
      command: 'uvicorn',
      args: [
        'fastapi_app:app',
        ...['--host', '127.0.0.1', '--port', String(place.port)],
        ...['--no-access-log', '--log-level', 'warning'],
      ],
    }),
})
