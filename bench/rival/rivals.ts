import { bentoml } from './adapters/bentoml'
import { fastapi } from './adapters/fastapi'
import { fastify, fastifyBinary } from './adapters/fastify'
import { litserve } from './adapters/litserve'
import { millraceHttp, millraceWebSocket } from './adapters/millrace'
import { mlserver } from './adapters/mlserver'
import { rayServe } from './adapters/ray-serve'
import { torchserve } from './adapters/torchserve'
import { triton, tritonNative } from './adapters/triton'
import type { Rival } from './rival'

/** In the order in which they are shown: ours, which the others are compared with, first. */
export const rivals: readonly Rival[] = [
  millraceWebSocket,
  millraceHttp,
  fastify,
  fastifyBinary,
  fastapi,
  triton,
  tritonNative,
  rayServe,
  bentoml,
  litserve,
  mlserver,
  torchserve,
]
