// A managed unit: it knows nothing of HSU, writes a line now and then, and ends when it is told to.
const everyMs = Number(process.env['WORKER_EVERY_MS'] ?? 1_000)
let number = 0

const timer = setInterval(() => {
  number += 1
  console.log(`worked on item ${number}`)
}, everyMs)

console.log('worker started')
process.once('SIGTERM', () => {
  clearInterval(timer)
  console.log(`worker stopped after ${number} items`)
})
