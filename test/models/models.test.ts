import { networks } from './networks'
import { suite } from './suite'

describe('onnxruntime and tfjs', () =>
  suite(
    'onnxruntime,tfjs',
    networks.filter(({ format }) => format !== 'savedmodel'),
  ))
