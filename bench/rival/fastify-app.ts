import { readFileSync } from 'node:fs'
import Fastify from 'fastify'
import * as ort from 'onnxruntime-node'

/* See adapters/fastify.ts. */
async function main(): Promise<void> {
  const session = await ort.InferenceSession.create(readFileSync(process.env['RIVAL_MODEL']!), { intraOpNumThreads: 1 })
  const score = async (features: Float32Array): Promise<number> => {
    const outputs = await session.run({ features: new ort.Tensor('float32', features, [1, features.length]) })
    return (outputs['score']!.data as Float32Array)[0]!
  }
  const app = Fastify()
  app.post<{ Body: { features: number[] } }>(
    '/score',
    {
      schema: {
        body: {
          type: 'object',
          required: ['features'],
          properties: { features: { type: 'array', items: { type: 'number' }, minItems: 64, maxItems: 64 } },
        },
        response: { 200: { type: 'object', properties: { score: { type: 'number' } } } },
      },
    },
    async ({ body }) => ({ score: await score(Float32Array.from(body.features)) }),
  )
  app.addContentTypeParser('application/octet-stream', { parseAs: 'buffer' }, (_request, body, done) =>
    done(null, body),
  )
  app.post<{ Body: Buffer }>('/score-binary', async ({ body }, reply) => {
    // Aligned anew: a pooled buffer begins anywhere.
    const features = new Float32Array(new Uint8Array(body).buffer)
    return reply.type('application/octet-stream').send(Buffer.from(Float32Array.of(await score(features)).buffer))
  })
  await app.listen({ host: '127.0.0.1', port: Number(process.env['RIVAL_PORT']) })
}

void main()
