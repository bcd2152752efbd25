// lmdb-readers.js FOLDER COUNT: as many threads as that read an LMDB environment, each at a place of its own in the lock
// file; says how many places are taken, and ends.
const { isMainThread, parentPort, Worker, workerData } = require('node:worker_threads')
const { open } = require('lmdb')

const [folder, count] = isMainThread ? process.argv.slice(2) : [workerData]
const environment = open({ path: folder, readOnly: true, noSubdir: false, encoding: 'binary', maxReaders: 1024 })
environment.useReadTransaction()

if (isMainThread) main()
else {
  parentPort.postMessage('reads')
  setInterval(() => undefined, 1000)
}

async function main() {
  for (let n = 1; n < Number(count); n++) {
    const worker = new Worker(__filename, { workerData: folder })
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
  }
  process.stdout.write(`${count} read\n`, () => process.exit(0))
}
