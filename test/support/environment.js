const { TestEnvironment } = require('jest-environment-node')

/**
 * Jest runs tests in a realm of their own, whose Float32Array is not the one that native addons know: onnxruntime
 * then refuses every tensor. Here both realms share them.
 */
class NativeTypedArrays extends TestEnvironment {
  constructor(config, context) {
    super(config, context)
    for (const type of [
      Float32Array,
      Float64Array,
      Int8Array,
      Uint8Array,
      Int16Array,
      Uint16Array,
      Int32Array,
      Uint32Array,
      BigInt64Array,
      BigUint64Array,
      ArrayBuffer,
      SharedArrayBuffer,
      DataView,
    ])
      this.global[type.name] = type
  }
}

module.exports = NativeTypedArrays
