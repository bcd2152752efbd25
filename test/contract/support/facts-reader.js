'use strict'
// A reader beside the writer, in a thread or a process of its own: reads one table again and again, and answers
// how often it saw which state. A state is the set of distinct values of `generation` among the rows found.
const { parentPort, workerData } = require('node:worker_threads')
const { Strings } = require('@millrace/base')
const { openLmdb } = require('@millrace/facts')

const { path, table, keys } = workerData ?? JSON.parse(process.argv[2])
const send = (message) => (parentPort ? parentPort.postMessage(message) : process.send(message))
const receive = (listener) => (parentPort ? parentPort.on('message', listener) : process.on('message', listener))

const store = openLmdb(path, { readOnly: true })
const column = Strings.of(keys)
const states = new Set()
let stopping = false
receive(() => (stopping = true))
read()
// The first state is read before the writer goes on and the last after it has ended.
send('ready')

function read() {
  const rows = store.read(table, column)
  const seen = new Set()
  for (let i = 0; i < rows.rows; i++) if (rows.found[i]) seen.add(rows.column('generation')[i])
  states.add(JSON.stringify([...seen]))
  if (!stopping) return setImmediate(read)
  store.close().then(() => send([...states]))
}
