import { describeWith } from '../support/extras'
import { networks } from './networks'
import { suite } from './suite'

describeWith('tensorflow')('tensorflow', () =>
  suite(
    'tensorflow',
    networks.filter(({ format }) => format !== 'onnx'),
  ),
)
