/*
 * TensorFlow's C API (tensorflow/c/c_api.h, tf_tensor.h), called in the library that tfjs-node's addon is linked to.
 * Pointers are bigints; the only file of this room that knows koffi. Nothing here owns anything: see tensorflow-session.ts.
 */

export type Pointer = bigint

/** Memory of JavaScript or an address. */
type Memory = ArrayBufferView | Pointer | null

interface KoffiLibrary {
  func(declaration: string): never
  symbol(name: string): Pointer
}
interface Koffi {
  load(path: string | null): KoffiLibrary
  view(pointer: Pointer, length: number): ArrayBuffer
  address(memory: ArrayBufferView): Pointer
}

export interface Libtensorflow {
  readonly version: string
  newStatus(): Pointer
  code(status: Pointer): number
  message(status: Pointer): string
  deleteStatus(status: Pointer): void
  newGraph(): Pointer
  deleteGraph(graph: Pointer): void
  newOptions(): Pointer
  setConfig(options: Pointer, bytes: Uint8Array, length: number, status: Pointer): void
  deleteOptions(options: Pointer): void
  /** `tags` are `tagCount` addresses of zero-terminated texts. */
  loadSavedModel(
    options: Pointer,
    runOptions: null,
    folder: string,
    tags: BigUint64Array,
    tagCount: number,
    graph: Pointer,
    metaGraph: null,
    status: Pointer,
  ): Pointer
  newSession(graph: Pointer, options: Pointer, status: Pointer): Pointer
  closeSession(session: Pointer, status: Pointer): void
  deleteSession(session: Pointer, status: Pointer): void
  listDevices(session: Pointer, status: Pointer): Pointer
  deviceCount(devices: Pointer): number
  deviceType(devices: Pointer, index: number, status: Pointer): string
  deleteDevices(devices: Pointer): void
  /** Null where the graph has no such operation. */
  operation(graph: Pointer, name: string): Pointer | null
  allocateTensor(type: number, dims: BigInt64Array, rank: number, bytes: number): Pointer
  newTensor(
    type: number,
    dims: BigInt64Array,
    rank: number,
    data: Pointer,
    bytes: number,
    deallocator: Pointer,
    argument: null,
  ): Pointer
  deleteTensor(tensor: Pointer): void
  tensorData(tensor: Pointer): Pointer
  tensorType(tensor: Pointer): number
  tensorRank(tensor: Pointer): number
  tensorDim(tensor: Pointer, index: number): number | bigint
  tensorBytes(tensor: Pointer): number | bigint
  /** Ports are pairs of an operation's address and the index of its output; tensors are addresses. */
  run(
    session: Pointer,
    runOptions: null,
    inputPorts: BigUint64Array,
    inputs: BigUint64Array,
    inputCount: number,
    outputPorts: BigUint64Array,
    outputs: BigUint64Array,
    outputCount: number,
    targets: null,
    targetCount: number,
    metadata: null,
    status: Pointer,
  ): void
  copy(to: Memory, from: Memory, bytes: number): void
  /** JavaScript's view of native memory, which must outlive every use of it. */
  view(pointer: Pointer, bytes: number): ArrayBuffer
  addressOf(memory: ArrayBufferView): Pointer
  /** Gives free memory back to the system, where the C library can (glibc). */
  trim(): void
  /** A deallocator for memory that is not the library's to free: a function without arguments and effects. */
  readonly keep: Pointer
}

/** Loads the library; within a process it is loaded once. Throws the dynamic linker's error. */
export function openLibtensorflow(path: string): Libtensorflow {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- loaded only where a model needs it
  const koffi = require('koffi') as Koffi
  const tf = koffi.load(path)
  const libc = koffi.load(null)
  const version: () => string = tf.func('const char *TF_Version()')
  return {
    version: version(),
    newStatus: tf.func('void *TF_NewStatus()'),
    code: tf.func('int TF_GetCode(void *)'),
    message: tf.func('const char *TF_Message(void *)'),
    deleteStatus: tf.func('void TF_DeleteStatus(void *)'),
    newGraph: tf.func('void *TF_NewGraph()'),
    deleteGraph: tf.func('void TF_DeleteGraph(void *)'),
    newOptions: tf.func('void *TF_NewSessionOptions()'),
    setConfig: tf.func('void TF_SetConfig(void *, void *, size_t, void *)'),
    deleteOptions: tf.func('void TF_DeleteSessionOptions(void *)'),
    loadSavedModel: tf.func(
      'void *TF_LoadSessionFromSavedModel(void *, void *, const char *, void *, int, void *, void *, void *)',
    ),
    newSession: tf.func('void *TF_NewSession(void *, void *, void *)'),
    closeSession: tf.func('void TF_CloseSession(void *, void *)'),
    deleteSession: tf.func('void TF_DeleteSession(void *, void *)'),
    listDevices: tf.func('void *TF_SessionListDevices(void *, void *)'),
    deviceCount: tf.func('int TF_DeviceListCount(void *)'),
    deviceType: tf.func('const char *TF_DeviceListType(void *, int, void *)'),
    deleteDevices: tf.func('void TF_DeleteDeviceList(void *)'),
    operation: tf.func('void *TF_GraphOperationByName(void *, const char *)'),
    allocateTensor: tf.func('void *TF_AllocateTensor(int, void *, int, size_t)'),
    newTensor: tf.func('void *TF_NewTensor(int, void *, int, void *, size_t, void *, void *)'),
    deleteTensor: tf.func('void TF_DeleteTensor(void *)'),
    tensorData: tf.func('void *TF_TensorData(void *)'),
    tensorType: tf.func('int TF_TensorType(void *)'),
    tensorRank: tf.func('int TF_NumDims(void *)'),
    tensorDim: tf.func('int64_t TF_Dim(void *, int)'),
    tensorBytes: tf.func('size_t TF_TensorByteSize(void *)'),
    run: tf.func(
      'void TF_SessionRun(void *, void *, void *, void *, int, void *, void *, int, void *, int, void *, void *)',
    ),
    copy: libc.func('void *memcpy(void *, void *, size_t)'),
    view: (pointer, bytes) => koffi.view(pointer, bytes),
    addressOf: (memory) => koffi.address(memory),
    trim: trimOf(libc),
    keep: tf.symbol('TF_Version'),
  }
}

function trimOf(libc: KoffiLibrary): () => void {
  try {
    const trim: (pad: number) => number = libc.func('int malloc_trim(size_t)')
    return () => void trim(0)
  } catch {
    return () => undefined
  }
}
