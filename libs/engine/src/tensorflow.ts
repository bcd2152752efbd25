import { Code, Refusal } from '@millrace/base'
import type { EngineKind } from './engine'

const reason = 'the native TensorFlow engine is not in this release'

/** The place of the native TensorFlow engine. It is listed so that a model that needs it is told so by name. */
export const tensorflow: EngineKind = {
  name: 'tensorflow',
  formats: ['tfjs', 'savedmodel'],
  probe: () => ({
    available: false,
    reason,
    install:
      'nothing to install yet: TFJS models run on the `tfjs` engine, a SavedModel runs once it is converted to ' +
      'TFJS (tensorflowjs_converter) or to ONNX (tf2onnx)',
  }),
  create: () => Promise.reject(new Refusal(Code.UNIMPLEMENTED, reason)),
}
