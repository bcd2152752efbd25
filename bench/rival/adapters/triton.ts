import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { rivalOf, type Place, type Program, type ProgramRival } from '../program'
import { inEnvironment, installed } from '../python'

/*
 * The body is the binary extension of the Open Inference Protocol: a JSON head, whose length a header says, and the
 * floats as they lie in memory.
 */
const head = Buffer.from(
  JSON.stringify({
    inputs: [{ name: 'features', shape: [1, 64], datatype: 'FP32', parameters: { binary_data_size: 256 } }],
    outputs: [{ name: 'score', parameters: { binary_data: true } }],
  }),
)

const binary: Pick<ProgramRival, 'post' | 'body' | 'scoreOf'> = {
  post: {
    path: '/v2/models/mlp/infer',
    contentType: 'application/octet-stream',
    headers: { 'inference-header-content-length': String(head.length) },
  },
  body: ({ buffer, byteOffset, byteLength }) => Buffer.concat([head, Buffer.from(buffer, byteOffset, byteLength)]),
  // The score is the last of it.
  scoreOf: (body) => body.readFloatLE(body.length - 4),
}

const environment = 'triton'

export const triton = rivalOf({
  name: 'Triton, Python backend',
  about: 'the tritonserver of the nvidia-pytriton wheel, dynamic batching of up to 256, binary tensors',
  ...installed(environment, ['nvidia-pytriton', 'onnxruntime']),
  ...binary,
  program: (place) =>
    inEnvironment(environment, place, {
      command: 'python',
      args: ['triton_app.py'],
      env: { PYTRITON_HOME: place.folder },
    }),
})

/** A whole tritonserver, where TRITONSERVER says where it is. */
const native = process.env['TRITONSERVER'] ?? ''

export const tritonNative = rivalOf({
  name: 'Triton, onnxruntime backend',
  about: 'dynamic batching of up to 256, one instance on the CPU, binary tensors',
  missing: () => (existsSync(native) ? null : 'TRITONSERVER names no tritonserver with its onnxruntime backend'),
  versions: () => [native],
  ...binary,
  program: nativeProgram,
})

function nativeProgram({ port, onnx, folder }: Place): Program {
  const repository = join(folder, 'repository')
  mkdirSync(join(repository, 'mlp/1'), { recursive: true })
  copyFileSync(onnx, join(repository, 'mlp/1/model.onnx'))
  writeFileSync(
    join(repository, 'mlp/config.pbtxt'),
    `backend: "onnxruntime"
max_batch_size: 256
dynamic_batching { }
instance_group [ { count: 1 kind: KIND_CPU } ]
parameters { key: "intra_op_thread_count" value { string_value: "1" } }
`,
  )
  return {
    command: native,
    args: [
      `--model-repository=${repository}`,
      '--http-address=127.0.0.1',
      `--http-port=${port}`,
      '--allow-grpc=false',
      '--allow-metrics=false',
    ],
    env: {},
    cwd: folder,
  }
}
